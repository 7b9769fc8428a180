package ingester

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"
)

// browserSDK is @segment/analytics-next 1.84.3 as its package has it, compressed: the script that Segment's snippet loads,
// and the parts that the script loads when they are needed, from /analytics-next/bundles/ of where it came from.
//
//go:embed assets/analytics-next/*.js.gz
var browserSDK embed.FS

const (
	browserSDKDir    = "assets/analytics-next/"
	browserSDKScript = "standalone.js"
)

// fromHere stands before the script, which looks for its own address in the page and takes only one with https for it:
// otherwise it would ask Segment. A page on this machine has http.
const fromHere = `(function(){var s=document.currentScript,m=s&&/^(https?:\/\/.*)\/analytics\.js\/v1\//.exec(s.src),` +
	`k=document.querySelector("script[data-global-segment-analytics-key]"),a=window[k&&k.dataset.globalSegmentAnalyticsKey||"analytics"];` +
	`if(m&&a&&!a._cdn)a._cdn=m[1]})();` + "\n"

// asset is a script in both forms in which it is sent.
type asset struct {
	plain, packed []byte
	tag           string // ETag of plain, without quotes
}

// loadAssets unpacks the scripts.
func loadAssets() (map[string]*asset, error) {
	files, err := fs.Glob(browserSDK, browserSDKDir+"*.js.gz")
	if err != nil {
		return nil, err
	}
	all := map[string]*asset{}
	for _, name := range files {
		packed, err := browserSDK.ReadFile(name)
		if err != nil {
			return nil, err
		}
		a, err := newAsset(packed, strings.HasSuffix(name, browserSDKScript+".gz"))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		all[strings.TrimSuffix(strings.TrimPrefix(name, browserSDKDir), ".gz")] = a
	}
	return all, nil
}

func newAsset(packed []byte, isScript bool) (*asset, error) {
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, err
	}
	plain, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	if isScript {
		plain = append([]byte(fromHere), plain...)
		var b bytes.Buffer
		w, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
		if err != nil {
			return nil, err
		}
		_, _ = w.Write(plain) // into memory
		if err := w.Close(); err != nil {
			return nil, err
		}
		packed = b.Bytes()
	}
	sum := sha256.Sum256(plain)
	return &asset{plain: plain, packed: packed, tag: hex.EncodeToString(sum[:8])}, nil
}

// snippet answers the script that Segment's snippet loads. It is the same for every key, and nobody needs one to read it.
func (s *Ingester) snippet(w http.ResponseWriter, r *http.Request, _ *route) (reply, error) {
	// The address never changes, so a new version is seen after this time.
	w.Header().Set("Cache-Control", "public, max-age=3600")
	return s.script(w, r, browserSDKScript)
}

// bundle answers a part of the script. Its name has a digest of what is in it.
func (s *Ingester) bundle(w http.ResponseWriter, r *http.Request, to *route) (reply, error) {
	if !strings.Contains(to.arg, ".bundle.") {
		return reply{}, noScript()
	}
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	return s.script(w, r, to.arg)
}

func (s *Ingester) script(w http.ResponseWriter, r *http.Request, name string) (reply, error) {
	all, err := s.assets()
	a := all[name]
	if err != nil || a == nil {
		w.Header().Del("Cache-Control")
		return reply{}, noScript()
	}
	h := w.Header()
	h.Add("Vary", "Accept-Encoding")
	body, tag := a.plain, a.tag
	if takesGzip(r.Header.Get("Accept-Encoding")) {
		h.Set("Content-Encoding", "gzip")
		body, tag = a.packed, a.tag+"-gzip"
	}
	h.Set("ETag", `"`+tag+`"`)
	const kind = "text/javascript; charset=utf-8"
	if r.Header.Get("If-None-Match") != "" {
		// ServeContent says 304 if the browser has it. Elsewhere the door never says so: some SDKs would take that for stored
		// events.
		plain := r.Clone(r.Context())
		plain.Header.Del("Range") // nobody asks for a part of a script
		h.Set("Content-Type", kind)
		http.ServeContent(w, plain, "", time.Time{}, bytes.NewReader(body))
		return reply{kind: kind}, nil
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	return reply{kind: kind, body: body}, nil
}

func noScript() *problem {
	return newProblem(http.StatusNotFound, "not_found", "there is no such script of analytics-next")
}

// takesGzip reads an Accept-Encoding.
func takesGzip(accept string) bool {
	for part := range strings.SplitSeq(accept, ",") {
		name, weight, _ := strings.Cut(part, ";")
		name = strings.TrimSpace(name)
		if !strings.EqualFold(name, "gzip") && name != "*" {
			continue
		}
		_, weight, _ = strings.Cut(weight, "=")
		if q, err := strconv.ParseFloat(strings.TrimSpace(weight), 64); err != nil || q > 0 {
			return true
		}
	}
	return false
}
