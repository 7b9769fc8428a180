package cli

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/services/millrace/client"
)

// sendLines is how many lines of standard input travel together.
const sendLines = 1_000

func (a *app) send() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "send [EVENT | -]",
		Short: "Send one event, or events from standard input",
		Long: `Send one event made of flags, or with - the events on standard input: JSON, one
event a line. It prints the receipt once the events are durable; give it to
"millrace query --after" for an answer that includes them.`,
		Example: `  millrace send 'Bread Baked' --user ada --property loaves=2 --property kind=rye
  millrace send --user ada --type identify --trait plan=baker
  echo '{"userId":"ada","event":"Bread Baked"}' | millrace send -`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usageError{errors.New("millrace send takes one event's name, in quotes, or -")}
			}
			return nil
		},
	}
	var t target
	var e oneEvent
	var wait time.Duration
	s := newSettings(cmd, false, t.registerDoor, t.registerQuery, e.register, func(fs *flag.FlagSet) {
		fs.DurationVar(&wait, "wait", 0, "how long to wait until the events are rows (0: not at all)")
	})
	cmd.Flags().StringArrayVarP(&e.properties, "property", "p", nil, "`name=value` of a property; JSON values are kept as such; may be repeated")
	cmd.Flags().StringArrayVar(&e.traits, "trait", nil, "`name=value` of a trait; may be repeated")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if done, err := a.fill(s); done || err != nil {
			return err
		}
		door, err := t.door(a.waiting("the door"))
		if err != nil {
			return err
		}
		defer door.Close()
		var sum client.Answer
		if len(args) == 1 && args[0] == "-" {
			sum, err = a.sendStream(cmd.Context(), door)
		} else {
			if len(args) == 1 {
				e.name = args[0]
			}
			var body []byte
			if body, err = e.encode(); err == nil {
				sum, err = door.Post(cmd.Context(), client.Body{Data: body, ID: rand.Text()})
			}
		}
		if err != nil {
			return err
		}
		if err := a.printSent(sum); err != nil {
			return err
		}
		if wait > 0 {
			c, err := t.counter(wait, nil)
			if err != nil {
				return err
			}
			defer c.Close()
			if err := c.WaitFor(cmd.Context(), sum.Receipt, wait); err != nil {
				return err
			}
		}
		if len(sum.Rejected) > 0 {
			return errFailed
		}
		return nil
	}
	return cmd
}

func (a *app) printSent(sum client.Answer) error {
	if a.output == "json" {
		return a.printJSON(sum)
	}
	p := newPairs(a.stdout)
	p.add("accepted", count(sum.Accepted))
	p.add("rejected", count(len(sum.Rejected)))
	p.add("receipt", sum.Receipt)
	if err := p.flush(); err != nil {
		return err
	}
	for _, r := range sum.Rejected {
		fmt.Fprintf(a.stderr, "event %d is refused and kept as a dead letter: %s\n", r.Index+1, r.Reason)
	}
	return nil
}

// sendStream sends the lines of standard input. Each request has an id of its
// own, so that one that is repeated after an unknown outcome adds nothing.
func (a *app) sendStream(ctx context.Context, door *client.Client) (client.Answer, error) {
	in := bufio.NewScanner(a.stdin)
	in.Buffer(nil, 4<<20)
	sum := client.Answer{Rejected: []client.Rejected{}}
	var receipt bus.Receipt
	var body bytes.Buffer
	lines, sent := 0, 0
	flush := func() error {
		if lines == 0 {
			return nil
		}
		got, err := door.Post(ctx, client.Body{Type: "application/x-ndjson", Data: body.Bytes(), ID: rand.Text()})
		if err != nil {
			return fmt.Errorf("after %d events: %w", sent, err)
		}
		places, err := bus.ParseReceipt(got.Receipt, 1<<16)
		if err != nil {
			return fmt.Errorf("the door answered: %w", err)
		}
		for _, p := range places.Places {
			receipt.Add(p)
		}
		sum.Accepted += got.Accepted
		for _, r := range got.Rejected {
			r.Index += sent
			sum.Rejected = append(sum.Rejected, r)
		}
		sent += lines
		lines = 0
		body.Reset()
		return nil
	}
	for in.Scan() {
		line := bytes.TrimSpace(in.Bytes())
		if len(line) == 0 {
			continue
		}
		if lines == sendLines || body.Len()+len(line) > 2<<20 {
			if err := flush(); err != nil {
				return sum, err
			}
		}
		body.Write(line)
		body.WriteByte('\n')
		lines++
	}
	if err := errors.Join(in.Err(), flush()); err != nil {
		return sum, fmt.Errorf("send standard input: %w", err)
	}
	sum.Receipt = receipt.String()
	return sum, nil
}

// oneEvent is an event made of flags.
type oneEvent struct {
	kind, name, user, anonymous, id, timestamp string
	properties, traits                         []string
}

func (e *oneEvent) register(fs *flag.FlagSet) {
	fs.StringVar(&e.kind, "type", "track", "track, identify, page, screen, group or alias")
	fs.StringVar(&e.user, "user", "", "`id` of the user")
	fs.StringVar(&e.anonymous, "anonymous", "", "`id` of a visitor who is not known")
	fs.StringVar(&e.id, "id", "", "`messageId`; an event whose id was seen before is a repeat (default: a new one)")
	fs.StringVar(&e.timestamp, "timestamp", "", "`time` of the event, RFC 3339 (default: when it arrives)")
}

func (e *oneEvent) encode() ([]byte, error) {
	event := map[string]any{"type": e.kind}
	for name, value := range map[string]string{
		"userId": e.user, "anonymousId": e.anonymous, "messageId": e.id, "timestamp": e.timestamp,
	} {
		if value != "" {
			event[name] = value
		}
	}
	switch {
	case e.name != "" && (e.kind == "page" || e.kind == "screen"):
		event["name"] = e.name
	case e.name != "":
		event["event"] = e.name
	}
	for field, list := range map[string][]string{"properties": e.properties, "traits": e.traits} {
		values, err := assignments(field, list)
		if err != nil {
			return nil, err
		}
		if len(values) > 0 {
			event[field] = values
		}
	}
	return json.Marshal(event)
}

// assignments reads name=value pairs. A value that is JSON is taken as it is,
// so that numbers are numbers; anything else is text.
func assignments(field string, list []string) (map[string]any, error) {
	values := map[string]any{}
	for _, pair := range list {
		name, value, ok := strings.Cut(pair, "=")
		if !ok || name == "" {
			return nil, usageError{fmt.Errorf("%s %q: want name=value", field, pair)}
		}
		if json.Valid([]byte(value)) {
			values[name] = json.RawMessage(value)
		} else {
			values[name] = value
		}
	}
	return values, nil
}

// quiet is how often a person is told that nothing happens.
const quiet = 5 * time.Second

// waiting tells a person why nothing happens. Several requests wait at once;
// one of them speaks.
func (a *app) waiting(whom string) func(error, time.Duration) {
	var mu sync.Mutex
	var last time.Time
	return func(err error, _ time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		if time.Since(last) < quiet {
			return
		}
		last = time.Now()
		fmt.Fprintf(a.stderr, "waiting for %s: %v\n", whom, err)
	}
}
