package reports

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/libs/event/frame"
	"github.com/millrace/millrace/libs/localdb"
	"github.com/millrace/millrace/libs/svc"
	"github.com/millrace/millrace/libs/testkit"
	"github.com/millrace/millrace/services/query/reader"
)

// happening is one event of a test, as the table has it.
type happening struct {
	shard              uint16
	seq                uint64
	idx                uint32
	source, typ, event string
	user, anonymous    string
	at                 time.Time
	browser, url       string
	properties         map[string]string
	numbers            map[string]float64
}

// person and name are said here once more, independently of the SQL.
func (h *happening) person() string {
	if h.user != "" {
		return h.user
	}
	return h.anonymous
}

func (h *happening) name() string {
	if h.event != "" {
		return h.event
	}
	return h.typ
}

// rig is a ClickHouse and the reports over it, as the reader.
type rig struct {
	*testing.T
	db      *testkit.ClickHouse
	client  *reader.Client
	reports *Reports
	now     time.Time

	awaited []string
	asked   int
	rows    int // of the last answer
	lastSQL string
	last    map[string]string
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{T: t, db: testkit.StartClickHouse(t), now: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)}
	r.client = reader.New(reader.Config{
		URL: r.db.Addrs().HTTP, User: localdb.ReaderUser, Password: svc.Secret(r.db.Password(localdb.ReaderUser)), Database: localdb.Database,
	})
	t.Cleanup(r.client.Close)
	var err error
	r.reports, err = New(Config{
		Await: func(_ context.Context, receipt string, _ time.Duration) error {
			r.awaited = append(r.awaited, receipt)
			return nil
		},
		Watermark: func() string { return "0:7" },
		Now:       func() time.Time { return r.now },
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Read implements Database.
func (r *rig) Read(ctx context.Context, sql, format string, params map[string]string, limit int64) ([]byte, error) {
	r.asked++
	r.lastSQL, r.last = sql, params
	values := url.Values{"default_format": {format}}
	for k, v := range params {
		values.Set("param_"+k, v)
	}
	res, err := r.client.Ask(ctx, reader.Question{SQL: sql, Values: values, All: true})
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(reader.Watch(ctx, res), limit))
	if err != nil || format != "JSONCompact" {
		return text, err
	}
	var answer struct{ Rows int }
	err = json.Unmarshal(text, &answer)
	r.rows = answer.Rows
	return text, err
}

// ask answers a question.
func (r *rig) ask(name string, values url.Values) *Answer {
	r.Helper()
	a, err := r.reports.Answer(r.Context(), Asker{DB: r}, name, values)
	if err != nil {
		r.Fatalf("%s?%s: %v\n%s\n%v", name, values.Encode(), err, r.lastSQL, r.last)
	}
	return a
}

// answerOf answers a question and reads the result.
func answerOf[T any](r *rig, name, query string) (result T, a *Answer) {
	r.Helper()
	values, err := url.ParseQuery(query)
	if err != nil {
		r.Fatal(err)
	}
	a = r.ask(name, values)
	if err := json.Unmarshal(a.Result, &result); err != nil {
		r.Fatal(err)
	}
	return result, a
}

// store writes events into the table as the indexer does, in one block.
func (r *rig) store(events []happening) {
	r.Helper()
	if len(events) == 0 {
		return
	}
	b := frame.NewBlock(frame.RowSchema)
	for i := range events {
		e := &events[i]
		texts := map[int]string{
			frame.ColSource: e.source, frame.ColType: e.typ, frame.ColEvent: e.event, frame.ColUserID: e.user,
			frame.ColAnonymousID: e.anonymous, frame.ColBrowser: e.browser, frame.ColURL: e.url,
			frame.ColEventID: fmt.Sprintf("%d-%d-%d", e.shard, e.seq, e.idx),
		}
		for c, col := range frame.Columns {
			switch {
			case c == frame.ColShard:
				b.U16(c, e.shard)
			case c == frame.ColSeq:
				b.U64(c, e.seq)
			case c == frame.ColIdx:
				b.U32(c, e.idx)
			case c == frame.ColProperties:
				for _, k := range slices.Sorted(maps.Keys(e.properties)) {
					b.Entry(c, []byte(k), []byte(e.properties[k]))
				}
			case c == frame.ColPropertiesNum:
				for _, k := range slices.Sorted(maps.Keys(e.numbers)) {
					b.FloatEntry(c, []byte(k), e.numbers[k])
				}
			case c == frame.ColTimestamp:
				b.Millis(c, e.at.UnixMilli())
			case col.Type == "String":
				b.Text(c, texts[c])
			case col.Type == "Bool":
				b.Bool(c, false)
			case strings.HasPrefix(col.Type, "Map"):
			default:
				b.Millis(c, r.now.UnixMilli())
			}
		}
		b.EndRow()
	}
	var names []string
	for _, c := range frame.Columns {
		names = append(names, c.Name)
	}
	sql := "INSERT INTO events (" + strings.Join(names, ",") + ") FORMAT Native"
	q := url.Values{"query": {sql}, "async_insert": {"0"}, "database": {localdb.Database}}
	req, err := http.NewRequestWithContext(r.Context(), http.MethodPost, r.db.Addrs().HTTP+"/?"+q.Encode(), bytes.NewReader(b.AppendNative(nil)))
	if err != nil {
		r.Fatal(err)
	}
	req.Header.Set("X-ClickHouse-User", localdb.WriterUser)
	req.Header.Set("X-ClickHouse-Key", r.db.Password(localdb.WriterUser))
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		r.Fatal(err)
	}
	defer res.Body.Close()
	if text, err := io.ReadAll(res.Body); err != nil || res.StatusCode != http.StatusOK {
		r.Fatalf("insert: %d %s %v", res.StatusCode, text, err)
	}
}
