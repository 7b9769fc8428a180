package users

import (
	"slices"

	"github.com/millrace/millrace/libs/event/frame"
	"github.com/millrace/millrace/services/query/tail"
)

// User is whom a question is about: a user id, or an anonymous id, of a source.
type User struct {
	Source    string
	ID        string
	Anonymous bool
}

func (u User) who() tail.Who {
	if u.Anonymous {
		return tail.Who{Source: u.Source, Anonymous: []string{u.ID}}
	}
	return tail.Who{Source: u.Source, Users: []string{u.ID}}
}

// maxIDs bounds how many ids are joined to one user: a shared device, or a test that never ends, must not make a question
// about everybody.
const maxIDs = 1000

// ids are those that are known to be a user's, and those of them that nobody has looked at yet.
type ids struct {
	known tail.Who
	fresh tail.Who
	over  bool // there are more than maxIDs
}

func newIDs(u User) *ids { return &ids{known: u.who(), fresh: u.who()} }

func (x *ids) addUser(id string) { x.add(&x.known.Users, &x.fresh.Users, id) }

func (x *ids) addAnonymous(id string) { x.add(&x.known.Anonymous, &x.fresh.Anonymous, id) }

func (x *ids) add(known, fresh *[]string, id string) {
	if id == "" || slices.Contains(*known, id) {
		return
	}
	if len(x.known.Users)+len(x.known.Anonymous) >= maxIDs {
		x.over = true
		return
	}
	*known = append(*known, id)
	*fresh = append(*fresh, id)
}

// take returns the ids that nobody has looked at, and forgets that.
func (x *ids) take() tail.Who {
	w := x.fresh
	x.fresh = tail.Who{}
	w.Source = x.known.Source
	return w
}

func (x *ids) isFresh() bool { return len(x.fresh.Users)+len(x.fresh.Anonymous) > 0 }

// join adds the ids that a row of the user names.
func (x *ids) join(kind, userID, anonymousID, previousID string) {
	if userID == "" {
		return
	}
	switch kind {
	case typeIdentify:
		x.addAnonymous(anonymousID)
	case typeAlias:
		x.addUser(previousID)
		x.addAnonymous(previousID)
	}
}

// Types of the Segment Spec that matter here.
const (
	typeIdentify = "identify"
	typeAlias    = "alias"
	typePage     = "page"
	typeScreen   = "screen"
)

func (x *ids) joinRow(r tail.Row) {
	x.join(r.Text(frame.ColType), r.Text(frame.ColUserID), r.Text(frame.ColAnonymousID), r.Text(frame.ColPreviousID))
}

// joins says whether a row names an id that is not known yet, without adding it.
func joins(known tail.Who, v *frame.View, row int) bool {
	if len(v.Str(frame.ColUserID, row)) == 0 {
		return false
	}
	other := func(list []string, id []byte) bool { return len(id) > 0 && !slices.Contains(list, string(id)) }
	switch string(v.Str(frame.ColType, row)) {
	case typeIdentify:
		return other(known.Anonymous, v.Str(frame.ColAnonymousID, row))
	case typeAlias:
		id := v.Str(frame.ColPreviousID, row)
		return other(known.Users, id) || other(known.Anonymous, id)
	}
	return false
}
