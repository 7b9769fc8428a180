package access

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/millrace/millrace/services/query/problem"
)

// Scope is a kind of question.
type Scope string

// The scopes.
const (
	SQL     Scope = "sql"     // POST /v1/sql
	Reports Scope = "reports" // reports and named queries
	Ask     Scope = "ask"     // ask, and one user's context at any time
	Live    Scope = "live"    // the live stream
	Admin   Scope = "admin"   // status and verify, which tell about all sources
	Any     Scope = ""        // what every key may
)

// Write is what the write key of a source has, and nothing else: it sends the asks of its source's users. It opens no other
// path, not even those of Any, because write keys are public where they are in web pages. No access file can give it.
const Write Scope = "write"

// Scopes are all that an API key can have.
func Scopes() []Scope { return []Scope{SQL, Reports, Ask, Live, Admin} }

// Key is who asks. It does not change; its methods may be called from any goroutine.
type Key struct {
	name    string
	scopes  []Scope
	sources []string // nil is all
	quota   Quota
	used    *usage
	gone    chan struct{} // closed when the key is taken away or changed; nil: it never is
	seated  bool          // see Sit
	crowd   func() int    // how many keys there are; nil: only this one
}

// What keys are called that are in no file.
const (
	everything = "everything"
	nobody     = "nobody"
	writes     = "write:" // and the source
)

// NewKey returns a key for code that is no request: sources nil is all of them. Scopes that it does not name are refused.
func NewKey(name string, sources []string, scopes ...Scope) *Key {
	return &Key{name: name, scopes: scopes, sources: sources, used: &usage{}}
}

// Everything is the key of whoever may ask everything.
func Everything() *Key { return NewKey(everything, nil, Scopes()...) }

// Name is for logs, metrics and people; it is no secret.
func (k *Key) Name() string { return k.name }

// Gone is closed when the key is taken away, or may something else from now on: what goes on for long ends then.
func (k *Key) Gone() <-chan struct{} { return k.gone }

// same says whether two keys may the same.
func (k *Key) same(other *Key) bool {
	return k.name == other.name && slices.Equal(k.scopes, other.scopes) && (k.sources == nil) == (other.sources == nil) &&
		slices.Equal(k.sources, other.sources) && k.quota == other.quota
}

// Sources are those whose events the key sees, nil with all true for every source there is.
func (k *Key) Sources() (sources []string, all bool) {
	return slices.Clone(k.sources), k.sources == nil
}

// Sees says whether the key sees the events of a source.
func (k *Key) Sees(source string) bool { return k.sources == nil || slices.Contains(k.sources, source) }

// WhichSource is the detail of the problem that no source was named.
const WhichSource = "name the source: ?source=<name>, or the member source of an ask"

// Source is the one source that a request of the key is about: the key's own if it has exactly one, else the one that
// the request names. The error is a problem: 403 for a source of others, 400 when none is named.
func (k *Key) Source(named string) (string, error) {
	switch {
	case named != "" && k.Sees(named):
		return named, nil
	case named != "":
		return "", problem.New(http.StatusForbidden, problem.Forbidden,
			fmt.Sprintf("the key %s does not see the source %s, only %s", k.name, named, strings.Join(k.sources, ", ")))
	case len(k.sources) == 1:
		return k.sources[0], nil
	}
	return "", problem.New(http.StatusBadRequest, problem.BadRequest, WhichSource)
}

// Allows says whether a key may ask a kind of question.
func (k *Key) Allows(s Scope) bool {
	return slices.Contains(k.scopes, s) || s == Any && !slices.Contains(k.scopes, Write)
}

type contextKey struct{}

// With puts the key of a request into its context.
func With(ctx context.Context, k *Key) context.Context {
	return context.WithValue(ctx, contextKey{}, k)
}

// From is the key of a request. Without one it is a key that may nothing and sees nothing.
func From(ctx context.Context) *Key {
	if k, ok := ctx.Value(contextKey{}).(*Key); ok {
		return k
	}
	return &Key{name: nobody, sources: []string{}, used: &usage{}}
}

// Need returns a problem (403) unless the key of the request has one of the scopes.
func Need(ctx context.Context, scopes ...Scope) error {
	k := From(ctx)
	if slices.ContainsFunc(scopes, k.Allows) {
		return nil
	}
	var names []string
	for _, s := range scopes {
		if s != Any && s != Write {
			names = append(names, string(s))
		}
	}
	wanted := strings.Join(names, " or ")
	detail := fmt.Sprintf("the key %s has not the scope %s: add it in the access file, or show another key", k.name, wanted)
	if k.Allows(Write) {
		detail = fmt.Sprintf("%s is a write key, which may POST /v1/ask and nothing else: show an API key", k.name)
		if wanted != "" {
			detail += " with the scope " + wanted
		}
	}
	return problem.New(http.StatusForbidden, problem.Forbidden, detail)
}
