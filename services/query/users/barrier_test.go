package users

import (
	"context"
	"testing"
	"time"

	"github.com/millrace/millrace/libs/event"
	"github.com/millrace/millrace/libs/testkit"
)

// TestTheBarrier: an event that was stored before the question is in the answer, although the enricher is slower than the
// question: under the user's own id, and under one that is in another shard, which no receipt names.
func TestTheBarrier(t *testing.T) {
	const shards = 4
	r := newRig(t, shards, 0)
	r.door(nil)
	device := "d"
	for event.ShardOf(shop, []byte(device), shards) == event.ShardOf(shop, []byte("ada"), shards) {
		device += "d"
	}
	r.raw(testkit.Row{Source: shop, UserID: "ada"})
	r.publish(testkit.Row{Type: "identify", UserID: "ada", AnonymousID: device, EventID: "identify", Timestamp: time.Now()})
	for _, kept := range []bool{false, true} {
		for _, who := range []testkit.Row{{UserID: "ada"}, {AnonymousID: device}} {
			if !kept {
				(*hook)(r.users).Gap(0)
			}
			late := testkit.Row{Source: shop, Type: "track", Event: "late", EventID: "late", UserID: who.UserID, AnonymousID: who.AnonymousID, Timestamp: time.Now()}
			r.raw(late)
			published := make(chan struct{})
			go func() {
				defer close(published)
				<-time.After(50 * time.Millisecond) // the enricher
				r.publish(late)
			}()
			a, err := r.users.About(t.Context(), User{Source: shop, ID: "ada"}, Options{})
			if err != nil || !a.Complete || a.Recent[0].EventID != "late" || a.Receipt != "" {
				t.Errorf("kept %t, %+v: %+v, %v", kept, who, a, err)
			}
			<-published
		}
	}
	// An ask waits for the other shard too, which its own receipt does not name.
	late := testkit.Row{Source: shop, Type: "track", Event: "late", EventID: "latest", AnonymousID: device, Timestamp: time.Now()}
	r.raw(late)
	published := make(chan struct{})
	go func() {
		defer close(published)
		<-time.After(50 * time.Millisecond)
		r.publish(late)
	}()
	a := r.ask(`{"user_id":"ada","event_type":"help"}`)
	if len(a.Recent) < 2 || a.Recent[1].EventID != "latest" && a.Recent[0].EventID != "latest" || a.Receipt != a.Request.Receipt || !a.Complete {
		t.Errorf("an ask: %+v", a)
	}
	<-published

	// An enricher that stands still is named.
	r.raw(late)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	a, err := r.users.About(ctx, User{Source: shop, ID: "ada"}, Options{})
	if err != nil || a.Complete || len(a.Lacks) != 1 || a.Lacks[0].What != LackTail {
		t.Errorf("%+v, %v", a, err)
	}
	r.publish(late)
	if a, err := r.users.About(ctx, User{Source: shop, ID: "ada"}, Options{}); err != nil || !a.Complete {
		t.Errorf("%+v, %v", a, err)
	}
}
