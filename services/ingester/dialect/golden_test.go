package dialect

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"net/textproto"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/millrace/millrace/libs/event"
)

var update = flag.Bool("update", false, "rewrite the goldens below testdata")

// tongues are the dialects, by the name of their goldens' folder.
var tongues = map[string]func(event.Limits) Mapper{
	"segment":     NewSegment,
	"posthog":     NewPostHog,
	"cloudevents": NewCloudEvents,
}

// TestGoldens maps every captured request and compares with what came out.
//
// A golden's request is a line with method and target, headers, an empty line
// and the body without its last line feed. With the header Golden-Body: quoted
// the body is a Go string, for bytes that are no text.
func TestGoldens(t *testing.T) {
	for name, construct := range tongues {
		goldens(t, name, func(t *testing.T, file string, a *txtar.Archive, r *Request) {
			limits := event.DefaultLimits()
			if strings.Contains(file, "limits") {
				limits.MaxEvents, limits.MaxEvent, limits.MaxKeys = 3, 300, 12
			}
			got := render(construct(limits), r, limits)
			if *update {
				a.Files = append(a.Files[:1], txtar.File{Name: "want", Data: []byte(got)})
				if err := os.WriteFile(file, txtar.Format(a), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if len(a.Files) != 2 || string(a.Files[1].Data) != got {
				t.Errorf("differs from %s; got\n%s", file, got)
			}
		})
	}
}

func goldens(t testing.TB, dialect string, fn func(t *testing.T, file string, a *txtar.Archive, r *Request)) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", dialect, "*.txtar"))
	if err != nil || len(files) == 0 {
		t.Fatal(dialect, "has no goldens", err)
	}
	for _, file := range files {
		a, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if len(a.Files) == 0 || a.Files[0].Name != "request" {
			t.Fatalf("%s: no request", file)
		}
		r, err := request(a.Files[0].Data)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if real, ok := t.(*testing.T); ok {
			real.Run(dialect+"/"+strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) { fn(t, file, a, r) })
		} else {
			fn(nil, file, a, r)
		}
	}
}

// request reads a golden's request.
func request(data []byte) (*Request, error) {
	in := bufio.NewReader(bytes.NewReader(data))
	line, err := in.ReadString('\n')
	if err != nil {
		return nil, err
	}
	method, target, _ := strings.Cut(strings.TrimSpace(line), " ")
	u, err := url.Parse(target)
	if err != nil {
		return nil, err
	}
	header, err := textproto.NewReader(in).ReadMIMEHeader()
	if err != nil {
		return nil, err
	}
	r := &Request{Path: strings.TrimSuffix(u.Path, "/"), Query: u.Query(), Header: http.Header(header)}
	if method != "POST" {
		return r, nil
	}
	_, body, _ := bytes.Cut(data, []byte("\n\n"))
	body = bytes.TrimSuffix(body, []byte("\n"))
	if r.Header.Get("Golden-Body") == "quoted" {
		text, err := strconv.Unquote(string(body))
		if err != nil {
			return nil, err
		}
		body = []byte(text)
	}
	r.Header.Del("Golden-Body")
	r.Body = append(make([]byte, 0, len(body)+1), body...)
	return r, nil
}

// render says what a mapper makes of a request, and the scanner of that.
func render(m Mapper, r *Request, limits event.Limits) string {
	mapped, err := m.Map(r)
	if err != nil {
		return fmt.Sprintf("error: %v\n", err)
	}
	var b strings.Builder
	if mapped.WriteKey != "" {
		fmt.Fprintf(&b, "write key: %s\n", mapped.WriteKey)
	}
	if mapped.SentAt != 0 {
		fmt.Fprintf(&b, "sent at: %d\n", mapped.SentAt)
	}
	scanner, e := event.NewScanner(limits), new(event.Event)
	for i := range mapped.Events {
		x := &mapped.Events[i]
		by, refusal := "mapper", x.Refusal
		if refusal == nil {
			by, refusal = "scanner", scanner.Scan(x.Canonical, e)
		}
		if refusal != nil {
			fmt.Fprintf(&b, "%d refused by the %s: %v\n  %s\n", i, by, refusal, shown(x.Original))
			continue
		}
		kept := ""
		if &x.Canonical[0] == &x.Original[0] {
			kept = " as it is"
		}
		fmt.Fprintf(&b, "%d%s:\n  %s\n", i, kept, shown(x.Canonical))
	}
	if len(mapped.Events) == 0 {
		b.WriteString("no events\n")
	}
	return b.String()
}

// shown is JSON without white space, or bytes as a Go string.
func shown(data []byte) string {
	var compact bytes.Buffer
	if err := json.Compact(&compact, data); err != nil || !strconv.CanBackquote(strings.ReplaceAll(compact.String(), "`", "")) {
		return strconv.Quote(string(data))
	}
	if text := compact.String(); len(text) <= 4096 {
		return text
	}
	return fmt.Sprintf("%.100q... (%d bytes)", compact.String(), len(data))
}
