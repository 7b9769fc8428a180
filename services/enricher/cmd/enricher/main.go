// Command enricher runs the enricher alone, against any NATS.
// `enricher -help` lists its settings.
package main

import (
	"os"

	"github.com/millrace/millrace/libs/svc"
	"github.com/millrace/millrace/services/enricher"
)

func main() {
	os.Exit(svc.Main("enricher", enricher.Command, svc.WithAdminAddr("127.0.0.1:8082")))
}
