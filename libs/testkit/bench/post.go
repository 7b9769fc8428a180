package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// overHTTP posts the bodies over some keep-alive connections, each with one
// request under way, as a fleet of SDKs does.
func overHTTP(connections int) sender {
	return func(ctx context.Context, in *installation, l load) (string, error) {
		var next atomic.Int64
		var got receipts
		var wg sync.WaitGroup
		errs := make(chan error, connections)
		for range connections {
			wg.Go(func() {
				c, err := in.dial()
				if err != nil {
					errs <- err
					return
				}
				defer c.close()
				for {
					i := int(next.Add(1)) - 1
					if i >= len(l.bodies) {
						return
					}
					receipt, err := c.send(ctx, l.bodies[i])
					if err != nil {
						errs <- err
						return
					}
					got.add(receipt)
				}
			})
		}
		wg.Wait()
		close(errs)
		return got.String(), <-errs
	}
}

// connection is one HTTP connection to the door. net/http's client costs more
// CPU for a small request than the door does; this one writes a request in one
// piece and reads what this door answers, nothing else.
type connection struct {
	net.Conn
	r    *bufio.Reader
	head []byte // of every request, up to the length
	buf  []byte // reused
}

func (in *installation) dial() (*connection, error) {
	u, err := url.Parse(in.addrs.Ingest)
	if err != nil {
		return nil, err
	}
	c, err := net.Dial("tcp", u.Host)
	if err != nil {
		return nil, err
	}
	head := fmt.Sprintf("POST /v1/events HTTP/1.1\r\nHost: %s\r\nX-Write-Key: %s\r\nContent-Type: application/json\r\nContent-Length: ", u.Host, in.addrs.Key)
	return &connection{Conn: c, r: bufio.NewReader(c), head: []byte(head)}, nil
}

func (c *connection) close() { _ = c.Close() } // everything has been answered

// send posts one body and waits out a full system, as an SDK does. It returns
// the receipt.
func (c *connection) send(ctx context.Context, body []byte) (string, error) {
	for {
		status, answer, err := c.post(body)
		if err != nil {
			return "", fmt.Errorf("HTTP door: %w", err)
		}
		switch status {
		case http.StatusOK:
			_, rest, ok := bytes.Cut(answer, []byte(`"receipt":"`))
			receipt, _, ended := bytes.Cut(rest, []byte(`"`))
			if !ok || !ended || !bytes.Contains(answer, []byte(`"rejected":[]`)) {
				return "", fmt.Errorf("HTTP door: %s", answer)
			}
			return string(receipt), nil
		case http.StatusTooManyRequests, http.StatusServiceUnavailable:
			select {
			case <-ctx.Done():
				return "", ctx.Err()
			case <-time.After(time.Second):
			}
		default:
			return "", fmt.Errorf("HTTP door: %d: %s", status, answer)
		}
	}
}

// post does one request. The answer is valid until the next.
func (c *connection) post(body []byte) (status int, answer []byte, err error) {
	c.buf = append(c.buf[:0], c.head...)
	c.buf = strconv.AppendInt(c.buf, int64(len(body)), 10)
	c.buf = append(c.buf, "\r\n\r\n"...)
	c.buf = append(c.buf, body...)
	if _, err := c.Write(c.buf); err != nil {
		return 0, nil, err
	}
	line, err := c.r.ReadSlice('\n')
	if err != nil {
		return 0, nil, err
	}
	if fields := bytes.Fields(line); len(fields) > 1 {
		status, _ = strconv.Atoi(string(fields[1]))
	}
	length := -1
	for {
		line, err := c.r.ReadSlice('\n')
		if err != nil {
			return 0, nil, err
		}
		if line = bytes.TrimRight(line, "\r\n"); len(line) == 0 {
			break
		}
		if name, value, _ := bytes.Cut(line, []byte(":")); bytes.EqualFold(name, []byte("Content-Length")) {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return 0, nil, err
			}
		}
	}
	if length < 0 {
		return 0, nil, fmt.Errorf("status %d without Content-Length", status)
	}
	c.buf = slices.Grow(c.buf[:0], length)[:length]
	_, err = io.ReadFull(c.r, c.buf)
	return status, c.buf, err
}

// sortPlaces sorts "shard:seq" by the number of the shard, the order in which
// a receipt is written.
func sortPlaces(all []string) {
	shard := func(place string) int {
		text, _, _ := strings.Cut(place, ":")
		n, _ := strconv.Atoi(text)
		return n
	}
	slices.SortFunc(all, func(a, b string) int { return cmp.Compare(shard(a), shard(b)) })
}
