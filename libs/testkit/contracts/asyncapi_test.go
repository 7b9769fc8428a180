package contracts

import (
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"gopkg.in/yaml.v3"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/event"
	"github.com/millrace/millrace/libs/event/frame"
	"github.com/millrace/millrace/schemas/api"
)

// document is the part of the AsyncAPI document that has a counterpart in code.
type document struct {
	AsyncAPI string `yaml:"asyncapi"`
	Channels map[string]struct {
		Address    string `yaml:"address"`
		Stream     string `yaml:"x-jetstream-stream"`
		Parameters map[string]struct {
			Enum []string `yaml:"enum"`
		} `yaml:"parameters"`
	} `yaml:"channels"`
	Components struct {
		Messages map[string]struct {
			Columns []struct {
				Name string `yaml:"name"`
				Type string `yaml:"type"`
			} `yaml:"x-columns"`
			Limits  map[string]int `yaml:"x-limits"`
			Headers schema         `yaml:"headers"`
		} `yaml:"messages"`
		Schemas map[string]schema `yaml:"schemas"`
	} `yaml:"components"`
}

type schema struct {
	Const      string         `yaml:"const"`
	Required   []string       `yaml:"required"`
	Properties map[string]any `yaml:"properties"`
}

func read(t *testing.T) document {
	t.Helper()
	var d document
	if err := yaml.Unmarshal(api.AsyncAPI, &d); err != nil {
		t.Fatalf("asyncapi.yaml: %v", err)
	}
	if d.AsyncAPI != "3.0.0" {
		t.Fatalf("asyncapi.yaml: version is %q", d.AsyncAPI)
	}
	return d
}

func TestColumns(t *testing.T) {
	d := read(t)
	check := func(message string, want []frame.Column) {
		t.Helper()
		var got []frame.Column
		for _, c := range d.Components.Messages[message].Columns {
			got = append(got, frame.Column{Name: c.Name, Type: c.Type})
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("columns of %s (-code +document):\n%s", message, diff)
		}
	}
	check("rawFrame", frame.RawColumns)
	check("enrichedFrame", frame.Columns)
	if got := d.Components.Schemas["codec"].Const; got != strconv.Itoa(frame.Codec) {
		t.Errorf("codec is %q in the document, %d in the code", got, frame.Codec)
	}
}

func TestSubjectsAndStreams(t *testing.T) {
	d := read(t)
	names := bus.Names{Prefix: bus.DefaultPrefix}
	want := map[string][2]string{
		"in":       {names.In("web"), names.StreamIn()},
		"door":     {names.Door("web"), ""},
		"raw":      {names.Raw(3), names.StreamRaw(3)},
		"enriched": {names.Enriched(3), names.StreamEnriched(3)},
		"ledger":   {names.Ledger(3), names.StreamLedger()},
		"dead":     {names.Dead(3, "door", "no_user"), names.StreamDead()},
		"live":     {names.Live("web"), ""},
		"query":    {names.QueryGroup() + ".sql", ""},
	}
	fill := strings.NewReplacer("{source}", "web", "{shard}", "3", "{sink}", "3", "{stage}", "door", "{reason}", "no_user", "{endpoint}", "sql")
	got := map[string][2]string{}
	for name, c := range d.Channels {
		got[name] = [2]string{fill.Replace(c.Address), fill.Replace(c.Stream)}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("subjects and streams (-code +document):\n%s", diff)
	}
}

func TestReasons(t *testing.T) {
	var want []string
	for _, r := range event.Reasons() {
		want = append(want, string(r))
	}
	if diff := cmp.Diff(want, read(t).Channels["dead"].Parameters["reason"].Enum); diff != "" {
		t.Errorf("reasons (-code +document):\n%s", diff)
	}
}

