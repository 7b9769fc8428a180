package recovery

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/event/frame"
	"github.com/millrace/millrace/libs/localdb"
	"github.com/millrace/millrace/libs/testkit"
	"github.com/millrace/millrace/libs/testkit/proxy"
)

const poison = `{"userId":"ann","event":"Poison","messageId":"poison-1","properties":{"poison":"yes"}}`

func (m *mill) taste() {
	m.db.Exec("ALTER TABLE events ADD CONSTRAINT taste CHECK properties['poison'] = ''")
}

// The indexer was ended after the ledger had a row that ClickHouse refused, and
// before its dead letter was out.
func TestARefusedRowWithoutItsLetter(t *testing.T) {
	m := newMill(t)
	m.taste()
	m.start()
	m.send(20)
	m.settled()
	m.post(poison)
	m.settled()
	m.stop()
	js := m.nats.Connect()
	var intent []byte
	for msg, err := range each(t.Context(), js, m.names.StreamLedger(), "", 1) {
		m.must(err)
		rec, err := bus.DecodeRecord(msg.data)
		m.must(err)
		if rec.Open != nil && len(rec.Open.Excluded) > 0 {
			intent = msg.data
		}
	}
	if intent == nil {
		t.Fatal("no record excludes the row")
	}
	m.must(js.DeleteStream(t.Context(), m.names.StreamLedger()))
	_, err := bus.Provision(t.Context(), js, m.names, plan())
	m.must(err)
	_, err = js.Publish(t.Context(), m.names.Ledger(0), intent) // its end was this then
	m.must(err)
	m.db.Exec("TRUNCATE TABLE dead_letters_log")
	m.must(js.DeleteStream(t.Context(), m.names.StreamDead()))
	m.recovered(DoMove)
	if r := m.exact(0); r.Dead != 1 {
		t.Errorf("%d dead letters, want 1", r.Dead)
	}
	if m.db.Count("SELECT count() FROM dead_letters WHERE stage = 'indexer' AND reason = 'row_refused' AND detail LIKE '%taste%'") != 1 {
		t.Error("the dead letter does not say why")
	}
}

// A row that ClickHouse refuses, of a frame that no indexer has seen, does not
// keep anybody from recovering.
func TestARefusedRowThatWasNeverInserted(t *testing.T) {
	m := newMill(t)
	m.start()
	m.send(20)
	m.settled()
	m.stop()
	m.start("ingester", "enricher")
	m.send(10)
	m.post(poison + "\n" + `{"userId":"ann","event":"Beside","messageId":"beside-1"}`)
	m.send(10)
	m.answered()
	m.stop()
	m.taste()
	m.must(m.nats.Connect().DeleteStream(t.Context(), m.names.StreamDead()))
	m.recovered(DoMove)
	if r := m.exact(0); r.Dead != 1 {
		t.Errorf("%d dead letters, want 1", r.Dead)
	}
	if n := m.db.Count("SELECT count() FROM events WHERE event = 'Beside'"); n != 1 {
		t.Errorf("%d rows of the event beside it", n)
	}
}

// NATS is an older one, and publishers used numbers of IN again before anybody
// recovered: their events are new ones.
func TestTheNATSDoorGaveNumbersAgain(t *testing.T) {
	m := newMill(t)
	publish := func(n int) {
		js := m.nats.Connect()
		for i := range n {
			_, err := js.Publish(t.Context(), m.names.In("shop"), fmt.Appendf(nil, `{"userId":"u%d","event":"In","properties":{"i":%d}}`, i%7, i))
			m.must(err)
		}
	}
	m.start()
	publish(30)
	m.settledIn(30)
	m.stop()
	publish(10) // they wait
	before := m.backup("")
	m.start()
	publish(30)
	m.settledIn(70)
	m.stop()
	m.restore(before)
	publish(20)
	m.recovered(DoMove)
	m.start()
	m.settledIn(90)
	r := m.exact(0)
	if r.Repeats != 10 {
		t.Errorf("%d repeats, want the 10 that waited", r.Repeats)
	}
	if n, d := m.db.Count("SELECT count() FROM events WHERE event = 'In'"), m.db.Count("SELECT uniqExact(event_id) FROM events WHERE event = 'In'"); n != 90 || d != 90 {
		t.Errorf("%d rows with %d ids, want 90", n, d)
	}
}

// A pause does not make ids forgotten: after it senders repeat what they had
// sent before.
func TestIDsFromBeforeAPause(t *testing.T) {
	m := newMill(t)
	m.twoHalves()
	m.db.Exec("CREATE TABLE before AS events")
	m.db.Exec("INSERT INTO before SELECT * REPLACE(received_at - INTERVAL 90 MINUTE AS received_at) FROM events")
	m.db.Exec("TRUNCATE TABLE events")
	m.db.Exec("INSERT INTO events SELECT * FROM before")
	m.restore(map[string]string{"": ""})
	m.start()
	m.send(1)
	m.stop()
	m.recovered(DoMove)
	m.start()
	for i := 1; i <= 110; i++ {
		m.post(fmt.Sprintf(`{"userId":"u%d","event":"Sent","messageId":"event-%d","properties":{"n":%d}}`, i%13, i, i))
	}
	if r := m.exact(0); r.Repeats != 110 {
		t.Errorf("%d repeats, want 110", r.Repeats)
	}
}

