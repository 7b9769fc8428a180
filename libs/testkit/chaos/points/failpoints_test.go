//go:build failpoint

package points

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/millrace/millrace/libs/failpoint"
	"github.com/millrace/millrace/libs/testkit"
)

// way is how a point is reached where events alone do not lead there.
type way struct {
	kind      kind
	natsFirst bool // events come over NATS before any over HTTP
	// passage is at which passage the point acts, 0 for the first.
	passage int
	// with are points that must act before.
	with []string
	// begun brings about a state that the process is to find, with a load that is
	// looked at in the end too.
	begun func(t *testing.T, m *mill, prefix string) *load
	// before is what somebody else does before.
	before func(t *testing.T, m *mill, victim *process, l *load)
	// args are further arguments of the process.
	args []string
}

// lostReply makes the indexer doubt an insert that succeeded.
const lostReply = string(failpoint.IndexerInsertAfter) + "=error"

var ways = map[failpoint.Name]way{
	failpoint.EnricherSettleBefore:      {with: []string{string(failpoint.EnricherPublishAfter) + "=error"}},
	failpoint.EnricherSettleAfter:       {with: []string{string(failpoint.EnricherPublishAfter) + "=error"}},
	failpoint.EnricherLetterBefore:      {kind: refused},
	failpoint.EnricherLetterAfter:       {kind: refused},
	failpoint.EnricherLetterSendBefore:  {kind: refused, passage: 2}, // of two of a frame the first is on its way
	failpoint.EnricherLetterSendAfter:   {kind: refused, passage: 2},
	failpoint.EnricherDeadOutBefore:     {kind: refused},
	failpoint.EnricherDeadOutAfter:      {kind: refused},
	failpoint.IndexerRereadBefore:       {begun: openBlock},
	failpoint.IndexerRereadAfter:        {begun: openBlock},
	failpoint.IndexerLedgerBefore:       {passage: 2}, // the first is the takeover's
	failpoint.IndexerLedgerAfter:        {passage: 2},
	failpoint.IndexerConfirmBefore:      suspended,
	failpoint.IndexerConfirmAfter:       suspended,
	failpoint.IndexerCountBefore:        {with: []string{lostReply}},
	failpoint.IndexerCountAfter:         {with: []string{lostReply}},
	failpoint.IndexerListBefore:         vanished("cityHash64(event_id) % 2 = 0"),
	failpoint.IndexerListAfter:          vanished("cityHash64(event_id) % 2 = 0"),
	failpoint.IndexerAttemptBefore:      vanished("1"),
	failpoint.IndexerAttemptAfter:       vanished("1"),
	failpoint.IndexerProbeBefore:        {kind: poisoned, passage: 2},
	failpoint.IndexerProbeAfter:         {kind: poisoned, passage: 2},
	failpoint.IndexerExcludeBefore:      {kind: poisoned},
	failpoint.IndexerExcludeAfter:       {kind: poisoned},
	failpoint.IndexerBuryBefore:         {kind: poisoned},
	failpoint.IndexerBuryAfter:          {kind: poisoned},
	failpoint.IndexerTrimEnrichedBefore: {kind: bulky},
	failpoint.IndexerTrimEnrichedAfter:  {kind: bulky},
	failpoint.IndexerTrimRawBefore:      {kind: bulky},
	failpoint.IndexerTrimRawAfter:       {kind: bulky},
	failpoint.IndexerDeadInsertBefore:   {kind: refused},
	failpoint.IndexerDeadInsertAfter:    {kind: refused},
	failpoint.IndexerDeadAckBefore:      {kind: refused},
	failpoint.IndexerDeadAckAfter:       {kind: refused},
	failpoint.IndexerTrimDeadBefore:     {kind: refused, args: keepNothing},
	failpoint.IndexerTrimDeadAfter:      {kind: refused, args: keepNothing},
}

// vanished: the reply to an insert is lost, and before the indexer counts, rows
// of which a condition is true vanish while ClickHouse keeps their token, as if
// it was killed at the wrong moment.
func vanished(which string) way {
	return way{
		with: []string{lostReply, string(failpoint.IndexerCountBefore) + "=stop"},
		before: func(t *testing.T, m *mill, victim *process, l *load) {
			testkit.Eventually(t, "the indexer stops before it counts", func() bool {
				return victim.fired(failpoint.IndexerCountBefore, "stop") && victim.stopped()
			})
			m.db.Exec("ALTER TABLE events DELETE WHERE startsWith(event_id, '" + l.prefix + "') AND " + which + " SETTINGS mutations_sync = 1")
			victim.signal(syscall.SIGCONT)
		},
	}
}

