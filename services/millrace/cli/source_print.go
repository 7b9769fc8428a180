package cli

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/millrace/millrace/libs/bus/sources"
	"github.com/millrace/millrace/libs/svc"
)

// shownSource is a source with --output json. Digests are left out.
type shownSource struct {
	Source          string     `json:"source"`
	WriteKey        string     `json:"write_key,omitempty"` // only when it was made
	Disabled        bool       `json:"disabled"`
	Keys            []shownKey `json:"keys"`
	Origins         []string   `json:"origins"`
	EventsPerSecond int64      `json:"events_per_second"`
	BytesPerSecond  int64      `json:"bytes_per_second"`
	BurstSeconds    int        `json:"burst_seconds"`
	AllowNames      []string   `json:"allow"`
	AllowTypes      []string   `json:"allow_types"`
	Created         time.Time  `json:"created"`
	Updated         time.Time  `json:"updated"`
}

type shownKey struct {
	ID      string     `json:"id"`
	Works   bool       `json:"works"` // if the source does
	Created time.Time  `json:"created"`
	Ends    *time.Time `json:"ends,omitempty"`
	Note    string     `json:"note,omitempty"`
}

func shown(r *sources.Record, writeKey string) shownSource {
	s := shownSource{
		Source: r.Name, WriteKey: writeKey, Disabled: r.Disabled, Keys: []shownKey{}, Origins: orNone(r.Origins),
		EventsPerSecond: r.Rate.EventsPerSecond, BytesPerSecond: r.Rate.BytesPerSecond, BurstSeconds: cmp.Or(r.Rate.BurstSeconds, 5),
		AllowNames: orNone(r.Allow.Names), AllowTypes: orNone(r.Allow.Types), Created: r.Created, Updated: r.Updated,
	}
	for i := range r.Keys {
		k := &r.Keys[i]
		one := shownKey{ID: k.ID, Works: k.Works(time.Now()), Created: k.Created, Note: k.Note}
		if !k.Ends.IsZero() {
			one.Ends = &k.Ends
		}
		s.Keys = append(s.Keys, one)
	}
	return s
}

// orNone makes no list an empty one.
func orNone(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

func (a *app) printSources(list []sources.Record) error {
	if a.output == "json" {
		all := []shownSource{}
		for i := range list {
			all = append(all, shown(&list[i], ""))
		}
		return a.printJSON(all)
	}
	if len(list) == 0 {
		fmt.Fprintln(a.stderr, "no sources were added; `millrace source add NAME` adds one")
		return nil
	}
	g := newGrid(a.stdout, "SOURCE", "STATE", "KEYS", "EVENTS/S", "BYTES/S", "ORIGINS", "EVENTS")
	for i := range list {
		r := &list[i]
		working := 0
		for j := range r.Keys {
			if r.Keys[j].Works(time.Now()) {
				working++
			}
		}
		g.row(r.Name, sourceState(r), fmt.Sprint(working), bound(r.Rate.EventsPerSecond, ""), boundBytes(r.Rate.BytesPerSecond, ""),
			some(len(r.Origins)), some(len(r.Allow.Names)+len(r.Allow.Types)))
	}
	return g.flush()
}

// printSource shows one, and the key that was made for it, with how to use it.
func (a *app) printSource(r *sources.Record, writeKey, ingest string) error {
	if a.output == "json" {
		return a.printJSON(shown(r, writeKey))
	}
	p := newPairs(a.stdout)
	p.add("source", r.Name+", "+sourceState(r))
	if writeKey != "" {
		p.add("write key", writeKey+"   (shown now and never again)")
	}
	p.add("rate", rateOf(r.Rate))
	p.add("origins", list(r.Origins))
	allowed := append([]string(nil), r.Allow.Names...)
	for _, t := range r.Allow.Types {
		allowed = append(allowed, "every "+t)
	}
	p.add("events", list(allowed))
	if err := p.flush(); err != nil {
		return err
	}
	fmt.Fprintln(a.stdout)
	g := newGrid(a.stdout, "KEY", "STATE", "CREATED", "NOTE")
	for i := range r.Keys {
		k := &r.Keys[i]
		g.row(k.ID, keyState(k), k.Created.Format(time.DateTime), k.Note)
	}
	if err := g.flush(); err != nil || writeKey == "" {
		return err
	}
	ingest = cmp.Or(ingest, defaultIngest)
	fmt.Fprintf(a.stdout, `
It works within a second. Send an event, or change the host and the key in an SDK:
  curl %[1]s/v1/events -H 'X-Write-Key: %[2]s' -d '{"userId":"ada","event":"Hello"}'
  Segment, Node      new Analytics({ writeKey: '%[2]s', host: '%[1]s' })
  RudderStack, Node  new Analytics('%[2]s', { dataPlaneUrl: '%[1]s' })
  PostHog, browser   posthog.init('%[2]s', { api_host: '%[1]s' })
`, ingest, writeKey)
	return nil
}

func sourceState(r *sources.Record) string {
	if r.Disabled {
		return "disabled"
	}
	return "enabled"
}

func keyState(k *sources.Key) string {
	switch {
	case k.Disabled:
		return "disabled"
	case k.Ends.IsZero():
		return "works"
	case k.Works(time.Now()):
		return "until " + k.Ends.Format(time.DateTime)
	}
	return "ended"
}

// rateOf says what bounds a source.
func rateOf(r sources.Rate) string {
	var parts []string
	if r.EventsPerSecond > 0 {
		parts = append(parts, bound(r.EventsPerSecond, " events/s"))
	}
	if r.BytesPerSecond > 0 {
		parts = append(parts, boundBytes(r.BytesPerSecond, "/s"))
	}
	if len(parts) == 0 {
		return "without bounds"
	}
	return strings.Join(parts, ", ") + fmt.Sprintf(", saved for %d s", cmp.Or(r.BurstSeconds, 5))
}

func bound(n int64, unit string) string {
	if n == 0 {
		return "any"
	}
	return count(uint64(n)) + unit
}

func boundBytes(n int64, unit string) string {
	if n == 0 {
		return "any"
	}
	b := svc.Bytes(n)
	return b.String() + unit
}

func some(n int) string {
	if n == 0 {
		return "all"
	}
	return fmt.Sprint(n)
}

func list(names []string) string {
	if len(names) == 0 {
		return "all"
	}
	return strings.Join(names, ", ")
}
