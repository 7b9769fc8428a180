// Command indexer runs the indexer alone, against any NATS and ClickHouse.
package main

import (
	"os"

	"github.com/millrace/millrace/libs/svc"
	"github.com/millrace/millrace/services/indexer"
)

func main() {
	os.Exit(svc.Main("indexer", indexer.Command, svc.WithAdminAddr("127.0.0.1:8083")))
}
