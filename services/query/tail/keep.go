package tail

// trim lets go of what need not be kept: the index of what is proven, then frames that are proven and more than their share,
// and, over the budget, the oldest of all. The caller holds mu.
func (t *Tail) trim(i int) {
	t.unindex(i)
	for len(t.open) > 0 && (t.opened > t.cfg.Budget/openShare || t.open[0].view.Load() == nil) {
		t.shut(t.open[0])
		t.open[0] = nil
		t.open = t.open[1:]
	}
	if t.below <= t.cfg.Budget/keepShare && t.used+t.opened <= t.cfg.Budget {
		return
	}
	for j := range t.shards {
		t.unindex(j)
	}
	for t.below > t.cfg.Budget/keepShare && t.releaseOldest(true) {
	}
	for t.used+t.opened > t.cfg.Budget && (t.releaseOldest(true) || t.releaseOldest(false)) {
	}
}

// unindex takes the frames of a shard out of the index that are proven and that no pin needs.
func (t *Tail) unindex(i int) {
	s := t.shards[i]
	upTo := min(t.mark(i), s.last)
	for p := range t.pins {
		upTo = min(upTo, p.marks[i])
	}
	for s.indexed < upTo {
		s.indexed++
		if s.indexed < s.first {
			continue
		}
		f := s.frames[s.indexed-s.first]
		t.leave(f)
		t.below += f.cost
	}
}

// releaseOldest lets go of the frame that has been here for longest; of those out of the index, or of any.
func (t *Tail) releaseOldest(proven bool) bool {
	var oldest *shard
	mark := uint64(0)
	for i, s := range t.shards {
		switch {
		case len(s.frames) == 0, proven && s.first > s.indexed:
		case len(s.frames) == 1: // the newest of each shard is what somebody waits for just now
		case oldest == nil || s.frames[0].Stored.Before(oldest.frames[0].Stored):
			oldest, mark = s, t.mark(i)
		}
	}
	if oldest == nil {
		return false
	}
	t.release(oldest, mark)
	return true
}

// release lets go of a shard's first frame.
func (t *Tail) release(s *shard, mark uint64) {
	f := s.frames[0]
	s.frames[0] = nil
	s.frames = s.frames[1:]
	s.first++
	t.used -= f.cost
	t.shut(f)
	if f.Place.Seq <= s.indexed {
		t.below -= f.cost
		return
	}
	t.leave(f)
	s.indexed = f.Place.Seq
	if f.Place.Seq > mark || t.pinned(f.Place.Shard, f.Place.Seq) {
		s.lost = f.Place.Seq
		t.m.lost.Inc()
	}
}

// shut lets go of a frame's view.
func (t *Tail) shut(f *Frame) {
	if f.opened > 0 && f.view.Swap(nil) != nil {
		t.opened -= f.opened
	}
}

// pinned says whether a frame is above the watermark of a pin.
func (t *Tail) pinned(shard int, seq uint64) bool {
	for p := range t.pins {
		if seq > p.marks[shard] {
			return true
		}
	}
	return false
}
