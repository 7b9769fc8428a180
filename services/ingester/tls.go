package ingester

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// certificate is that of the HTTP door, from two files that may be replaced at any time, as tools that renew certificates
// do. While what is in the files does not go together, the last one that did stays.
type certificate struct {
	certFile, keyFile string
	log               *slog.Logger

	mu     sync.Mutex // guards all below
	now    *tls.Certificate
	mark   [2]fileMark
	looked time.Time
}

// fileMark tells a file's versions apart.
type fileMark struct {
	changed time.Time
	size    int64
}

// certificateEvery is how often the files are looked at, at most: at a handshake.
const certificateEvery = time.Second

// loadCertificate reads the files the first time.
func loadCertificate(certFile, keyFile string, log *slog.Logger) (*certificate, error) {
	c := &certificate{certFile: certFile, keyFile: keyFile, log: log}
	mark, err := c.marks()
	if err == nil {
		err = c.load(mark)
	}
	if err != nil {
		return nil, fmt.Errorf("TLS of the HTTP door: %w; see --ingest-tls-cert and --ingest-tls-key", err)
	}
	if until := c.now.Leaf.NotAfter; time.Now().After(until) {
		log.Warn("the certificate of the HTTP door has expired", "file", certFile, "until", until)
	}
	return c, nil
}

func (c *certificate) marks() (marks [2]fileMark, err error) {
	for i, name := range []string{c.certFile, c.keyFile} {
		info, err := os.Stat(name)
		if err != nil {
			return marks, err
		}
		marks[i] = fileMark{info.ModTime(), info.Size()}
	}
	return marks, nil
}

// load reads the files. The caller holds mu, or is alone.
func (c *certificate) load(mark [2]fileMark) error {
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return fmt.Errorf("certificate %s with key %s: %w", c.certFile, c.keyFile, err)
	}
	c.now, c.mark, c.looked = &pair, mark, time.Now()
	return nil
}

// get is tls.Config.GetCertificate.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.looked) < certificateEvery {
		return c.now, nil
	}
	c.looked = time.Now()
	mark, err := c.marks()
	if err == nil && mark == c.mark {
		return c.now, nil
	}
	if err == nil {
		err = c.load(mark)
	}
	if err != nil {
		c.mark = mark // one line for each change that is wrong
		c.log.Error("the new certificate of the HTTP door cannot be read, the old one is used", "err", err)
		return c.now, nil
	}
	c.log.Info("the certificate of the HTTP door is new", "file", c.certFile, "until", c.now.Leaf.NotAfter)
	return c.now, nil
}

// tlsConfig is nil when no certificate is configured.
func (c *Config) tlsConfig() (*tls.Config, error) {
	switch {
	case c.TLSCert == "" && c.TLSKey == "":
		return nil, nil
	case c.TLSCert == "" || c.TLSKey == "":
		return nil, errors.New("TLS of the HTTP door needs both --ingest-tls-cert and --ingest-tls-key")
	}
	cert, err := loadCertificate(c.TLSCert, c.TLSKey, c.Log)
	if err != nil {
		return nil, err
	}
	return &tls.Config{GetCertificate: cert.get, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}}, nil
}
