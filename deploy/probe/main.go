// Command probe asks an address once and exits with 0 if the answer is 200: `probe http://127.0.0.1:8081/readyz`. It is
// the health check of the images, which have no shell and no curl.
package main

import (
	"fmt"
	"os"
)

func main() {
	if err := ask(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "probe:", err)
		os.Exit(1)
	}
}
