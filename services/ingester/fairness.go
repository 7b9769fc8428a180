package ingester

import (
	"cmp"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
)

// errFairShare: others need what is left, and this source has had its part.
var errFairShare = errors.New("this source has used its fair share of what can be taken now; others are served first")

const (
	// pressedFrom is the share of a stream's bytes from which sources are told
	// apart; at fullFrom nobody gets in. Above 0.70 streams are trimmed of what is
	// proven, so that up there is what waits for ClickHouse.
	pressedFrom = 0.80
	// horizon is for how long the room up to there would last: what may be taken
	// in a second is what left in the last one, and one part in ten of the room.
	horizon = 10 * time.Second
	// shareWindow is over how long the use of a source is counted.
	shareWindow = time.Second
	// levelFor is for how long a level holds with more than levelAtOnce sources.
	levelFor    = 20 * time.Millisecond
	levelAtOnce = 64
	// opening is what a request counts as before its body is there: little, for
	// announcing a body costs nobody anything.
	opening = 64 << 10
	// atLeast is what it counts as however short it is: it holds a goroutine, the
	// buffers of a connection and an intake.
	atLeast = 16 << 10
	// keyless begins the name under which a request counts whose key is in its
	// body, until that is read. No source's name begins like it.
	keyless = " "
)

// fairness keeps one source from taking what others need, while there is too
// little for all. Without pressure nobody is told apart.
//
// Memory is a stock: a source may have as much under way as is still free, so
// the first that comes with little always finds room. The room in a stream is a
// flow: what can be taken in a second is divided max-min, so that who sends
// less than an equal part gets all of it, and the rest is divided among the
// others. Over a second in which it has used less than that, a source is
// admitted whatever the size of its next request.
//
// It is per process, as memory is; with several ingesters before one stream,
// each divides the same capacity, and the hard limit holds for all.
type fairness struct {
	off    bool // tests show what happens without
	budget *budget

	mu     sync.Mutex // guards all below
	held   map[string]int64
	total  int64   // of held
	nobody int64   // of held, the part of requests whose source is not known yet
	shards []meter // of the streams
}

func newFairness(b *budget, shards int) *fairness {
	return &fairness{budget: b, held: map[string]int64{}, shards: make([]meter, shards)}
}

// seat is what one request has under way.
type seat struct {
	f      *fairness
	source string
	n      int64 // counted in held
	read   int64
}

// enter lets a request in, or not: before its body is read. length is what it
// announces, -1 for nothing. Whoever got a seat calls leave when the request is
// answered.
func (f *fairness) enter(source string, length int64) (*seat, error) {
	if length < 0 {
		length = opening
	}
	length = min(max(length, atLeast), opening)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.crowds(source, length) || f.throngs(source, length) {
		return nil, errFairShare
	}
	f.hold(source, length)
	return &seat{f: f, source: source, n: length}, nil
}

// more counts bytes of the body as they come.
func (s *seat) more(n int64) error {
	s.read += n
	more := s.read - s.n
	if more <= 0 {
		return nil
	}
	f := s.f
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hold(s.source, more)
	s.n += more
	if f.held[s.source] > s.n && f.crowds(s.source, 0) { // its only request goes on
		return errFairShare
	}
	if f.nobody > s.n && f.throngs(s.source, 0) {
		return errFairShare
	}
	return nil
}

func (s *seat) leave() {
	s.f.mu.Lock()
	defer s.f.mu.Unlock()
	s.f.hold(s.source, -s.n)
}

// hold changes what a source has under way. The caller holds mu.
func (f *fairness) hold(source string, n int64) {
	f.total += n
	if strings.HasPrefix(source, keyless) {
		f.nobody += n
	}
	if f.held[source] += n; f.held[source] <= 0 {
		delete(f.held, source)
	}
}

// crowds says whether the source would have more than is left. A body counts
// twice: its rows are copies. The caller holds mu.
func (f *fairness) crowds(source string, n int64) bool {
	held := f.held[source]
	used := max(f.budget.used.Load(), 2*(f.total+n))
	return !f.off && used > f.budget.max/2 && held > 0 && held+n > f.budget.max-used
}

