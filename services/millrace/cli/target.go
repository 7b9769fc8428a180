package cli

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/millrace/millrace/services/millrace/client"
	"github.com/millrace/millrace/services/millrace/up"
)

// The addresses of an installation on this machine, unless it says others.
const (
	defaultIngest = "http://127.0.0.1:8080"
	defaultQuery  = "http://127.0.0.1:8090"
)

// target is the installation that a command talks to.
type target struct {
	dir   string
	flags *flag.FlagSet // which know whether dir was given

	ingest    string
	writeKey  string
	writeKeys string // source:key,...
	source    string

	query  string
	apiKey string

	patience time.Duration
}

func (t *target) registerDoor(fs *flag.FlagSet) {
	t.registerDir(fs)
	fs.StringVar(&t.ingest, "url", "", "`address` of the door (default: that of the `millrace up` of --dir, else "+defaultIngest+")")
	fs.StringVar(&t.writeKey, "write-key", "", "write `key` (default: that of the `millrace up` of --dir)")
	fs.StringVar(&t.writeKeys, "write-keys", "", "write keys of several sources, of which --source picks one: `source:key` pairs, separated by commas")
	fs.StringVar(&t.source, "source", "", "`name` of the source, where several have a key")
	fs.DurationVar(&t.patience, "patience", 5*time.Minute, "how long a request is tried again while the door is closed or away")
}

func (t *target) registerQuery(fs *flag.FlagSet) {
	if fs.Lookup("dir") == nil {
		t.registerDir(fs)
	}
	fs.StringVar(&t.query, "query-url", "", "`address` of the query service (default: that of the `millrace up` of --dir, else "+defaultQuery+")")
	fs.StringVar(&t.apiKey, "api-key", "", "bearer `key`, where the query service asks for one")
}

func (t *target) registerDir(fs *flag.FlagSet) {
	t.flags = fs
	fs.StringVar(&t.dir, "dir", up.DefaultDir, "`directory` of the `millrace up` to talk to, if it runs on this machine")
}

// door connects to where events are taken.
func (t *target) door(waiting func(error, time.Duration)) (*client.Client, error) {
	address, running := t.ingest, t.running()
	if address == "" {
		if err := t.installed(); err != nil {
			return nil, err
		}
		address = cmp.Or(running.Ingest, defaultIngest)
	}
	key, err := t.key(address, running)
	if err != nil {
		return nil, usageError{err}
	}
	c, err := client.New(client.Config{URL: address, Key: key, Flag: "url", Patience: t.patience, Waiting: waiting})
	if err != nil {
		return nil, usageError{err}
	}
	return c, nil
}

// counter connects to where questions are answered.
func (t *target) counter(patience time.Duration, waiting func(error, time.Duration)) (*client.Client, error) {
	return t.questions(client.Config{Bearer: t.apiKey, Patience: patience, Waiting: waiting})
}

// questions connects to the query service; cfg is without its address.
func (t *target) questions(cfg client.Config) (*client.Client, error) {
	cfg.URL, cfg.Flag = t.query, client.FlagQuery
	if cfg.URL == "" {
		if err := t.installed(); err != nil {
			return nil, err
		}
		cfg.URL = cmp.Or(t.running().Query, defaultQuery)
	}
	c, err := client.New(cfg)
	if err != nil {
		return nil, usageError{err}
	}
	return c, nil
}

// installed is an error if a directory was named in which there is no installation: whatever runs at the default address
// is another one. One that has stopped is there, and that nothing answers shows later.
func (t *target) installed() error {
	given := false
	t.flags.Visit(func(f *flag.Flag) { given = given || f.Name == "dir" })
	if !given {
		return nil
	}
	if _, err := up.ReadSecrets(t.dir); errors.Is(err, fs.ErrNotExist) {
		return usageError{fmt.Errorf("--dir %s: there is no installation of `millrace up` in it", t.dir)}
	}
	return nil
}

// running is the installation of the directory, empty if none is ready there.
func (t *target) running() up.Ready {
	r, err := up.ReadReady(t.dir)
	if err != nil {
		return up.Ready{} // then the defaults hold, and what is wrong shows there
	}
	return r
}

// key finds the write key: the one that was given, the source's among several,
// or that of an installation on this machine.
func (t *target) key(address string, running up.Ready) (string, error) {
	if t.writeKey != "" {
		return t.writeKey, nil
	}
	for pair := range strings.SplitSeq(t.writeKeys, ",") {
		source, key, ok := strings.Cut(strings.TrimSpace(pair), ":")
		if ok && (t.source == source || t.source == "") {
			return key, nil
		}
	}
	if !onThisMachine(address) {
		return "", errors.New("no write key: give it with --write-key or MILLRACE_WRITE_KEY")
	}
	if t.source == "" && running.WriteKey != "" {
		return running.WriteKey, nil
	}
	secrets, err := up.ReadSecrets(t.dir)
	if err != nil {
		return "", fmt.Errorf("no write key: give it with --write-key or MILLRACE_WRITE_KEY, or name the directory of `millrace up` with --dir (%w)", err)
	}
	source := cmp.Or(t.source, "demo")
	if key := secrets.WriteKeys[source]; key != "" {
		return key, nil
	}
	known := strings.Join(slices.Sorted(maps.Keys(secrets.WriteKeys)), ", ")
	return "", fmt.Errorf("no write key for source %s: %s has keys for %s; `millrace up --source %s` makes one", source, t.dir, known, source)
}

func onThisMachine(address string) bool {
	u, err := url.Parse(address)
	if err != nil {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
}
