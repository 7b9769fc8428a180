package query

import (
	"bufio"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/millrace/millrace/libs/testkit"
)

// listen opens a stream of server-sent events and returns what reads the id and the data of the next one.
func (r *rig) listen(path string, values url.Values, last string) func() (id, data string) {
	r.Helper()
	req, err := http.NewRequestWithContext(r.Context(), http.MethodGet, r.base+path+"?"+values.Encode(), nil)
	r.must(err)
	if last != "" {
		req.Header.Set("Last-Event-ID", last)
	}
	res, err := http.DefaultClient.Do(req)
	r.must(err)
	r.Cleanup(func() { _ = res.Body.Close() })
	if res.StatusCode != http.StatusOK {
		r.Fatalf("%s: %d", path, res.StatusCode)
	}
	in := bufio.NewReader(res.Body)
	return func() (id, data string) {
		r.Helper()
		for {
			line, err := in.ReadString('\n')
			r.must(err)
			field, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
			switch field {
			case "id":
				id = value
			case "data":
				return id, value
			}
		}
	}
}

// get is a GET whose answer is read to its end.
func (r *rig) get(path string) answer {
	r.Helper()
	return r.post(path, "", "", func(req *http.Request) { req.Method = http.MethodGet })
}

// TestLive: the service shows events, and numbers over what is new: every row is in exactly one answer, whoever goes away
// and comes back.
func TestLive(t *testing.T) {
	r := newRig(t, 2, 1)
	lanes := []*lane{r.lane(0), r.lane(1)}
	grow := func(shard, frames int) {
		t.Helper()
		parts := make([]part, frames)
		in := lanes[shard].frames(parts...)
		r.flush()
		lanes[shard].announce(in)
		lanes[shard].done()
	}
	sql := url.Values{"sql": {"SELECT count() AS n, sum(_idx) AS s FROM new_events WHERE _idx >= {least:UInt32}"}, "param_least": {"0"}}
	type numbers struct {
		From, To string
		Rows     []struct{ N, S json.Number }
	}
	counted := int64(0)
	// read takes answers until so many rows are counted, and returns the id of the last.
	read := func(next func() (string, string), rows int64) (last string) {
		t.Helper()
		for {
			id, data := next()
			var a numbers
			if err := json.Unmarshal([]byte(data), &a); err != nil || len(a.Rows) != 1 || a.To != id {
				t.Fatalf("%s %s: %v", id, data, err)
			}
			n, err := a.Rows[0].N.Int64()
			r.must(err)
			if counted += n; counted >= rows {
				if counted > rows {
					t.Fatalf("%d rows are counted, there are %d", counted, rows)
				}
				return id
			}
		}
	}
	grow(0, 2)
	testkit.Eventually(t, "the service knows the watermark", func() bool { return r.svc.ledger.mark(0) == 2 })
	next := r.listen("/v1/live/sql", sql, "") // from now on: what was before is not new
	grow(0, 1)
	grow(1, 3)
	last := read(next, 40)
	if last != "0:3,1:3" {
		t.Errorf("the answers end at %s", last)
	}
	grow(1, 1) // while nobody reads
	next = r.listen("/v1/live/sql", sql, last)
	read(next, 50)
	grow(0, 1)
	read(next, 60)

	for query, want := range map[string]struct {
		status int
		text   string
	}{
		"sql=SELECT+1":                         {400, "new_events"},
		"sql=":                                 {400, "missing"},
		"sql=SELECT+nope+FROM+new_events":      {400, "nope"},
		"sql=SELECT+file('x')+FROM+new_events": {403, "file"},
		"sql=INSERT+INTO+events+SELECT+*+FROM+new_events":   {400, "neither SELECT nor WITH"},
		"sql=SELECT+1+FROM+new_events+FORMAT+CSV":           {400, "FORMAT"},
		"sql=SELECT+count()+FROM+new_events&every=1ms":      {400, "between"},
		"sql=SELECT+count()+FROM+new_events&after=0:1.5":    {400, "inside a frame"},
		"sql=SELECT+count()+FROM+new_events&after=0:1&x=1":  {400, "unknown"},
		"sql=WITH+1+AS+x+SELECT+x,+count()+FROM+new_events": {200, ""},
	} {
		if want.status == http.StatusOK {
			values, err := url.ParseQuery(query)
			r.must(err)
			r.listen("/v1/live/sql", values, "")()
			continue
		}
		if a := r.get("/v1/live/sql?" + query); a.status != want.status || !strings.Contains(a.body, want.text) {
			t.Errorf("%s: %d %s", query, a.status, a.body)
		}
	}

	events := r.listen("/v1/live", url.Values{"where": {`properties.kind == "rye"`}}, "")
	r.nats.PublishEnriched(r.js, 1,
		testkit.Row{Source: "web", Type: "track", Event: "Bread Baked", Properties: map[string]string{"kind": "white"}},
		testkit.Row{Source: "web", Type: "track", Event: "Bread Baked", UserID: "ada", Properties: map[string]string{"kind": "rye"}})
	if id, data := events(); id != "0:4,1:5" || !strings.HasPrefix(data, `{"receipt":"1:5","idx":1,"source":"web","type":"track","event":"Bread Baked","user_id":"ada"`) {
		t.Errorf("%s %s", id, data)
	}

	// The same questions over NATS.
	nc := r.js.Conn()
	ask := func(subject, data string) *nats.Msg {
		t.Helper()
		m, err := nc.Request(r.inst.Names.QueryGroup()+"."+subject, []byte(data), 20*time.Second)
		r.must(err)
		return m
	}
	if m := ask("sql", "SELECT count() AS n FROM events"); string(m.Data) != "{\"n\":80}\n" || m.Header.Get(headerQueryIDOverNATS) == "" {
		t.Errorf("%s %v", m.Data, m.Header)
	}
	if m := ask("sql", "SELECT nope"); m.Header.Get(micro.ErrorCodeHeader) != "400" || !strings.Contains(m.Header.Get(micro.ErrorHeader), "nope") {
		t.Errorf("%s %v", m.Data, m.Header)
	}
	if m := ask("status", ""); !strings.Contains(string(m.Data), `"shards":`) {
		t.Errorf("%s %v", m.Data, m.Header)
	}
	if m := ask("sql", "SELECT repeat('x', 1000000) FROM numbers(10)"); m.Header.Get(micro.ErrorCodeHeader) != "413" {
		t.Errorf("%d bytes %v", len(m.Data), m.Header)
	}
}

const headerQueryIDOverNATS = "X-Clickhouse-Query-Id"
