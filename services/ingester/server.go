package ingester

import (
	"log/slog"
	"net/http"
	"time"
)

// Bounds on what a connection may cost before its request is read.
const (
	headerTimeout = 5 * time.Second // of the TLS handshake too
	bodyTimeout   = 30 * time.Second
	idleTimeout   = 2 * time.Minute
	maxHeader     = 32 << 10
)

// Bounds of HTTP/2: what one connection may have under way, and what its unread bodies may take. A handler reads a body as
// it comes or answers, so a buffer is full only while the sender is faster.
const (
	maxStreams       = 100
	connectionBuffer = 1 << 20
	streamBuffer     = 256 << 10
	pingAfter        = 30 * time.Second // without a frame
)

// newServer speaks HTTP/1.1, and HTTP/2 to who begins with its preface: with TLS that is who negotiated it, without TLS
// who knows before (h2c). The listener undoes TLS, see conns.go.
func (s *Ingester) newServer() *http.Server {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	return &http.Server{
		Handler:           http.HandlerFunc(s.serve),
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       bodyTimeout,
		WriteTimeout:      bodyTimeout + 2*s.cfg.Hold + 10*time.Second, // two: one to wait for NATS at start
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		Protocols:         &protocols,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams:          maxStreams,
			MaxReceiveBufferPerConnection: connectionBuffer,
			MaxReceiveBufferPerStream:     streamBuffer,
			SendPingTimeout:               pingAfter,
		},
		ErrorLog: slog.NewLogLogger(s.cfg.Log.Handler(), slog.LevelDebug),
	}
}
