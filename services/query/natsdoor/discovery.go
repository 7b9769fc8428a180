package natsdoor

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
)

// discovery answers who asks which services there are, what they do and how they fare.
func (d *Door) discovery() (subs []*nats.Subscription, err error) {
	for verb, answer := range map[micro.Verb]func() any{
		micro.PingVerb:  func() any { return micro.Ping{ServiceIdentity: d.identity(), Type: micro.PingResponseType} },
		micro.InfoVerb:  func() any { return d.info() },
		micro.StatsVerb: func() any { return d.statistics() },
	} {
		respond := func(m *nats.Msg) {
			if d.strays(m) {
				return
			}
			text, err := json.Marshal(answer())
			if err == nil {
				err = m.Respond(text)
			}
			if err != nil {
				d.cfg.Log.Debug("a question about the service was not answered", "subject", m.Subject, "err", err)
			}
		}
		for _, of := range [][2]string{{"", ""}, {d.cfg.Name, ""}, {d.cfg.Name, d.id}} {
			subject, err := micro.ControlSubject(verb, of[0], of[1])
			if err != nil {
				return subs, fmt.Errorf("nats door: %w", err)
			}
			sub, err := d.cfg.NC.Subscribe(subject, respond)
			if err != nil {
				return subs, fmt.Errorf("answer on %s: %w", subject, err)
			}
			subs = append(subs, sub)
		}
	}
	return subs, nil
}

func (d *Door) identity() micro.ServiceIdentity {
	return micro.ServiceIdentity{Name: d.cfg.Name, ID: d.id, Version: d.cfg.Version, Metadata: map[string]string{}}
}

func (d *Door) info() micro.Info {
	i := micro.Info{ServiceIdentity: d.identity(), Type: micro.InfoResponseType, Description: d.cfg.About, Endpoints: []micro.EndpointInfo{}}
	for _, e := range d.cfg.Endpoints {
		i.Endpoints = append(i.Endpoints, micro.EndpointInfo{
			Name: e.Name, Subject: d.cfg.Group + "." + e.subject(), QueueGroup: queue,
			Metadata: map[string]string{"http": e.Method + " " + e.Path, "about": e.About},
		})
	}
	return i
}

func (d *Door) statistics() micro.Stats {
	all := micro.Stats{ServiceIdentity: d.identity(), Type: micro.StatsResponseType, Started: d.started, Endpoints: []*micro.EndpointStats{}}
	for i, e := range d.cfg.Endpoints {
		s := d.stats[i]
		s.mu.Lock()
		one := &micro.EndpointStats{
			Name: e.Name, Subject: d.cfg.Group + "." + e.subject(), QueueGroup: queue,
			NumRequests: s.requests, NumErrors: s.errors, LastError: s.last, ProcessingTime: s.spent,
		}
		s.mu.Unlock()
		if one.NumRequests > 0 {
			one.AverageProcessingTime = one.ProcessingTime / time.Duration(one.NumRequests)
		}
		all.Endpoints = append(all.Endpoints, one)
	}
	return all
}
