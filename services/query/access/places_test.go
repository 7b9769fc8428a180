package access

import (
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/millrace/libs/bus/writekey"
	"github.com/millrace/millrace/services/query/problem"
)

func status(err error) int {
	if err == nil {
		return http.StatusOK
	}
	var p *problem.Problem
	if !errors.As(err, &p) {
		return 0
	}
	return p.Status
}

// TestPlaces: one key of several has a quarter, the only one has all.
func TestPlaces(t *testing.T) {
	ring, err := New(Config{APIKeys: []string{"the first key there is"}})
	if err != nil {
		t.Fatal(err)
	}
	only, _ := ring.Lookup("the first key there is")
	places := NewPlaces(8, "questions are running")
	for i := range 8 {
		if _, err := places.Take(only); err != nil {
			t.Fatalf("place %d of the only key: %v", i, err)
		}
	}
	if _, err := places.Take(only); status(err) != http.StatusServiceUnavailable {
		t.Errorf("one more than there are: %v", err)
	}

	var writes writekey.Keys
	if err := writes.Set("shop:a write key,bank:another"); err != nil {
		t.Fatal(err)
	}
	file := write(t, "keys: [{name: a, key: 0123456789abcdef, scopes: [sql], sources: [s]}]")
	if ring, err = New(Config{File: file, WriteKeys: &writes}); err != nil {
		t.Fatal(err)
	}
	a, _ := ring.Lookup("0123456789abcdef")
	places = NewPlaces(8, "questions are running")
	for range 8 { // write keys ask no questions: this one is alone
		if _, err := places.Take(a); err != nil {
			t.Fatal(err)
		}
	}

	if ring, err = New(Config{APIKeys: []string{"the first key there is"}, File: file}); err != nil {
		t.Fatal(err)
	}
	first, _ := ring.Lookup("the first key there is")
	a, _ = ring.Lookup("0123456789abcdef")
	places = NewPlaces(8, "questions are running")
	var leave func()
	for range 2 {
		if leave, err = places.Take(first); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := places.Take(first); status(err) != http.StatusTooManyRequests {
		t.Errorf("more than a quarter: %v", err)
	}
	if _, err := places.Take(a); err != nil {
		t.Errorf("another key: %v", err)
	}
	leave()
	leave() // once counts
	if _, err := places.Take(first); err != nil {
		t.Errorf("after one was given back: %v", err)
	}
	if _, err := places.Take(first); status(err) != http.StatusTooManyRequests {
		t.Errorf("more than a quarter again: %v", err)
	}
	if _, err := NewPlaces(1, "questions are running").Take(first); err != nil {
		t.Errorf("the only place there is: %v", err)
	}
}

// TestSit: a reader is one of the questions that run at the same time, and what it asks itself is not one more.
func TestSit(t *testing.T) {
	k := NewKey("k", nil, Live, SQL)
	k.quota = Quota{Concurrent: 2, PerMinute: 3}
	seated, leave, err := k.Sit()
	if err != nil {
		t.Fatal(err)
	}
	_, leaveToo, err := k.Sit()
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := k.Sit(); status(err) != http.StatusTooManyRequests {
		t.Errorf("a third reader: %v", err)
	}
	if _, err := k.Take(); status(err) != http.StatusTooManyRequests {
		t.Errorf("a question beside two readers: %v", err)
	}
	for i := range 4 {
		done, err := seated.Take()
		if (i == 3) != (status(err) == http.StatusTooManyRequests) {
			t.Errorf("question %d of a reader, with three a minute: %v", i, err)
		}
		if err == nil {
			done()
		}
	}
	leave()
	leave() // once counts
	if _, _, err := k.Sit(); err != nil {
		t.Errorf("after one left: %v", err)
	}
	if _, _, err := k.Sit(); err == nil {
		t.Error("a third reader again")
	}
	leaveToo()
}

// TestWriteKeysAreBounded: whoever has a public key may not ask for the context of everybody at once.
func TestWriteKeysAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var writes writekey.Keys
		if err := writes.Set("shop:a write key"); err != nil {
			t.Fatal(err)
		}
		ring, err := New(Config{WriteKeys: &writes, Writes: Quota{PerSecond: 2, Burst: 5}})
		if err != nil {
			t.Fatal(err)
		}
		k, _ := ring.Lookup("a write key")
		asks := func() (n int) {
			for ; n < 100; n++ {
				done, err := k.Take()
				if err != nil {
					if status(err) != http.StatusTooManyRequests {
						t.Error(err)
					}
					return n
				}
				done()
			}
			return n
		}
		if n := asks(); n != 5 {
			t.Errorf("%d at once, want 5", n)
		}
		time.Sleep(time.Second)
		if n := asks(); n != 2 {
			t.Errorf("%d after a second, want 2", n)
		}
		time.Sleep(time.Hour)
		if n := asks(); n != 5 {
			t.Errorf("%d after an hour, want 5", n)
		}
	})
}