func TestLimits(t *testing.T) {
	l := event.DefaultLimits()
	want := map[string]int{
		"max_message_bytes": l.MaxRequest, "max_events": l.MaxEvents, "max_event_bytes": l.MaxEvent, "max_depth": l.MaxDepth,
		"max_keys": l.MaxKeys, "max_key_bytes": l.MaxKey, "max_id_bytes": l.MaxID, "max_name_bytes": l.MaxName,
	}
	if diff := cmp.Diff(want, read(t).Components.Messages["events"].Limits); diff != "" {
		t.Errorf("limits (-code +document):\n%s", diff)
	}
}

func TestHeaders(t *testing.T) {
	d := read(t)
	letter := bus.DeadLetter{Stage: "door", Reason: "no_user"}
	check := func(message string, want []string) {
		t.Helper()
		headers := d.Components.Messages[message].Headers
		slices.Sort(want)
		if diff := cmp.Diff(want, slices.Sorted(slices.Values(headers.Required))); diff != "" {
			t.Errorf("headers of %s that are required (-code +document):\n%s", message, diff)
		}
		if diff := cmp.Diff(want, slices.Sorted(maps.Keys(headers.Properties))); diff != "" {
			t.Errorf("headers of %s that are described (-code +document):\n%s", message, diff)
		}
	}
	// deploy/check compares these with frames that the services have written.
	check("rawFrame", []string{"Nats-Msg-Id", bus.HeaderCodec, bus.HeaderEvents, bus.HeaderFrame})
	check("enrichedFrame", []string{bus.HeaderCodec, bus.HeaderVerdict, bus.HeaderCheckpoint, "Nats-Expected-Last-Sequence"})
	check("deadLetter", slices.Collect(maps.Keys(letter.Msg(bus.Names{Prefix: "p"}).Header)))
}

// TestJSON compares the fields of what travels as JSON: all of them, and which are always there.
func TestJSON(t *testing.T) {
	d := read(t)
	check := func(name string, value any) {
		t.Helper()
		all, required := fields(reflect.TypeOf(value))
		got := d.Components.Schemas[name]
		if diff := cmp.Diff(all, slices.Sorted(maps.Keys(got.Properties))); diff != "" {
			t.Errorf("fields of %s (-code +document):\n%s", name, diff)
		}
		if diff := cmp.Diff(required, slices.Sorted(slices.Values(got.Required))); diff != "" {
			t.Errorf("required fields of %s (-code +document):\n%s", name, diff)
		}
	}
	check("verdict", frame.Verdict{})
	check("refused", frame.Refused{})
	check("checkpoint", frame.Checkpoint{})
	check("totals", bus.Totals{})
	check("record", bus.Record{})
	check("proof", bus.Proof{})
	check("range", bus.Range{})
	check("intent", bus.Intent{})
	check("exclusion", bus.Exclusion{})
}

// fields lists the JSON names of a struct's fields, and those without omitempty or omitzero.
func fields(t reflect.Type) (all, required []string) {
	for field := range t.Fields() {
		name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		if name == "-" {
			continue
		}
		all = append(all, name)
		if options == "" {
			required = append(required, name)
		}
	}
	slices.Sort(all)
	slices.Sort(required)
	return all, required
}

// TestReferences follows every $ref to something that is there.
func TestReferences(t *testing.T) {
	var root any
	if err := yaml.Unmarshal(api.AsyncAPI, &root); err != nil {
		t.Fatal(err)
	}
	found := 0
	var walk func(node any)
	walk = func(node any) {
		switch n := node.(type) {
		case []any:
			for _, v := range n {
				walk(v)
			}
		case map[string]any:
			if ref, ok := n["$ref"].(string); ok {
				found++
				if !resolves(root, ref) {
					t.Errorf("%s leads nowhere", ref)
				}
			}
			for _, v := range n {
				walk(v)
			}
		}
	}
	walk(root)
	if found == 0 {
		t.Error("the document has no reference: this test looks at nothing")
	}
}

func resolves(root any, ref string) bool {
	path, local := strings.CutPrefix(ref, "#/")
	node := root
	for part := range strings.SplitSeq(path, "/") {
		m, ok := node.(map[string]any)
		if !ok {
			return false
		}
		if node, ok = m[part]; !ok {
			return false
		}
	}
	return local
}
