package users

import (
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/millrace/millrace/services/query/tail"
)

// Persons, and owners of rows that are read apart: a user id, or an anonymous id without one.
const (
	ownerUser      = "u"
	ownerAnonymous = "a"
)

// sqlPerson is the person of a row, as the projection by_person is sorted (schemas/clickhouse/00003): written in another way
// it is not found. A condition on it alone costs ClickHouse no look at the key and the filters of the table itself, which is
// more than half of what a history took.
const sqlPerson = "if(empty(user_id), concat('" + ownerAnonymous + "', anonymous_id), concat('" + ownerUser + "', user_id))"

// persons are the values of sqlPerson that some ids have, as a parameter.
func persons(who tail.Who) string {
	list := make([]string, 0, len(who.Users)+len(who.Anonymous))
	for _, id := range who.Users {
		list = append(list, ownerUser+id)
	}
	for _, id := range who.Anonymous {
		list = append(list, ownerAnonymous+id)
	}
	return texts(list)
}

// maxSlices bounds the slices of the table that one question names; of more, it names the days alone.
const maxSlices = 256

// mine is the condition by which newest.sql finds its rows. The table is sorted by day, event and user, so that few slices of a
// day and an event, and the ids, are all of its key; the rows of many people are found by the projection.
func mine(who tail.Who, all map[string]*history, values url.Values) string {
	var sides []string
	if len(who.Users) > 0 {
		values.Set("param_users", texts(who.Users))
		sides = append(sides, "user_id IN {users:Array(String)}")
	}
	if len(who.Anonymous) > 0 {
		values.Set("param_anonymous", texts(who.Anonymous))
		sides = append(sides, "anonymous_id IN {anonymous:Array(String)} AND user_id = ''")
	}
	ids := "(" + strings.Join(sides, " OR ") + ")"
	if list := slicesOf(all); list != "" {
		values.Set("param_slices", list)
		return ids + " AND (event_date, event) IN {slices:Array(Tuple(Date32, String))}"
	}
	return ids + " AND " + sqlPerson + " IN {persons:Array(String)}"
}

// slicesOf are the days and events of all that newest.sql is to show, as a parameter; empty when they are too many, or not known.
// None is missing: a name has as many newest times as are shown of all names, so each event from the bound on is among them, or
// was at the bound's own time, whose day and name are there.
func slicesOf(all map[string]*history) string {
	type slice struct {
		day   int32
		event string
	}
	found := map[slice]bool{}
	text := 0
	for _, h := range all {
		if h.total != nil {
			return ""
		}
		for _, c := range h.counted {
			days := append(slices.Clone(c.joined), c.fresh...)
			for _, ms := range c.newest {
				if ms >= h.bound {
					days = append(days, int32(time.UnixMilli(ms).UTC().Truncate(day).Unix()/int64(day.Seconds())))
				}
			}
			for _, d := range days {
				if c.unnamed > 0 {
					found[slice{d, ""}] = true
				}
				if s := (slice{d, c.name}); c.unnamed < c.n && !found[s] {
					found[s] = true
					text += len(c.name)
				}
			}
			if len(found) > maxSlices || text > maxIDsText/4 {
				return ""
			}
		}
	}
	list := make([]string, 0, len(found))
	for s := range found {
		list = append(list, "('"+dateOf(s.day)+"','"+quoted.Replace(s.event)+"')")
	}
	slices.Sort(list)
	return "[" + strings.Join(list, ",") + "]"
}

// dateOf writes a day, counted from 1970, as ClickHouse takes one.
func dateOf(d int32) string { return time.Unix(int64(d)*86400, 0).UTC().Format("2006-01-02") }

// texts writes an Array(String) as a parameter takes it.
func texts(list []string) string {
	var b strings.Builder
	b.WriteByte('[')
	for i, s := range list {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteByte('\'')
		quoted.WriteString(&b, s) //nolint:errcheck // a strings.Builder
		b.WriteByte('\'')
	}
	b.WriteByte(']')
	return b.String()
}

var quoted = strings.NewReplacer(`\`, `\\`, `'`, `\'`, "\x00", `\0`)
