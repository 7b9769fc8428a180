package bus

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"regexp"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Config says how to reach NATS. Every service embeds it.
type Config struct {
	URL    string
	Creds  string // path of a credentials file
	User   string
	Pass   string
	Prefix string
	// InboxPrefix keeps replies apart where each service has a user of its
	// own; empty means NATS's default.
	InboxPrefix string
	// InProcess, when set, connects without a socket (millrace up).
	InProcess nats.InProcessConnProvider
}

// RegisterFlags declares the flags with their defaults.
func (c *Config) RegisterFlags(fs *flag.FlagSet) {
	fs.StringVar(&c.URL, "nats-url", nats.DefaultURL, "NATS server `URL` or comma-separated list")
	fs.StringVar(&c.Creds, "nats-creds", "", "NATS credentials `file`")
	fs.StringVar(&c.User, "nats-user", "", "NATS user `name`")
	fs.StringVar(&c.Pass, "nats-password", "", "NATS `password` (better: MILLRACE_NATS_PASSWORD_FILE)")
	fs.StringVar(&c.Prefix, "nats-prefix", DefaultPrefix, "first `token` of all subjects and streams")
	fs.StringVar(&c.InboxPrefix, "nats-inbox-prefix", "", "`subject` prefix for replies, where permissions ask for one; it begins with _INBOX")
}

// Names are the subjects and streams of the installation.
func (c *Config) Names() Names {
	if c.Prefix == "" {
		return Names{Prefix: DefaultPrefix}
	}
	return Names{Prefix: c.Prefix}
}

// Validate checks what can be checked without a connection.
func (c *Config) Validate() error {
	names := c.Names()
	if err := names.Validate(); err != nil {
		return err
	}
	if c.InboxPrefix != "" && !MayAnswer(c.InboxPrefix+".x") {
		return fmt.Errorf("nats-inbox-prefix %q: want _INBOX_<user> or _INBOX.<user>: no answer goes elsewhere", c.InboxPrefix)
	}
	if c.Creds != "" {
		if _, err := os.Stat(c.Creds); err != nil {
			return fmt.Errorf("nats-creds: %w", err)
		}
	}
	return nil
}

// Connect opens a connection that never gives up: while NATS is away, calls
// time out and the connection comes back by itself. name is shown to
// operators. It returns before the first connection succeeds.
func (c *Config) Connect(name string, log *slog.Logger) (*nats.Conn, jetstream.JetStream, error) {
	host, _ := os.Hostname()
	var errs rareErrors
	opts := []nats.Option{
		nats.Name(name + "@" + host),
		nats.MaxReconnects(-1),
		nats.RetryOnFailedConnect(true),
		nats.CustomReconnectDelay(reconnectDelay),
		nats.PingInterval(5 * time.Second),
		nats.MaxPingsOutstanding(2),
		// A publish while disconnected must fail and be retried knowingly, not
		// wait in a buffer and arrive after its caller has given up.
		nats.ReconnectBufSize(-1),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				log.Warn("nats connection lost", "err", err)
			}
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) { log.Info("nats connection is back", "url", nc.ConnectedUrlRedacted()) }),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			if errors.Is(err, nats.ErrConnectionClosed) {
				return
			}
			subject := ""
			if sub != nil {
				subject = sub.Subject
			}
			if errs.due(subject + err.Error()) {
				log.Warn("nats reported an error", "subject", subject, "err", err)
			}
		}),
	}
	if c.Creds != "" {
		opts = append(opts, nats.UserCredentials(c.Creds))
	}
	if c.User != "" {
		opts = append(opts, nats.UserInfo(c.User, c.Pass))
	}
	if c.InboxPrefix != "" {
		opts = append(opts, nats.CustomInboxPrefix(c.InboxPrefix))
	}
	if c.InProcess != nil {
		opts = append(opts, nats.InProcessServer(c.InProcess))
	}
	nc, err := nats.Connect(c.URL, opts...)
	if err != nil {
		return nil, nil, fmt.Errorf("connect to NATS at %s: %w", c.URL, err)
	}
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(1024), jetstream.WithPublishAsyncTimeout(5*time.Second))
	if err != nil {
		nc.Close()
		return nil, nil, fmt.Errorf("open JetStream: %w", err)
	}
	return nc, js, nil
}

// reconnectDelay is how long to wait before all servers are tried once more: 50
// ms at first, so that a restart is not noticed, and a second at last, half of
// it by chance, because everybody lost the same server.
func reconnectDelay(attempts int) time.Duration {
	delay := min(50*time.Millisecond<<min(max(attempts, 1)-1, 10), time.Second)
	return delay/2 + rand.N(delay/2) //nolint:gosec // no secret
}

// rareErrors lets errors of one kind through once a minute, and a hundred kinds
// altogether: a right that is missing, say, is reported with every message.
type rareErrors struct {
	mu   sync.Mutex // guards last
	last map[string]time.Time
}

// maxRareErrors bounds the kinds of a minute.
const maxRareErrors = 100

// numbers are what errors of one kind differ in: the subject of an
// acknowledgement names sequences and times.
var numbers = regexp.MustCompile(`[0-9]+`)

func (r *rareErrors) due(text string) bool {
	kind := numbers.ReplaceAllString(text, "0")
	r.mu.Lock()
	defer r.mu.Unlock()
	if at, ok := r.last[kind]; ok && time.Since(at) < time.Minute {
		return false
	}
	maps.DeleteFunc(r.last, func(_ string, at time.Time) bool { return time.Since(at) >= time.Minute })
	if len(r.last) >= maxRareErrors {
		return false
	}
	if r.last == nil {
		r.last = map[string]time.Time{}
	}
	r.last[kind] = time.Now()
	return true
}

// Purge removes the messages of a stream below seq, as the shard's indexer may
// once they are proven.
func Purge(ctx context.Context, js jetstream.JetStream, stream string, below uint64) error {
	s, err := js.Stream(ctx, stream)
	if err != nil {
		return fmt.Errorf("purge %s: %w", stream, err)
	}
	if err := s.Purge(ctx, jetstream.WithPurgeSequence(below)); err != nil {
		return fmt.Errorf("purge %s below %d: %w", stream, below, err)
	}
	return nil
}
