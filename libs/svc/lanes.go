package svc

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// LanePatience is how long a lane that has work may stand still, or wait for
// one and the same thing, before it counts as stuck.
const LanePatience = 5 * time.Second

// LaneIn is a lane that is no shard: everything that comes in.
const LaneIn = -1

// reasonNoProgress is the reason of a lane that stands still and has not said
// why. It is of every closed set.
const reasonNoProgress = "no_progress"

// Lanes knows of each lane of a service (a shard that it works on) whether it
// gets on. The service says what it waits for and how far it is; what counts is
// for how long that has been so when somebody asks, so that also a step that
// hangs shows. It is a readiness check and a metric, and is safe for concurrent
// use.
type Lanes struct {
	service string
	reasons []string
	desc    *prometheus.Desc

	mu    sync.Mutex // guards lanes
	lanes map[int]*lane
}

// LaneState is what is wrong with a lane that is stuck, or shut.
type LaneState struct {
	Lane   int
	Reason string // of the closed set
	Why    string // in words
	Since  time.Time
	Shut   bool
}

type lane struct {
	shut, wait *LaneState
	beside     *LaneState // what waits while the lane itself may get on
	have, want uint64
	moved      time.Time // when have last changed, or work came
}

// NewLanes registers the metric millrace_<service>_shard_stuck. reasons is the
// closed set of its label; no_progress is added.
func NewLanes(service string, reg prometheus.Registerer, reasons ...string) *Lanes {
	if !slices.Contains(reasons, reasonNoProgress) {
		reasons = append(slices.Clip(reasons), reasonNoProgress)
	}
	l := &Lanes{service: service, reasons: reasons, lanes: map[int]*lane{}}
	l.desc = prometheus.NewDesc("millrace_"+service+"_shard_stuck",
		"1 while a shard of this process stands still for this reason although there is work, or is shut.", []string{"shard", "reason"}, nil)
	reg.MustRegister(l)
	return l
}

func (l *Lanes) at(id int) *lane {
	one := l.lanes[id]
	if one == nil {
		one = &lane{}
		l.lanes[id] = one
	}
	return one
}

// Open says that the lane is worked on and waits for nothing.
func (l *Lanes) Open(id int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	one := l.at(id)
	one.shut, one.wait = nil, nil
}

// Shut says that the lane is not worked on. Since is when it first was, if the
// reason is still the same.
func (l *Lanes) Shut(id int, reason, why string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	one := l.at(id)
	since := time.Now()
	if one.shut != nil && one.shut.Reason == reason {
		since = one.shut.Since
	}
	one.shut = &LaneState{Lane: id, Reason: reason, Why: why, Since: since, Shut: true}
}

// Wait says for what the lane waits now. It is stuck when it has waited for
// LanePatience, whatever for; Done or Open end that.
func (l *Lanes) Wait(id int, reason, why string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	one := l.at(id)
	since := time.Now()
	if one.wait != nil {
		since = one.wait.Since
	}
	one.wait = &LaneState{Lane: id, Reason: reason, Why: why, Since: since}
}

// Done says that the lane has got what it waited for.
func (l *Lanes) Done(id int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if one := l.lanes[id]; one != nil {
		one.wait = nil
	}
}

// Beside says for what something waits that the lane does besides, with a
// reason of "" that it does not any more. It is stuck like the lane itself, and
// only Beside ends it.
func (l *Lanes) Beside(id int, reason, why string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	one := l.at(id)
	if reason == "" {
		one.beside = nil
		return
	}
	since := time.Now()
	if one.beside != nil {
		since = one.beside.Since
	}
	one.beside = &LaneState{Lane: id, Reason: reason, Why: why, Since: since}
}

// Level says how far the lane is and how far it could be.
func (l *Lanes) Level(id int, have, want uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	one := l.at(id)
	if one.have != have || one.want <= one.have {
		one.moved = time.Now()
	}
	one.have, one.want = have, want
}

// Forget says that the lane is another process's now.
func (l *Lanes) Forget(id int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.lanes, id)
}

// Stuck lists the lanes that are stuck or shut, in order.
func (l *Lanes) Stuck() []LaneState {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []LaneState
	for _, id := range slices.Sorted(maps.Keys(l.lanes)) {
		if st, bad := l.lanes[id].state(id, time.Now()); bad {
			if !slices.Contains(l.reasons, st.Reason) {
				st.Reason = reasonNoProgress
			}
			all = append(all, st)
		}
	}
	return all
}

func (one *lane) state(id int, now time.Time) (LaneState, bool) {
	behind := one.want > one.have && now.Sub(one.moved) >= LanePatience
	switch {
	case one.shut != nil:
		return *one.shut, true
	case one.wait != nil && (behind || now.Sub(one.wait.Since) >= LanePatience):
		return *one.wait, true
	case one.beside != nil && (behind || now.Sub(one.beside.Since) >= LanePatience):
		return *one.beside, true
	case behind:
		return LaneState{
			Lane: id, Reason: reasonNoProgress, Since: one.moved,
			Why: fmt.Sprintf("it stands at %d although there is work up to %d", one.have, one.want),
		}, true
	}
	return LaneState{}, false
}

// Check is the readiness check: it names every lane that is stuck or shut.
func (l *Lanes) Check() error {
	var all []error
	for _, st := range l.Stuck() {
		what := "is stuck"
		if st.Shut {
			what = "is shut"
		}
		all = append(all, fmt.Errorf("%s %s: %s (%s since %s)", laneName("shard ", st.Lane), what, st.Why, st.Reason, st.Since.UTC().Format(time.TimeOnly+"Z")))
	}
	return errors.Join(all...)
}

// laneName is the number of a shard after prefix, or "in".
func laneName(prefix string, id int) string {
	if id == LaneIn {
		return "in"
	}
	return prefix + strconv.Itoa(id)
}

// Describe implements prometheus.Collector.
func (l *Lanes) Describe(ch chan<- *prometheus.Desc) { ch <- l.desc }

// Collect implements prometheus.Collector: every reason of every lane that is
// known here.
func (l *Lanes) Collect(ch chan<- prometheus.Metric) {
	stuck := map[int]string{}
	for _, st := range l.Stuck() {
		stuck[st.Lane] = st.Reason
	}
	l.mu.Lock()
	ids := slices.Collect(maps.Keys(l.lanes))
	l.mu.Unlock()
	for _, id := range ids {
		for _, reason := range l.reasons {
			value := 0.0
			if stuck[id] == reason {
				value = 1
			}
			ch <- prometheus.MustNewConstMetric(l.desc, prometheus.GaugeValue, value, laneName("", id), reason)
		}
	}
}
