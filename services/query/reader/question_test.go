package reader

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/millrace/millrace/services/query/problem"
)

// TestWhoAsks looks at what reaches ClickHouse: the user and the id decide which rows a question sees.
func TestWhoAsks(t *testing.T) {
	var user, id string
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		user, id = r.Header.Get("X-ClickHouse-User"), r.URL.Query().Get("query_id")
	}))
	defer server.Close()
	for _, tc := range []struct {
		q        Question
		user, id string // "" is not asked at all
	}{
		{Question{ID: "a", All: true}, "reader", "a"},
		{Question{ID: "a", All: true, Sources: []string{"shop"}}, "reader", "a"},
		{Question{ID: "a", Sources: []string{"shop"}}, "scoped", "a@shop"},
		{Question{ID: "a", Sources: []string{"shop", "blog-2"}}, "scoped", "a@shop,blog-2"},
		{Question{ID: "a", Asker: "me@bank", Sources: []string{"shop"}}, "scoped", "a.007b85a5@shop"},
		{Question{ID: "a", Asker: "me@bank", All: true}, "reader", "a.007b85a5"},
		{Question{ID: "a"}, "", ""},
		{Question{ID: "a", Sources: []string{}}, "", ""},
		{Question{ID: "a", Sources: []string{"shop,bank"}}, "", ""},
		{Question{ID: "a", Sources: []string{""}}, "", ""},
		{Question{ID: "a@bank", Sources: []string{"shop"}}, "", ""},
	} {
		user, id = "", ""
		c := New(Config{URL: server.URL, User: "reader", Scoped: "scoped"})
		c.cancel.Store(cancelDenied) // its one question is not of interest
		tc.q.SQL = "SELECT 1"
		res, err := c.Ask(t.Context(), tc.q)
		if err == nil {
			_ = res.Body.Close()
			if shown := res.Header.Get(HeaderQueryID); shown != tc.q.ID {
				t.Errorf("%+v: the id is shown as %q", tc.q, shown)
			}
		}
		if user != tc.user || id != tc.id || (err == nil) != (tc.user != "") {
			t.Errorf("%+v: asked as %q by %q, %v", tc.q, user, id, err)
		}
	}
	c := New(Config{URL: server.URL, User: "reader"})
	if _, err := c.Ask(t.Context(), Question{SQL: "SELECT 1", Sources: []string{"shop"}}); err == nil {
		t.Error("without a scoped user, some sources are asked for as another")
	}
}

func TestProblemStatuses(t *testing.T) {
	for _, tc := range []struct {
		err    error
		status int
	}{
		{&Exception{Code: 62}, 400},
		{&Exception{Code: 181}, 400},
		{&Exception{Code: 497}, 403},
		{&Exception{Code: 216}, 409},
		{&Exception{Code: 396}, 422},
		{&Exception{Code: 201}, 429},
		{&Exception{Code: 516}, 500},
		{&Exception{Code: 202}, 503},
		{&Exception{Code: 159}, 504},
		{&Exception{Code: 243, Status: 500}, 503},
		{&Exception{Code: 49, Status: 500, Message: "Not-ready Set is passed as the second argument for function 'in'"}, 400},
		{&Exception{Code: 49, Status: 500, Message: "Bad cast"}, 500},
		{&Exception{Code: 99999, Status: 404}, 400},
		{&Exception{Code: 99999, Status: 500}, 500},
		{ErrUnavailable, 503},
		{ErrCut, 502},
		{context.DeadlineExceeded, 504},
		{errors.New("anything"), 503},
	} {
		if p := Problem(tc.err); p.Status != tc.status {
			t.Errorf("%v: %d, want %d", tc.err, p.Status, tc.status)
		}
	}
	// ClickHouse answers 500 to these, too.
	for _, code := range []int{32, 139, 141, 156, 399, 474, 546, 691, 1000} {
		if p := Problem(&Exception{Code: code, Status: 500}); p.Status != 400 || !p.Of(problem.Invalid) {
			t.Errorf("code %d: %d %s", code, p.Status, p.Code)
		}
	}
}

func TestParam(t *testing.T) {
	if got, want := Param("a\tb\\n'\n"), `a\tb\\n'\n`; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
