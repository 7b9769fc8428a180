package ingester

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace/millrace/libs/svc"
)

// writeCertificate makes one for this machine and returns the pool that trusts it.
func writeCertificate(t *testing.T, dir, name string) (certFile, keyFile string, trust *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	trust = x509.NewCertPool()
	trust.AddCert(leaf)
	return certFile, keyFile, trust
}

// over sends an event through a transport and returns the status and protocol.
func (r *rig) over(tr *http.Transport, scheme string) (status int, proto string, err error) {
	req, err := http.NewRequest("POST", scheme+"://"+r.in.Addr()+pathEvents, strings.NewReader(good("u", 1)))
	if err != nil {
		return 0, "", err
	}
	req.Header.Set("X-Write-Key", testKey)
	resp, err := tr.RoundTrip(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, resp.Proto, err
}

func TestTLS(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile, trust := writeCertificate(t, dir, "first")
	r := startRig(t, startNATS(t), func(c *Config) { c.TLSCert, c.TLSKey = certFile, keyFile }).opened()
	transport := func(trust *x509.CertPool, protos ...string) *http.Transport {
		tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trust}, ForceAttemptHTTP2: len(protos) == 0, DisableKeepAlives: true}
		if len(protos) > 0 {
			tr.TLSClientConfig.NextProtos = protos
		}
		return tr
	}
	for _, c := range []struct {
		tr   *http.Transport
		want string
	}{{transport(trust), "HTTP/2.0"}, {transport(trust, "http/1.1"), "HTTP/1.1"}} {
		if status, proto, err := r.over(c.tr, "https"); err != nil || status != 200 || proto != c.want {
			t.Errorf("%d %s %v, want %s", status, proto, err, c.want)
		}
	}
	// What does not speak TLS is told so.
	if got := r.rawly(t, nil, "GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 400 Bad Request\r\n") || strings.Count(got, "https only") != 1 {
		t.Errorf("http: %q", got)
	}
	if got := r.rawly(t, &tls.Config{RootCAs: trust}, "POST /v1/events HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: odd\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 400 Bad Request\r\n") {
		t.Errorf("an unknown Transfer-Encoding over TLS: %q", got)
	}
	a := r.settingsOver(t, transport(trust))
	if !strings.Contains(a, `"protocol":"https"`) {
		t.Errorf("settings: %s", a)
	}

	// A new certificate counts without a restart, a broken one does not.
	_, _, second := writeCertificate(t, dir, "second")
	eventually(t, "the new certificate", func() bool { _, _, err := r.over(transport(second), "https"); return err == nil })
	if err := os.WriteFile(keyFile, []byte("no key"), 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a complaint", func() bool {
		if _, _, err := r.over(transport(second), "https"); err != nil {
			t.Fatalf("the last good one is not used: %v", err)
		}
		return strings.Contains(r.log.String(), "cannot be read")
	})
}