// suspended: before an insert the clock goes on, as for a machine that is
// suspended, and then the reply is lost.
var suspended = way{
	with: []string{string(failpoint.IndexerInsertBefore) + "=stop", lostReply},
	before: func(t *testing.T, m *mill, victim *process, _ *load) {
		testkit.Eventually(t, "the indexer stops before it inserts", func() bool {
			return victim.fired(failpoint.IndexerInsertBefore, "stop") && victim.stopped()
		})
		m.set(t, time.Minute)
		time.Sleep(100 * time.Millisecond) // the file is read again every 50 ms
		victim.signal(syscall.SIGCONT)
		t.Cleanup(func() { m.set(t, 0) })
	},
}

// openBlock: an indexer died between an intent and its insert.
func openBlock(t *testing.T, m *mill, prefix string) *load {
	t.Helper()
	m.on["indexer"].end()
	first := m.start(t, "indexer", string(failpoint.IndexerIntentAfter)+"=kill")
	m.on["indexer"] = first
	l := newLoad(prefix, plain)
	if err := l.run(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "the indexer is killed", first.killed)
	m.forget(t, "indexer")
	return l
}

// keepNothing of what is proven.
var keepNothing = []string{"--keep=1ms", "--trim-every=1ms"}

// Every point of every service, with every action: what was accepted is there,
// each event once. Nothing else is broken meanwhile, so that a row that fails
// names the arrow.
func TestFailpoints(t *testing.T) {
	m := newMill(t, false)
	for i, point := range failpoint.Names() {
		service, _, _ := strings.Cut(string(point), ".")
		actions := []string{"kill", "stop"}
		if failpoint.CanFail(point) {
			actions = append(actions, "error")
		}
		for _, action := range actions {
			t.Run(string(point)+"/"+action, func(t *testing.T) {
				m.pass(t, service, point, action, ways[point], fmt.Sprintf("p%d%s", i, action[:1]))
			})
			if !bothDoors[point] {
				continue
			}
			t.Run(string(point)+"/"+action+"/nats", func(t *testing.T) {
				m.pass(t, service, point, action, way{natsFirst: true}, fmt.Sprintf("n%d%s", i, action[:1]))
			})
		}
	}
}

// bothDoors are the points that a frame passes whatever door its events took.
var bothDoors = map[failpoint.Name]bool{
	failpoint.IngesterPublishBefore: true, failpoint.IngesterPublishAfter: true,
	failpoint.IngesterAckBefore: true, failpoint.IngesterAckAfter: true,
}

// pass lets a fresh process of the service come to the point under load, and
// checks what came of it.
func (m *mill) pass(t *testing.T, service string, point failpoint.Name, action string, w way, prefix string) {
	var found *load
	if w.begun != nil {
		found = w.begun(t, m, prefix+"o-")
	}
	m.on[service].end()
	arm := fmt.Sprintf("%s=%s@%d", point, action, max(w.passage, 1))
	victim := m.startWith(t, service, w.args, append([]string{arm}, w.with...)...)
	m.on[service] = victim
	t.Cleanup(func() {
		if t.Failed() {
			victim.tell(t)
			m.on[service].tell(t)
		}
		if victim != m.on[service] {
			victim.signal(syscall.SIGKILL)
		}
	})
	first := newLoad(prefix+"a-", w.kind)
	first.natsFirst = w.natsFirst
	sent := make(chan error, 1)
	go func() { sent <- first.run(t.Context(), m) }() // ends after its own timeout
	if w.before != nil {
		w.before(t, m, victim, first)
	}
	testkit.Eventually(t, "the point is passed", func() bool { return victim.fired(point, action) })
	switch action {
	case "kill":
		testkit.Eventually(t, "the process is killed", victim.killed)
	case "stop":
		testkit.Eventually(t, "the process is stopped", victim.stopped)
	}
	if action != "error" {
		m.forget(t, service)
		m.on[service] = m.start(t, service)
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	m.exact(t, first)
	if found != nil {
		m.exact(t, found)
	}
	if action != "stop" {
		return
	}
	// The paused one wakes up behind its twin.
	victim.signal(syscall.SIGCONT)
	second := newLoad(prefix+"b-", plain)
	if err := second.run(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	m.exact(t, second)
	victim.end()
	m.exact(t, first)
}
