package main

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// documented compares what the services show with docs/operations.md and with
// the alerts. The static comparison of names is in libs/testkit/contracts; here
// it is what a scrape finds.
func documented(t *testing.T, m *mill) {
	top, err := root()
	if err != nil {
		t.Fatal(err)
	}
	shown := map[string]bool{}
	family := regexp.MustCompile(`(?m)^# TYPE (millrace_[a-z_]+) `)
	scrape := func() {
		for _, p := range m.all() {
			_, text := fetch(t.Context(), admin(p)+"/metrics")
			for _, f := range family.FindAllStringSubmatch(text, -1) {
				shown[f[1]] = true
			}
		}
	}
	// Some come with the first dead letter, or the first look at a shard.
	poll(t.Context(), 20*time.Second, func() bool {
		scrape()
		return shown["millrace_enricher_refused_events_total"] && shown["millrace_query_shard_stuck"]
	})
	for _, file := range []string{"docs/operations.md", "deploy/prometheus/alerts.yml"} {
		text, err := os.ReadFile(filepath.Join(top, file))
		if err != nil {
			t.Fatal(err)
		}
		named := map[string]bool{}
		for _, f := range regexp.MustCompile(`\bmillrace_(?:ingester|enricher|indexer|query|readiness|build)_[a-z_]+`).FindAllString(string(text), -1) {
			f = strings.TrimSuffix(f, "_bucket")
			named[f] = true
			if !shown[f] {
				t.Errorf("%s names %s, which no service shows", file, f)
			}
		}
		if len(named) == 0 {
			t.Errorf("%s names no metric: this test looks at nothing", file)
		}
		if file == "docs/operations.md" {
			for f := range maps.Keys(shown) {
				if !named[f] {
					t.Errorf("%s does not name %s", file, f)
				}
			}
		}
	}
}
