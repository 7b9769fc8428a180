package recovery

import (
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/event"
	"github.com/millrace/millrace/libs/event/frame"
)

// frames are judged this many at a time, or as many as these bytes hold.
const (
	windowFrames = 256
	windowBytes  = 16 << 20
)

// outcome is what comes of a window of frames.
type outcome struct {
	from, to uint64
	absent   *frame.Block // rows to insert under their own numbers
	moved    *frame.Block // rows to insert under free ones
	letters  []bus.DeadLetter
	again    []againFrame
	// raw is what RAW holds of frames of absent that were not proven.
	raw map[uint64]*message
}

// againFrame is a frame of RAW to be appended once more: all of it, or some of
// its events.
type againFrame struct {
	codec  string
	events int
	body   []byte
}

// walk judges every frame that the streams hold of a shard and hands over what
// is to be done, window by window.
func (r *run) walk(ctx context.Context, s *shard, do func(*outcome) error) error {
	w := newWalker(r, s)
	var window []pair
	size := 0
	flush := func() error {
		if len(window) == 0 {
			return nil
		}
		out, err := w.judge(ctx, window)
		if err == nil {
			err = do(out)
		}
		window, size = window[:0], 0
		return err
	}
	told := time.Now()
	for p, err := range pairs(each(ctx, r.js, r.names.StreamRaw(s.id), "", 1), each(ctx, r.js, r.names.StreamEnriched(s.id), "", 1)) {
		if err != nil {
			return err
		}
		for _, m := range []*message{p.raw, p.enriched} {
			if m == nil {
				continue
			}
			size += len(m.data)
			if codec, err := strconv.Atoi(m.header.Get(bus.HeaderCodec)); err == nil && codec > frame.Codec {
				return fmt.Errorf("%w: frame %d has codec %d, this one knows %d", ErrNewer, p.seq, codec, frame.Codec)
			}
		}
		window = append(window, p)
		if len(window) == windowFrames || size >= windowBytes {
			if err := flush(); err != nil {
				return err
			}
			if time.Since(told) > time.Second {
				told = time.Now()
				r.cfg.Progress(fmt.Sprintf("shard %d: frame %d of %d", s.id, p.seq, s.rep.Highest))
			}
		}
	}
	if err := flush(); err != nil {
		return err
	}
	// The numbers after the last frame that a stream holds.
	if err := w.between(ctx, s.rep.Highest); err != nil {
		return err
	}
	s.unknown.seen(s.rep.Highest + 1)
	return nil
}

// walker judges the frames of one shard.
type walker struct {
	r       *run
	s       *shard
	rows    *frame.View
	raw     *frame.View
	scanner *event.Scanner
	ev      event.Event
	place   uint64 // the frame judged last
}

func newWalker(r *run, s *shard) *walker {
	// The counts are of one walk.
	rep := &s.rep
	rep.Insert, rep.InsertProven, rep.Letters, rep.LettersProven, rep.Renumber = 0, 0, 0, 0, 0
	rep.Again, rep.AgainFrames, rep.AgainProven, rep.Found, rep.LostLetters, rep.repeats = 0, 0, 0, 0, 0, 0
	s.lettersLow, s.salvaged, s.bad = 0, map[key]bool{}, map[string]int{}
	s.free, s.unknown = rep.Highest+1, &gaps{from: rep.Proven + 1}
	return &walker{r: r, s: s, rows: frame.NewView(frame.RowSchema), raw: frame.NewView(frame.RawSchema), scanner: event.NewScanner(event.DefaultLimits())}
}

// there is what is known of the frames of a window beside the streams.
type there struct {
	rows    map[uint64]map[uint32]string
	letters map[letterPlace]string
	known   map[key]time.Time
	coming  map[key]bool // have a row as soon as this window is done
}

func (t *there) has(k key) bool {
	_, ok := t.known[k]
	return ok
}

// dead says whether an event of a frame is a dead letter, and of which stage.
func (w *walker) dead(t *there, seq uint64, idx uint32) (stage string, table, ok bool) {
	for _, inc := range []uint64{w.r.inst.Incarnation, w.s.share.Incarnation} {
		p := letterPlace{inc, seq, idx}
		if stage, ok := t.letters[p]; ok {
			return stage, true, true
		}
		if m, ok := w.r.dead[w.s.id][p]; ok {
			return m.stage, false, true
		}
	}
	return "", false, false
}

