package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Following says which live events to read.
type Following struct {
	Where  string // a filter expression; "" is all
	Source string // names of sources, joined by commas; "" is all
	After  string // a receipt or a position
	Since  string // a span such as 10m, or a time; "" begins now
	// Notice, if set, is told why events are late or missing.
	Notice func(string)
}

const (
	// silence is how long a stream may say nothing before it is taken for dead: the service says something every 15 s.
	silence = time.Minute
	// maxReturn is the longest time between two tries to come back to a stream.
	maxReturn = 10 * time.Second
	// maxLiveLine is more than any event has.
	maxLiveLine = 16 << 20
)

// errEnough ends a stream that its reader has had enough of.
var errEnough = errors.New("enough")

// Follow hands over live events as JSON until take returns false or ctx is done. It comes back to a stream that breaks off
// and goes on behind the last event it handed over. Its error is that of the first connection, a refusal, or ctx's.
func (c *Client) Follow(ctx context.Context, f Following, take func(json.RawMessage) bool) error {
	at, delay := "", time.Duration(0)
	for first := true; ; first = false {
		got, err := c.follow(ctx, f, &at, take)
		var status *StatusError
		switch {
		case errors.Is(err, errEnough):
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case first && !got:
			return err
		case errors.As(err, &status) && !passing(status.Status):
			return err
		case got:
			delay = 0
		}
		delay = min(max(2*delay, 500*time.Millisecond), maxReturn)
		if err != nil && f.Notice != nil {
			f.Notice(fmt.Sprintf("%v; going on in %s", err, delay))
		}
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// follow reads one connection; at is moved along. got says that the service began to answer.
func (c *Client) follow(ctx context.Context, f Following, at *string, take func(json.RawMessage) bool) (got bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	quiet := time.AfterFunc(silence, func() { cancel(fmt.Errorf("the stream says nothing for %s", silence)) })
	defer quiet.Stop()

	query, header := url.Values{}, http.Header{"Accept": {"text/event-stream"}}
	for name, value := range map[string]string{"where": f.Where, "source": f.Source, "after": f.After, "since": f.Since} {
		if value != "" {
			query.Set(name, value)
		}
	}
	if *at != "" {
		header.Set("Last-Event-ID", *at)
	}
	res, err := c.do(ctx, request{method: http.MethodGet, path: "/v1/live", query: query, header: header})
	if err != nil {
		return false, err
	}
	defer func() { _ = res.Body.Close() }() // it was only read
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(make([]byte, 64<<10), maxLiveLine)
	var id, name, data string
	for lines.Scan() {
		quiet.Reset(silence)
		line := lines.Text()
		if line != "" {
			switch field, value, _ := strings.Cut(line, ": "); field {
			case "id":
				id = value
			case "event":
				name = value
			case "data":
				data = value
			}
			continue
		}
		if id != "" {
			*at = id
		}
		if data != "" && !f.told(name, data, take) {
			return true, errEnough
		}
		id, name, data = "", "", ""
	}
	if cause := context.Cause(ctx); cause != nil {
		return true, cause
	}
	return true, lines.Err()
}

// told hands over one event of a stream and says whether to go on.
func (f *Following) told(name, data string, take func(json.RawMessage) bool) bool {
	if name == "" {
		return take(json.RawMessage(data))
	}
	var word struct{ Detail string }
	if json.Unmarshal([]byte(data), &word) == nil && word.Detail != "" && f.Notice != nil {
		f.Notice(word.Detail)
	}
	return true
}
