package examples

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestTheCommandsOfTheSDKPage types what docs/sdks.md says and looks for what it says becomes of it.
func TestTheCommandsOfTheSDKPage(t *testing.T) {
	m := newMill(t)
	sent := 0
	for _, words := range m.commands(t, "sdks.md") {
		status, text := m.run(t, words)
		if status != http.StatusOK {
			t.Errorf("%q: %d %s", words, status, text)
			continue
		}
		if words[0] == "nats" {
			sent++
			continue
		}
		var answer struct {
			Accepted int
			Rejected []any
			Receipt  string
		}
		if err := json.Unmarshal([]byte(text), &answer); err != nil || answer.Accepted == 0 || len(answer.Rejected) > 0 || answer.Receipt == "" {
			t.Errorf("%q: %s (%v)", words, text, err)
		}
		switch {
		case strings.Contains(words[1], "/v1/track"), strings.Contains(words[1], "/v1/batch"):
			if !strings.HasPrefix(text, `{"success":true,`) {
				t.Errorf("%q: %s", words, text)
			}
		case strings.Contains(words[1], "/e/"), strings.Contains(words[1], "/batch/"):
			if !strings.HasPrefix(text, `{"status":1,`) {
				t.Errorf("%q: %s", words, text)
			}
		}
		sent += answer.Accepted
	}
	m.look(t, "sdks.md")
	if sent != 12 {
		t.Errorf("%d events were sent, want 12", sent)
	}
	const given = `SELECT type, event, user_id, if(event_id IN ('/shop 1', '/shop 2', '/shop 3', '/shop 4', '/shop 5', 'order-17'), event_id, ''),
		properties['total'], traits['plan'], url, extra['ce_source'] FROM events`
	m.stored(t, given, []string{
		"track|Order Completed|ada||9.5|||",
		"identify||ada|||pro||",
		"page|Home|ada|||||",
		"track|order completed|ada||9.5|||",
		"identify||ada|||pro||",
		"page||ada||||https://shop.example/|",
		"track|order.completed|ada|/shop 1|9.5|||/shop",
		"track|order.completed|ada|/shop 2|9.5|||/shop",
		"track|order.completed|ada|/shop 3||||/shop",
		"track|order.completed|ada|/shop 4|9.5|||/shop",
		"track|order.completed|ada|/shop 5|9.5|||/shop",
		"track|Order Completed|ada|order-17|9.5|||",
		"page|Newsletter|ada|||||", // by the image
		"track|Left||||||",         // by the beacon
	})
	m.exact(t, 0)
}

// What the page has for mails and for pages that are left.
var (
	image  = regexp.MustCompile(`<img [^>]*src="https://door\.example\.com([^"]+)"`)
	beacon = regexp.MustCompile(`sendBeacon\('https://door\.example\.com([^']+)', JSON\.stringify\(\{ anonymousId: '([^']+)', event: '([^']+)' \}\)\)`)
)

// look does what a browser does that shows the image and leaves the page.
func (m *mill) look(t *testing.T, document string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", document))
	if err != nil {
		t.Fatal(err)
	}
	here := strings.ReplaceAll(string(text), "KEY", m.WriteKey)
	shown, left := image.FindStringSubmatch(here), beacon.FindStringSubmatch(here)
	if shown == nil || left == nil {
		t.Fatal("the page has no image or no beacon")
	}
	res, err := http.Get(m.Ingest + shown[1])
	if err != nil {
		t.Fatal(err)
	}
	if err := res.Body.Close(); err != nil || res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "image/gif" {
		t.Errorf("the image: %s, %v", res.Status, err)
	}
	res, err = http.Post(m.Ingest+left[1], "text/plain;charset=UTF-8", strings.NewReader(fmt.Sprintf(`{"anonymousId":%q,"event":%q}`, left[2], left[3])))
	if err != nil {
		t.Fatal(err)
	}
	if err := res.Body.Close(); err != nil || res.StatusCode != http.StatusOK {
		t.Errorf("the beacon: %s, %v", res.Status, err)
	}
}
