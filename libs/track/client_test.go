package track

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

type thorn struct{}

func (thorn) MarshalJSON() ([]byte, error) { panic("no") }

func TestWhatCannotBeSentIsReported(t *testing.T) {
	loop := map[string]any{}
	loop["again"] = loop
	synctest.Test(t, func(t *testing.T) {
		s := &stream{fate: always(false, errAway)}
		c, r := client(t, s, QueueLimit(2, 32<<20), GiveUpAfter(time.Second))
		check := func(m Message, want error, kept string) {
			t.Helper()
			n := r.len()
			f := c.Submit(t.Context(), m)
			select {
			case <-f.Done():
			default:
				t.Error("it is not done")
				return
			}
			if _, err := f.Wait(t.Context()); !errors.Is(err, want) || r.len() != n+1 || !errors.Is(r.errs[n], err) || !strings.Contains(r.events[n], kept) || (kept == "") != (r.events[n] == "") {
				t.Errorf("%v; reported are %q, %v; want %v and %s", err, r.events[n:], r.errs[n:], want, kept)
			}
		}
		check(nil, ErrInvalid, "")
		check((*Track)(nil), ErrInvalid, "")
		check(Track{Event: "seen"}, ErrInvalid, `"event":"seen"`)
		check(Track{UserID: "ada"}, ErrInvalid, `"userId":"ada"`)
		check(Group{UserID: "ada"}, ErrInvalid, "ada")
		check(Alias{UserID: "ada"}, ErrInvalid, "ada")
		check(Identify{UserID: "ada", Timestamp: time.Date(2300, 1, 1, 0, 0, 0, 0, time.UTC)}, ErrInvalid, "ada")
		check(Page{UserID: "ada", Timestamp: time.Date(-1, 1, 1, 0, 0, 0, 0, time.UTC)}, ErrInvalid, "ada")
		for _, v := range []any{math.NaN(), math.Inf(-1), func() {}, make(chan int), complex(1, 1), loop, thorn{}, []any{map[string]any{"x": thorn{}}}} {
			check(Track{UserID: "ada", Event: "seen", Properties: Properties{"v": v}}, ErrInvalid, "")
			check(Identify{UserID: "ada", Traits: Traits{"v": v}}, ErrInvalid, "")
			check(Screen{UserID: "ada", Context: Context{"v": v}}, ErrInvalid, "")
		}
		check(Raw(nil), ErrInvalid, "")
		check(Raw(`{"messageId":`), ErrInvalid, `{"messageId":`)
		check(Raw(`[1]`), ErrInvalid, `[1]`)
		check(Raw(`null`), ErrInvalid, `null`)
		check(Raw(`{"messageId":""}`), ErrInvalid, `{}`[:1])
		check(Track{UserID: "ada", Event: "seen", Properties: Properties{"v": strings.Repeat("y", 32<<10)}}, ErrTooLarge, "yyy")
		c.Track(t.Context(), event("0"))
		c.Track(t.Context(), event("1"))
		check(event("2"), ErrQueueFull, `"messageId":"2"`)
		closed(t, c)
		check(event("3"), ErrClosed, `"messageId":"3"`)
		st := c.Stats()
		if st.TooLarge != 1 || st.QueueFull != 1 || st.Closed != 1 || st.Invalid != uint64(r.len()-5) || st.NotStored != 2 || st.Queued != 2 {
			t.Errorf("%+v, %d reported", st, r.len())
		}
	})
}

func TestAQueueFullOfBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, r := client(t, &stream{}, QueueLimit(1000, 1000), Batch(10, 1000), MaxEvent(1000))
		for _, id := range numbers(100) {
			c.Track(t.Context(), event(id))
			if st := c.Stats(); st.WaitingBytes > 1000 {
				t.Fatalf("%+v", st)
			}
		}
		if st := c.Stats(); st.QueueFull == 0 || st.Queued == 0 || st.QueueFull+st.Queued != 100 || r.len() != int(st.QueueFull) {
			t.Errorf("%+v", st)
		}
		if err := c.Flush(t.Context()); err != nil {
			t.Error(err)
		}
		if _, err := c.Submit(t.Context(), event("100")).Wait(t.Context()); err != nil {
			t.Errorf("there is room again: %v", err)
		}
		closed(t, c)
	})
}

func TestANilClient(t *testing.T) {
	var c *Client
	ctx := t.Context()
	c.Track(ctx, Track{})
	c.Identify(ctx, Identify{})
	c.Page(ctx, Page{})
	c.Screen(ctx, Screen{})
	c.Group(ctx, Group{})
	c.Alias(ctx, Alias{})
	if _, err := c.Submit(ctx, nil).Wait(ctx); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	if err := errors.Join(c.Flush(ctx), c.Close(ctx)); err != nil || c.Stats() != (Stats{}) {
		t.Error(err, c.Stats())
	}
}

func TestANilContext(t *testing.T) {
	s := &stream{}
	c, _ := client(t, s)
	var none context.Context
	c.Track(none, event("0"))
	closed(t, c)
	if len(s.stored(t)) != 1 {
		t.Error("it is not stored")
	}
}

// What a user did has happened, also when their request was cut.
func TestAContextThatIsDone(t *testing.T) {
	s := &stream{}
	c, _ := client(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c.Track(ctx, event("0"))
	closed(t, c)
	if len(s.stored(t)) != 1 {
		t.Error("it is not stored")
	}
}

func TestWhatNewRefuses(t *testing.T) {
	check := func(source, want string, opts ...Option) {
		t.Helper()
		c, err := start((&stream{}).way(), source, opts)
		if want == "" && err == nil {
			closed(t, c)
			return
		}
		if err == nil || want == "" || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", source, err, want)
		}
	}
	check("shop-1_A", "")
	for _, source := range []string{"", "a.b", "*", ">", "a b", "ä", strings.Repeat("x", 65)} {
		check(source, "source")
	}
	check("shop", "OnError", OnError(nil))
	check("shop", "Prefix", Prefix("a.b"))
	check("shop", "QueueLimit", QueueLimit(0, 1))
	check("shop", "Batch", Batch(1, 0))
	check("shop", "MaxEvent", MaxEvent(-1))
	check("shop", "Linger", Linger(-1))
	check("shop", "InFlight", InFlight(0))
	check("shop", "AckWait", AckWait(0))
	check("shop", "GiveUpAfter", GiveUpAfter(0))
	check("shop", "must hold an event", MaxEvent(1<<20))
	check("shop", "must hold a message", QueueLimit(10, 64<<10))
	if _, err := New(nil, "shop"); err == nil {
		t.Error("New takes no connection")
	}
}
