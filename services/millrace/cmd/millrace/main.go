// Command millrace runs a whole installation and talks to one.
package main

import (
	"os"

	"github.com/millrace/millrace/services/millrace/cli"
)

func main() {
	os.Exit(cli.Main())
}
