// Command query is the query service as a process of its own.
package main

import (
	"os"

	"github.com/millrace/millrace/libs/svc"
	"github.com/millrace/millrace/services/query"
)

func main() {
	os.Exit(svc.Main("query", query.Command, svc.WithAdminAddr("127.0.0.1:8084")))
}
