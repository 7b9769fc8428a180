package tail

import (
	"hash/maphash"
	"slices"

	"github.com/millrace/millrace/libs/event/frame"
)

// Who names a user of a source: the ids under which events are theirs.
type Who struct {
	Source string
	// Users are user ids.
	Users []string
	// Anonymous are anonymous ids; of their events, those without a user id.
	Anonymous []string
}

// ref is a row in the index.
type ref struct {
	f   *Frame
	row int32
}

const (
	keyUser      = 'u'
	keyAnonymous = 'a'
)

// key is that of the index. Different ids may share one.
func (t *Tail) key(kind byte, source, id []byte) uint64 {
	var h maphash.Hash
	h.SetSeed(t.seed)
	_ = h.WriteByte(kind) // it never fails, like the others
	_, _ = h.Write(source)
	_ = h.WriteByte(0)
	_, _ = h.Write(id)
	return h.Sum64()
}

// enter puts the rows of a frame into the index. The caller holds mu.
func (t *Tail) enter(f *Frame) {
	v := f.view.Load()
	f.keys = make([]uint64, 0, f.rows)
	for i := range f.rows {
		kind, id := byte(keyUser), v.Str(frame.ColUserID, i)
		if len(id) == 0 {
			kind, id = keyAnonymous, v.Str(frame.ColAnonymousID, i)
		}
		k := t.key(kind, v.Str(frame.ColSource, i), id)
		refs := t.index[k]
		if n := len(refs); n == 0 || refs[n-1].f != f { // once, however many rows it has
			f.keys = append(f.keys, k)
		}
		t.index[k] = append(refs, ref{f, int32(i)})
	}
}

// leave takes them out again. The caller holds mu.
func (t *Tail) leave(f *Frame) {
	for _, k := range f.keys {
		refs := t.index[k]
		n := 0
		for n < len(refs) && refs[n].f == f {
			n++
		}
		if n > 0 { // the rule: frames of a shard leave in the order in which they came
			refs = refs[n:]
		} else {
			refs = slices.DeleteFunc(refs, func(r ref) bool { return r.f == f })
		}
		if len(refs) == 0 {
			delete(t.index, k)
		} else {
			t.index[k] = refs
		}
	}
	f.keys = nil
}

// Pin holds the tail above the watermarks of one moment.
type Pin struct {
	t     *Tail
	marks []uint64
}

// Pin notes the watermarks; the tail must be ready. Release must be called.
func (t *Tail) Pin() *Pin {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := &Pin{t: t, marks: make([]uint64, len(t.shards))}
	for i := range t.shards {
		p.marks[i] = t.mark(i)
	}
	t.pins[p] = struct{}{}
	return p
}

// Release lets the tail go on.
func (p *Pin) Release() {
	p.t.mu.Lock()
	defer p.t.mu.Unlock()
	delete(p.t.pins, p)
}

// Marks are the watermarks by shard: what is above them, in the tail, is what [Pin.Rows] gives.
func (p *Pin) Marks() []uint64 { return slices.Clone(p.marks) }

// Lack is a run of frames above a watermark that the tail does not have any more, or never had.
type Lack struct {
	Shard    int
	From, To uint64
}

// Lacks are the frames above the watermarks that [Pin.Rows] could not look into, as things are now.
func (p *Pin) Lacks() []Lack {
	p.t.mu.Lock()
	defer p.t.mu.Unlock()
	return p.lacks()
}

func (p *Pin) lacks() (lacks []Lack) {
	for i, s := range p.t.shards {
		if s.lost > p.marks[i] {
			lacks = append(lacks, Lack{Shard: i, From: p.marks[i] + 1, To: s.lost})
		}
	}
	return lacks
}

// Rows are the rows of a user above the watermarks, in the order of the frames of each shard, and the last frame of each
// shard that was looked into.
func (p *Pin) Rows(who Who) (rows []Row, at []uint64, err error) {
	p.t.mu.Lock()
	refs, at := p.refs(who, p.marks), p.at()
	p.t.mu.Unlock()
	rows, err = open(refs, who)
	return rows, at, err
}

// Rest calls then with the rows of a user above the frames after, and with what lacks, under the tail's lock: the next
// frame goes to the hook after then has returned.
func (p *Pin) Rest(who Who, after []uint64, then func(rows []Row, at []uint64, lacks []Lack)) error {
	p.t.mu.Lock()
	defer p.t.mu.Unlock()
	rows, err := open(p.refs(who, after), who)
	if err != nil {
		return err
	}
	then(rows, p.at(), p.lacks())
	return nil
}

// at is how far each shard is covered: by the tail, or by what is proven.
func (p *Pin) at() []uint64 {
	at := make([]uint64, len(p.marks))
	for i, s := range p.t.shards {
		at[i] = max(s.last, p.marks[i])
	}
	return at
}

// refs finds rows above the watermarks and above the frames after.
func (p *Pin) refs(who Who, after []uint64) (found []ref) {
	add := func(kind byte, id string) {
		for _, r := range p.t.index[p.t.key(kind, []byte(who.Source), []byte(id))] {
			place := r.f.Place
			if place.Seq > p.marks[place.Shard] && place.Seq > after[place.Shard] {
				found = append(found, r)
			}
		}
	}
	for _, id := range who.Users {
		add(keyUser, id)
	}
	for _, id := range who.Anonymous {
		add(keyAnonymous, id)
	}
	return found
}

// open reads rows and leaves out those of others that share a key.
func open(refs []ref, who Who) (rows []Row, err error) {
	views := map[*Frame]*frame.View{}
	for _, r := range refs {
		v := views[r.f]
		if v == nil {
			if v, err = r.f.View(); err != nil {
				return nil, err
			}
			views[r.f] = v
		}
		if Owns(who, v, int(r.row)) {
			rows = append(rows, Row{Place: r.f.Place, View: v, Row: int(r.row)})
		}
	}
	return rows, nil
}

// Owns says whether a row is one of a user's.
func Owns(who Who, v *frame.View, row int) bool {
	if string(v.Str(frame.ColSource, row)) != who.Source {
		return false
	}
	if id := v.Str(frame.ColUserID, row); len(id) > 0 {
		return slices.Contains(who.Users, string(id))
	}
	return slices.Contains(who.Anonymous, string(v.Str(frame.ColAnonymousID, row)))
}