func (r *rig) settingsOver(t *testing.T, tr *http.Transport) string {
	t.Helper()
	req, err := http.NewRequest("GET", "https://"+r.in.Addr()+"/v1/projects/"+testKey+"/settings", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func TestTLSFilesAreCheckedAtStart(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile, _ := writeCertificate(t, dir, "first")
	other := t.TempDir()
	_, otherKey, _ := writeCertificate(t, other, "other")
	for _, c := range []struct{ cert, key, want string }{
		{certFile, "", "both"},
		{"", keyFile, "both"},
		{certFile, filepath.Join(dir, "none.pem"), "none.pem"},
		{keyFile, keyFile, "certificate"},
		{certFile, otherKey, "does not match"},
	} {
		cfg := Config{Log: discard(), Reg: prometheus.NewRegistry(), Health: svc.NewHealth(), Addr: "127.0.0.1:0", TLSCert: c.cert, TLSKey: c.key}
		cfg.Bus.URL = "nats://127.0.0.1:1"
		if in, err := New(cfg); err == nil {
			_ = in.Close()
			t.Errorf("%+v is taken", c)
		} else if !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "--ingest-tls") {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// TestHTTP2WithoutTLS: with prior knowledge, as proxies speak it.
func TestHTTP2WithoutTLS(t *testing.T) {
	r := startRig(t, startNATS(t)).opened()
	var h2c http.Protocols
	h2c.SetUnencryptedHTTP2(true)
	tr := &http.Transport{Protocols: &h2c}
	defer tr.CloseIdleConnections()
	if status, proto, err := r.over(tr, "http"); err != nil || status != 200 || proto != "HTTP/2.0" {
		t.Errorf("%d %s %v", status, proto, err)
	}
	// One connection has many requests under way, and no more than it may.
	var wg sync.WaitGroup
	for range 2 * maxStreams {
		wg.Go(func() {
			if status, _, err := r.over(tr, "http"); err != nil || status != 200 {
				t.Errorf("%d %v", status, err)
			}
		})
	}
	wg.Wait()
}

// rawly sends bytes over a connection of its own and returns what comes back until it is closed.
func (r *rig) rawly(t *testing.T, secure *tls.Config, text string) string {
	t.Helper()
	c, err := net.Dial("tcp", r.in.Addr())
	if err != nil {
		t.Fatal(err)
	}
	if secure != nil {
		secure.ServerName = "localhost"
		c = tls.Client(c, secure)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	got, _ := io.ReadAll(c) // a reset after the answer is no matter
	return string(got)
}

// TestStatusesThatSDKsMisunderstand: 501, 505 and 511 make them drop events, and 3xx means stored to some. net/http has two
// of them of its own.
func TestStatusesThatSDKsMisunderstand(t *testing.T) {
	r := startRig(t, startNATS(t)).opened()
	body := good("u", 1)
	head := "Host: localhost\r\nX-Write-Key: " + testKey + "\r\nConnection: close\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n"
	for _, c := range []struct {
		name, text string
		want       int
	}{
		{"an event", "POST /v1/events HTTP/1.1\r\n" + head + "\r\n" + body, 200},
		{"HTTP/1.0", "POST /v1/events HTTP/1.0\r\n" + head + "\r\n" + body, 200},
		{"unknown Transfer-Encoding", "POST /v1/batch HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: odd\r\n\r\n", 400},
		{"two Transfer-Encodings", "POST /v1/batch HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 400},
		{"HTTP/3.0", "POST /v1/batch HTTP/3.0\r\n" + head + "\r\n" + body, 400},
		{"HTTP/2.0 in text", "GET /v1/batch HTTP/2.0\r\n" + head + "\r\n", 400},
		{"HTTP/0.9", "GET /v1/batch HTTP/0.9\r\n" + head + "\r\n", 400},
		{"no version", "GET /v1/batch\r\n\r\n", 400},
		{"a version that is none", "POST /v1/batch HTTP/9\r\n" + head + "\r\n", 400},
		{"unknown method", "BREW /v1/batch HTTP/1.1\r\n" + head + "\r\n" + body, 405},
		{"CONNECT", "CONNECT /v1/batch HTTP/1.1\r\n" + head + "\r\n", 405},
		{"CONNECT to elsewhere", "CONNECT example.org:443 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 403}, // this door is for this machine
		{"TRACE", "TRACE /v1/batch HTTP/1.1\r\n" + head + "\r\n", 405},
		{"OPTIONS *", "OPTIONS * HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 200},
		{"two slashes", "POST //v1//events/ HTTP/1.1\r\n" + head + "\r\n" + body, 200},
		{"dots", "POST /v1/x/../events HTTP/1.1\r\n" + head + "\r\n" + body, 404},
		{"unknown Expect", "POST /v1/events HTTP/1.1\r\nExpect: tea\r\n" + head + "\r\n" + body, 417},
		{"upgrade", "POST /v1/events HTTP/1.1\r\nUpgrade: h2c, websocket\r\n" + head + "\r\n" + body, 200},
		{"large headers", "POST /v1/events HTTP/1.1\r\nX: " + strings.Repeat("x", maxHeader+8<<10) + "\r\n" + head + "\r\n" + body, 431},
	} {
		got := r.rawly(t, nil, c.text)
		resp, err := http.ReadResponse(bufio.NewReader(strings.NewReader(got)), nil)
		if err != nil {
			t.Errorf("%s: %v: %.200q", c.name, err, got)
			continue
		}
		if resp.StatusCode != c.want {
			t.Errorf("%s: %d, want %d: %.300q", c.name, resp.StatusCode, c.want, got)
		}
	}
}

// TestSlowConnectionsKeepNobodyOut: they wait for their time to be over, in the header or in the body.
func TestSlowConnectionsKeepNobodyOut(t *testing.T) {
	r := startRig(t, startNATS(t)).opened()
	head := "POST /v1/events HTTP/1.1\r\nHost: localhost\r\nX-Write-Key: " + testKey + "\r\n"
	var slow []net.Conn
	for i := range 200 {
		c, err := net.Dial("tcp", r.in.Addr())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		slow = append(slow, c)
		text := head
		if i%2 == 0 {
			text += "Content-Length: 4000000\r\n\r\n{"
		}
		if _, err := io.WriteString(c, text); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "all are there", func() bool { return gaugeValue(r.in.m.connections) >= 200 })
	for range 20 {
		r.post(good("u", 1)).want(t, 200)
	}
	if used := r.in.budget.used.Load(); used > 1<<20 {
		t.Errorf("they take %d bytes of the budget", used)
	}
	// Those that send no header are cut off first.
	_ = slow[1].SetReadDeadline(time.Now().Add(4 * headerTimeout))
	if _, err := io.Copy(io.Discard, slow[1]); err != nil {
		t.Errorf("a header that does not come: %v", err)
	}
}

func TestConnectionsAtTheLimit(t *testing.T) {
	dialed := func(t *testing.T, r *rig, n int) (open int) {
		t.Helper()
		for range n {
			c, err := net.Dial("tcp", r.in.Addr())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { c.Close() })
			if _, err := io.WriteString(c, "GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
				continue
			}
			_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
			if _, err := http.ReadResponse(bufio.NewReader(c), nil); err == nil {
				open++
			}
		}
		return open
	}
	for _, c := range []struct {
		name        string
		all, each   int
		proxy       bool
		n, want     int
		wantRefused float64
	}{
		{"of one address", 100, 5, false, 5, 5, 0},
		{"of one address and one", 100, 5, false, 6, 5, 1},
		{"altogether", 5, 100, false, 5, 5, 0},
		{"altogether and one", 5, 100, false, 6, 5, 1},
		{"of a proxy", 100, 5, true, 20, 20, 0},
		{"of a proxy, altogether", 5, 5, true, 6, 5, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := startRig(t, startNATS(t), func(cfg *Config) {
				cfg.MaxConns, cfg.MaxConnsEach = c.all, c.each
				if c.proxy {
					if err := cfg.TrustedProxies.Set("127.0.0.0/8"); err != nil {
						t.Fatal(err)
					}
				}
			}).opened()
			if open := dialed(t, r, c.n); open != c.want || counterValue(r.in.m.connectionsRefused) != c.wantRefused {
				t.Errorf("%d of %d are open, %v refused", open, c.n, counterValue(r.in.m.connectionsRefused))
			}
		})
	}
	// A place that was left is free again.
	r := startRig(t, startNATS(t), func(c *Config) { c.MaxConnsEach = 2 }).opened()
	for range 20 {
		eventually(t, "a place", func() bool {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			req, err := http.NewRequestWithContext(ctx, "GET", "http://"+r.in.Addr()+"/nothing", nil)
			if err != nil {
				t.Fatal(err)
			}
			tr := &http.Transport{DisableKeepAlives: true}
			resp, err := tr.RoundTrip(req)
			if err == nil {
				resp.Body.Close()
			}
			return err == nil
		})
	}
}

// TestATooLargeBodyIsReadToItsEnd: PostHog's SDKs halve a batch at 413, but only if they see it before their connection ends.
func TestATooLargeBodyIsReadToItsEnd(t *testing.T) {
	r := startRig(t, startNATS(t)).opened()
	large := bytes.Repeat([]byte(" "), 20<<20)
	for range 10 {
		a := r.send("/batch/", string(large), "X-Write-Key", testKey).want(t, 413)
		if a.Problem.Code != "body_too_large" {
			t.Errorf("%s", a.Body)
		}
	}
	if used := r.in.budget.used.Load(); used != 0 {
		t.Errorf("%d bytes", used)
	}
}
