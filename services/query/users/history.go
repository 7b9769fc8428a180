package users

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/millrace/millrace/services/query/reader"
	"github.com/millrace/millrace/services/query/tail"
)

// reading is how histories are read.
type reading struct {
	now    int64 // ms
	recent int   // of the newest events, how many are shown
	apart  bool  // a history for each id, by ownerOf; else one for all of them
}

// history is what ClickHouse has of an owner: the rows of head.sql and of newest.sql.
type history struct {
	now     int64
	names   int
	counted []counted
	total   *counted // of all names, where there are more than were read
	bound   int64    // ms: all events from there on are shown
	whole   bool     // there are none before bound
	details []detail
}

// counted is a row of head.sql.
type counted struct {
	name         string
	first, last  int64
	n, day, week uint64
	dayLeaves    []int64
	weekLeaves   []int64
	newest       []int64 // ms
	unnamed      uint64  // how many have their name from the type, the column event being empty
	joined       []int32 // days of identifies and aliases
	fresh        []int32 // days of those that are not a day old
}

// detail is a row of newest.sql.
type detail struct {
	shown
	path, session                   string
	userID, anonymousID, previousID string
	inDay, isShown                  bool
	traits                          []field
}

// over says that there are more names than are told apart.
func (h *history) over() bool { return h.names > maxNames }

// counted reads the columns of head.sql but for the owner.
func (r *row) counted() counted {
	c := counted{name: r.text(), first: r.i64(), last: r.i64(), n: r.u64(), day: r.u64(), week: r.u64()}
	c.dayLeaves, c.weekLeaves, c.newest = r.times(), r.times(), r.times()
	c.unnamed, c.joined, c.fresh = r.u64(), r.days(), r.days()
	return c
}

// histories asks ClickHouse twice: for counts, which needs a few columns of all rows of the owners, and then for details,
// which needs many columns of few rows.
func (u *Users) histories(ctx context.Context, who tail.Who, marks []uint64, how reading) (map[string]*history, error) {
	values := url.Values{
		"param_source": {reader.Param(who.Source)}, "param_now": {strconv.FormatInt(how.now, 10)}, "param_marks": {marksOf(marks)},
		"param_life": {strconv.Itoa(int(life.Seconds()))}, "param_names": {strconv.Itoa(maxNames)}, "param_mark": {requestMark},
		"param_most": {strconv.Itoa(maxIdentifies)},
	}
	owner, bound := "''", "{bound:Int64}"
	if how.apart {
		owner = sqlPerson
		bound = "transform(owner, {owners:Array(String)}, {bounds:Array(Int64)}, {bound:Int64})"
	}
	values.Set("param_persons", persons(who))
	expand := strings.NewReplacer("{{person}}", sqlPerson, "{{owner}}", owner, "{{bound}}", bound, "{{recent}}", strconv.Itoa(how.recent),
		"{{name}}", "toString(if(event = '', type, event))").Replace
	all := map[string]*history{}
	err := u.streamRows(ctx, expand(headSQL), values, func(r *row) {
		name := r.text()
		h := all[name]
		if h == nil {
			h = &history{now: how.now}
			all[name] = h
		}
		h.counted = append(h.counted, r.counted())
		h.names++
	})
	if err != nil || len(all) == 0 {
		return nil, err
	}
	if slices.ContainsFunc(slices.Collect(maps.Values(all)), (*history).over) {
		err = u.streamRows(ctx, expand(strings.ReplaceAll(headSQL, "{{name}}", "''")), values, func(r *row) {
			if h, c := all[r.text()], r.counted(); h != nil && h.over() {
				h.total = &c
			}
		})
		if err != nil {
			return nil, err
		}
	}
	details(all, how, values)
	err = u.streamRows(ctx, strings.ReplaceAll(expand(newestSQL), "{{mine}}", mine(who, all, values)), values, func(r *row) {
		h := all[r.text()]
		var d detail
		d.shard, d.seq, d.idx, d.ms = r.u16(), r.u64(), r.u32(), r.i64()
		d.kind, d.name, d.id, d.path, d.session = r.text(), r.text(), r.text(), r.text(), r.text()
		d.userID, d.anonymousID, d.previousID = r.text(), r.text(), r.text()
		d.inDay, d.isShown, d.request = r.u8() != 0, r.u8() != 0, r.u8() != 0
		d.properties, d.traits = r.fields(), r.fields()
		if h != nil { // there is none of a row that came into ClickHouse between the two
			h.details = append(h.details, d)
		}
	})
	return all, err
}

