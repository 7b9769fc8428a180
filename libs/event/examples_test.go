package event

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"golang.org/x/tools/txtar"

	examples "github.com/millrace/millrace/schemas/event"
)

var update = flag.Bool("update", false, "rewrite the goldens below testdata")

// TestScanGolden renders every valid example and compares it with the golden
// of its name.
func TestScanGolden(t *testing.T) {
	s, e := NewScanner(DefaultLimits()), new(Event)
	known := map[string]bool{}
	for _, x := range examples.Valid() {
		t.Run(x.Name, func(t *testing.T) {
			name := filepath.Join("testdata", "scan", x.Name+".txtar")
			known[name] = true
			if r := s.Scan(x.JSON, e); r != nil {
				t.Fatalf("refused: %v", r)
			}
			got := txtar.Format(&txtar.Archive{Files: []txtar.File{
				{Name: "event.json", Data: x.JSON},
				{Name: "want", Data: []byte(render(e))},
			}})
			if *update {
				if err := os.WriteFile(name, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("differs from %s; got\n%s", name, got)
			}
		})
	}
	goldens, err := filepath.Glob("testdata/scan/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range goldens {
		if !known[name] {
			t.Errorf("%s belongs to no example", name)
		}
	}
}

// render writes all that Scan found, one field a line, absent ones left out.
func render(e *Event) string {
	var b strings.Builder
	text := func(name string, v []byte) {
		if len(v) > 0 {
			fmt.Fprintf(&b, "%s: %q\n", name, v)
		}
	}
	when := func(name string, v Time) {
		if v.Set {
			fmt.Fprintf(&b, "%s: %d\n", name, v.Ms)
		}
	}
	fields := func(name string, fs []Field) {
		for _, f := range fs {
			fmt.Fprintf(&b, "%s %q: %q", name, f.Key, f.Value)
			if f.IsNum {
				fmt.Fprintf(&b, " = %v", f.Num)
			}
			b.WriteByte('\n')
		}
	}
	text("type", e.Type)
	text("name", e.Name)
	text("message_id", e.MessageID)
	text("user_id", e.UserID)
	text("anonymous_id", e.AnonymousID)
	text("previous_id", e.PreviousID)
	text("group_id", e.GroupID)
	text("session_id", e.SessionID)
	when("timestamp", e.Timestamp)
	when("original_timestamp", e.OriginalTimestamp)
	when("sent_at", e.SentAt)
	text("page.url", e.PageURL)
	text("page.path", e.PagePath)
	text("page.referrer", e.PageReferrer)
	text("page.search", e.PageSearch)
	text("page.title", e.PageTitle)
	text("user_agent", e.UserAgent)
	text("ip", e.IP)
	text("locale", e.Locale)
	text("campaign.source", e.Campaign.Source)
	text("campaign.medium", e.Campaign.Medium)
	text("campaign.name", e.Campaign.Name)
	text("campaign.term", e.Campaign.Term)
	text("campaign.content", e.Campaign.Content)
	fields("properties", e.Properties)
	fields("traits", e.Traits)
	fields("context", e.Context)
	fields("extra", e.Extra)
	return b.String()
}

// TestScanRefuses expects each invalid example to be refused for its reason.
func TestScanRefuses(t *testing.T) {
	s, e := NewScanner(DefaultLimits()), new(Event)
	seen := map[Reason]bool{}
	for _, x := range examples.Invalid() {
		r := s.Scan(x.JSON, e)
		if r == nil {
			t.Errorf("%s/%s: accepted", x.Reason, x.Name)
			continue
		}
		if string(r.Reason) != x.Reason {
			t.Errorf("%s/%s: refused for %v", x.Reason, x.Name, r)
		}
		seen[r.Reason] = true
	}
	// TestLimits makes the two that take large events.
	byScan := []Reason{
		ReasonMalformed, ReasonNotAnObject, ReasonTooDeep, ReasonKeyTooLong,
		ReasonInvalidUTF8, ReasonDuplicateKey, ReasonNoUser, ReasonNoEvent,
		ReasonBadType, ReasonBadField, ReasonBadTimestamp, ReasonIDTooLong, ReasonNameTooLong,
	}
	for _, r := range byScan {
		if !seen[r] {
			t.Errorf("no example is refused for %s", r)
		}
	}
}

// TestSchemaAgrees holds the published schema to what the Scanner does, as far
// as a schema can say it.
func TestSchemaAgrees(t *testing.T) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(examples.Schema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("event.schema.json", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("event.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	validate := func(x examples.Example) error {
		v, err := jsonschema.UnmarshalJSON(bytes.NewReader(x.JSON))
		if err != nil {
			return err
		}
		return schema.Validate(v)
	}
	for _, x := range examples.Valid() {
		if err := validate(x); err != nil {
			t.Errorf("%s: the schema refuses it: %v", x.Name, err)
		}
	}
	// Of these, a schema sees the decoded event only.
	unseen := []Reason{ReasonTooDeep, ReasonKeyTooLong, ReasonInvalidUTF8, ReasonDuplicateKey}
	calendar := []string{"before-1900", "after-2299", "february-30"} // patterns do not calculate
	for _, x := range examples.Invalid() {
		if slices.Contains(unseen, Reason(x.Reason)) || slices.Contains(calendar, x.Name) {
			continue
		}
		if validate(x) == nil {
			t.Errorf("%s/%s: the schema accepts it", x.Reason, x.Name)
		}
	}
	for _, name := range []string{"both-spellings", "null-and-value"} {
		i := slices.IndexFunc(examples.Invalid(), func(x examples.Example) bool { return x.Name == name })
		if validate(examples.Invalid()[i]) == nil {
			t.Errorf("%s: the schema accepts it", name)
		}
	}
}
