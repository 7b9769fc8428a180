package recovery

import (
	"slices"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/event"
	"github.com/millrace/millrace/libs/event/frame"
)

// complete finds the rows and dead letters of an answered frame that
// ClickHouse lacks.
func (w *walker) complete(t *there, p *pair, a *answer, out *outcome) {
	rep := &w.s.rep
	if w.s.mends && p.seq > rep.Proven {
		return
	}
	excluded := w.s.excluded[bus.Place{Shard: w.s.id, Seq: p.seq}]
	readable := len(excluded)+len(a.verdict.Refused) > 0 && p.raw != nil && a.answers(p) && w.readRaw(p)
	for i := range w.rows.Rows() {
		idx := w.rows.U32(frame.ColIdx, i)
		if _, ok := t.rows[p.seq][idx]; ok {
			continue
		}
		if why, ok := excluded[idx]; ok {
			w.refusedRow(t, p, idx, why, readable, out)
			continue
		}
		if stage, _, ok := w.dead(t, p.seq, idx); ok && stage == stageIndexer {
			continue
		}
		k := w.rowKey(i)
		if p.seq > rep.Proven && t.has(k) {
			rep.Found++
			rep.repeats++
			continue
		}
		out.absent.AppendRow(w.rows, i)
		t.coming[k] = true
		rep.Insert++
		if p.seq <= rep.Proven {
			rep.InsertProven++
		} else if p.raw != nil && a.answers(p) {
			out.raw[p.seq] = p.raw
		}
	}
	if len(a.verdict.Refused) == 0 {
		return
	}
	if a.verdict.Undecodable {
		if _, inTable, ok := w.dead(t, p.seq, 0); !inTable && !ok {
			w.lettersMissing(p, uint64(a.verdict.In), p.raw != nil && a.answers(p))
			if p.raw != nil && a.answers(p) {
				v := a.verdict.Refused[0]
				out.letters = append(out.letters, bus.DeadLetter{
					Incarnation: w.r.inst.Incarnation, Place: bus.Place{Shard: w.s.id, Seq: p.seq}, Events: a.verdict.In,
					Stage: v.Stage, Reason: v.Reason, Detail: v.Detail, Received: p.raw.at, Original: p.raw.data,
				})
			}
		}
		return
	}
	err := a.verdict.Each(func(idx int, v *frame.Refused) bool {
		if _, _, ok := w.dead(t, p.seq, uint32(idx)); ok {
			return true
		}
		can := readable && idx < w.raw.Rows()
		w.lettersMissing(p, 1, can)
		if can {
			detail := v.Detail
			if v.Stage == "door" {
				detail = string(w.raw.Str(frame.RawDetail, idx))
			}
			out.letters = append(out.letters, bus.DeadLetter{
				Incarnation: w.r.inst.Incarnation, Place: bus.Place{Shard: w.s.id, Seq: p.seq}, Idx: idx, Events: 1,
				Source: string(w.raw.Str(frame.RawSource, idx)), Stage: v.Stage, Reason: v.Reason, Detail: detail, Received: p.raw.at,
				Original: slices.Clone(w.raw.Str(frame.RawBody, idx)),
			})
		}
		return true
	})
	if err != nil {
		w.s.note("verdicts of ENRICHED cannot be read: some of their dead letters may be missing")
	}
}

// refusedRow makes sure of the dead letter of a row that ClickHouse refused: the
// indexer may have been ended between the ledger, which has it, and DEAD.
func (w *walker) refusedRow(t *there, p *pair, idx uint32, why string, readable bool, out *outcome) {
	if _, _, ok := w.dead(t, p.seq, idx); ok {
		return
	}
	can := readable && int(idx) < w.raw.Rows()
	w.lettersMissing(p, 1, can)
	if !can {
		return
	}
	out.letters = append(out.letters, bus.DeadLetter{
		Incarnation: w.r.inst.Incarnation, Place: bus.Place{Shard: w.s.id, Seq: p.seq}, Idx: int(idx), Events: 1,
		Source: string(w.raw.Str(frame.RawSource, int(idx))), Stage: stageIndexer, Reason: string(event.ReasonRowRefused), Detail: why,
		Received: p.raw.at, Original: slices.Clone(w.raw.Str(frame.RawBody, int(idx))),
	})
}

// stageIndexer is the stage of dead letters of rows that ClickHouse refused.
const stageIndexer = "indexer"

func (w *walker) lettersMissing(p *pair, n uint64, can bool) {
	rep := &w.s.rep
	if can {
		rep.Letters += n
		if p.seq <= rep.Proven {
			w.s.lettersLow += n
		}
	} else if p.seq > rep.Proven {
		rep.LostLetters += n
	}
	if p.seq <= min(rep.Proven, w.s.deadOut) {
		rep.LettersProven += n
	}
}
