package query

import (
	"flag"
	"os"
	"testing"

	"github.com/millrace/millrace/libs/svc"
)

var update = flag.Bool("update", false, "write the golden files")

func TestHelpIsDocumented(t *testing.T) {
	got := svc.Help("query", Command, svc.WithAdminAddr("127.0.0.1:8084"))
	if *update {
		if err := os.WriteFile("testdata/help.txt", []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/help.txt")
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s\nwant\n%s\nrewrite with: go test -run Help -update", got, want)
	}
}