// judge decides about a window. Frames that are not answered need a second
// look, because their events may have rows elsewhere.
func (w *walker) judge(ctx context.Context, window []pair) (*outcome, error) {
	out := &outcome{from: window[0].seq, to: window[len(window)-1].seq, absent: frame.NewBlock(frame.RowSchema), moved: frame.NewBlock(frame.RowSchema), raw: map[uint64]*message{}}
	t := &there{coming: map[key]bool{}}
	var err error
	if t.rows, err = w.r.table.rowsOf(ctx, w.s.id, out.from, out.to); err != nil {
		return nil, err
	}
	if t.letters, err = w.r.table.lettersOf(ctx, w.s.id, out.from, out.to); err != nil {
		return nil, err
	}
	// First what may have rows elsewhere, then everything once more with the
	// answer.
	var keys []key
	for i := range window {
		keys = w.doubtful(t, &window[i], keys)
	}
	slices.SortFunc(keys, func(a, b key) int {
		if a.id != b.id {
			return strings.Compare(a.id, b.id)
		}
		return strings.Compare(a.source, b.source)
	})
	if t.known, err = w.r.table.known(ctx, slices.Compact(keys)); err != nil {
		return nil, err
	}
	// What lies before the window was trimmed from both streams, or lost.
	if err := w.between(ctx, out.from-1); err != nil {
		return nil, err
	}
	seqs := map[uint64]bool{}
	for seq := range t.rows {
		seqs[seq] = true
	}
	for p := range t.letters {
		seqs[p.seq] = true
	}
	for i := range window {
		seqs[window[i].seq] = true
		w.decide(t, &window[i], out)
	}
	for _, seq := range slices.Sorted(maps.Keys(seqs)) {
		w.s.unknown.seen(seq)
	}
	w.place = out.to
	return out, nil
}

// between notes of which frames after the last window, up to one, there is
// something in ClickHouse.
func (w *walker) between(ctx context.Context, to uint64) error {
	from := max(w.place, w.s.rep.Proven) + 1
	if from > to {
		return nil
	}
	return w.r.table.seqs(ctx, w.s.id, from, to, w.s.unknown.seen)
}

// answer is an ENRICHED frame as far as it can be read.
type answer struct {
	verdict frame.Verdict
	check   frame.Checkpoint
	// taken: ClickHouse has other rows under its number.
	taken bool
}

// read opens an ENRICHED frame; its rows are in w.rows then.
func (w *walker) read(t *there, p *pair) *answer {
	if p.enriched == nil {
		return nil
	}
	a := &answer{}
	h := p.enriched.header
	err := frame.Decode(h.Get(bus.HeaderVerdict), &a.verdict)
	if err == nil {
		err = frame.Decode(h.Get(bus.HeaderCheckpoint), &a.check)
	}
	var native []byte
	if err == nil {
		native, err = frame.Unpack(nil, p.enriched.data)
	}
	if err == nil {
		err = w.rows.Parse(native)
	}
	if err != nil {
		w.s.note("frames of ENRICHED cannot be read")
		return nil
	}
	a.taken = w.s.foreign && w.rows.Rows() > 0
	ids := map[uint32]string{}
	for i := range w.rows.Rows() {
		ids[w.rows.U32(frame.ColIdx, i)] = string(w.rows.Str(frame.ColEventID, i))
	}
	for idx, id := range t.rows[p.seq] {
		if ids[idx] != id {
			a.taken = true
		}
	}
	return a
}

// answers says whether ENRICHED's frame answers RAW's.
func (a *answer) answers(p *pair) bool {
	return a != nil && (p.raw == nil || p.raw.header.Get(bus.HeaderFrame) == a.check.Frame)
}

// open says whether RAW's frame has to be looked at event by event.
func (w *walker) open(p *pair, a *answer) bool {
	switch {
	case p.raw == nil, a.answers(p) && !a.taken:
		return false
	case a == nil && p.enriched == nil && p.seq <= w.s.rep.Proven:
		// Proven long ago and trimmed there, if nothing speaks against it.
		return w.s.suspect || w.s.short
	}
	return true
}

// doubtful adds the keys of which it must be known whether they have rows.
func (w *walker) doubtful(t *there, p *pair, keys []key) []key {
	a := w.read(t, p)
	if a != nil && (a.taken && (p.raw == nil || !a.answers(p)) || !a.taken && p.seq > w.s.rep.Proven) {
		for i := range w.rows.Rows() {
			if _, ok := t.rows[p.seq][w.rows.U32(frame.ColIdx, i)]; !ok || a.taken {
				keys = append(keys, w.rowKey(i))
			}
		}
	}
	if !w.open(p, a) || !w.readRaw(p) {
		return keys
	}
	for i := range w.raw.Rows() {
		if string(w.raw.Str(frame.RawDoor, i)) != doorRecovery {
			keys = append(keys, w.rawKey(i))
		}
	}
	return keys
}

