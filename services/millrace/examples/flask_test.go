package examples

import (
	"encoding/json"
	"errors"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/libs/testkit"
	"github.com/millrace/millrace/services/millrace/client"
)

// TestTheHelpDeskKnowsWhoAsks plays two visitors of the shop and compares what the page tells and what is stored with what they did.
func TestTheHelpDeskKnowsWhoAsks(t *testing.T) {
	m := newMill(t)
	app := m.newApp(t, m.Ingest)
	ada := newVisitor(t, app.url)

	ada.get("/?utm_source=newsletter&utm_medium=email")
	ada.get("/static/shop.css")
	ada.get("/goods/MI-HND-1")
	ada.post("/cart", url.Values{"sku": {"MI-HND-1"}})
	ada.do("GET", "/nowhere", nil, 404)
	ada.post("/sign-in", url.Values{"name": {" Ada "}})
	ada.post("/order", nil)
	ada.get("/support")
	ada.ask("Where is my <mill>?")
	// She did all of it in the last second, most of it before she said her name.
	ada.says(ada.part("div", "who"), "Ada", "plan guest", "first seen 20", "events 22", "known as ada, ")
	ada.says(ada.part("div", "session"), "22 events", "/ /goods/MI-HND-1 /cart /support /cart /support")
	ada.says(ada.part("div", "since"), "the first one today")
	ada.says(ada.part("table", "recent"), "help_requested question Where is my <mill>?", "Help Desk", "Order Completed", "total 129.0",
		"Signed In", "Product Added", "Product Viewed", "Shop")
	ada.says(ada.part("table", "requests"), "GET /support 200", "POST /order 303", "GET /nowhere 404", "GET /?utm_source=newsletter&utm_medium=email 200")

	ada.get("/goods/YE-SOUR")
	ada.post("/sign-in", url.Values{"name": {"ada"}, "club": {"1"}})
	ada.ask("And the sourdough?")
	ada.says(ada.part("div", "who"), "ada", "plan club")
	ada.says(ada.part("div", "since"), "seconds ago", "Dried Sourdough 1", "Help Desk 1", "Product Viewed 1", "Signed In 1", "plan: guest → club")
	ada.says(ada.part("table", "recent"), "And the sourdough?", "Product Viewed", "sku YE-SOUR", "Where is my <mill>?")

	ada.askID = ada.lastAsk // the browser's reload
	ada.ask("And the sourdough?")
	ada.says(plain(ada.shown), "asked before, and counted once")
	ada.post("/sign-out", nil)

	other := newVisitor(t, app.url)
	other.get("/support")
	other.ask("Are you open?")
	other.says(other.part("div", "who"), "A visitor without a name", "events 3")
	if whole := other.whole(); strings.Contains(whole, "ada") || strings.Contains(whole, "Order Completed") {
		t.Errorf("somebody else's page knows of Ada: %s", whole)
	}
	app.stop()

	m.stored(t, `SELECT type, event, user_id, path, properties['sku'], properties['total'], properties['question'], traits['plan']
		FROM events WHERE event != 'HTTP Request'`, []string{
		"identify|Signed In|ada|/sign-in||||club",
		"identify|Signed In|ada|/sign-in||||guest",
		"page|Cart||/cart||||",
		"page|Cart|ada|/cart||||",
		"page|Dried Sourdough|ada|/goods/YE-SOUR||||",
		"page|Hand Mill, Oak||/goods/MI-HND-1||||",
		"page|Help Desk||/support||||",
		"page|Help Desk|ada|/support||||",
		"page|Help Desk|ada|/support||||",
		"page|Help Desk|ada|/support||||",
		"page|Shop||/||||",
		"page|Shop||/||||",
		"track|Order Completed|ada|/order||129.0||",
		"track|Product Added||/cart|MI-HND-1|||",
		"track|Product Viewed||/goods/MI-HND-1|MI-HND-1|||",
		"track|Product Viewed|ada|/goods/YE-SOUR|YE-SOUR|||",
		"track|Signed Out|ada|/sign-out||||",
		"track|help_requested||/support|||Are you open?|",
		"track|help_requested|ada|/support|||And the sourdough?|",
		"track|help_requested|ada|/support|||Where is my <mill>?|",
	})
	m.stored(t, `SELECT properties['method'], properties['path'], properties['status'] FROM events WHERE event = 'HTTP Request'`,
		sorted(ada.visits, other.visits))
	// Ada, whoever comes after her at the same browser, and the other one.
	m.stored(t, `SELECT count(DISTINCT anonymous_id), count(DISTINCT event_id) = count(), groupUniqArray(browser), groupUniqArray(ip), groupUniqArray(source),
		countIf(utm_source = 'newsletter' AND utm_medium = 'email'), countIf(title = 'Hand Mill, Oak'), countIf(referrer LIKE '%/goods/MI-HND-1'),
		countIf(event = 'HTTP Request' AND properties_num['milliseconds'] >= 0 AND properties_num['bytes'] >= 0) FROM events`,
		[]string{"3|1|['Firefox']|['127.0.0.1']|['" + m.Source + "']|2|1|4|" + count(ada.visits, other.visits)})
	m.exact(t, 1) // the reload
}

