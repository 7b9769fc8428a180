package proxy

import (
	"bytes"
	"time"
)

// Direction is one of the two streams of a connection.
type Direction int

// Up is what clients send, Down what they are sent.
const (
	Up Direction = iota
	Down
)

// Other is the opposite direction.
func (d Direction) Other() Direction { return 1 - d }

// Fault is what happens to the bytes of one direction until another is set.
// The zero Fault lets them pass.
type Fault struct {
	// Delay is how late each byte arrives, and up to Jitter later. Bytes keep
	// their order.
	Delay, Jitter time.Duration
	// Rate is the bandwidth of each connection in bytes a second; 0 has no bound.
	Rate int64
	// Stall holds bytes back until it is lifted, and then they arrive: a network
	// that is away and comes back. Up to 2 MB a connection wait in the proxy,
	// then the sender cannot write any more.
	Stall bool
	// Vanish throws bytes away while the sender goes on. A connection that lost
	// bytes is reset when this is lifted, for its stream has a hole.
	Vanish bool
}

func (f Fault) delays() bool { return f.Delay > 0 || f.Jitter > 0 }

// Match is a place in the bytes of one direction. The zero Match is the first
// byte of a request.
type Match struct {
	// Has is text that must have gone by, such as "PUB millrace.in.web" or
	// "INSERT INTO events". It is found wherever reads and packets cut it.
	Has string
	// After is how many bytes must have gone by: after Has, or without it since
	// the other direction last moved, which is since the request began.
	After int
}

// scanner finds a Match in the bytes of one direction of one connection.
type scanner struct {
	trap  *trap
	tail  []byte    // what may be the beginning of Has
	found bool      // Has has gone by
	count int       // bytes since Has, or since the request began
	done  time.Time // when the Match was complete, where somebody waits for the answer
}

// next returns how many bytes of b belong to the Match, and whether it is
// complete with them. It is complete once; then it begins anew.
func (s *scanner) next(b []byte) (int, bool) {
	m, begin := s.trap.match, 0
	if !s.found && m.Has != "" {
		old := len(s.tail)
		s.tail = append(s.tail, b...)
		i := bytes.Index(s.tail, []byte(m.Has))
		if i < 0 {
			keep := min(len(s.tail), len(m.Has)-1)
			s.tail = append(s.tail[:0], s.tail[len(s.tail)-keep:]...)
			return len(b), false
		}
		s.found, begin = true, i+len(m.Has)-old
		s.tail = s.tail[:0]
	}
	need := m.After - s.count
	if m.Has == "" {
		need = max(need, 1) // a request has begun with its first byte
	}
	if len(b)-begin < need {
		s.count += len(b) - begin
		return len(b), false
	}
	s.found, s.count = false, 0
	return begin + need, true
}

// turn notes that the other direction moved: a new request begins.
func (s *scanner) turn() {
	if s.trap != nil && s.trap.match.Has == "" {
		s.count = 0
	}
}

// trap is a fault that strikes a number of times and is gone.
type trap struct {
	match Match
	left  int
	hold  bool // of those that strike inside: hold back and do not cut
}
