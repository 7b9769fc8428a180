package up

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/millrace/millrace/services/millrace/client"
	"github.com/millrace/millrace/services/query/users"
)

// TestAsk goes the whole way: what was acknowledged right before an ask, and its own event, are in every answer; and what
// asks have stored is stored once.
func TestAsk(t *testing.T) {
	in := start(t, func(*Config) {})
	door, everything := in.clients(t)
	questions, err := client.New(client.Config{URL: in.Query, Key: in.WriteKey, Flag: "query-url"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(questions.Close)
	const people, rounds = 7, 84 // fewer than a write key may ask at once
	var took []time.Duration
	for i := range rounds {
		user, device := fmt.Sprint("user ", i%people), fmt.Sprint("device ", i%people)
		post := func(body string) {
			t.Helper()
			if _, err := door.Post(t.Context(), client.Body{Data: []byte(body)}); err != nil {
				t.Fatal(err)
			}
		}
		if i < people {
			post(fmt.Sprintf(`{"type":"identify","userId":%q,"anonymousId":%q,"traits":{"plan":"free","age":%d}}`, user, device, 20+i))
		}
		if i%2 == 0 { // of another shard, as often as not
			post(fmt.Sprintf(`{"event":"clicked","anonymousId":%q,"messageId":"before %d"}`, device, i))
		} else {
			post(fmt.Sprintf(`{"event":"clicked","userId":%q,"messageId":"before %d"}`, user, i))
		}
		began := time.Now()
		var a users.Context
		if _, err := questions.Ask(t.Context(), fmt.Appendf(nil, `{"user_id":%q,"event_type":"help","event_data":{"n":%d},"message_id":"ask %d"}`, user, i, i), nil, &a); err != nil {
			t.Fatal(err)
		}
		took = append(took, time.Since(began))
		whole := a.Complete
		if !whole { // ClickHouse may be slower here than an ask waits; it says so, and has it later
			if len(a.Lacks) != 1 || a.Lacks[0].What != users.LackHistory || a.Request == nil || a.Request.EventID != fmt.Sprint("ask ", i) {
				t.Fatalf("round %d: %+v", i, a)
			}
			request := a.Request
			within(t, "ClickHouse answers in time", func() bool {
				_, err := everything.Get(t.Context(), "/v1/users/"+url.PathEscape(user), url.Values{"source": {in.Source}}, &a)
				return err == nil && a.Complete
			})
			a.Request, a.Receipt = request, request.Receipt
		}
		shown := func(id string) bool {
			return slices.ContainsFunc(a.Recent, func(e users.Event) bool { return e.EventID == id })
		}
		if !a.Complete || !shown(fmt.Sprint("ask ", i)) || !shown(fmt.Sprint("before ", i)) || a.Request.Properties["n"] != (users.Value{Text: fmt.Sprint(i), Number: true}) {
			t.Fatalf("round %d: %+v", i, a)
		}
		if want := uint64(1 + 2*(i/people+1)); a.Profile.Events != want || a.Profile.Counts.Day["clicked"] != (want-1)/2 || a.Session == nil || a.Session.Events != int(want) {
			t.Fatalf("round %d: %d events, want %d: %+v", i, a.Profile.Events, want, a.Profile)
		}
		if a.Profile.Traits["plan"].Text != "free" || a.Receipt == "" || whole && (a.Since == nil) != (i < people) {
			t.Fatalf("round %d: %+v", i, a)
		}
	}
	slices.Sort(took)
	t.Logf("an ask took %s (median), %s (slowest)", took[len(took)/2], took[len(took)-1])

	// The same again is the same event.
	var again users.Context
	if _, err := questions.Ask(t.Context(), []byte(`{"user_id":"user 0","event_type":"help","message_id":"ask 0"}`), nil, &again); err != nil {
		t.Fatal(err)
	}
	if want := uint64(1 + 2*rounds/people); again.Complete && again.Profile.Events != want || !again.Repeat {
		t.Errorf("%d events, want %d; repeat %t", again.Profile.Events, want, again.Repeat)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := everything.WaitFor(ctx, again.Receipt, patience); err != nil {
		t.Fatal(err)
	}
	if n := rows(t, everything, "event = 'help' AND extra['millrace_request'] = 'true'"); n != rounds {
		t.Errorf("%d rows of asks, want %d", n, rounds)
	}
	var whole users.Context
	if _, err := everything.Get(ctx, "/v1/users/"+url.PathEscape("user 0"), url.Values{"source": {in.Source}, "after": {again.Receipt}}, &whole); err != nil {
		t.Fatal(err)
	}
	if whole.Complete && again.Complete && whole.Profile.Events != again.Profile.Events || whole.Receipt != again.Receipt {
		t.Errorf("%+v", whole)
	}
}
