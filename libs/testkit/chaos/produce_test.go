package chaos

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const perRequest = 100

// body holds the events first..first+perRequest-1 of a producer, each with an
// id that a repeat carries too.
func body(producer string, first int) []byte {
	b := []byte{'['}
	for i := range perRequest {
		if i > 0 {
			b = append(b, ',')
		}
		b = fmt.Appendf(b, `{"event":"Counted","messageId":"%s-%d","userId":"u%d","properties":{"n":%d}}`, producer, first+i, (first+i)%997, first+i)
	}
	return append(b, ']')
}

// overHTTP sends events through the ingesters in turn, each request again and
// again until it is answered 200: that is when a producer may forget it.
func overHTTP(ctx context.Context, t *testing.T, m *mill, producer string, more func(sent int) bool, accepted *atomic.Int64) {
	client := &http.Client{Timeout: 15 * time.Second}
	for first, try := 0, 0; more(first); try++ {
		n, err := post(ctx, client, m.doors[try%2], body(producer, first))
		if ctx.Err() != nil {
			t.Errorf("producer %s: only %d events in time, last: %v", producer, first, err)
			return
		}
		if err != nil {
			time.Sleep(50 * time.Millisecond) // a producer's own pause between tries
			continue
		}
		if n != perRequest {
			t.Errorf("producer %s: %d of %d events accepted", producer, n, perRequest)
			return
		}
		accepted.Add(perRequest)
		first += perRequest
	}
}

// upTo sends this many events.
func upTo(events int) func(int) bool { return func(sent int) bool { return sent < events } }

func post(ctx context.Context, client *http.Client, door string, body []byte) (accepted int, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+door+"/v1/events", bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("X-Write-Key", writeKey)
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err
	}
	if resp.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("%s: %s", resp.Status, text)
	}
	var a struct{ Accepted int }
	return a.Accepted, json.Unmarshal(text, &a)
}

// overNATS publishes events to the NATS door, each message until its PubAck.
func overNATS(ctx context.Context, t *testing.T, m *mill, producer string, events int, accepted *atomic.Int64) {
	nc, err := nats.Connect("nats://"+address(m.natsPort), nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond), nats.RetryOnFailedConnect(true))
	if err != nil {
		t.Error(err)
		return
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Error(err)
		return
	}
	for first := 0; first < events; {
		one, cancel := context.WithTimeout(ctx, 2*time.Second)
		_, err := js.Publish(one, "millrace.in."+source, body(producer, first))
		cancel()
		if ctx.Err() != nil {
			t.Errorf("producer %s: only %d of %d events in time, last: %v", producer, first, events, err)
			return
		}
		if err != nil {
			time.Sleep(50 * time.Millisecond)
			continue
		}
		accepted.Add(perRequest)
		first += perRequest
	}
}