// details says by parameters which rows newest.sql is to read.
func details(all map[string]*history, how reading, values url.Values) {
	from := how.now - day.Milliseconds()
	days := map[int32]bool{}
	var owners, bounds []string
	for name, h := range all {
		var newest []int64
		n := uint64(0)
		list := h.counted
		if h.total != nil {
			list = []counted{*h.total}
		}
		for _, c := range list {
			n += c.n
			newest = append(newest, c.newest...)
			for _, d := range c.joined {
				days[d] = true
			}
		}
		slices.SortFunc(newest, func(a, b int64) int { return cmp.Compare(b, a) })
		h.whole = n <= uint64(how.recent) //nolint:gosec // a small number
		h.bound = newest[min(how.recent, len(newest))-1]
		owners, bounds = append(owners, name), append(bounds, strconv.FormatInt(h.bound, 10))
		from = min(from, h.bound)
		values.Set("param_bound", strconv.FormatInt(h.bound, 10)) // of one history
	}
	if how.apart {
		values.Set("param_bound", strconv.FormatInt(math.MaxInt64, 10)) // of those who had no row before
		values.Set("param_owners", texts(owners))
		values.Set("param_bounds", "["+strings.Join(bounds, ",")+"]")
	}
	values.Set("param_from", time.UnixMilli(max(from, oldestMs)).UTC().Format("2006-01-02 15:04:05.000"))
	dates := make([]string, 0, len(days))
	for _, d := range slices.Sorted(maps.Keys(days)) {
		dates = append(dates, "'"+dateOf(d)+"'")
	}
	values.Set("param_dates", "["+strings.Join(dates, ",")+"]")
}

// oldestMs is 1900-01-01, before which no event is.
const oldestMs = -2208988800000

// fold adds a history to a state, and joins the ids that it names.
func (h *history) fold(s *state, x *ids) {
	if t := h.total; t != nil {
		s.lacks = append(s.lacks, Lack{What: LackNames, Why: fmt.Sprintf("the %d most frequent names of events were counted", maxNames)})
		s.seen(t.n, t.first, t.last)
	}
	for _, c := range h.counted {
		if h.total == nil {
			s.seen(c.n, c.first, c.last)
		}
		if c.day > 0 && s.day.count(c.name, c.day) {
			for _, ms := range c.dayLeaves {
				s.day.leaves = append(s.day.leaves, leaving{ms, c.name})
			}
		}
		if c.week > 0 && s.week.count(c.name, c.week) {
			for _, ms := range c.weekLeaves {
				s.week.leaves = append(s.week.leaves, leaving{ms, c.name})
			}
		}
	}
	s.day.sort()
	s.week.sort()
	if !h.whole {
		s.showFrom(h.bound)
	}
	// Of either kind of rows at most so many were read, the newest.
	joins, others, oldest := 0, 0, h.now
	for i := range h.details {
		d := &h.details[i]
		join := d.kind == typeIdentify || d.kind == typeAlias
		if join {
			joins++
			x.join(d.kind, d.userID, d.anonymousID, d.previousID)
			for _, f := range d.traits {
				s.set(d.place, f)
			}
		} else {
			others++
		}
		if d.inDay {
			s.step(step{place: d.place, name: d.name, path: d.path, session: d.session, request: d.request})
		}
		if d.isShown {
			s.show(d.shown)
		}
		if joins == maxIdentifies && join || others == maxIdentifies && !join {
			oldest = d.ms
		}
	}
	if oldest < h.now { // nothing is known of what was before
		s.forget(oldest)
	}
	if joins >= maxIdentifies {
		s.lacks = append(s.lacks, Lack{What: LackIdentifies, Why: fmt.Sprintf("only the newest %d identifies and aliases were read", maxIdentifies)})
	}
}

// streamRows runs one of the statements and hands over each row.
func (u *Users) streamRows(ctx context.Context, sql string, values url.Values, take func(*row)) error {
	ctx, done, err := u.cfg.Bound(ctx)
	if err != nil {
		return err
	}
	defer done()
	return u.cfg.Reader.Stream(ctx, reader.Question{SQL: sql, Values: values, All: true}, func(in *bufio.Reader) error {
		r := row{in: in}
		take(&r)
		return r.end()
	})
}
