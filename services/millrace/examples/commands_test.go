package examples

import (
	"context"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// block is a piece of a document that is for the shell.
var block = regexp.MustCompile("(?s)\n```sh\n(.*?)```\n")

// spoken are functions in place of the programs: they print their arguments, so that neither has to be installed.
const spoken = `say() { printf '%s\0' "$@"; printf '\n'; }; curl() { say curl "$@"; }; nats() { say nats "$@"; };
`

// commands returns the words of each command in a document, as the shell understands them. The addresses and the key that it names
// are replaced by those of m.
func (m *mill) commands(t *testing.T, document string) (all [][]string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", document))
	if err != nil {
		t.Fatal(err)
	}
	mine := strings.NewReplacer("http://127.0.0.1:8080", m.Ingest, "KEY", m.WriteKey)
	for _, found := range block.FindAllSubmatch(text, -1) {
		cmd := exec.CommandContext(t.Context(), "sh", "-euc", spoken+mine.Replace(string(found[1])))
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%v:\n%s", err, found[1])
		}
		for said := range strings.SplitSeq(strings.TrimSuffix(string(out), "\x00\n"), "\x00\n") {
			all = append(all, strings.Split(said, "\x00"))
		}
	}
	return all
}

// run does what curl or nats would do and returns the answer.
func (m *mill) run(t *testing.T, words []string) (status int, answer string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	switch words[0] {
	case "curl":
		return curl(t, ctx, words[1:])
	case "nats":
		return m.pub(t, ctx, words[1:])
	}
	t.Fatalf("a document tells people to type %q, which is not tested", words)
	return 0, ""
}

// curl knows the options that the documents use.
func curl(t *testing.T, ctx context.Context, words []string) (status int, answer string) {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(words); i++ {
		if !strings.HasPrefix(words[i], "-") {
			if req.URL, err = req.URL.Parse(words[i]); err != nil {
				t.Fatal(err)
			}
			continue
		}
		value := words[i+1]
		switch words[i] {
		case "-H":
			name, text, _ := strings.Cut(value, ":")
			req.Header.Set(name, strings.TrimSpace(text))
		case "-u":
			user, password, _ := strings.Cut(value, ":")
			req.SetBasicAuth(user, password)
		case "-d":
			req.Method, req.Body, req.ContentLength = http.MethodPost, io.NopCloser(strings.NewReader(value)), int64(len(value))
			if req.Header.Get("Content-Type") == "" {
				req.Header.Set("Content-Type", "application/x-www-form-urlencoded") // as curl does
			}
		default:
			t.Fatalf("the option %s of curl is not known here", words[i])
		}
		i++
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }() // it was only read
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(text)
}

// pub is `nats pub SUBJECT --jetstream [-H 'Name: value'] BODY`.
func (m *mill) pub(t *testing.T, ctx context.Context, words []string) (status int, answer string) {
	t.Helper()
	nc, err := nats.Connect(m.NATS)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	msg := nats.NewMsg("")
	var plain []string
	for i := 0; i < len(words); i++ {
		switch words[i] {
		case "-H":
			i++
			name, text, _ := strings.Cut(words[i], ":")
			msg.Header.Set(name, strings.TrimSpace(text)) // as it is written: NATS has no canonical form
		case "--jetstream":
		default:
			plain = append(plain, words[i])
		}
	}
	if len(plain) != 3 || plain[0] != "pub" {
		t.Fatalf("nats %q is not known here", words)
	}
	msg.Subject, msg.Data = plain[1], []byte(plain[2])
	if _, err := js.PublishMsg(ctx, msg); err != nil {
		t.Fatal(err)
	}
	return http.StatusOK, ""
}
