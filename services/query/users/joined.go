package users

import (
	"context"
	_ "embed"
	"net/url"
	"strconv"
	"strings"

	"github.com/millrace/millrace/services/query/reader"
	"github.com/millrace/millrace/services/query/tail"
)

//go:embed joined.sql
var joinedSQL string

// joined asks ClickHouse for the ids that events of these users name. Knowing them first, a history is read in one go: each
// statement costs some milliseconds before it reads its first row, and reading ids one round after the other took twice as many.
// Rows without a user name nothing, so anonymous ids need not be asked about.
func (u *Users) joined(ctx context.Context, who tail.Who, marks []uint64, join func(userID, kind, other string)) error {
	for len(who.Users) > 0 {
		var some []string
		some, who.Users, _ = cutIDs(who.Users, maxIDsText)
		values := url.Values{
			"param_source": {reader.Param(who.Source)}, "param_persons": {persons(tail.Who{Users: some})}, "param_marks": {marksOf(marks)},
			"param_ids": {strconv.Itoa(2 * maxIDs)}, // either kind may name the same
		}
		err := u.streamRows(ctx, strings.ReplaceAll(joinedSQL, "{{person}}", sqlPerson), values, func(r *row) {
			userID, kind, other := r.text(), r.text(), r.text()
			join(userID, kind, other)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// widen adds to some ids all that their events in ClickHouse lead to.
func (u *Users) widen(ctx context.Context, x *ids, who tail.Who, marks []uint64) (tail.Who, error) {
	next := who
	for round := 0; len(next.Users) > 0 && round < maxRounds; round++ {
		err := u.joined(ctx, next, marks, func(userID, kind, other string) { x.join(kind, userID, other, other) })
		if err != nil {
			return who, err
		}
		next = x.take()
		who.Users, who.Anonymous = append(who.Users, next.Users...), append(who.Anonymous, next.Anonymous...)
	}
	return who, nil
}
