package frame

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Codec is the version of the frames that this build writes. A reader that
// meets a higher one waits to be upgraded and refuses nothing.
const Codec = 1

// Verdict says what became of every event of one RAW frame. In = Rows +
// Repeats + refused. It travels in the header of the ENRICHED frame with the
// same sequence.
type Verdict struct {
	In      int       `json:"in"`
	Rows    int       `json:"rows"`
	Repeats int       `json:"repeats,omitempty"`
	Refused []Refused `json:"refused,omitempty"`
	// Lost marks the empty frame that stands for a RAW message that is gone.
	Lost bool `json:"lost,omitempty"`
	// Undecodable marks a RAW frame whose bytes are no frame: In is what its
	// header said, all refused.
	Undecodable bool `json:"undecodable,omitempty"`
}

// Refused is a run of events that were refused for the same reason.
type Refused struct {
	First  int    `json:"first"` // index of the first one in the RAW frame
	Count  int    `json:"count"`
	Stage  string `json:"stage"` // door or enricher
	Reason string `json:"reason"`
	Detail string `json:"detail,omitempty"` // only where RAW does not hold it
	// More holds further runs of the same stage and reason, and MoreCount their
	// events, where single runs would not fit a header: see [Verdict.Pack].
	More      string `json:"more,omitempty"`
	MoreCount int    `json:"more_count,omitempty"`
}

// Refuse adds the event at idx to the verdict.
func (v *Verdict) Refuse(idx int, stage, reason, detail string) {
	if n := len(v.Refused); n > 0 {
		if l := &v.Refused[n-1]; l.First+l.Count == idx && l.Stage == stage && l.Reason == reason && l.Detail == detail {
			l.Count++
			return
		}
	}
	v.Refused = append(v.Refused, Refused{First: idx, Count: 1, Stage: stage, Reason: reason, Detail: detail})
}

// Dead is the number of refused events.
func (v *Verdict) Dead() int {
	n := 0
	for _, r := range v.Refused {
		n += r.Count + r.MoreCount
	}
	return n
}

// Pack makes the verdict small enough for a header of any frame: JetStream
// takes 64 KiB of headers, and thousands of refusals in turns would need more.
// All runs of one stage and reason become one entry; details are left out.
// More is then a list of `gap+count`, or `gap` for a single event, where gap is
// the distance from the end of the run before it.
func (v *Verdict) Pack() {
	type why struct{ stage, reason string }
	at := map[why]int{}
	ends := []int{}
	packed := []Refused{}
	for _, r := range v.Refused {
		i, ok := at[why{r.Stage, r.Reason}]
		if !ok {
			at[why{r.Stage, r.Reason}] = len(packed)
			packed = append(packed, Refused{First: r.First, Count: r.Count, Stage: r.Stage, Reason: r.Reason})
			ends = append(ends, r.First+r.Count)
			continue
		}
		p := &packed[i]
		switch gap := r.First - ends[i]; {
		case gap == 0 && p.More == "": // only their details differed
			p.Count += r.Count
			ends[i] += r.Count
			continue
		case r.Count == 1:
			p.More += " " + strconv.Itoa(gap)
		default:
			p.More += " " + strconv.Itoa(gap) + "+" + strconv.Itoa(r.Count)
		}
		p.MoreCount += r.Count
		ends[i] = r.First + r.Count
	}
	for i := range packed {
		packed[i].More = strings.TrimPrefix(packed[i].More, " ")
	}
	v.Refused = packed
}

// Each calls yield for every refused event, packed or not, until it returns
// false. Indexes rise within one stage and reason.
func (v *Verdict) Each(yield func(idx int, r *Refused) bool) error {
	for i := range v.Refused {
		r := &v.Refused[i]
		for idx := r.First; idx < r.First+r.Count; idx++ {
			if !yield(idx, r) {
				return nil
			}
		}
		end := r.First + r.Count
		for run := range strings.FieldsSeq(r.More) {
			gap, count, several := strings.Cut(run, "+")
			if !several {
				count = "1"
			}
			g, err := strconv.Atoi(gap)
			n, err2 := strconv.Atoi(count)
			if err != nil || err2 != nil || g < 0 || n < 1 {
				return fmt.Errorf("%w: run %q of a packed verdict", ErrDamaged, run)
			}
			for idx := end + g; idx < end+g+n; idx++ {
				if !yield(idx, r) {
					return nil
				}
			}
			end += g + n
		}
	}
	return nil
}

// Checkpoint is what the owner of a shard must know to go on after this
// frame. It travels with every ENRICHED frame, so the log itself is the state
// and a new owner reads one message to take over.
type Checkpoint struct {
	// Frame and Received identify the RAW message this frame answers: its
	// random id and its JetStream timestamp. A log that went back is
	// recognised by them.
	Frame    string    `json:"frame"`
	Received time.Time `json:"received"`
	// Window is the first RAW sequence inside the dedup window: the place
	// from which the set of seen ids is read back.
	Window uint64 `json:"window"`
	// Before is the latest timestamp of RAW before Window, from which the
	// window's clock goes on when it is read back; zero when there is none.
	Before time.Time `json:"before,omitzero"`
	// Remembers is for how many seconds an id is recognised at present: the
	// configured window, unless memory ends it earlier.
	Remembers float64 `json:"remembers,omitempty"`
	// Refused is the last sequence, this one included, whose frame has
	// refused events; Earlier is the one before it. They link the frames
	// that have dead letters into a list.
	Refused uint64 `json:"refused,omitempty"`
	Earlier uint64 `json:"earlier,omitempty"`
	// DeadOut: the dead letters of all frames up to here were in DEAD when
	// this frame was written.
	DeadOut uint64 `json:"dead_out"`
	// Writer is random for each ownership of the shard: who wrote this.
	Writer string `json:"writer"`
}

// Encode returns the header text of a verdict or checkpoint.
func Encode[T Verdict | Checkpoint](v *T) string {
	b, err := json.Marshal(v)
	if err != nil { // plain structs of numbers and valid strings
		panic(fmt.Sprintf("frame: encode header: %v", err))
	}
	return string(b)
}

// Decode reads a header text.
func Decode[T Verdict | Checkpoint](text string, v *T) error {
	if err := json.Unmarshal([]byte(text), v); err != nil {
		return fmt.Errorf("%w: header %q: %w", ErrDamaged, text, err)
	}
	return nil
}
