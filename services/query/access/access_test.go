package access

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/millrace/libs/bus/writekey"
	"github.com/millrace/millrace/services/query/problem"
)

const full = `
keys:
  - name: dashboard
    key: 0123456789abcdef
    scopes: [reports, live]
    sources: [shop]
    quota: {per_minute: 60, concurrent: 4, seconds_per_hour: 600, max_time: 10s}
  - name: analyst
    sha256: %s
    scopes: [sql]
    sources: ["*"]
`

func write(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "access.yaml")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func bearer(key string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("Authorization", "Bearer "+key)
	return r
}

func TestRing(t *testing.T) {
	sum := sha256.Sum256([]byte("the analyst's key"))
	var writes writekey.Keys
	if err := writes.Set("shop:write-1,bank:write-2"); err != nil {
		t.Fatal(err)
	}
	ring, err := New(Config{
		APIKeys: []string{"the operator's key"}, File: write(t, fmt.Sprintf(full, hex.EncodeToString(sum[:]))),
		WriteKeys: &writes, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	if !ring.Closed() || strings.Contains(ring.String(), "key:") {
		t.Errorf("closed %v, prints as %q", ring.Closed(), ring)
	}
	basic := httptest.NewRequest(http.MethodGet, "/", nil)
	basic.SetBasicAuth("write-2", "")
	header := httptest.NewRequest(http.MethodGet, "/", nil)
	header.Header.Set("X-Write-Key", "write-1")
	apiAsBasic := httptest.NewRequest(http.MethodGet, "/", nil)
	apiAsBasic.SetBasicAuth("the operator's key", "")
	for _, tc := range []struct {
		what    string
		request *http.Request
		name    string // "" is nobody
		scopes  []Scope
		sees    map[string]bool
	}{
		{"operator", bearer("the operator's key"), "everything", Scopes(), map[string]bool{"shop": true, "bank": true}},
		{"in the file", bearer("0123456789abcdef"), "dashboard", []Scope{Reports, Live}, map[string]bool{"shop": true, "bank": false}},
		{"by its digest", bearer("the analyst's key"), "analyst", []Scope{SQL}, map[string]bool{"shop": true, "bank": true}},
		{"write key", bearer("write-1"), "write:shop", []Scope{Write}, map[string]bool{"shop": true, "bank": false}},
		{"write key in its header", header, "write:shop", []Scope{Write}, map[string]bool{"shop": true, "bank": false}},
		{"write key as user", basic, "write:bank", []Scope{Write}, map[string]bool{"shop": false, "bank": true}},
		{"API key as user", apiAsBasic, "", nil, nil},
		{"unknown", bearer("another key of somebody"), "", nil, nil},
		{"empty", bearer(""), "", nil, nil},
		{"none", httptest.NewRequest(http.MethodGet, "/", nil), "", nil, nil},
	} {
		key, ok := ring.Find(tc.request)
		if ok != (tc.name != "") || ok && key.Name() != tc.name {
			t.Errorf("%s: found %v %+v", tc.what, ok, key)
			continue
		}
		if !ok {
			continue
		}
		ctx := With(t.Context(), key)
		writes := slices.Contains(tc.scopes, Write)
		for _, s := range append(Scopes(), Write, Any) {
			allowed := slices.Contains(tc.scopes, s) || s == Any && !writes
			if err := Need(ctx, s); (err == nil) != allowed {
				t.Errorf("%s, scope %s: %v", tc.what, s, err)
			}
		}
		if err := Need(ctx, Admin, Live); writes && !strings.Contains(fmt.Sprint(err), "POST /v1/ask and nothing else: show an API key with the scope admin or live") {
			t.Errorf("%s: %v", tc.what, err)
		}
		for source, sees := range tc.sees {
			if key.Sees(source) != sees {
				t.Errorf("%s sees %s: %v", tc.what, source, !sees)
			}
			if _, err := key.Source(source); (err == nil) != sees {
				t.Errorf("%s, about %s: %v", tc.what, source, err)
			}
		}
	}
}

// Code that forgot the key must not see anything.
func TestNoKey(t *testing.T) {
	k := From(t.Context())
	if list, all := k.Sources(); all || len(list) != 0 || k.Sees("shop") {
		t.Errorf("without a key, %v is seen, all %v", list, all)
	}
	for _, s := range Scopes() {
		var p *problem.Problem
		if err := Need(t.Context(), s); !errors.As(err, &p) || p.Status != http.StatusForbidden {
			t.Errorf("scope %s: %v", s, err)
		}
	}
	if Need(t.Context()) == nil {
		t.Error("no scope at all opens a path to nobody")
	}
}

func TestSourceOfAKey(t *testing.T) {
	for _, tc := range []struct {
		sources []string
		named   string
		want    string
		status  int
	}{
		{[]string{"shop"}, "", "shop", 0},
		{[]string{"shop"}, "shop", "shop", 0},
		{[]string{"shop"}, "bank", "", 403},
		{[]string{"shop", "blog"}, "", "", 400},
		{[]string{"shop", "blog"}, "blog", "blog", 0},
		{nil, "bank", "bank", 0},
		{nil, "", "", 400},
	} {
		got, err := NewKey("k", tc.sources, Ask).Source(tc.named)
		var p *problem.Problem
		if errors.As(err, &p); got != tc.want || (p != nil) != (tc.status != 0) || p != nil && p.Status != tc.status {
			t.Errorf("%v, %q: %q, %v", tc.sources, tc.named, got, err)
		}
		if tc.status == http.StatusBadRequest && !strings.Contains(p.Detail, "?source=") {
			t.Errorf("how the source is named is not said: %s", p.Detail)
		}
	}
}

func TestFileRefusals(t *testing.T) {
	const key = "key: 0123456789abcdef, "
	for what, text := range map[string]string{
		"unknown member":     "keys: [{name: a, " + key + "scopes: [sql], sources: [s], admin: true}]",
		"unknown top":        "key: []",
		"no name":            "keys: [{" + key + "scopes: [sql], sources: [s]}]",
		"no key":             "keys: [{name: a, scopes: [sql], sources: [s]}]",
		"two keys":           "keys: [{name: a, " + key + "sha256: ab, scopes: [sql], sources: [s]}]",
		"short key":          "keys: [{name: a, key: short, scopes: [sql], sources: [s]}]",
		"short digest":       "keys: [{name: a, sha256: abcd, scopes: [sql], sources: [s]}]",
		"no scopes":          "keys: [{name: a, " + key + "sources: [s]}]",
		"unknown scope":      "keys: [{name: a, " + key + "scopes: [root], sources: [s]}]",
		"empty scope":        "keys: [{name: a, " + key + "scopes: [''], sources: [s]}]",
		"no sources":         "keys: [{name: a, " + key + "scopes: [sql], sources: []}]",
		"cut off sources":    "keys:\n - name: a\n   key: 0123456789abcdef\n   scopes: [sql]\n",
		"all and one":        "keys: [{name: a, " + key + "scopes: [sql], sources: ['*', shop]}]",
		"no keys":            "",
		"only a comment":     "# later",
		"blank keys":         "keys:\n",
		"name of others":     "keys: [{name: everything, " + key + "scopes: [sql], sources: [s]}]",
		"name of a write":    "keys: [{name: 'write:shop', " + key + "scopes: [sql], sources: [s]}]",
		"forgotten sources":  "keys:\n - name: a\n   key: 0123456789abcdef\n   scopes: [sql]\n   sources:\n",
		"source with commas": "keys: [{name: a, " + key + "scopes: [sql], sources: ['shop,bank']}]",
		"source with a mark": "keys: [{name: a, " + key + "scopes: [sql], sources: ['@bank']}]",
		"admin of a source":  "keys: [{name: a, " + key + "scopes: [admin], sources: [shop]}]",
		"negative quota":     "keys: [{name: a, " + key + "scopes: [sql], sources: [s], quota: {per_minute: -1}}]",
		"unknown quota":      "keys: [{name: a, " + key + "scopes: [sql], sources: [s], quota: {a_day: 1}}]",
		"two of a name":      "keys: [{name: a, " + key + "scopes: [sql], sources: [s]}, {name: a, key: 123456789abcdef0, scopes: [sql], sources: [s]}]",
		"two of a key":       "keys: [{name: a, " + key + "scopes: [sql], sources: [s]}, {name: b, " + key + "scopes: [sql], sources: [s]}]",
		"no YAML":            "keys: [",
	} {
		_, err := New(Config{File: write(t, text)})
		if err == nil || strings.Contains(err.Error(), "0123456789abcdef") {
			t.Errorf("%s: %v", what, err)
		}
		if strings.HasSuffix(what, " sources") && !strings.Contains(fmt.Sprint(err), `or ["*"] for all`) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := New(Config{File: filepath.Join(t.TempDir(), "none")}); err == nil {
		t.Error("a file that is not there is taken")
	}
}

// TestReread changes the file while the ring runs.
func TestReread(t *testing.T) {
	name := write(t, "keys: [{name: a, key: 0123456789abcdef, scopes: [sql], sources: [s], quota: {per_minute: 1}}]")
	synctest.Test(t, func(t *testing.T) {
		ring, err := New(Config{File: name, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- ring.Run(ctx) }()
		key, _ := ring.Find(bearer("0123456789abcdef"))
		if _, err := key.Take(); err != nil {
			t.Fatal(err)
		}
		change := func(text string) {
			t.Helper()
			if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			time.Sleep(reread + time.Second)
			synctest.Wait()
		}
		change("keys: [{name: a, key: fedcba9876543210, scopes: [sql], sources: [s], quota: {per_minute: 1}}, {name: b, key: 0011223344556677, scopes: [live], sources: [s]}]")
		if _, ok := ring.Find(bearer("0123456789abcdef")); ok {
			t.Error("a key that was taken away is good")
		}
		key, ok := ring.Find(bearer("fedcba9876543210"))
		if !ok {
			t.Fatal("a new key is not known")
		}
		if _, err := key.Take(); err == nil {
			t.Error("what the key had used was forgotten")
		}
		stays, ok := ring.Find(bearer("0011223344556677"))
		if !ok {
			t.Fatal("the other new key is not known")
		}
		const same = "{name: b, key: 0011223344556677, scopes: [live], sources: [s]}"
		for _, damaged := range []string{"", "keys: [", "keys: [{name: b, key: 0011223344556677, scopes: [live]}]", "keys:\n"} {
			change(damaged)
			if k, ok := ring.Find(bearer("0011223344556677")); !ok || k.Sees("other") {
				t.Errorf("a damaged file took the keys away, or opened all sources: %q", damaged)
			}
		}
		change("keys: [{name: a, key: fedcba9876543210, scopes: [sql], sources: [other]}, " + same + "]")
		if !isGone(key) {
			t.Error("a key that sees something else now goes on as it was")
		}
		if key, _ = ring.Find(bearer("fedcba9876543210")); isGone(key) || key.Sees("s") {
			t.Error("the changed key is not known as it is")
		}
		if k, _ := ring.Find(bearer("0011223344556677")); k != stays || isGone(stays) {
			t.Error("a key that is as it was is another now")
		}
		change("keys: [" + same + "]")
		if !isGone(key) || isGone(stays) {
			t.Error("want the key gone that was taken away, and the other not")
		}
		change("keys: []")
		if !isGone(stays) {
			t.Error("the last key that was taken away goes on")
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

func isGone(k *Key) bool {
	select {
	case <-k.Gone():
		return true
	default:
		return false
	}
}

// TestSameKeys: one secret is one key. A write key is public where it is in web pages, and must open nothing else.
func TestSameKeys(t *testing.T) {
	const secret = "0123456789abcdef"
	inFile := write(t, "keys: [{name: a, key: "+secret+", scopes: [sql], sources: [s]}]")
	var writes writekey.Keys
	if err := writes.Set("shop:" + secret); err != nil {
		t.Fatal(err)
	}
	for want, cfg := range map[string]Config{
		"a is the same key as an API key":                     {APIKeys: []string{secret}, File: inFile},
		"a is the same key as a write key of the source shop": {WriteKeys: &writes, File: inFile},
		"an API key is a write key of the source shop too":    {APIKeys: []string{secret}, WriteKeys: &writes},
	} {
		if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), secret) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}
