// Command probe asks an address once and exits with 0 if the answer is 200: `probe http://127.0.0.1:8081/readyz`. It is
// the health check of the images, which have no shell and no curl.
package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

// limit is below the timeout that health checks usually have, so that the reason is printed.
const limit = 3 * time.Second

func main() {
	if err := ask(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "probe:", err)
		os.Exit(1)
	}
}

func ask(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("%d arguments: want one URL", len(args))
	}
	res, err := (&http.Client{Timeout: limit}).Get(args[0])
	if err != nil {
		return fmt.Errorf("ask: %w", err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(res.Body, 1<<10)) // it only explains the status
		return fmt.Errorf("%s answers %s: %s", args[0], res.Status, text)
	}
	return nil
}
