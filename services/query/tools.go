package query

import (
	"net/http"

	"github.com/millrace/millrace/libs/svc"
	"github.com/millrace/millrace/services/query/mcp"
)

// serveTools is POST /mcp: the questions as tools, asked of the handler of HTTP.
func (s *Service) serveTools(handler http.Handler) func(http.ResponseWriter, *http.Request) error {
	tools, err := mcp.New(mcp.Config{
		Handler: handler, Reports: s.reports.Describe(), Queries: s.gate.Named, Version: svc.Version(), Log: s.log,
	})
	return func(w http.ResponseWriter, r *http.Request) error {
		if err != nil { // it lacks what it needs, which is a fault in this file
			return err
		}
		tools.ServeHTTP(w, r)
		return nil
	}
}
