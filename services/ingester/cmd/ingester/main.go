// Command ingester takes events over HTTP and NATS and writes them to RAW.
// `ingester -help` lists its settings.
package main

import (
	"os"

	"github.com/millrace/millrace/libs/svc"
	"github.com/millrace/millrace/services/ingester"
)

func main() {
	os.Exit(svc.Main("ingester", ingester.Command, svc.WithAdminAddr("127.0.0.1:8081")))
}
