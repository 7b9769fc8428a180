package reports

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/millrace/millrace/services/query/problem"
)

// What is wrong with a question is said in a word that helps, and ClickHouse is not asked.
func TestWrongQuestions(t *testing.T) {
	r := newRig(t)
	for _, tc := range []struct{ name, query, says string }{
		{"trends", "", "there is no report"},
		{"trend", "evnt=A", `parameter "evnt" is unknown`},
		{"trend", "from=2026-11-02&to=2026-11-02", "the period is empty"},
		{"trend", "from=yesterday", "want a time such as"},
		{"trend", "last=0d", "want a number and a unit"},
		{"trend", "last=7d&from=2026-11-02", "give one of them"},
		{"trend", "zone=Mars/Olympus", "want a name such as"},
		{"trend", "zone=Local", "want a name such as"},
		{"trend", "zone=../../etc/passwd", "want a name such as"},
		{"trend", "interval=fortnight", "want one of minute"},
		{"trend", "from=2020-01-01&interval=minute", "more than 2000 intervals"},
		{"trend", "from=1950-01-01&interval=month", "must lie between"},
		{"trend", "from=1971-01-02&interval=month&compare=true", "the period before"},
		{"trend", "measure=sum", "property and measure=sum"},
		{"trend", "property=revenue", "property and measure=sum"},
		{"trend", "by=user_agent", "want name (the event's)"},
		{"trend", "by=properties.", "want name (the event's)"},
		{"trend", "by=events.browser", "want name (the event's)"},
		{"trend", "where=browser", "want a dimension, = or !=, and a value"},
		{"trend", "where=browser!Firefox", "want a dimension, = or !=, and a value"},
		{"trend", "where=1%3D1 OR 1=1", "of the dimension: want name (the event's)"},
		{"trend", "where=is_bot=maybe", `where "is_bot=maybe": want true or false`},
		{"trend", "where=is_bot=", "want true or false"},
		{"trend", "limit=1000", "want a number from 1 to 100"},
		{"trend", "limit=1&limit=2", "given 2 times"},
		{"trend", "sample=0", "want a number from"},
		{"trend", "sample=NaN", "want a number from"},
		{"trend", "compare=maybe", "want true or false"},
		{"trend", "event=%ff", "is not UTF-8"},
		{"trend", "event=" + strings.Repeat("a", 1025), "is longer than"},
		{"trend", strings.Repeat("event=a&", 51), "at most are 50"},
		{"trend", "timeout=1h", "timeout"},
		{"trend", "max_age=-1s", "max_age"},
		{"funnel", "step=A", "step is given 1 times"},
		{"funnel", "step=A&step=B&step=A", "each event once"},
		{"funnel", "step=A&step=B&window=0s", "window"},
		{"funnel", "step=A&step=B&dropped=3", "the funnel has 2 steps"},
		{"funnel", "step=A&step=B&dropped=1&dropped_limit=1001", "want a number from 1 to 1000"},
		{"retention", "last=20h&interval=minute", "retention has"},
		{"trend", "by=name&limit=100&from=2026-10-01&to=2026-11-22&interval=hour", "101 series of 1248 intervals are more than an answer has"},
		{"revenue", "limit=100&last=30d&interval=hour", "101 series of 709 intervals are more than an answer has"},
		{"revenue", "limit=101", "want a number from 1 to 100"},
		{"paths", "start=A&end=B", "give one of them"},
		{"timeline", "", "user is missing"},
		{"timeline", "user=ada&before=now", "want the before of an answer"},
		{"timeline", "user=ada&before=2026-11-02T00:00:00.000Z/1:2", "want the before of an answer"},
		{"timeline", "user=ada&compare=true", "is unknown"},
		{"timeline", "user=ada&sample=0.5", "is unknown"},
	} {
		values, err := url.ParseQuery(tc.query)
		if err != nil {
			t.Fatal(err)
		}
		_, err = r.reports.Answer(t.Context(), Asker{DB: r}, tc.name, values)
		p, ok := errors.AsType[*problem.Problem](err)
		want := http.StatusBadRequest
		if tc.name == "trends" {
			want = http.StatusNotFound
		}
		if !ok || p.Status != want || !strings.Contains(p.Detail, tc.says) {
			t.Errorf("%s?%.60s: %v, want status %d and %q", tc.name, tc.query, err, want, tc.says)
		} else if strings.Contains(p.Detail, "<nil>") {
			t.Errorf("%s?%.60s: %s", tc.name, tc.query, p.Detail)
		}
	}
	if r.asked != 0 {
		t.Errorf("ClickHouse was asked %d times", r.asked)
	}
}

// Whatever is asked with, the text of a statement stays the same: only parameters differ.
func TestNothingThatIsAskedBecomesSQL(t *testing.T) {
	r := newRig(t)
	texts := map[string]bool{}
	for _, evil := range append(awkward(), "}}", "{{scope}}", "{{where}}", "{from:String}", "--", "/*", "a' OR '1'='1") {
		q := url.Values{
			"event": {evil}, "source": {evil}, "by": {"properties." + evil}, "where": {"properties." + evil + "=" + evil, "browser!=" + evil},
			"measure": {"sum"}, "property": {evil},
		}
		if strings.Contains(evil, "=") {
			q["where"] = []string{"properties.x=" + evil, "browser!=" + evil}
		}
		r.ask("top", q)
		texts[r.lastSQL] = true
		if strings.Contains(r.lastSQL, evil) && evil != "--" && evil != "{from:String}" {
			t.Errorf("the SQL has %q", evil)
		}
	}
	if len(texts) != 1 {
		t.Errorf("%d different statements", len(texts))
	}
}

func TestDescribe(t *testing.T) {
	r := newRig(t)
	for _, d := range r.reports.Describe() {
		seen := map[string]bool{}
		for _, p := range d.Params {
			if seen[p.Name] || p.About == "" || p.Type == "" {
				t.Errorf("%s: parameter %+v", d.Name, p)
			}
			seen[p.Name] = true
		}
		for _, name := range []string{"source", "from", "to", "last", "zone", "interval", "where", "after", "timeout", "max_age"} {
			if !seen[name] {
				t.Errorf("%s does not take %s", d.Name, name)
			}
		}
		// One person's events are neither compared nor sampled.
		for _, name := range []string{"compare", "sample"} {
			if seen[name] == (d.Name == "timeline") {
				t.Errorf("%s: %s is %v", d.Name, name, seen[name])
			}
		}
	}
	if n := len(r.reports.Describe()); n != 9 {
		t.Error(fmt.Sprint(n, " reports"))
	}
}
