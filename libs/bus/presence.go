package bus

import (
	"context"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// presentEvery is the time between two signs of life of a process that holds no
// lease, as renewing is that of one that does.
const presentEvery = 2 * time.Second

// subjectMember is the key of one process of a service, as the subject behind
// it: whoever says it needs no right to read the bucket.
func (n Names) subjectMember(service, instance string) string {
	return "$KV." + n.BucketLeases() + "." + service + ".member." + instance
}

// Present shows a sign of life of a process of a service that has no leases
// every two seconds until ctx is done, and then says that it is gone. Its error
// is ctx's. instance is unique in every life. While NATS is away nobody can be
// told; that is seen by others themselves.
func Present(ctx context.Context, js jetstream.JetStream, names Names, service, instance string) error {
	say := func(ctx context.Context, msg *nats.Msg) {
		ctx, cancel := context.WithTimeout(ctx, presentEvery)
		defer cancel()
		msg.Subject = names.subjectMember(service, instance)
		_, _ = js.PublishMsg(ctx, msg, jetstream.WithRetryAttempts(0)) // the next one says the same
	}
	tick := time.NewTicker(presentEvery)
	defer tick.Stop()
	for {
		say(ctx, &nats.Msg{Data: []byte(instance)})
		select {
		case <-ctx.Done():
			// As a bucket's client deletes a key. If it is lost, silence says it.
			say(context.WithoutCancel(ctx), &nats.Msg{Header: nats.Header{"KV-Operation": {"DEL"}}})
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// Members is how many processes of a service give signs of life, and for how
// long there has been none; known is false while the bucket cannot be watched.
func (o *Observer) Members(service string) (alive int, silent time.Duration, known bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.complete || o.troubled {
		return 0, 0, false
	}
	heard, ok := o.asked[service]
	if !ok { // the silence begins with the first look
		heard = time.Now()
		o.asked[service] = heard
	}
	for key, s := range o.seen {
		if !strings.HasPrefix(key, service+".member.") {
			continue
		}
		if s.at.After(heard) {
			heard = s.at
		}
		if s.value != "" && time.Since(s.at) < OwnerSilence {
			alive++
		}
	}
	return alive, time.Since(heard), true
}
