package svc

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
)

// Signals returns a context that the first SIGINT or SIGTERM ends. The second
// ends the process at once with exit code 1: whoever asks twice does not want
// to wait for draining. stop gives the signals back.
func Signals(ctx context.Context, log *slog.Logger) (signalled context.Context, stop func()) {
	signalled, cancel := context.WithCancelCause(ctx)
	got := make(chan os.Signal, 2) // two, so that none is lost while the first is handled
	signal.Notify(got, syscall.SIGINT, syscall.SIGTERM)
	stopped := make(chan struct{})
	// Ended by stop.
	go func() {
		for {
			select {
			case sig := <-got:
				if signalled.Err() != nil {
					log.Warn("second signal, not waiting for the rest", "signal", sig.String())
					os.Exit(1)
				}
				cancel(fmt.Errorf("signal: %s", sig))
			case <-stopped:
				return
			}
		}
	}()
	return signalled, func() {
		signal.Stop(got)
		close(stopped)
		cancel(nil)
	}
}
