package ingester

import (
	"encoding/json"
	"net/http"
	"net/netip"
	"strings"
)

// browserSettings are what analytics-next asks for before it sends anything: where to, how, and with which key.
type browserSettings struct {
	Integrations struct {
		Segment struct {
			APIKey   string `json:"apiKey"`
			APIHost  string `json:"apiHost"`
			Protocol string `json:"protocol"`
			Strategy struct {
				Strategy string `json:"strategy"`
				Config   struct {
					Size    int `json:"size"`    // events
					Timeout int `json:"timeout"` // ms
				} `json:"config"`
			} `json:"deliveryStrategy"`
		} `json:"Segment.io"`
	} `json:"integrations"`
	// Without it the SDK sends counts about itself, to Segment.
	Metrics struct {
		SampleRate float64 `json:"sampleRate"`
	} `json:"metrics"`
}

// Batches of the browser: so small that a page that is closed has little to lose.
const (
	browserBatch     = 10
	browserBatchWait = 200 // ms
)

// settings answers where the events of a key go: to the host that was asked.
func (s *Ingester) settings(w http.ResponseWriter, r *http.Request, to *route) (reply, error) {
	settled := s.sources.Loaded() // before the lookup: they may be read between the two
	switch source, err := s.sourceByKey(r, to.arg); {
	case err != nil:
		return reply{}, err
	case source == nil && !settled:
		return reply{}, errStarting
	case source == nil:
		return reply{}, newProblem(http.StatusNotFound, "not_found", "there is no such write key")
	}
	var set browserSettings
	segment := &set.Integrations.Segment
	segment.Protocol, segment.APIHost = s.publicAddress(r)
	segment.APIKey, segment.APIHost = to.arg, segment.APIHost+"/v1"
	segment.Strategy.Strategy = "batching"
	segment.Strategy.Config.Size, segment.Strategy.Config.Timeout = browserBatch, browserBatchWait
	text, _ := json.Marshal(set) // strings and numbers
	// The answer is that of one host: a cache that is shared may not keep it for
	// those who ask another.
	w.Header().Set("Cache-Control", "private, max-age=60")
	w.Header().Add("Vary", "X-Forwarded-Host, X-Forwarded-Proto")
	return reply{kind: "application/json", body: append(text, '\n')}, nil
}

// publicAddress is the scheme and host by which the sender knows this door. What X-Forwarded-Proto and -Host say counts if
// a trusted proxy sent them; the host of a request is the sender's own word and is told to nobody else.
func (s *Ingester) publicAddress(r *http.Request) (scheme, host string) {
	scheme, host = "http", r.Host
	if s.tls != nil {
		scheme = "https"
	}
	if !s.trusts(r.RemoteAddr) {
		return scheme, host
	}
	// The right-most is what the trusted proxy itself has written; what is before it, it may have passed on.
	if proto := rightmost(r.Header.Values("X-Forwarded-Proto")); proto == "http" || proto == "https" {
		scheme = proto
	}
	if name := rightmost(r.Header.Values("X-Forwarded-Host")); isHost(name) {
		host = name
	}
	return scheme, host
}

// rightmost is the last entry of a list that may be spread over several lines.
func rightmost(lines []string) string {
	if len(lines) == 0 {
		return ""
	}
	last := lines[len(lines)-1]
	return strings.TrimSpace(last[strings.LastIndexByte(last, ',')+1:])
}

// isHost says whether text can be a host with or without a port, so that a browser makes no other address of it.
func isHost(text string) bool {
	for i := range len(text) {
		c := text[i]
		if (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') && !strings.ContainsRune(".-:[]_", rune(c)) {
			return false
		}
	}
	return text != ""
}

// trusts says whether an address, with its port, is a trusted proxy's.
func (s *Ingester) trusts(remote string) bool {
	ap, err := netip.ParseAddrPort(remote)
	return err == nil && s.isProxy(ap.Addr().Unmap().WithZone(""))
}

func (s *Ingester) isProxy(a netip.Addr) bool {
	for _, p := range s.cfg.TrustedProxies {
		if p.Contains(a) {
			return true
		}
	}
	return false
}
