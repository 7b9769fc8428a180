package ingester

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/libs/bus/sources"
)

// TestKeysBeforeTheSourcesAreKnown: while NATS is away at the start nobody knows which keys there are. SDKs drop what is
// answered with 401, so a request with an unknown key waits like any other.
func TestKeysBeforeTheSourcesAreKnown(t *testing.T) {
	n := startNATS(t)
	before := startRig(t, n).opened()
	_, key := before.register(sources.Record{Name: "web"})
	if err := before.stop(); err != nil {
		t.Fatal(err)
	}
	before.nc.Close()
	n.stop()
	r := startRig(t, n, func(c *Config) { c.Hold = 30 * time.Second })
	answers := make(chan answer, 16)
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte(key+":"))
	event := `{"specversion":"1.0","id":"1","source":"a","type":"t","userid":"u"}`
	asked := 0
	ask := func(path, body string, header ...string) {
		asked++
		go func() { answers <- r.send(path, body, header...) }() // ends with its answer
	}
	ask("/v1/batch", `{"batch":[`+good("u", 1)+`]}`, "Authorization", basic)
	ask("/v1/events", good("u", 2), "X-Write-Key", key)
	ask("/v1/cloudevents", event, "Content-Type", "application/cloudevents+json", "Authorization", basic)
	ask("/batch", `{"api_key":"`+key+`","batch":[{"event":"e","distinct_id":"u"}]}`)
	eventually(t, "all of them wait", func() bool { return gaugeValue(r.in.m.connections) == float64(asked) })
	n.start()
	for range asked {
		if a := <-answers; a.Status != http.StatusOK {
			t.Errorf("%d %s", a.Status, a.Body)
		}
	}
	if a := r.send("/v1/batch", `{"batch":[`+good("u", 1)+`]}`, "X-Write-Key", "k-nobody"); a.Status != http.StatusUnauthorized {
		t.Errorf("a key that nobody has: %d %s", a.Status, a.Body)
	}
}

// TestOpaqueData: the data of a binary CloudEvent may begin like something compressed.
func TestOpaqueData(t *testing.T) {
	r := startRig(t, startNATS(t)).opened()
	var zipped bytes.Buffer
	w := gzip.NewWriter(&zipped)
	if _, err := w.Write([]byte("some text")); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for i, data := range []string{zipped.String(), "\x1f\x8b no gzip", "\x78\x9c no deflate"} {
		r.send("/v1/cloudevents", data, "X-Write-Key", testKey, "Content-Type", "application/octet-stream", "Ce-Specversion", "1.0",
			"Ce-Id", string(rune('a'+i)), "Ce-Source", "s", "Ce-Type", "t", "Ce-Userid", "u").want(t, http.StatusOK)
		rows := r.fresh()
		if len(rows) != 1 || rows[0].Reason != "" || !strings.Contains(rows[0].Body, base64.StdEncoding.EncodeToString([]byte(data))) {
			t.Errorf("%q became %+v", data, rows)
		}
	}
}
