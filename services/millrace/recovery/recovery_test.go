package recovery

import (
	"fmt"
	"strings"
	"testing"

	"github.com/millrace/millrace/libs/bus"
)

// twoHalves accepts events, takes a backup of the streams named, and accepts
// more.
func (m *mill) twoHalves(names ...string) map[string]string {
	m.Helper()
	m.start()
	m.send(60)
	m.bad(2)
	m.settled()
	m.stop()
	copies := m.backup(names...)
	m.start()
	m.send(50)
	m.bad(1)
	m.settled()
	m.stop()
	return copies
}

func TestHealthy(t *testing.T) {
	m := newMill(t)
	m.start()
	m.send(40)
	m.bad(2)
	m.settled()
	m.stop()
	before := m.look()
	m.show("found", before)
	if !before.Healthy() {
		t.Fatal("not healthy")
	}
	rep, err := m.apply()
	m.must(err)
	if rep.Applied || rep.Do != DoNothing || rep.File != "" {
		t.Errorf("it did something: %+v", rep)
	}
	m.exact(0)
}

// 1: RAW is an older one.
func TestRawShortened(t *testing.T) {
	m := newMill(t)
	m.restore(m.twoHalves(m.names.StreamRaw(0), m.names.StreamRaw(1)))
	m.recovered(DoMove)
	m.exact(0)
}

// 1 and 7: RAW is an older one, and the door went on with numbers that were
// given before.
func TestRawRewritten(t *testing.T) {
	m := newMill(t)
	m.restore(m.twoHalves(m.names.StreamRaw(0), m.names.StreamRaw(1)))
	m.start("ingester")
	m.send(200) // past the old end
	m.stop()
	m.recovered(DoMove)
	m.exact(0)
}

// 2: ENRICHED is an older one.
func TestEnrichedShortened(t *testing.T) {
	m := newMill(t)
	m.restore(m.twoHalves(m.names.StreamEnriched(0), m.names.StreamEnriched(1)))
	m.recovered(DoMove)
	m.exact(0)
}

// 3: both are, and events come in meanwhile.
func TestBothShortened(t *testing.T) {
	m := newMill(t)
	m.restore(m.twoHalves(m.names.StreamRaw(0), m.names.StreamEnriched(0), m.names.StreamRaw(1), m.names.StreamEnriched(1)))
	m.start()
	m.send(20)
	m.stop()
	m.recovered(DoMove)
	m.exact(0)
}

// 3: and more events than were cut away, so that the ends agree again: dead
// letters that the table has are of other events than those at their places.
func TestBothRewritten(t *testing.T) {
	m := newMill(t)
	m.start()
	m.send(60)
	m.settled()
	m.stop()
	copies := m.backup(m.names.StreamRaw(0), m.names.StreamEnriched(0), m.names.StreamRaw(1), m.names.StreamEnriched(1))
	m.start()
	for i := range 30 { // a dead letter beside a row of one frame
		var body []string
		for _, user := range []string{"ann", "bob", "cid", "dot"} {
			body = append(body, fmt.Sprintf(`{"userId":%q,"event":"Fine","messageId":"fine-%s-%d"}`, user, user, i),
				fmt.Sprintf(`{"userId":%q,"type":"nonsense","event":"Odd","messageId":"odd-%s-%d"}`, user, user, i))
		}
		m.post(strings.Join(body, "\n"))
	}
	m.settled()
	m.stop()
	dead := m.db.Count("SELECT count() FROM dead_letters")
	if dead == 0 {
		t.Fatal("there are no dead letters")
	}
	m.restore(copies)
	m.start("ingester", "enricher") // an indexer would see it
	m.send(600)
	m.answered()
	m.stop()
	m.recovered(DoMove)
	if r := m.exact(0); r.Dead != dead {
		t.Errorf("%d dead letters, want %d", r.Dead, dead)
	}
}

// 4: RAW and ENRICHED of a shard begin at 1 again.
func TestStreamsRecreated(t *testing.T) {
	m := newMill(t)
	m.twoHalves()
	js := m.nats.Connect()
	m.must(js.DeleteStream(t.Context(), m.names.StreamRaw(1)))
	m.must(js.DeleteStream(t.Context(), m.names.StreamEnriched(1)))
	m.start()
	m.send(30)
	m.stop()
	m.recovered(DoMove)
	m.exact(0)
}

// 4: RAW_0, which says what the installation is, is deleted.
func TestTheFirstStreamDeleted(t *testing.T) {
	m := newMill(t)
	m.twoHalves()
	m.must(m.nats.Connect().DeleteStream(t.Context(), m.names.StreamRaw(0)))
	m.recovered(DoMove)
	m.exact(0)
}

// 5: all of NATS is gone.
func TestNATSLost(t *testing.T) {
	m := newMill(t)
	m.twoHalves()
	m.restore(map[string]string{"": ""})
	m.recovered(DoMove)
	m.exact(0)
}

// 5: an event whose row ClickHouse refused is sent again afterwards: it is a
// repeat like any other, not a second dead letter.
func TestARefusedRowIsRepeatedAfterTheRecovery(t *testing.T) {
	m := newMill(t)
	m.taste()
	m.start()
	m.send(20)
	m.post(poison)
	m.settled()
	m.stop()
	m.restore(map[string]string{"": ""})
	m.recovered(DoMove)
	m.start()
	m.post(poison)
	if r := m.exact(0); r.Dead != 1 || r.Repeats != 1 {
		t.Errorf("%d dead letters and %d repeats, want one of each", r.Dead, r.Repeats)
	}
}

