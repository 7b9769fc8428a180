package users

import (
	"bufio"
	"context"
	_ "embed"
	"net/url"
	"strconv"
	"strings"

	"github.com/millrace/millrace/services/query/reader"
	"github.com/millrace/millrace/services/query/tail"
)

//go:embed head.sql
var headSQL string

//go:embed newest.sql
var newestSQL string

//go:embed event.sql
var eventSQL string

const (
	// maxIdentifies bounds the identifies and aliases of a user that are read.
	maxIdentifies = 10_000
	// maxNames bounds the names of events that are told apart; who sends them chooses them.
	maxNames = 2000
	// maxCounted bounds the names in the counts of an answer: those of ClickHouse and those that came since.
	maxCounted = 2 * maxNames
	// maxIDsText bounds the ids of one statement, in bytes as a URL has them: ClickHouse takes 128 KiB a parameter.
	maxIDsText = 96 << 10
	idText     = 20 // bytes that an id takes at least, since its bound goes along
)

func marksOf(marks []uint64) string {
	texts := make([]string, len(marks))
	for i, m := range marks {
		texts[i] = strconv.FormatUint(m, 10)
	}
	return "[" + strings.Join(texts, ",") + "]"
}

// head folds into the state what ClickHouse has of some ids up to the watermarks, and joins the ids that it finds. Each row is
// of one id, so any parts of the ids may be asked about one after the other.
func (u *Users) head(ctx context.Context, s *state, x *ids, who tail.Who, marks []uint64) error {
	who, err := u.widen(ctx, x, who, marks)
	if err != nil {
		return err
	}
	for len(who.Users)+len(who.Anonymous) > 0 {
		some := tail.Who{Source: who.Source}
		left := maxIDsText
		some.Users, who.Users, left = cutIDs(who.Users, left)
		some.Anonymous, who.Anonymous, _ = cutIDs(who.Anonymous, left)
		if err := u.headOf(ctx, s, x, some, marks); err != nil {
			return err
		}
	}
	return nil
}

// cutIDs takes as many ids as fit, and at least one of the first list that has any.
func cutIDs(list []string, room int) (some, rest []string, left int) {
	n := 0
	for n < len(list) && room > 0 {
		room -= max(idText, len(url.QueryEscape(texts(list[n:n+1]))))
		n++
	}
	return list[:n], list[n:], room
}

func (u *Users) headOf(ctx context.Context, s *state, x *ids, who tail.Who, marks []uint64) error {
	histories, err := u.histories(ctx, who, marks, reading{now: s.loaded, recent: s.shows})
	if err != nil {
		return err
	}
	for _, h := range histories { // one, or none
		h.fold(s, x)
	}
	return nil
}

// headRow is a row of event.sql.
type headRow struct {
	place
	kind                   uint8
	until                  int64
	n, nDay, nWeek         uint64
	typ, name, id, a, b, c string
	flag                   bool
	fields                 []field
}

func (u *Users) stream(ctx context.Context, sql string, values url.Values, take func(headRow)) error {
	ctx, done, err := u.cfg.Bound(ctx)
	if err != nil {
		return err
	}
	defer done()
	return u.cfg.Reader.Stream(ctx, reader.Question{SQL: sql, Values: values, All: true}, func(in *bufio.Reader) error {
		r := row{in: in}
		h := headRow{kind: r.u8()}
		h.shard, h.seq, h.idx, h.ms, h.until = r.u16(), r.u64(), r.u32(), r.i64(), r.i64()
		h.n, h.nDay, h.nWeek = r.u64(), r.u64(), r.u64()
		h.typ, h.name, h.id, h.a, h.b, h.c = r.text(), r.text(), r.text(), r.text(), r.text(), r.text()
		h.flag, h.fields = r.u8() != 0, r.fields()
		if err := r.end(); err != nil {
			return err
		}
		take(h)
		return nil
	})
}

// find looks in ClickHouse for one event of a user by its id.
func (u *Users) find(ctx context.Context, who tail.Who, id string, marks []uint64) (found shown, ok bool, err error) {
	values := url.Values{
		"param_source": {reader.Param(who.Source)}, "param_persons": {persons(who)}, "param_marks": {marksOf(marks)},
		"param_id": {reader.Param(id)}, "param_mark": {requestMark},
	}
	sql := strings.ReplaceAll(eventSQL, "{{person}}", sqlPerson)
	err = u.stream(ctx, sql, values, func(h headRow) {
		found, ok = shown{place: h.place, kind: h.typ, name: h.name, id: h.id, request: h.flag, properties: h.fields}, true
	})
	return found, ok, err
}
