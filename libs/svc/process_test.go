package svc

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

// serviceFunc is a service in a function.
type serviceFunc func(context.Context) error

func (f serviceFunc) Run(ctx context.Context) error { return f(ctx) }

// diary collects what happened in order.
type diary struct {
	mu    sync.Mutex
	lines []string
}

func (d *diary) add(line string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lines = append(d.lines, line)
}

func (d *diary) String() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return strings.Join(d.lines, ", ")
}

// draining returns a service that takes the time to drain.
func (d *diary) draining(name string, takes time.Duration) Named {
	return Named{Name: name, Service: serviceFunc(func(ctx context.Context) error {
		<-ctx.Done()
		d.add(name + " told")
		time.Sleep(takes)
		d.add(name + " drained")
		return nil
	})}
}

func TestRunStopsLastFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d diary
		h := NewHealth()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			done <- Run(ctx, Process{
				Log: discard(), Health: h, DrainTimeout: time.Minute,
				Services: []Named{d.draining("nats", time.Second), d.draining("indexer", time.Second), d.draining("ingester", time.Second)},
			})
		}()
		synctest.Wait()
		if got := summary(h); got != "process=<nil> ready=true" {
			t.Errorf("while running: %s", got)
		}
		cancel()
		synctest.Wait()
		if got := summary(h); got != "process=draining ready=false" {
			t.Errorf("after the signal: %s", got)
		}
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		want := "ingester told, ingester drained, indexer told, indexer drained, nats told, nats drained"
		if d.String() != want {
			t.Errorf("got  %s\nwant %s", d.String(), want)
		}
	})
}

func TestRunDelaysDraining(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d diary
		h := NewHealth()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			done <- Run(ctx, Process{Log: discard(), Health: h, DrainDelay: 5 * time.Second, Services: []Named{d.draining("a", 0)}})
		}()
		synctest.Wait()
		cancel()
		begin := time.Now()
		synctest.Wait()
		if got := summary(h); d.String() != "" || got != "process=draining ready=false" {
			t.Errorf("during the delay: %s, diary %q", got, d.String())
		}
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		if took := time.Since(begin); took != 5*time.Second {
			t.Errorf("stopped after %s, want 5s", took)
		}
	})
}

func TestRunEndsWithTheFirstService(t *testing.T) {
	broken := errors.New("broken")
	check := func(name string, ends, want error) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			var d diary
			err := Run(t.Context(), Process{Log: discard(), Health: NewHealth(), DrainTimeout: time.Minute, Services: []Named{
				d.draining("below", time.Second),
				{Name: "ends", Service: serviceFunc(func(context.Context) error { time.Sleep(time.Second); return ends })},
				d.draining("above", time.Second),
			}})
			if !errors.Is(err, want) || !strings.Contains(err.Error(), "ends: ") {
				t.Errorf("%s: got %v, want %v of service ends", name, err, want)
			}
			if d.String() != "above told, above drained, below told, below drained" {
				t.Errorf("%s: the others: %s", name, d.String())
			}
		})
	}
	check("error", broken, broken)
	check("nil", nil, ErrEarlyReturn)
	check("somebody else's cancellation", context.Canceled, context.Canceled)
}

func TestRunReportsFailedDraining(t *testing.T) {
	lost := errors.New("lost a batch")
	check := func(name string, drained, want error) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(time.Second, cancel)
			err := Run(ctx, Process{Log: discard(), Health: NewHealth(), Services: []Named{
				{Name: "a", Service: serviceFunc(func(ctx context.Context) error { <-ctx.Done(); return drained })},
			}})
			if !errors.Is(err, want) {
				t.Errorf("%s: got %v, want %v", name, err, want)
			}
		})
	}
	check("clean", nil, nil)
	check("its own cancellation", context.Canceled, nil)
	check("loss", lost, lost)
}

func TestRunDoesNotWaitForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d diary
		release := make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		begin := time.Now()
		err := Run(ctx, Process{Log: discard(), Health: NewHealth(), DrainTimeout: 25 * time.Second, Services: []Named{
			d.draining("below", 0),
			{Name: "stuck", Service: serviceFunc(func(context.Context) error { <-release; return nil })},
			d.draining("above", time.Second),
		}})
		if took := time.Since(begin); took != 25*time.Second {
			t.Errorf("took %s, want 25s", took)
		}
		if !errors.Is(err, ErrDrainTimeout) || !strings.Contains(err.Error(), "stuck: ") || strings.Contains(err.Error(), "above") {
			t.Errorf("got %v, want ErrDrainTimeout of stuck", err)
		}
		close(release)
		synctest.Wait()
	})
}

func TestRunRefuses(t *testing.T) {
	if err := Run(t.Context(), Process{Log: discard(), Health: NewHealth()}); err == nil {
		t.Error("a process without services ran")
	}
}