// throngs says whether those whose source is not known would have more than half
// of all together: they may come from any number of addresses, each with its own
// share. The caller holds mu.
func (f *fairness) throngs(source string, n int64) bool {
	return !f.off && strings.HasPrefix(source, keyless) && 2*(f.nobody+n) > f.budget.max/2
}

// seated is a body whose bytes count while they come.
type seated struct {
	io.ReadCloser
	seat *seat
}

func (b seated) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if over := b.seat.more(int64(n)); over != nil {
		return 0, over
	}
	return n, err
}

// enter is the way in of an HTTP request, before its body is read: a source
// whose rate is spent, or which has too much under way, comes again later.
func (d *door) enter(r *http.Request, from *origin, now time.Time) (*seat, error) {
	source := from.source
	if source == "" { // its key is in the body: until that is read, its address stands for it
		source = keyless + clientOf(from.ip)
	}
	if src := d.sources.Find(source); src != nil {
		if wait, spent := src.Spent(now); spent {
			return nil, limited(wait)
		}
	}
	s, err := d.fair.enter(source, r.ContentLength)
	if err != nil {
		return nil, err
	}
	r.Body = seated{r.Body, s}
	return s, nil
}

// clientOf is the text of an address, or of the network that one client has.
func clientOf(ip string) string {
	a, err := netip.ParseAddr(ip)
	if err != nil {
		return ip
	}
	return clientNet(a).String()
}

// demand is what a request wants of one shard that is under pressure.
type demand struct {
	shard    int
	bytes    int64
	capacity int64 // of the shard, in a second
}

// admit says whether a source may have what it demands, and counts it if so.
func (f *fairness) admit(source string, demands []demand, now time.Time) error {
	if len(demands) == 0 || f.off {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, d := range demands {
		if f.shards[d.shard].over(source, d.capacity, now) {
			return errFairShare
		}
	}
	for _, d := range demands {
		f.shards[d.shard].now[source] += d.bytes
	}
	return nil
}

// meter counts what each source has had of something in the last second: all of
// this window's and, of the one before, the part that is not older.
type meter struct {
	begun       time.Time
	now, before map[string]int64

	level   int64 // see divide
	levelAt time.Time
}

// over says whether a source has had its part of the capacity.
func (m *meter) over(source string, capacity int64, now time.Time) bool {
	m.turn(now)
	left := 1 - float64(now.Sub(m.begun))/float64(shareWindow)
	used := func(source string) int64 { return m.now[source] + int64(left*float64(m.before[source])) }
	mine := used(source)
	if mine == 0 {
		return false
	}
	if len(m.now)+len(m.before) <= levelAtOnce || now.Sub(m.levelAt) >= levelFor || now.Before(m.levelAt) {
		all := make([]int64, 0, len(m.now)+len(m.before))
		for s := range m.now {
			all = append(all, used(s))
		}
		for s := range m.before {
			if _, twice := m.now[s]; !twice {
				all = append(all, used(s))
			}
		}
		m.level, m.levelAt = divide(capacity, all), now
	}
	return mine >= m.level
}

// turn begins a new window when the last one is over, or the clock was set
// back.
func (m *meter) turn(now time.Time) {
	switch age := now.Sub(m.begun); {
	case age >= 0 && age < shareWindow:
		return
	case age >= shareWindow && age < 2*shareWindow:
		m.before, m.begun = m.now, m.begun.Add(shareWindow)
	default:
		m.before, m.begun = nil, now
	}
	m.now = map[string]int64{}
}

// divide is the max-min level: the largest that may be given to all who want
// more than it, after those who want less have got that.
func divide(capacity int64, wanted []int64) int64 {
	slices.SortFunc(wanted, cmp.Compare[int64])
	for i, w := range wanted {
		part := capacity / int64(len(wanted)-i)
		if w > part {
			return part
		}
		capacity -= w
	}
	return 1 << 62 // enough for all
}
