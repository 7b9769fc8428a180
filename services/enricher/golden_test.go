package enricher

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/millrace/millrace/libs/event/frame"
	examples "github.com/millrace/millrace/schemas/event"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// compareGolden compares with testdata/name.txtar, which holds an `event` and
// the `row` made of it for each example, so that it reads as documentation.
func compareGolden(t *testing.T, name string, got []txtar.File) {
	t.Helper()
	file := filepath.Join("testdata", name+".txtar")
	if *update {
		text := txtar.Format(&txtar.Archive{Comment: []byte("Each event and the row it becomes; empty columns are left out.\nRewrite with: go test -run Golden -update\n"), Files: got})
		if err := os.WriteFile(file, text, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	archive, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	for _, f := range archive.Files {
		want[f.Name] = string(f.Data)
	}
	for _, f := range got {
		if strings.HasSuffix(f.Name, ".event") {
			continue
		}
		if string(f.Data) != want[f.Name] {
			t.Errorf("%s:\n%s\nwant\n%s", f.Name, f.Data, want[f.Name])
		}
	}
	if len(want) != len(got) {
		t.Errorf("%d entries, the golden file has %d", len(got), len(want))
	}
}

func goldenRow(t *testing.T, m *mill, seq uint64, e sent) string {
	v, verdict := enriched(t, m, &rawFrame{seq: seq, received: received, body: rawBody(e)})
	if verdict.Rows == 1 {
		return rowText(v, 0)
	}
	if verdict.Repeats == 1 {
		return "a repeat\n"
	}
	return fmt.Sprintf("refused: %s %s %s\n", verdict.Refused[0].Stage, verdict.Refused[0].Reason, verdict.Refused[0].Detail)
}

func TestGoldenExamplesOfTheContract(t *testing.T) {
	m := newTestMill(1 << 20)
	var got []txtar.File
	for i, e := range examples.Valid() {
		shown := strings.ToValidUTF8(string(e.JSON), "?") + "\n"
		got = append(got,
			txtar.File{Name: e.Name + ".event", Data: []byte(shown)},
			txtar.File{Name: e.Name, Data: []byte(goldenRow(t, m, uint64(i+1), sent{body: string(e.JSON), id: "door-" + e.Name}))})
	}
	if len(got) < 20 {
		t.Fatalf("only %d examples", len(got))
	}
	compareGolden(t, "examples", got)
}

func TestGoldenSteps(t *testing.T) {
	m := newTestMill(1 << 20)
	archive, err := txtar.ParseFile(filepath.Join("testdata", "steps.txtar"))
	if err != nil {
		t.Fatal(err)
	}
	var got []txtar.File
	seq := uint64(100)
	for _, f := range archive.Files {
		name, isEvent := strings.CutSuffix(f.Name, ".event")
		if !isEvent {
			continue
		}
		// A door's own findings stand before the event, a line for each.
		e := sent{body: strings.TrimSpace(string(f.Data))}
		for {
			line, rest, found := strings.Cut(e.body, "\n")
			key, value, header := strings.Cut(line, ": ")
			if !found || !header || strings.HasPrefix(line, "{") {
				break
			}
			switch key {
			case "door":
				e.door = value
			case "ip":
				e.ip = value
			case "agent":
				e.agent = value
			case "id":
				e.id = value
			case "sent_at":
				if _, err := fmt.Sscan(value, &e.at); err != nil {
					t.Fatal(err)
				}
			default:
				t.Fatalf("%s: unknown line %q", f.Name, line)
			}
			e.body = rest
		}
		seq++
		row := goldenRow(t, m, seq, e)
		got = append(got, f, txtar.File{Name: name, Data: []byte(row)})
	}
	compareGolden(t, "steps", got)
}

func TestExamplesThatTheDoorRefusesAreRefusedHereTooForTheSameReason(t *testing.T) {
	m := newTestMill(8 << 20)
	for i, e := range examples.Invalid() {
		_, v := enriched(t, m, &rawFrame{seq: uint64(i + 1), received: received, body: rawBody(sent{body: string(e.JSON)})})
		if v.Dead() != 1 || v.Refused[0].Reason != e.Reason || v.Refused[0].Stage != stageEnricher {
			t.Errorf("%s: %+v, want %s", e.Name, v, e.Reason)
		}
		_, v = enriched(t, m, &rawFrame{seq: uint64(i + 1), received: received, body: rawBody(sent{body: string(e.JSON), reason: e.Reason, detail: "x"})})
		if want := (frame.Refused{Count: 1, Stage: stageDoor, Reason: e.Reason}); v.Dead() != 1 || v.Refused[0] != want {
			t.Errorf("%s: %+v, want %+v", e.Name, v, want)
		}
	}
}
