// Command test-report reads what `go test -json` prints and says what came of
// it: a line for each package, the output of what failed, and how many tests
// passed, failed and were skipped. It ends with 1 if a test failed or was
// skipped, if a package did not build or did not finish, or if nothing ran.
//
// The line "exit N" after the events tells how `go test` itself ended.
package main

import (
	"fmt"
	"os"
)

func main() {
	r := newReport(os.Stdout)
	if err := r.read(os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, "test-report:", err)
		os.Exit(1)
	}
	if !r.finish() {
		os.Exit(1)
	}
}
