package localdb

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"
)

// Config of one local ClickHouse. Dir, Passwords and Log are required.
type Config struct {
	Dir         string       // everything it keeps is below; created if missing
	Engine      string       // a clickhouse binary or a libchdb.so; "" looks for one, see FindEngine
	ListenHost  string       // an IP address; "" is 127.0.0.1
	HTTPPort    int          // 0 picks a free one
	TCPPort     int          // the native protocol; 0 picks a free one
	MemoryLimit int64        // bytes for the whole server; 0 leaves it to ClickHouse (90 % of the machine)
	Passwords   Passwords    // see NewPasswords
	Log         *slog.Logger // the parent's view; the engine has its own log in Dir

	lockPatience time.Duration // 0 is the constant; shorter in tests
}

// Validate says what is wrong with the configuration.
func (c Config) Validate() error {
	switch {
	case c.Dir == "":
		return errors.New("localdb: no directory given")
	case c.Log == nil:
		return errors.New("localdb: no logger given")
	case c.ListenHost != "" && net.ParseIP(c.ListenHost) == nil:
		return fmt.Errorf("localdb: listen host %q is not an IP address", c.ListenHost)
	case c.HTTPPort < 0 || c.HTTPPort > 65535 || c.TCPPort < 0 || c.TCPPort > 65535:
		return fmt.Errorf("localdb: ports %d and %d must be between 0 and 65535", c.HTTPPort, c.TCPPort)
	case c.HTTPPort != 0 && c.HTTPPort == c.TCPPort:
		return fmt.Errorf("localdb: HTTP and the native protocol cannot share port %d", c.HTTPPort)
	case c.MemoryLimit < 0:
		return fmt.Errorf("localdb: memory limit %d is negative", c.MemoryLimit)
	}
	return c.Passwords.validate()
}

// Addrs is where the server can be reached.
type Addrs struct {
	HTTP   string // http://127.0.0.1:8123
	Native string // 127.0.0.1:9000
}

// URL is the address of the native protocol with a user and the database, as the eventdb package reads it.
func (a Addrs) URL(user, password string) string {
	return "clickhouse://" + user + ":" + password + "@" + a.Native + "/" + Database
}

// Server is a running local ClickHouse. Its methods may be called from any goroutine.
type Server struct {
	layout layout
	addrs  Addrs
	ports  ports
	log    *slog.Logger
	engine int // process id of ClickHouse itself

	cmd     *exec.Cmd
	done    chan struct{} // closed when the child is gone
	err     error         // written before done is closed
	asked   atomic.Bool   // the end was asked for, so it is no failure
	release func()        // closes the pipe's write end, once
}

const (
	readyLimit = 90 * time.Second // a cold page cache has to read half a gigabyte first
	portTries  = 5
)

// Start starts a ClickHouse in cfg.Dir and returns when both ports answer. Dir may hold the data of an earlier one.
// Errors wrap [ErrNoEngine], [ErrInUse], [ErrPortTaken] or [ErrExited] where they apply. ctx bounds the start only.
func Start(ctx context.Context, cfg Config) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.ListenHost == "" {
		cfg.ListenHost = "127.0.0.1"
	}
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("directory of the local ClickHouse: %w", err)
	}
	eng, err := FindEngine(ctx, cfg.Engine)
	if err != nil {
		return nil, err
	}
	l := layoutOf(dir)
	if err := l.create(); err != nil {
		return nil, err
	}
	if cfg.lockPatience == 0 {
		cfg.lockPatience = lockPatience
	}
	lock, err := lockDir(ctx, l, cfg.lockPatience)
	if err != nil {
		return nil, err
	}
	// The child has its own copy by the time Start returns.
	defer func() { _ = lock.Close() }()
	for try := 1; ; try++ {
		p, err := choosePorts(cfg, eng.Library)
		if err != nil {
			return nil, err
		}
		s, err := startOnce(ctx, cfg, eng, l, p, lock)
		if err == nil {
			cfg.Log.Info("local clickhouse is ready", "dir", dir, "engine", eng.Path, "http", s.addrs.HTTP,
				"native", s.addrs.Native, "pid", s.engine)
			return s, nil
		}
		if try == portTries || !errors.Is(err, ErrPortTaken) || ctx.Err() != nil {
			return nil, err
		}
	}
}

func startOnce(ctx context.Context, cfg Config, eng Engine, l layout, p ports, lock *os.File) (*Server, error) {
	if p.listener != nil {
		defer func() { _ = p.listener.Close() }() // the child has its own copy
	}
	instance := rand.Text()
	if err := l.write(cfg, eng, p, instance); err != nil {
		return nil, err
	}
	host := reachable(cfg.ListenHost)
	s := &Server{
		layout: l, log: cfg.Log, done: make(chan struct{}), ports: p,
		addrs: Addrs{
			HTTP:   "http://" + net.JoinHostPort(host, strconv.Itoa(p.http)),
			Native: net.JoinHostPort(host, strconv.Itoa(p.native)),
		},
	}
	said := &tail{limit: 8 << 10}
	if err := s.spawn(eng, cfg, p, lock, said); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, readyLimit)
	defer cancel()
	for {
		err := answers(ctx, s.addrs, cfg.Passwords.Reader, instance)
		if err == nil {
			return s, nil
		}
		select {
		case <-s.done:
			return nil, s.explain(said.String())
		case <-ctx.Done():
			_ = s.Kill() // it may be gone already
			return nil, fmt.Errorf("local ClickHouse in %s does not answer (%w): %w; its log: %s", l.dir, err, ctx.Err(), l.log)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// Addrs says where the server listens.
func (s *Server) Addrs() Addrs { return s.addrs }

// Ports are the numbers in Addrs, for a Config whose next start is to keep them.
func (s *Server) Ports() (http, native int) { return s.ports.http, s.ports.native }

// DataDir is where ClickHouse keeps its tables; tests damage it while the server is stopped.
func (s *Server) DataDir() string { return s.layout.data }

// LogFile is the engine's own log.
func (s *Server) LogFile() string { return s.layout.log }

// Pid is the process id of ClickHouse itself.
func (s *Server) Pid() int { return s.engine }

// Done is closed when the child is gone, for whatever reason; Err tells which.
func (s *Server) Done() <-chan struct{} { return s.done }

// Err is nil while the server runs and after Stop; it wraps [ErrExited] when the child ended by itself or by Kill.
func (s *Server) Err() error {
	select {
	case <-s.done:
		return s.err
	default:
		return nil
	}
}

// Stop ends the server cleanly and waits for it. When ctx ends first, the child is killed; nothing that was
// acknowledged is lost by that, but the error says so. libchdb waits 5 s for connections that are still open, idle ones
// too: close yours first; a test that throws the directory away is quicker with Kill. Stop of a server that is gone
// returns Err.
func (s *Server) Stop(ctx context.Context) error {
	s.asked.Store(true)
	s.release()
	select {
	case <-s.done:
		return s.err
	case <-ctx.Done():
	}
	if err := s.kill(); err != nil {
		return err
	}
	<-s.done
	return fmt.Errorf("local ClickHouse did not stop in time and was killed: %w", context.Cause(ctx))
}

// Kill sends SIGKILL to ClickHouse and waits until it is gone. It is for fault tests and the last resort.
func (s *Server) Kill() error {
	if err := s.kill(); err != nil {
		return err
	}
	<-s.done
	return nil
}

func (s *Server) kill() error {
	select {
	case <-s.done:
		return nil // its process id may belong to somebody else by now
	default:
	}
	if err := syscall.Kill(s.engine, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("kill the local ClickHouse: %w", err)
	}
	return nil
}