// TestTheSenderThroughABadDoor stops the application while the door refuses, breaks off and loses answers: what the visitor did is
// stored once all the same.
func TestTheSenderThroughABadDoor(t *testing.T) {
	m := newMill(t)
	door := newBadDoor(t, m.Ingest)
	app := m.newApp(t, door.url)
	v := newVisitor(t, app.url)
	for range 3 {
		v.get("/")
		v.get("/goods/FL-RYE-1")
		v.post("/cart", url.Values{"sku": {"FL-RYE-1"}})
	}
	app.stop()
	if left := door.left(); left != 0 {
		t.Errorf("%d of the faults never happened", left)
	}
	m.stored(t, `SELECT event, count() FROM events GROUP BY event`,
		[]string{"Cart|3", "HTTP Request|" + count(v.visits), "Product Added|3", "Product Viewed|3", "Rye Flour 1 kg|3", "Shop|3"})
	m.exact(t, door.repeated())
	for _, text := range []string{"are sent again: 503 not now", "are sent again: 429 slowly", "are sent again: 500"} {
		if !strings.Contains(app.said.String(), text) {
			t.Errorf("the application does not say %q", text)
		}
	}
}

// rows returns an answer of SQL, its columns joined by bars.
func (m *mill) rows(t *testing.T, sql string) []string {
	t.Helper()
	answer, err := m.questions.SQL(t.Context(), client.Question{SQL: sql, Format: "TSVRaw"})
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(answer)
	if err := errors.Join(err, answer.Close()); err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.ReplaceAll(strings.TrimSuffix(string(text), "\n"), "\t", "|"), "\n")
}

// stored waits until the answer of SQL is what is wanted, in whatever order.
func (m *mill) stored(t *testing.T, sql string, want []string) {
	t.Helper()
	want = sorted(want)
	var got []string
	defer func() {
		if t.Failed() {
			t.Logf("%s\n\ngot\n%s\n\nwant\n%s", sql, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}()
	testkit.Eventually(t, "the rows are right", func() bool {
		got = sorted(m.rows(t, sql))
		return slices.Equal(got, want)
	})
}

// exact checks that everything that the door accepted is a row, once, but for the repeats.
func (m *mill) exact(t *testing.T, repeats int) {
	t.Helper()
	text, err := m.questions.Verify(t.Context(), 30*time.Second, func(json.RawMessage) {})
	if err != nil {
		t.Fatal(err)
	}
	var report struct {
		OK                            bool
		Accepted, Rows, Dead, Repeats int
	}
	if err := json.Unmarshal(text, &report); err != nil {
		t.Fatal(err)
	}
	if !report.OK || report.Dead != 0 || report.Repeats != repeats || report.Accepted != report.Rows+repeats {
		t.Errorf("%s, want %d repeats", text, repeats)
	}
}

// count is how many requests there were.
func count(visits ...[]string) string { return strconv.Itoa(len(slices.Concat(visits...))) }

func sorted(visits ...[]string) []string {
	all := slices.Concat(visits...)
	slices.Sort(all)
	return all
}