// An insert whose answer did not come may still be under way when it is sent
// again.
func TestALateInsertIsNoSecondOne(t *testing.T) {
	db := testkit.StartClickHouse(t)
	p := testkit.StartProxy(t, db.Addrs().Native)
	table, err := openTable(t.Context(), db.Config(localdb.WriterUser, p), false)
	if err != nil {
		t.Fatal(err)
	}
	defer table.close()
	table.patience = time.Second
	rows := make([]testkit.Row, 20_000)
	for i := range rows {
		rows[i] = testkit.Row{Source: "shop", Event: "order placed", UserID: "u" + strconv.Itoa(i), Timestamp: time.Unix(1_770_000_000, 0)}
	}
	block := testkit.Block(0, 1, rows...)
	middle := testkit.InsertedRows
	middle.After = block.Size() / 2
	p.StallInside(proxy.Up, 2, middle)
	if err := table.send(t.Context(), testkit.Block(0, 2, rows...), "another"); err == nil {
		t.Fatal("nothing was held back")
	}
	if err := table.insert(t.Context(), 1, 0, block, 1, 1); err != nil {
		t.Fatal(err)
	}
	if n := p.Stats().Inside; n != 2 {
		t.Fatalf("%d inserts were held back", n)
	}
	p.Heal()
	testkit.Eventually(t, "late inserts arrive", func() bool { return db.Count("SELECT count() FROM events WHERE _seq = 2") > 0 })
	if n := db.Count("SELECT count() FROM events WHERE _seq = 1"); n != uint64(len(rows)) {
		t.Errorf("%d rows, want %d", n, len(rows))
	}
}

// RAW_0 was made anew with fewer shards than there are: the other streams know
// better, and where none does the user has to say it.
func TestTooFewShards(t *testing.T) {
	m := newMill(t)
	m.twoHalves()
	js := m.nats.Connect()
	m.must(js.DeleteStream(t.Context(), m.names.StreamRaw(0)))
	one := plan()
	one.Shards = 1
	if _, err := bus.Provision(t.Context(), js, m.names, one); err == nil {
		t.Fatal("the streams fit together")
	}
	m.recovered(DoMove)
	m.exact(0)

	m.stop()
	m.restore(map[string]string{"": ""})
	fewer := func(c *Config) { c.Plan.Shards = 1 }
	if _, err := m.apply(fewer); !errors.Is(err, ErrShards) {
		t.Errorf("with one shard: %v", err)
	}
	if _, err := bus.Provision(t.Context(), m.nats.Connect(), m.names, one); err != nil {
		t.Fatal(err)
	}
	if _, err := m.apply(fewer); !errors.Is(err, ErrShards) {
		t.Errorf("with streams of one shard: %v", err)
	}
	m.recovered(DoMove) // with --shards 2
	m.exact(0)
}

// What is to be appended has to fit into RAW, and that is seen to before
// anything is cut away.
func TestRoomInRaw(t *testing.T) {
	m := newMill(t)
	m.twoHalves()
	v, err := New(m.config())
	m.must(err)
	r, err := open(t.Context(), v.cfg)
	m.must(err)
	defer r.close()
	m.must(r.clearCopies(t.Context()))
	size := r.planOf(r.inst).Sizes.Raw
	d := decision{Shards: make([]decidedShard, shards)}
	for i := range 5 {
		m.must(r.copy(t.Context(), m.names.RecoveryIDs(1), againFrame{"1", 0, []byte(strconv.Itoa(i))}))
		d.Shards[1].ids = append(d.Shards[1].ids, size/8)
	}
	d.Shards[1].IDs = 5
	d.Shards[0].bytes = size - 1
	m.must(r.makeRoom(t.Context(), &d))
	if d.RawSize != 2*(size-1) || d.Shards[1].IDs != 3 {
		t.Errorf("RAW gets %d bytes, and %d frames of ids", d.RawSize, d.Shards[1].IDs)
	}
	var left []string
	for msg, err := range each(t.Context(), r.js, m.names.StreamRecovery(), m.names.RecoveryIDs(1), 1) {
		m.must(err)
		left = append(left, string(msg.data))
	}
	if got := strings.Join(left, ""); got != "234" {
		t.Errorf("of the frames of ids %s are left", got)
	}
	d.Shards[0].bytes = 1 << 60
	if err := r.makeRoom(t.Context(), &d); !errors.Is(err, ErrRoom) {
		t.Errorf("it cannot be had, and it says %v", err)
	}
}

// A frame of a newer Millrace is none that cannot be read.
func TestNewerFrames(t *testing.T) {
	m := newMill(t)
	m.twoHalves()
	header := nats.Header{bus.HeaderCodec: {strconv.Itoa(frame.Codec + 1)}}
	_, err := m.nats.Connect().PublishMsg(t.Context(), &nats.Msg{Subject: m.names.Raw(0), Header: header, Data: []byte("new")})
	m.must(err)
	if _, err := m.apply(); !errors.Is(err, ErrNewer) {
		t.Errorf("it says %v", err)
	}
}

// One table is gone: the other one's rows are counted all the same, and nothing
// is done until it is there.
func TestOneTableIsGone(t *testing.T) {
	m := newMill(t)
	m.twoHalves()
	m.db.Exec("DROP TABLE dead_letters_log")
	rep := m.look()
	if rep.Shards[0].Rows+rep.Shards[1].Rows != 110 || len(rep.Problems) != 1 || !strings.Contains(rep.Problems[0], "dead_letters_log") {
		t.Errorf("it found %+v", rep)
	}
	if _, err := m.apply(); !errors.Is(err, ErrNoTables) {
		t.Errorf("it says %v", err)
	}
	if _, err := bus.Open(t.Context(), m.nats.Connect(), m.names); err != nil {
		t.Errorf("the streams are shut: %v", err)
	}
}
