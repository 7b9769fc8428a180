package query

import (
	"net/http"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/services/query/access"
	"github.com/millrace/millrace/services/query/reports"
)

// serveReports is GET /v1/reports and GET /v1/reports/{name}. A report sees what the key sees.
func (s *Service) serveReports(w http.ResponseWriter, r *http.Request) error {
	sources, _ := access.From(r.Context()).Sources() // nil is all
	return s.reports.Serve(w, r, reports.Asker{DB: s.gate, Sources: sources})
}

// receipt names the frames up to which everything is proven to be in ClickHouse.
func (w *watermark) receipt() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var r bus.Receipt
	for shard, seq := range w.shards {
		if seq > 0 {
			r.Add(bus.Place{Shard: shard, Seq: seq})
		}
	}
	return r.String()
}
