package contracts

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"gopkg.in/yaml.v3"

	"github.com/millrace/millrace/libs/bus"
)

// alertRules is a file of rules as Prometheus reads it.
type alertRules struct {
	Groups []struct {
		Name  string
		Rules []struct {
			Alert       string
			Expr        string
			For         string
			Labels      map[string]string
			Annotations map[string]string
		}
	}
}

// An alert is worth what its runbook is, and nothing when its metric does not exist: Prometheus calls no rule wrong that
// asks for a series which never comes.
func TestAlerts(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(top, "deploy", "prometheus", "alerts.yml"))
	if err != nil {
		t.Fatal(err)
	}
	var rules alertRules
	decoder := yaml.NewDecoder(strings.NewReader(string(text)))
	decoder.KnownFields(true)
	if err := decoder.Decode(&rules); err != nil {
		t.Fatal(err)
	}
	metrics := said(t, `\b(millrace_(?:ingester|enricher|indexer|query|up|build|readiness)_[a-z_]+)`) // which are the code's
	operations, err := os.ReadFile(filepath.Join(top, "docs", "operations.md"))
	if err != nil {
		t.Fatal(err)
	}
	anchors := map[string]bool{}
	for _, h := range regexp.MustCompile(`(?m)^## (.+)$`).FindAllStringSubmatch(string(operations), -1) {
		anchors["docs/operations.md#"+strings.ReplaceAll(strings.ToLower(h[1]), " ", "-")] = true
	}
	names := map[string]bool{}
	for _, group := range rules.Groups {
		for _, r := range group.Rules {
			if names[r.Alert] {
				t.Errorf("%s is there twice", r.Alert)
			}
			names[r.Alert] = true
			if !anchors[r.Annotations["runbook_url"]] {
				t.Errorf("%s: the runbook %q leads nowhere", r.Alert, r.Annotations["runbook_url"])
			}
			if r.Annotations["summary"] == "" || !slices.Contains([]string{"page", "ticket"}, r.Labels["severity"]) {
				t.Errorf("%s has no summary or severity", r.Alert)
			}
			if _, err := time.ParseDuration(r.For); r.For != "" && err != nil {
				t.Errorf("%s: for: %v", r.Alert, err)
			}
			asked := regexp.MustCompile(`\bmillrace_[a-z_]+`).FindAllString(r.Expr, -1)
			if len(asked) == 0 {
				t.Errorf("%s asks for no metric", r.Alert)
			}
			for _, m := range asked {
				if !slices.Contains(metrics, m) {
					t.Errorf("%s asks for %s, which does not exist", r.Alert, m)
				}
			}
			for _, m := range regexp.MustCompile(`reason="([^"]*)"`).FindAllStringSubmatch(r.Expr, -1) {
				if !slices.Contains(bus.StuckReasons(), m[1]) {
					t.Errorf("%s asks for reason %q, which does not exist", r.Alert, m[1])
				}
			}
			if why := unbalanced(r.Expr); why != "" {
				t.Errorf("%s: %s in %s", r.Alert, why, r.Expr)
			}
		}
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(names)), said(t, "`(Millrace[A-Z][A-Za-z]+)`")); diff != "" {
		t.Errorf("alerts (-alerts.yml +docs/operations.md):\n%s", diff)
	}
}

// Every reason has its line of what to do.
func TestOperationsNamesTheReasons(t *testing.T) {
	want := slices.Sorted(slices.Values(bus.StuckReasons()))
	text, err := os.ReadFile(filepath.Join(top, "docs", "operations.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, part, _ := strings.Cut(string(text), "## Shards that are stuck")
	part, _, _ = strings.Cut(part, "\n## ")
	var got []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\|").FindAllStringSubmatch(part, -1) {
		got = append(got, m[1])
	}
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("reasons (-code +docs/operations.md):\n%s", diff)
	}
}

// unbalanced says what of an expression's brackets and quotes has no end. A parser of PromQL would be a dependency larger
// than everything else here.
func unbalanced(expr string) string {
	closing := map[rune]rune{'(': ')', '[': ']', '{': '}'}
	var open []rune
	quoted := false
	for _, r := range expr {
		switch {
		case r == '"':
			quoted = !quoted
		case quoted:
		case closing[r] != 0:
			open = append(open, closing[r])
		case r == ')' || r == ']' || r == '}':
			if len(open) == 0 || open[len(open)-1] != r {
				return "a stray " + string(r)
			}
			open = open[:len(open)-1]
		}
	}
	if quoted || len(open) > 0 {
		return "an open bracket or quote"
	}
	return ""
}
