package cli

import (
	"bytes"
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/services/millrace/client"
)

func (a *app) tail() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "tail",
		Short: "Show events as they happen",
		Long: `Show events as they happen, enriched, a moment after they were accepted. --where
chooses: the names are the columns of the table events, and the keys of
properties, traits, context and extra; the operators are ==, !=, <, <=, >, >=,
in, contains, startsWith, endsWith, matches, and, or, not, with lower() and
upper(). A stream that breaks off is taken up again where it ended.

--output json prints each event as JSON, one a line.`,
		Example: `  millrace tail
  millrace tail --where 'event == "Order Completed" and properties.total > 100'
  millrace tail --where 'not is_bot and lower(url) contains "/cart"' --since 10m
  millrace tail --source demo --output json | jq .properties`,
		Args: noArguments,
	}
	var t target
	var f client.Following
	var limit int
	s := newSettings(cmd, false, t.registerQuery, func(fs *flag.FlagSet) {
		fs.StringVar(&f.Where, "where", "", "`expression` that an event must fulfil")
		fs.StringVar(&f.Source, "source", "", "`names` of sources, joined by commas")
		fs.StringVar(&f.Since, "since", "", "begin so long ago or at that `time`: 10m, 2026-01-31T12:00:00Z (default: now)")
		fs.StringVar(&f.After, "after", "", "begin behind this `receipt`")
		fs.IntVar(&limit, "limit", 0, "end after so many events, a `number` (default: never)")
	})
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if done, err := a.fill(s); done || err != nil {
			return err
		}
		if limit < 0 {
			return usageError{fmt.Errorf("--limit %d: want a number of events", limit)}
		}
		c, err := t.counter(0, nil)
		if err != nil {
			return err
		}
		defer c.Close()
		f.Notice = func(text string) { fmt.Fprintf(a.stderr, "millrace: %s\n", text) }
		shown, failed := 0, error(nil)
		err = c.Follow(cmd.Context(), f, func(event json.RawMessage) bool {
			failed = a.printEvent(event)
			shown++
			return failed == nil && (limit == 0 || shown < limit)
		})
		return cmp.Or(failed, refused(err))
	}
	return cmd
}

// liveEvent is the part of an event that a line of text has room for.
type liveEvent struct {
	Source, Type, Event, Timestamp, Path string

	UserID      string `json:"user_id"`
	AnonymousID string `json:"anonymous_id"`
	Properties  map[string]any
	Traits      map[string]any
}

func (a *app) printEvent(text json.RawMessage) error {
	if a.output == "json" {
		return a.printLine(string(text))
	}
	var e liveEvent
	in := json.NewDecoder(bytes.NewReader(text))
	in.UseNumber() // numbers as they were sent
	if err := in.Decode(&e); err != nil {
		return fmt.Errorf("read an event: %w", err)
	}
	line := []string{
		e.Timestamp, e.Source, cmp.Or(e.UserID, e.AnonymousID, "-"), cmp.Or(e.Event, e.Type),
	}
	if e.Path != "" {
		line = append(line, e.Path)
	}
	for _, fields := range []map[string]any{e.Properties, e.Traits} {
		for _, k := range slices.Sorted(maps.Keys(fields)) {
			line = append(line, fmt.Sprintf("%s=%v", k, fields[k]))
		}
	}
	return a.printLine(printable(strings.Join(line, "  ")))
}

func (a *app) printLine(line string) error {
	if _, err := fmt.Fprintln(a.stdout, line); err != nil {
		return fmt.Errorf("print an event: %w", err)
	}
	return nil
}

// printable keeps what strangers send from steering the terminal.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return '\ufffd'
		}
		return r
	}, text)
}
