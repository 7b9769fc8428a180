package up

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"regexp"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// maxPayload of NATS: an enriched frame of the largest request fits.
const maxPayload = 8 << 20

// natsPatience is how long NATS may take to read its streams: a few seconds
// for gigabytes, more on a cold disk.
const natsPatience = 2 * time.Minute

// natsServer is the real NATS server, in this process.
type natsServer struct {
	*server.Server
}

func startNATS(ctx context.Context, cfg *Config, diskSize int64) (*natsServer, error) {
	port := cfg.NATSPort
	if port == 0 {
		port = server.RANDOM_PORT
	}
	opts := &server.Options{
		ServerName: "millrace-up",
		Host:       "127.0.0.1",
		Port:       port,
		NoSigs:     true, // they are ours
		MaxPayload: maxPayload,
		JetStream:  true,
		StoreDir:   filepath.Join(cfg.Dir, "nats"),
		// What may be kept is in the limits of the streams, which add up to
		// their share of --max-disk. A limit here would only be in the way when
		// that is made smaller: JetStream counts old and new sizes together.
		JetStreamMaxStore:  diskSize,
		JetStreamMaxMemory: 64 << 20, // no stream of ours lives in memory
		SyncAlways:         cfg.power(),
	}
	s, err := server.NewServer(opts)
	if err != nil {
		return nil, fmt.Errorf("NATS: %w", err)
	}
	words := &natsLog{log: cfg.Log.With("service", "nats")}
	s.SetLogger(words, false, false)
	s.Start()
	deadline := time.Now().Add(natsPatience)
	for !s.ReadyForConnections(100 * time.Millisecond) {
		if ctx.Err() == nil && words.fatal() == "" && time.Now().Before(deadline) {
			continue
		}
		s.Shutdown()
		s.WaitForShutdown()
		if why := words.fatal(); why != "" {
			return nil, fmt.Errorf("NATS: %s", why)
		}
		return nil, errors.Join(fmt.Errorf("NATS was not ready after %s", natsPatience), ctx.Err())
	}
	return &natsServer{s}, nil
}

// Run keeps NATS until ctx is done.
func (n *natsServer) Run(ctx context.Context) error {
	stopped := make(chan struct{})
	// Ended by Shutdown below, or by the server's own end.
	go func() {
		n.WaitForShutdown()
		close(stopped)
	}()
	select {
	case <-ctx.Done():
		n.Shutdown()
		<-stopped
		return nil
	case <-stopped:
		return errors.New("the NATS server ended by itself")
	}
}

// natsLog brings NATS's log lines to ours. Its notices are about every
// connection and stream and go to debug.
type natsLog struct {
	log *slog.Logger
	mu  sync.Mutex // guards why
	why string
}

func (l *natsLog) fatal() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.why
}

func (l *natsLog) Noticef(format string, v ...any) {
	l.log.Debug("nats says", "text", fmt.Sprintf(format, v...))
}

// rebuilding is what NATS warns of after a kill -9: it reads a stream's blocks
// because their index is older. Nothing is wrong then.
var rebuilding = regexp.MustCompile(`^Filestore \[[^\]]*\] (Stream state outdated|Recovering stream state from index errored: prior state file)`)

func (l *natsLog) Warnf(format string, v ...any) {
	text := fmt.Sprintf(format, v...)
	if rebuilding.MatchString(text) {
		l.log.Info("nats rebuilds a stream's index", "text", text)
		return
	}
	l.log.Warn("nats warns", "text", text)
}

func (l *natsLog) Errorf(format string, v ...any) {
	l.log.Error("nats reports an error", "text", fmt.Sprintf(format, v...))
}

func (l *natsLog) Fatalf(format string, v ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.why = fmt.Sprintf(format, v...)
}

func (l *natsLog) Debugf(string, ...any) {}
func (l *natsLog) Tracef(string, ...any) {}