// 5: and services went on before anybody noticed.
func TestNATSLostAndGoneOn(t *testing.T) {
	m := newMill(t)
	m.twoHalves()
	m.restore(map[string]string{"": ""})
	m.start()
	m.send(40)
	m.bad(1)
	m.stop()
	m.recovered(DoMove)
	m.exact(0)
}

// 6: the ledger is gone, or an older one.
func TestLedgerLost(t *testing.T) {
	m := newMill(t)
	m.twoHalves()
	m.must(m.nats.Connect().DeleteStream(t.Context(), m.names.StreamLedger()))
	const refused = "SELECT toUInt64(toUnixTimestamp64Milli(max(refused_at))) FROM dead_letters"
	before := m.db.Count(refused)
	m.recovered(DoMove)
	if m.db.Count(refused) != before {
		t.Error("dead letters that ClickHouse had were refused anew")
	}
	m.exact(0)
}

func TestLedgerShortened(t *testing.T) {
	m := newMill(t)
	m.restore(m.twoHalves(m.names.StreamLedger()))
	m.recovered(DoMove)
	m.exact(0)
}

// 8: ClickHouse is an older one, or empty, and ENRICHED holds all.
func TestClickHouseOlder(t *testing.T) {
	m := newMill(t)
	m.start()
	m.send(60)
	m.bad(2)
	m.settled()
	m.stop()
	m.must(m.db.Kill())
	copied := m.copied(m.db.DataDir())
	m.db.Start()
	m.start()
	m.send(50)
	m.bad(1)
	m.settled()
	m.stop()
	m.must(m.db.Kill())
	m.replace(m.db.DataDir(), copied)
	m.db.Start()
	rep := m.recovered(DoMend)
	if rep.Shards[0].InsertProven+rep.Shards[1].InsertProven != 50 {
		t.Errorf("inserted %d and %d rows, want 50 in all", rep.Shards[0].InsertProven, rep.Shards[1].InsertProven)
	}
	m.exact(0)
}

// 8: and the streams no longer hold all of it.
func TestClickHouseEmptiedAndTrimmed(t *testing.T) {
	m := newMill(t)
	m.twoHalves()
	js := m.nats.Connect()
	lost := uint64(0)
	for shard := range shards {
		raw, err := js.Stream(t.Context(), m.names.StreamRaw(shard))
		m.must(err)
		cut := raw.CachedInfo().State.LastSeq / 2
		lost += m.db.Count("SELECT count() FROM events WHERE _shard = ? AND _seq <= ?", shard, cut)
		for _, name := range []string{m.names.StreamRaw(shard), m.names.StreamEnriched(shard)} {
			m.must(bus.Purge(t.Context(), js, name, cut+1))
		}
	}
	m.db.Exec("TRUNCATE TABLE events")
	if lost == 0 {
		t.Fatal("nothing would be lost")
	}
	rep := m.recovered(DoMove)
	if rep.Shards[0].LostRanges == nil && rep.Shards[1].LostRanges == nil {
		t.Error("no ranges are named")
	}
	m.exact(int(lost))
}

// 9: NATS is an older one than ClickHouse.
func TestNATSOlder(t *testing.T) {
	m := newMill(t)
	m.restore(m.twoHalves(""))
	m.recovered(DoMove)
	m.exact(0)
}

// 9: and events came in before anybody noticed.
func TestNATSOlderAndGoneOn(t *testing.T) {
	m := newMill(t)
	m.restore(m.twoHalves(""))
	m.start()
	m.send(25)
	m.stop()
	m.recovered(DoMove)
	m.exact(0)
}

// 9: and senders repeated events that have rows, before anybody noticed and
// longer ago than ids are kept known.
func TestRepeatedBeforeTheRecovery(t *testing.T) {
	m := newMill(t)
	m.restore(m.twoHalves(""))
	m.start("ingester")
	m.sent -= 50
	for range 50 {
		m.send(1) // at other places than the first time
	}
	m.stop()
	m.window = 1
	m.recovered(DoMove)
	m.exact(0)
}

// 4: RAW begins at 1 again where ENRICHED was trimmed: what is new in it looks
// like what was proven long ago.
func TestRawRecreatedBesideATrimmedEnriched(t *testing.T) {
	m := newMill(t)
	m.twoHalves()
	js := m.nats.Connect()
	for shard := range shards {
		s, err := js.Stream(t.Context(), m.names.StreamEnriched(shard))
		m.must(err)
		m.must(bus.Purge(t.Context(), js, m.names.StreamEnriched(shard), s.CachedInfo().State.LastSeq))
	}
	m.must(js.DeleteStream(t.Context(), m.names.StreamRaw(1)))
	m.start("ingester")
	m.send(30)
	m.stop()
	m.recovered(DoMove)
	m.exact(0)
}

// 8: ENRICHED is trimmed, but RAW still has the events.
func TestClickHouseEmptiedAndRawHoldsAll(t *testing.T) {
	m := newMill(t)
	m.twoHalves()
	js := m.nats.Connect()
	for shard := range shards {
		s, err := js.Stream(t.Context(), m.names.StreamEnriched(shard))
		m.must(err)
		m.must(bus.Purge(t.Context(), js, m.names.StreamEnriched(shard), s.CachedInfo().State.LastSeq))
	}
	m.db.Exec("TRUNCATE TABLE events")
	m.recovered(DoMove)
	m.exact(0)
}
