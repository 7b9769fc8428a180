package track_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/millrace/millrace/libs/track"
)

var (
	client *track.Client
	ctx    context.Context
)

// The whole life of a client.
func Example() {
	nc, err := nats.Connect("nats://127.0.0.1:4222", nats.MaxReconnects(-1), nats.CustomInboxPrefix("_INBOX_shop"))
	if err != nil {
		panic(err)
	}
	defer nc.Close()
	client, err := track.New(nc, "shop", track.OnError(func(event []byte, err error) {
		slog.New(slog.NewTextHandler(os.Stderr, nil)).Error("an event is not stored", "event", string(event), "err", err)
	}))
	if err != nil {
		panic(err)
	}
	client.Track(context.Background(), track.Track{
		UserID: "ada", Event: "Order Completed", Properties: track.Properties{"total": 12.5},
	})

	closing, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := client.Close(closing); err != nil {
		panic(err)
	}
}

// Every kind of message.
func ExampleClient() {
	client.Track(ctx, track.Track{UserID: "ada", Event: "Order Completed", Properties: track.Properties{"total": 12.5}})
	client.Identify(ctx, track.Identify{UserID: "ada", AnonymousID: "a-1", Traits: track.Traits{"plan": "pro"}})
	client.Page(ctx, track.Page{AnonymousID: "a-1", Name: "Cart", Properties: track.Properties{"path": "/cart"}})
	client.Screen(ctx, track.Screen{UserID: "ada", Name: "Home"})
	client.Group(ctx, track.Group{UserID: "ada", GroupID: "acme", Traits: track.Traits{"seats": 3}})
	client.Alias(ctx, track.Alias{UserID: "ada", PreviousID: "ada@example.org"})
}

// A question about what was just sent: the query service answers when the rows
// of the receipt are in ClickHouse.
func ExampleClient_Submit() {
	receipt, err := client.Submit(ctx, track.Track{UserID: "ada", Event: "Order Completed"}).Wait(ctx)
	if err != nil {
		panic(err)
	}
	fmt.Println("http://127.0.0.1:8090/v1/sql?after=" + receipt.String())
}

// What an application may do with events that are not stored: what may be tried
// again is kept for later, the rest is a mistake to be seen.
func ExampleOnError() {
	var (
		keep   chan track.Raw // has room for some
		logger *slog.Logger
	)
	_ = track.OnError(func(event []byte, err error) {
		switch {
		case errors.Is(err, track.ErrTooLarge), errors.Is(err, track.ErrInvalid):
			logger.Error("an event cannot be stored", "event", string(event), "err", err)
		default:
			select {
			case keep <- event: // client.Submit(ctx, event) later: its messageId makes a second one a repeat
			default:
				logger.Error("an event is lost", "event", string(event), "err", err)
			}
		}
	})
}

// A middleware that says of all events of a request where it came from.
func ExampleWithContext() {
	handler := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		client.Track(r.Context(), track.Track{UserID: "ada", Event: "Searched"})
	})
	_ = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := track.WithContext(r.Context(), track.Context{"ip": r.RemoteAddr, "userAgent": r.UserAgent()})
		handler.ServeHTTP(w, r.WithContext(ctx))
	})
}
