//go:build failpoint

package points

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"time"
)

// kind is what the events of a load are for.
type kind int

const (
	plain    kind = iota
	refused       // every fifth by the door
	poisoned      // every fifth by ClickHouse
	bulky         // so large that the streams must be trimmed
)

const perRequest = 20

// load is a number of events, and what is to become of them.
type load struct {
	prefix     string // of their ids
	kind       kind
	overHTTP   int // requests
	overNATS   int // messages
	natsFirst  bool
	rows, dead uint64
}

func newLoad(prefix string, k kind) *load {
	l := &load{prefix: prefix, kind: k, overHTTP: 4, overNATS: 2}
	if k == bulky {
		l.overHTTP, l.overNATS = 100, 0
	}
	all := uint64(l.overHTTP+l.overNATS) * perRequest
	if k == refused || k == poisoned {
		l.dead = all / 5
	}
	l.rows = all - l.dead
	return l
}

// run sends everything, each request again and again until it is acknowledged:
// that is when a producer may forget it.
func (l *load) run(ctx context.Context, m *mill) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	client := &http.Client{Timeout: 500 * time.Millisecond}
	door := 0 // changed when it does not answer
	for n := range l.overHTTP + l.overNATS {
		body, overNATS := l.body(n), n >= l.overHTTP
		if l.natsFirst {
			overNATS = n < l.overNATS
		}
		for {
			var err error
			if overNATS {
				one, cancel := context.WithTimeout(ctx, time.Second)
				_, err = m.js.Publish(one, m.names.In(source), body)
				cancel()
			} else {
				m.mu.Lock()
				addr := m.doors[door%len(m.doors)]
				m.mu.Unlock()
				if err = post(ctx, client, addr, body); err != nil {
					door++
				}
			}
			if err == nil {
				break
			}
			if ctx.Err() != nil {
				return fmt.Errorf("request %d of %s is not accepted, last: %w", n, l.prefix, err)
			}
			time.Sleep(20 * time.Millisecond) // a producer's own pause between tries
		}
	}
	return nil
}

// body is one request; its events have ids that a repeat carries too.
func (l *load) body(n int) []byte {
	r := rand.New(rand.NewPCG(uint64(n), 1)) //nolint:gosec // no secret
	b := []byte{'['}
	for i := range perRequest {
		if i > 0 {
			b = append(b, ',')
		}
		id, event := n*perRequest+i, "Counted"
		if l.kind == poisoned && i%5 == 4 {
			event = "Poison"
		}
		b = fmt.Appendf(b, `{"event":%q,"messageId":"%s%d","userId":"u%d"`, event, l.prefix, id, id%97)
		if l.kind == refused && i%5 == 4 {
			b = append(b, `,"timestamp":"never"`...)
		}
		b = append(b, `,"properties":{"pad":"`...)
		if l.kind == bulky {
			for range 100 {
				b = fmt.Appendf(b, "%016x", r.Uint64())
			}
		}
		b = append(b, `"}}`...)
	}
	return append(b, ']')
}

func post(ctx context.Context, client *http.Client, door string, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+door+"/v1/events", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("X-Write-Key", writeKey)
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", resp.Status, text)
	}
	return nil
}
