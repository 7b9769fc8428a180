package enricher

import (
	"os"
	"strings"
	"testing"

	"github.com/millrace/millrace/libs/svc"
)

func TestHelpIsDocumented(t *testing.T) {
	got := svc.Help("enricher", Command, svc.WithAdminAddr("127.0.0.1:8082"))
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

// The module file is the fence that keeps the ClickHouse driver out of a
// service that has no business with it.
func TestTheModuleDoesNotKnowClickHouse(t *testing.T) {
	text, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(strings.ToLower(string(text)), "clickhouse") {
		t.Error("go.mod requires something of ClickHouse's")
	}
}

func TestConfigThatCannotWorkIsRefused(t *testing.T) {
	for name, harm := range map[string]func(*Config){
		"no log":              func(c *Config) { c.Log = nil },
		"a window of nothing": func(c *Config) { c.DedupWindow = 1 },
		"no memory":           func(c *Config) { c.DedupMemory = 1000 },
		"half a plan":         func(c *Config) { c.ManageStreams = true; c.Plan.Shards = 4 },
		"a prefix of two":     func(c *Config) { c.Bus.Prefix = "a.b" },
	} {
		c := Config{Log: discard(), Reg: newRegistry(), Health: svc.NewHealth()}
		harm(&c)
		if _, err := New(c); err == nil {
			t.Errorf("%s: it was taken", name)
		}
	}
	if _, err := New(Config{Log: discard(), Reg: newRegistry(), Health: svc.NewHealth()}); err != nil {
		t.Errorf("the defaults: %v", err)
	}
}
