package main

import (
	"fmt"
	"io"
	"net/http"
	"time"
)

// limit is below the timeout that health checks usually have, so that the reason is printed.
const limit = 3 * time.Second

func ask(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("%d arguments: want one URL", len(args))
	}
	res, err := (&http.Client{Timeout: limit}).Get(args[0])
	if err != nil {
		return fmt.Errorf("ask: %w", err)
	}
	defer func() { _ = res.Body.Close() }() // what matters has been read
	if res.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(res.Body, 1<<10)) // it only explains the status
		return fmt.Errorf("%s answers %s: %s", args[0], res.Status, text)
	}
	return nil
}
