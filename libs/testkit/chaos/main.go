package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
)

func main() {
	natsdIfAsked()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends it at once
	err := run(ctx, os.Args[1:])
	_, child := errors.AsType[*exec.ExitError](err) // it has said what was to be said
	if err != nil && !child && !errors.Is(err, errBroken) {
		fmt.Fprintln(os.Stderr, "chaos:", err)
	}
	if err != nil {
		os.Exit(1)
	}
}
