package compat

import (
	"context"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/millrace/millrace/libs/testkit"
)

// chromium is a headless browser and a server of pages, whose origin is not
// that of the door.
type chromium struct {
	tabs  context.Context // a new one of it is a new tab
	pages string          // URL
}

// findBrowser looks for the names that scripts/install-compat looks for.
func findBrowser(t *testing.T) string {
	t.Helper()
	for _, name := range []string{os.Getenv("CHROMIUM"), "chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); name != "" && err == nil {
			return path
		}
	}
	t.Fatal("no Chromium: run scripts/install-compat, which says what to type, or name a browser in CHROMIUM")
	return ""
}

func newChromium(t *testing.T) *chromium {
	t.Helper()
	installed(t)
	files := http.NewServeMux()
	files.Handle("/", http.FileServer(http.Dir("node")))
	pages := httptest.NewServer(files)
	t.Cleanup(pages.Close)
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(findBrowser(t)),
		chromedp.UserDataDir(t.TempDir()),
		// Two SDKs drop the events of headless browsers and of automated ones.
		chromedp.Flag("enable-automation", false),
		chromedp.Flag("disable-blink-features", "AutomationControlled"),
		chromedp.UserAgent("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/148.0.0.0 Safari/537.36"),
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND , EXCLUDE 127.0.0.1"), // nothing leaves this machine
		chromedp.ModifyCmdFunc(dieWith),
	)
	if os.Geteuid() == 0 {
		options = append(options, chromedp.NoSandbox) // it has none for root
	}
	alloc, cancel := chromedp.NewExecAllocator(context.WithoutCancel(t.Context()), options...)
	t.Cleanup(cancel)
	tabs, cancel := chromedp.NewContext(alloc, chromedp.WithErrorf(t.Logf))
	t.Cleanup(cancel)
	if err := chromedp.Do(tabs, chromedp.Navigate("about:blank")); err != nil {
		t.Fatalf("Chromium does not start: %v", err)
	}
	return &chromium{tabs: tabs, pages: pages.URL}
}

// page is one in node/web/ that uses an SDK. It has the functions
//
//	calls()   makes every call
//	leave()   makes one call more and goes to another page at once, which has the rows that must be there
//	begin()   sends event n with the property n, over and over
//	end()     ends that, returns how many when all are sent
type page struct {
	*chromium
	name string
}

// open opens the page in a tab with storage of its own.
func (p page) open(t testing.TB, door, key string) (ctx context.Context, done func()) {
	t.Helper()
	ctx, done = chromedp.NewContext(p.tabs, chromedp.WithNewBrowserContext(), chromedp.WithListener(console(t, p.name)))
	query := url.Values{"door": {door}, "key": {key}, "utm_source": {"news"}}
	if err := chromedp.Do(ctx, chromedp.Navigate(p.pages+"/web/"+p.name+"?"+query.Encode())); err != nil {
		t.Errorf("%s: %v", p.name, err)
	}
	return ctx, done
}

// run evaluates an expression in the page and waits for its promise.
func run[T any](t testing.TB, ctx context.Context, expression string) (value T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 90*time.Second)
	defer cancel()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		t.Errorf("%s: %v", expression, err)
	}
	return value
}

func (p page) calls(t *testing.T, door, key string) []want {
	ctx, done := p.open(t, door, key)
	t.Cleanup(done)
	run[bool](t, ctx, "calls()")
	// Without its answer, which the page may not live to give.
	if err := chromedp.Do(ctx, chromedp.Evaluate[chromedp.Void]("void leave()")); err != nil {
		t.Errorf("leave: %v", err)
	}
	var wanted []want
	testkit.Eventually(t, "the page is left", func() bool {
		title, err := chromedp.Run(ctx, chromedp.Evaluate[string]("document.title"))
		if err == nil && title == "blank" { // an error is that of a page that goes
			wanted = run[[]want](t, ctx, "rows")
		}
		return wanted != nil || t.Failed()
	})
	for i := range wanted {
		wanted[i].browser(p.pages)
	}
	return wanted
}

// browser adds what every page view of this browser has.
func (w *want) browser(pages string) {
	if w.Columns == nil {
		w.Columns = map[string]string{}
	}
	maps.Copy(w.Columns, map[string]string{
		"browser": "Chrome", "browser_version": "148.0.0.0", "os": "Linux", "os_version": "x86_64", "device_type": "desktop",
		"user_agent": "*",
	})
	_, host, _ := strings.Cut(pages, "://")
	host, _, _ = strings.Cut(host, ":")
	if w.Columns["url"] != "" && w.Columns["host"] == "" {
		w.Columns["host"] = host
	}
}

func (p page) steady(t testing.TB, door, key string, until <-chan struct{}) int {
	ctx, done := p.open(t, door, key)
	defer done()
	run[bool](t, ctx, "begin()")
	<-until
	return run[int](t, ctx, "end()")
}

// console passes on what a page complains of.
func console(t testing.TB, name string) func(ev any) {
	return func(ev any) {
		switch ev := ev.(type) {
		case *runtime.EventExceptionThrown:
			t.Logf("%s: %v", name, &chromedp.ExceptionError{ExceptionDetails: ev.ExceptionDetails})
		case *runtime.EventConsoleAPICalled:
			for _, arg := range ev.Args {
				t.Logf("%s: %s %s%s", name, ev.Type, arg.Value, arg.Description)
			}
		case *network.EventLoadingFailed:
			t.Logf("%s: %s %s", name, ev.ErrorText, ev.BlockedReason)
		case *network.EventResponseReceived:
			if ev.Response.Status >= http.StatusBadRequest {
				t.Logf("%s: %d %s", name, ev.Response.Status, ev.Response.URL)
			}
		}
	}
}
