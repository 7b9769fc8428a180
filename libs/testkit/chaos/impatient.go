package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/millrace/millrace/libs/localdb"
)

// impatient is a producer that never sends a request twice. So it learns what
// the others never do, because they insist: whether a request that was refused
// has left anything behind, and that one without an answer is stored whole or
// in part, but never twice.
type impatient struct {
	lab  *lab
	send func(ctx context.Context, body []byte, events int) error
	// fates of the requests, by number.
	fates []fate
}

// fate is what a producer knows of its request.
type fate string

const (
	taken   fate = "taken"   // 200: each event once
	refused fate = "refused" // 429: no event ever
	unsure  fate = "unsure"  // anything else: each event once or not at all
)

// once marks its events.
const once = "once"

func (p *impatient) run(ctx context.Context) {
	for n := 0; pause(ctx, 150*time.Millisecond); n += perRequest {
		p.one(ctx, n)
	}
}

func (p *impatient) one(ctx context.Context, first int) {
	if p.lab.gate.pass(ctx) != nil {
		return
	}
	defer p.lab.gate.leave()
	var b strings.Builder
	for n := first; n < first+perRequest; n++ {
		fmt.Fprintf(&b, `{"event":"Counted","messageId":"%s-%d","userId":"%s-u%d","properties":{"p":%q,"n":%d}}`+"\n", once, n, once, n%97, once, n)
	}
	err := p.send(context.WithoutCancel(ctx), []byte(b.String()), perRequest)
	switch {
	case err == nil:
		p.fates = append(p.fates, taken)
	case strings.HasPrefix(err.Error(), fmt.Sprint(http.StatusTooManyRequests)):
		p.fates = append(p.fates, refused)
	default:
		p.fates = append(p.fates, unsure)
	}
}

// count is how many events had a fate.
func (p *impatient) count(f fate) (events int) {
	for _, x := range p.fates {
		if x == f {
			events += perRequest
		}
	}
	return events
}

// compareOnce holds what the impatient one was told against the table.
func (l *lab) compareOnce(ctx context.Context, v *verdict) error {
	conn, err := l.db.open(localdb.ReaderUser)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }() // all has been answered
	p := l.once
	have := make([]int, len(p.fates)*perRequest)
	rows, err := conn.Query(ctx, "SELECT event_id, count() FROM events WHERE properties['p'] = ? GROUP BY event_id", once)
	if err == nil {
		err = tallyUp(rows, have, v)
	}
	if err != nil {
		return err
	}
	for n, times := range have {
		f := p.fates[n/perRequest]
		v.Once += times
		switch {
		case f == taken && times == 0:
			v.Lost++
			v.wrong("event %s-%d was acknowledged, and is not there", once, n)
		case f == refused && times > 0:
			v.Strange += times
			v.wrong("event %s-%d was refused, and is there %d times", once, n, times)
		case times > 1:
			v.Doubled += times - 1
			v.wrong("event %s-%d was sent once, and is there %d times", once, n, times)
		}
	}
	v.Refused, v.Unsure = p.count(refused), p.count(unsure)
	letters, err := l.db.number(ctx, "SELECT count() FROM dead_letters WHERE startsWith(JSONExtractString(original, 'messageId'), ?)", once+"-")
	if err == nil && letters > 0 {
		v.wrong("%d dead letters of events that nothing is wrong with", letters)
	}
	return err
}
