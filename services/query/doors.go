package query

import (
	"context"
	"net/http"

	"github.com/millrace/millrace/libs/svc"
	"github.com/millrace/millrace/services/query/live"
	"github.com/millrace/millrace/services/query/natsdoor"
	"github.com/millrace/millrace/services/query/reports"
)

// newLive wires the live stream, GET /v1/live, and the live numbers, GET /v1/live/sql.
func (s *Service) newLive() (*live.Live, error) {
	return live.New(live.Config{
		NC: s.nc, JS: s.js, Names: s.names, Tail: s.tail, Installation: s.installation, Log: s.log, Reg: s.cfg.Reg, Stopping: s.stopping,
		Numbers: live.Numbers{Gate: s.gate, Proven: s.ledger.mark},
	})
}

// takeRequests lets the questions with small answers be asked over NATS too, of the handler of HTTP, until ctx is done and
// those under way are answered. Without keys, whoever may publish the subjects reads all events: as the HTTP port is on
// loopback then, NATS has to be.
func (s *Service) takeRequests(ctx context.Context, handler http.Handler) error {
	if !s.ring.Closed() && !s.cfg.Bus.Local() && !s.cfg.OpenNATSDoor {
		s.log.Warn("questions over NATS are not taken: NATS is not on this machine, and without keys everybody there could read all events",
			"subject", s.names.QueryGroup()+".>", "remedy", "give --api-keys or --access-file; or set --nats-questions-without-keys, where NATS's permissions say who may publish the subject")
		<-ctx.Done()
		return nil
	}
	door, err := natsdoor.New(natsdoor.Config{
		NC: s.nc, Group: s.names.QueryGroup(), Name: s.names.Prefix + "-query", Version: svc.Version(),
		About: "Answers of Millrace: the same as over HTTP, see schemas/api/openapi-query.yaml", Handler: handler, Log: s.log,
		Drain: drainTime, Endpoints: natsEndpoints(), Astray: s.metrics.astray,
	})
	if err != nil {
		return err
	}
	return door.Run(ctx)
}

func natsEndpoints() []natsdoor.Endpoint {
	return []natsdoor.Endpoint{
		{Name: "ask", Method: http.MethodPost, Path: "/v1/ask", Body: true, About: "Stores a request of a user and answers with the user's context"},
		{Name: "users", Method: http.MethodGet, Path: "/v1/users/{id}", About: "One user's context"},
		{Name: "sql", Method: http.MethodPost, Path: "/v1/sql", Body: true, About: "SQL with a small answer; parameters in the header " + natsdoor.HeaderParameters},
		{Name: "reports", Method: http.MethodGet, Path: reports.Root + "/{name}", Rest: true, About: "One report: trend, top, funnel, ..."},
		{Name: "queries", Method: http.MethodGet, Path: "/v1/queries/{name}", Rest: true, About: "One named query"},
		{Name: "status", Method: http.MethodGet, Path: "/v1/status", About: "How far every shard is"},
	}
}
