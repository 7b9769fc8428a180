package enricher

import (
	"bytes"
	"cmp"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/libs/event"
	"github.com/millrace/millrace/libs/event/frame"
)

// received is when the frames of these tests were stored in RAW.
var received = time.Date(2026, 3, 1, 9, 31, 5, 250e6, time.UTC)

// sent is one event as the door writes it down.
type sent struct {
	body           string
	source         string // "" is shop
	door           string // "" is http
	id             string // given by the door
	reason, detail string // refused at the door
	ip, agent      string
	at             int64 // sentAt of the request
}

func rawBody(events ...sent) []byte {
	b := frame.NewBlock(frame.RawSchema)
	for _, e := range events {
		if e.source == "" {
			e.source = "shop"
		}
		b.Text(frame.RawSource, e.source)
		b.Text(frame.RawDoor, cmp.Or(e.door, "http"))
		b.Text(frame.RawIP, e.ip)
		b.Text(frame.RawUserAgent, e.agent)
		b.Millis(frame.RawSentAt, e.at)
		b.U64(frame.RawInSeq, 0)
		b.Text(frame.RawEventID, e.id)
		b.Text(frame.RawReason, e.reason)
		b.Text(frame.RawDetail, e.detail)
		b.Text(frame.RawBody, e.body)
		b.EndRow()
	}
	return frame.Pack(nil, b.AppendNative(nil))
}

func newTestMill(maxPayload int) *mill {
	seen := newDedup(newDedupKey(), time.Hour, 8<<20)
	return newMill(1, event.DefaultLimits(), maxPayload, seen, nil)
}

// enriched is an answered frame, decoded and checked for its sums.
func enriched(t testing.TB, m *mill, f *rawFrame) (*frame.View, frame.Verdict) {
	t.Helper()
	body, v := m.enrich(f, nil, nil)
	return decodeRows(t, body, &v), v
}

func decodeRows(t testing.TB, body []byte, v *frame.Verdict) *frame.View {
	t.Helper()
	native, err := frame.Unpack(nil, body)
	view := frame.NewView(frame.RowSchema)
	if err == nil {
		err = view.Parse(native)
	}
	if err != nil {
		t.Fatal(err)
	}
	if view.Rows() != v.Rows || v.In != v.Rows+v.Repeats+v.Dead() {
		t.Fatalf("%d rows, verdict %+v", view.Rows(), *v)
	}
	return view
}

// rowText writes a row as text, a line for each column that is not empty.
func rowText(v *frame.View, r int) string {
	var b strings.Builder
	for c, col := range frame.Columns {
		switch {
		case col.Type == "String":
			if s := v.Str(c, r); len(s) > 0 {
				fmt.Fprintf(&b, "%s = %s\n", col.Name, quoted(s))
			}
		case strings.HasPrefix(col.Type, "DateTime64"):
			fmt.Fprintf(&b, "%s = %s\n", col.Name, time.UnixMilli(v.Millis(c, r)).UTC().Format("2006-01-02T15:04:05.000Z"))
		case col.Type == "Map(String, String)":
			for k, val := range v.Entries(c, r) {
				fmt.Fprintf(&b, "%s[%s] = %s\n", col.Name, quoted(k), quoted(val))
			}
		case col.Type == "Map(String, Float64)":
			for k, val := range v.FloatEntries(c, r) {
				fmt.Fprintf(&b, "%s[%s] = %v\n", col.Name, quoted(k), val)
			}
		case col.Type == "Bool" && v.Bool(c, r):
			fmt.Fprintf(&b, "%s = true\n", col.Name)
		}
	}
	fmt.Fprintf(&b, "place = %d/%d/%d\n", v.U16(frame.ColShard, r), v.U64(frame.ColSeq, r), v.U32(frame.ColIdx, r))
	return b.String()
}

// quoted shows what would not be seen in a text file.
func quoted(s []byte) string {
	if bytes.ContainsFunc(s, func(c rune) bool { return c < ' ' || c == 0xFFFD }) || len(s) == 0 {
		return fmt.Sprintf("%q", s)
	}
	return string(s)
}