func (w *walker) rowKey(i int) key {
	return key{string(w.rows.Str(frame.ColSource, i)), string(w.rows.Str(frame.ColEventID, i))}
}

func (w *walker) readRaw(p *pair) bool {
	native, err := frame.Unpack(nil, p.raw.data)
	return err == nil && w.raw.Parse(native) == nil
}

// rawKey is the key of an event of RAW, as the enricher makes it.
func (w *walker) rawKey(i int) key {
	k := key{string(w.raw.Str(frame.RawSource, i)), string(w.raw.Str(frame.RawEventID, i))}
	if len(w.raw.Str(frame.RawReason, i)) > 0 {
		return k
	}
	_ = w.scanner.Scan(w.raw.Str(frame.RawBody, i), &w.ev) // what it refuses, the enricher will
	if len(w.ev.MessageID) > 0 {
		k.id = string(w.ev.MessageID)
	}
	return k
}

// decide says what comes of one frame.
func (w *walker) decide(t *there, p *pair, out *outcome) {
	a := w.read(t, p)
	rep := &w.s.rep
	switch {
	case a == nil:
	case a.taken && p.raw != nil && a.answers(p):
		w.s.note("frames of ENRICHED have numbers under which ClickHouse holds other rows")
	case a.taken:
		w.s.note("frames of ENRICHED have numbers under which ClickHouse holds other rows")
		w.renumber(t, out)
	default:
		w.complete(t, p, a, out)
		if p.seq > rep.Proven {
			rep.repeats += uint64(a.verdict.Repeats)
		}
	}
	if a != nil && p.raw != nil && !a.answers(p) {
		w.s.note("frames of RAW are others than those that ENRICHED answers")
	}
	if w.open(p, a) && !w.s.mends {
		w.again(t, p, a, out)
	}
}

// renumber keeps the rows of a frame whose number is taken and whose question
// is gone: they get a number that was never used.
func (w *walker) renumber(t *there, out *outcome) {
	n := 0
	for i := range w.rows.Rows() {
		if t.has(w.rowKey(i)) {
			w.s.rep.Found++
			continue
		}
		out.moved.AppendRow(w.rows, i)
		_, seqs := out.moved.Column(frame.ColSeq)
		binary.LittleEndian.PutUint64(seqs[0][len(seqs[0])-8:], w.s.free) // of the row added last
		n++
	}
	if n > 0 {
		w.s.rep.Renumber += uint64(n)
		w.s.free++
	}
}

// again collects the events of a RAW frame that are neither rows nor dead
// letters.
func (w *walker) again(t *there, p *pair, a *answer, out *outcome) {
	rep := &w.s.rep
	// Its number was given before: a dead letter there is another event's.
	strange := w.s.suspect || a != nil && a.taken
	codec := p.raw.header.Get(bus.HeaderCodec)
	if !w.readRaw(p) {
		if _, _, ok := w.dead(t, p.seq, 0); ok {
			return
		}
		n := 1
		_, _ = fmt.Sscanf(p.raw.header.Get(bus.HeaderEvents), "%d", &n) // as the enricher: 1 when it says nothing
		out.again = append(out.again, againFrame{codec, max(n, 1), p.raw.data})
		rep.Again += uint64(max(n, 1))
		rep.AgainFrames++
		return
	}
	left := frame.NewBlock(frame.RawSchema)
	for i := range w.raw.Rows() {
		if string(w.raw.Str(frame.RawDoor, i)) == doorRecovery {
			continue // an id of an earlier recovery and no event
		}
		k := w.rawKey(i)
		id, row := t.rows[p.seq][uint32(i)]
		switch _, _, dead := w.dead(t, p.seq, uint32(i)); {
		case row && id == k.id: // it is this event's row
		case (t.has(k) || t.coming[k]) && len(w.raw.Str(frame.RawReason, i)) == 0:
			rep.Found++
			if p.seq > rep.Proven {
				rep.repeats++
			}
		case dead && !strange:
		default:
			left.AppendRow(w.raw, i)
			rep.Again++
			if p.seq <= rep.Proven && !strange && !w.s.salvaged[k] {
				w.s.salvaged[k] = true
				rep.AgainProven++
			}
		}
	}
	if left.Rows() == 0 {
		return
	}
	rep.AgainFrames++
	out.again = append(out.again, againFrame{codec, left.Rows(), frame.Pack(nil, left.AppendNative(nil))})
}
