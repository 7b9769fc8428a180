package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/millrace/millrace/libs/localdb"
)

// statement is what query sends to ClickHouse: SQL with parameters and
// settings.
type statement struct {
	values url.Values
	sql    string
}

// capture is a query service of its own whose statements are written down on
// their way to ClickHouse. It answers each question once, before the load
// begins, and is gone when the measuring starts: what it wrote down is what
// ClickHouse is asked past Millrace.
type capture struct {
	query   string // its address
	service *process
	proxy   *http.Server
	done    sync.WaitGroup

	mu  sync.Mutex // guards all
	all []statement
}

// newCapture starts one beside an installation.
func (b *bench) newCapture(ctx context.Context, in *installation) (*capture, error) {
	to, err := url.Parse(in.addrs.ClickHouseHTTP)
	if err != nil {
		return nil, err
	}
	c := &capture{}
	forward := httputil.NewSingleHostReverseProxy(to)
	c.proxy = &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadGateway)
				return
			}
			r.Body = io.NopCloser(bytes.NewReader(body))
			c.mu.Lock()
			if text := string(body); strings.Contains(text, "FROM events") {
				c.all = append(c.all, statement{r.URL.Query(), text})
			}
			c.mu.Unlock()
		}
		forward.ServeHTTP(w, r)
	})}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	c.done.Go(func() { _ = c.proxy.Serve(l) }) // until it is closed
	port, err := freePort()
	if err == nil {
		c.query = "http://127.0.0.1:" + strconv.Itoa(port)
		c.service, err = launch(in.dir, "capture", nil, filepath.Join(b.bin, "query"), "--nats-url", in.addrs.NATS, "--log-level", "warn",
			"--query-addr", "127.0.0.1:"+strconv.Itoa(port), "--admin-addr", "127.0.0.1:0", "--clickhouse-http-url", "http://"+l.Addr().String(),
			"--clickhouse-user", localdb.ReaderUser, "--clickhouse-password", in.sql.passwords[localdb.ReaderUser])
	}
	if err == nil {
		err = c.service.until(ctx, "ready", func() bool { return answers(c.query + "/v1/status") })
	}
	if err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

func (c *capture) close() {
	if c.service != nil {
		c.service.kill()
	}
	_ = c.proxy.Close()
	c.done.Wait()
}

// of asks a question, a path with parameters, and returns the statements that
// it takes.
func (c *capture) of(ctx context.Context, path string) ([]statement, error) {
	c.mu.Lock()
	c.all = nil
	c.mu.Unlock()
	if _, err := get(ctx, c.query+path); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.all) == 0 {
		return nil, fmt.Errorf("%s takes no statement", path)
	}
	return c.all, nil
}

// get returns the body of an answer.
func get(ctx context.Context, u string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u, nil)
	if err != nil {
		return nil, err
	}
	return do(req)
}

func do(req *http.Request) ([]byte, error) {
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %d: %s", req.URL.Path, resp.StatusCode, bytes.TrimSpace(text))
	}
	return text, err
}

var number64 = regexp.MustCompile(`[0-9]+`)

// direct asks ClickHouse itself as the reader, one statement after the other,
// and says how long that took.
func (in *installation) direct(ctx context.Context, all []statement) (time.Duration, error) {
	began := time.Now()
	for _, s := range all {
		values := url.Values{}
		for name, v := range s.values {
			switch name {
			case "query_id":
			case "param_marks": // up to which rows count, of then; by now there are more, and nothing that reads fewer is the same
				values[name] = []string{number64.ReplaceAllString(v[0], strconv.FormatUint(math.MaxUint64, 10))}
			default:
				values[name] = v
			}
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, in.sql.url+"/?"+values.Encode(), strings.NewReader(s.sql))
		if err != nil {
			return 0, err
		}
		req.Header.Set("X-ClickHouse-User", localdb.ReaderUser)
		req.Header.Set("X-ClickHouse-Key", in.sql.passwords[localdb.ReaderUser])
		if _, err := do(req); err != nil {
			return time.Since(began), err
		}
	}
	return time.Since(began), nil
}
