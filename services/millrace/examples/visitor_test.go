package examples

import (
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"
)

const firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0"

// visitor is a person's browser: it has cookies, follows redirects and says where it comes from.
type visitor struct {
	*testing.T
	client  *http.Client
	home    string
	at      string   // the page that is shown, for Referer
	visits  []string // method|path|status of each request, those of redirects included
	shown   string   // the text of the page
	askID   string   // of the form on the page
	lastAsk string   // of the question that was sent last
}

func newVisitor(t *testing.T, home string) *visitor {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	v := &visitor{T: t, home: home}
	v.client = &http.Client{Jar: jar, Transport: v}
	return v
}

// RoundTrip implements http.RoundTripper.
func (v *visitor) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.Header.Set("User-Agent", firefox)
	if v.at != "" {
		req.Header.Set("Referer", v.at)
	}
	res, err := http.DefaultTransport.RoundTrip(req)
	if err == nil {
		v.visits = append(v.visits, fmt.Sprintf("%s|%s|%d", req.Method, req.URL.RequestURI(), res.StatusCode))
	}
	return res, err
}

// field finds the id that the form brings.
var field = regexp.MustCompile(`name="ask_id" value="([^"]+)"`)

func (v *visitor) get(path string) {
	v.Helper()
	v.do(http.MethodGet, path, nil, http.StatusOK)
}

func (v *visitor) post(path string, form url.Values) {
	v.Helper()
	v.do(http.MethodPost, path, form, http.StatusOK)
}

// ask sends the form of the page.
func (v *visitor) ask(question string) {
	v.Helper()
	v.lastAsk = v.askID
	v.post("/support", url.Values{"question": {question}, "ask_id": {v.askID}})
}

func (v *visitor) do(method, path string, form url.Values, want int) {
	v.Helper()
	req, err := http.NewRequestWithContext(v.Context(), method, v.home+path, strings.NewReader(form.Encode()))
	if err != nil {
		v.Fatal(err)
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	res, err := v.client.Do(req)
	if err != nil {
		v.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }() // it was only read
	text, err := io.ReadAll(res.Body)
	if err != nil {
		v.Fatal(err)
	}
	if res.StatusCode != want {
		v.Fatalf("%s %s: %d\n%s", method, path, res.StatusCode, text)
	}
	v.at, v.shown = res.Request.URL.String(), string(text)
	if found := field.FindStringSubmatch(v.shown); found != nil {
		v.askID = found[1]
	}
}

// part is the text of the element with an id, its tags replaced by spaces.
func (v *visitor) part(element, id string) string {
	v.Helper()
	whole := regexp.MustCompile(`(?s)<` + element + `[^>]* id="` + id + `".*?</` + element + `>`).FindString(v.shown)
	if whole == "" {
		v.Fatalf("the page has no %s %s:\n%s", element, id, v.shown)
	}
	return plain(whole)
}

// whole is the answer's JSON.
func (v *visitor) whole() string {
	v.Helper()
	_, rest, _ := strings.Cut(v.shown, `<pre id="answer">`)
	text, _, ok := strings.Cut(rest, "</pre>")
	if !ok {
		v.Fatalf("the page has no answer:\n%s", v.shown)
	}
	return html.UnescapeString(text)
}

var tags = regexp.MustCompile(`<[^>]*>`)

func plain(text string) string {
	return strings.Join(strings.Fields(html.UnescapeString(tags.ReplaceAllString(text, " "))), " ")
}

// says checks that a part of the page has all of the texts, in this order.
func (v *visitor) says(part string, texts ...string) {
	v.Helper()
	rest := part
	for _, text := range texts {
		_, after, ok := strings.Cut(rest, text)
		if !ok {
			v.Errorf("the page does not say %q, in the order %q:\n%s", text, texts, part)
			return
		}
		rest = after
	}
}
