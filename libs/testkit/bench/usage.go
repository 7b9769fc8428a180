package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// stage is one measured process.
type stage struct {
	Name string
	Pid  int
}

// database is the name of the stage whose memory is counted apart.
const database = "clickhouse"

// ticks is USER_HZ, in which /proc counts CPU; 100 on every architecture that
// Go knows.
const ticks = 100

// procStat reads the CPU time in seconds, user and system, and the resident
// memory in MB (VmRSS: it holds pages that Go has freed and not yet given
// back) of a process. Format: proc_pid_stat(5).
func procStat(pid int) (cpu, rssMB float64) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0 // it has ended
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	user, _ := strconv.ParseFloat(fields[11], 64)
	system, _ := strconv.ParseFloat(fields[12], 64)
	pages, _ := strconv.ParseFloat(fields[21], 64)
	return (user + system) / ticks, pages * float64(os.Getpagesize()) / (1 << 20)
}

// cpuOf is the CPU time of each stage so far, in seconds.
func cpuOf(stages []stage) map[string]float64 {
	all := map[string]float64{}
	for _, s := range stages {
		cpu, _ := procStat(s.Pid)
		all[s.Name] += cpu
	}
	return all
}

// children of a process.
func children(pid int) (all []int) {
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		child, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", child))
		if err != nil {
			continue // it has ended
		}
		fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
		if parent, _ := strconv.Atoi(fields[1]); parent == pid {
			all = append(all, child)
		}
	}
	return all
}

// point is one sample of the memory while something ran.
type point struct {
	Seconds    float64 `json:"s"`
	Services   float64 `json:"services_mb"` // and NATS
	ClickHouse float64 `json:"clickhouse_mb"`
}

// memoryEvery is the time between two samples.
const memoryEvery = 100 * time.Millisecond

// memory watches the resident memory of the stages.
type memory struct {
	stop chan struct{}
	done sync.WaitGroup

	mu     sync.Mutex         // guards the rest
	peak   map[string]float64 // of each stage
	sum    float64            // peak of all but ClickHouse together
	points []point
}

func watchMemory(stages []stage) *memory {
	m := &memory{stop: make(chan struct{}), peak: map[string]float64{}}
	began := time.Now()
	m.done.Go(func() { // until stop is closed
		tick := time.NewTicker(memoryEvery)
		defer tick.Stop()
		for {
			p := point{Seconds: time.Since(began).Seconds()}
			m.mu.Lock()
			for _, s := range stages {
				_, mb := procStat(s.Pid)
				m.peak[s.Name] = max(m.peak[s.Name], mb)
				if s.Name == database {
					p.ClickHouse += mb
				} else {
					p.Services += mb
				}
			}
			m.sum = max(m.sum, p.Services)
			m.points = append(m.points, p)
			m.mu.Unlock()
			select {
			case <-m.stop:
				return
			case <-tick.C:
			}
		}
	})
	return m
}

// end stops the watching.
func (m *memory) end() {
	close(m.stop)
	m.done.Wait()
}

// curve has at most n of the points, each the highest of its stretch.
func (m *memory) curve(n int) (all []point) {
	m.mu.Lock()
	defer m.mu.Unlock()
	each := max(1, (len(m.points)+n-1)/n)
	for from := 0; from < len(m.points); from += each {
		top := m.points[from]
		for _, p := range m.points[from:min(from+each, len(m.points))] {
			top.Services, top.ClickHouse = max(top.Services, p.Services), max(top.ClickHouse, p.ClickHouse)
		}
		all = append(all, top)
	}
	return all
}
