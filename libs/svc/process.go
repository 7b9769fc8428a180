package svc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// Service is anything that runs until ctx is done and then returns nil once
// all that it accepted is drained. It takes fresh time for draining from
// context.WithoutCancel(ctx), never from ctx.
type Service interface {
	Run(ctx context.Context) error
}

// Named is a service of a process under the name that logs and errors use.
type Named struct {
	Name    string
	Service Service
}

// Process is what Run keeps alive. Log, Health and Services are required.
type Process struct {
	Log    *slog.Logger
	Health *Health
	// Admin answers from before the first service starts until after the last
	// one has drained; nil: no admin port. Run closes it.
	Admin *Admin
	// Services start in this order and stop in the opposite one, each drained
	// before the next is told: put what others stand on first.
	Services []Named
	// DrainDelay is how long the services go on taking work after /readyz has
	// said no, for load balancers that ask only every few seconds.
	DrainDelay time.Duration
	// DrainTimeout bounds the draining of all services together; 0: unbounded.
	DrainTimeout time.Duration
}

// Run starts everything and returns when all of it has stopped: nil after ctx
// was done and every service drained, otherwise an error that names each
// service that failed, returned early (ErrEarlyReturn) or did not drain in
// time (ErrDrainTimeout; its goroutines are then still running, and the
// process should end). The first service to return stops all others.
func Run(ctx context.Context, p Process) error {
	if p.Log == nil || p.Health == nil || len(p.Services) == 0 {
		return errors.New("run: Log, Health and at least one service are required")
	}
	adminCtx, stopAdmin := context.WithCancel(context.WithoutCancel(ctx))
	defer stopAdmin()
	adminDone := make(chan error, 1)
	if p.Admin == nil {
		adminDone = nil
	} else {
		// Ended by stopAdmin.
		go func() { adminDone <- p.Admin.Run(adminCtx) }()
		p.Log.Info("admin port is open", "addr", p.Admin.Addr().String())
	}

	first := make(chan struct{}, len(p.Services))
	tasks := make([]*task, len(p.Services))
	for i, named := range p.Services {
		tasks[i] = start(ctx, named, first)
	}
	p.Health.Started()
	p.Log.Info("started", "version", Version())

	var adminErr error
	select {
	case <-ctx.Done():
		p.Log.Info("stopping", "reason", context.Cause(ctx))
	case <-first:
		p.Log.Error("stopping because a service returned")
	case adminErr = <-adminDone:
		p.Log.Error("stopping because the admin port failed")
		adminDone = nil
	}
	p.Health.Draining()
	if ctx.Err() != nil && p.DrainDelay > 0 {
		select {
		case <-time.After(p.DrainDelay):
		case <-first:
		}
	}
	err := errors.Join(adminErr, drain(tasks, p.DrainTimeout))

	stopAdmin()
	if adminDone != nil {
		err = errors.Join(err, <-adminDone)
	}
	if err == nil {
		p.Log.Info("stopped")
	}
	return err
}

// task is one running service. err may be read once done is closed.
type task struct {
	name string
	stop context.CancelFunc
	done chan struct{}
	err  error
}

func start(ctx context.Context, named Named, returned chan<- struct{}) *task {
	// Not a child of ctx's cancellation: drain decides whose turn it is.
	own, stop := context.WithCancel(context.WithoutCancel(ctx))
	t := &task{name: named.Name, stop: stop, done: make(chan struct{})}
	// Ended by stop, or by the service itself.
	go func() {
		defer close(t.done)
		err := named.Service.Run(own)
		switch {
		case own.Err() == nil && err == nil:
			err = ErrEarlyReturn
		case own.Err() != nil && errors.Is(err, context.Canceled):
			err = nil // it was told to stop and says so
		}
		if err != nil {
			t.err = fmt.Errorf("%s: %w", named.Name, err)
		}
		returned <- struct{}{}
	}()
	return t
}

func drain(tasks []*task, timeout time.Duration) error {
	var over <-chan time.Time
	if timeout > 0 {
		timer := time.NewTimer(timeout)
		defer timer.Stop()
		over = timer.C
	}
	var errs []error
	for i := len(tasks) - 1; i >= 0; i-- {
		tasks[i].stop()
		select {
		case <-tasks[i].done:
			errs = append(errs, tasks[i].err)
		case <-over:
			for ; i >= 0; i-- {
				tasks[i].stop()
				errs = append(errs, late(tasks[i], timeout))
			}
		}
	}
	return errors.Join(errs...)
}

// late is the error of a task at the end of the time for all.
func late(t *task, timeout time.Duration) error {
	select {
	case <-t.done:
		return t.err
	default:
		return fmt.Errorf("%s: %w (%s)", t.name, ErrDrainTimeout, timeout)
	}
}
