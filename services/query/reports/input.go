package reports

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/millrace/millrace/services/query/problem"
)

// Param is one parameter that a report takes.
type Param struct {
	Name    string   `json:"name"`
	Type    string   `json:"type"` // text, integer, number, duration, time, boolean
	About   string   `json:"about"`
	Default string   `json:"default,omitempty"`
	Enum    []string `json:"enum,omitempty"`
	Many    bool     `json:"many,omitempty"` // it may be given several times
	// Required: there is no answer without it.
	Required bool `json:"required,omitempty"`
}

// Limits of what is given, and of what is asked for.
const (
	maxText = 1024 // bytes
	maxMany = 50
	// maxNumbers is how many numbers an answer has at most, without those of the period before. The default limits stay
	// below it in any period.
	maxNumbers = 100_000
)

// input reads parameters. A reader asks for every parameter that its report has, whatever else is given: so the list of
// them is what was asked for. The first thing wrong is kept and the rest is read on with defaults.
type input struct {
	values url.Values
	now    time.Time
	params []Param
	echo   map[string]any
	wrong  string

	scope   scope
	compare bool
}

func newInput(values url.Values, now time.Time) *input {
	return &input{values: values, now: now, echo: map[string]any{}}
}

func (in *input) refuse(format string, args ...any) {
	if in.wrong == "" {
		in.wrong = fmt.Sprintf(format, args...)
	}
}

// err is what was wrong, also a parameter that nobody asked for: none is ignored in silence.
func (in *input) err() error {
	var known []string
	for _, p := range in.params {
		known = append(known, p.Name)
	}
	for name := range in.values {
		if !slices.Contains(known, name) {
			in.refuse("parameter %q is unknown: there are %s", name, strings.Join(known, ", "))
		}
	}
	if in.wrong != "" {
		return problem.New(http.StatusBadRequest, problem.BadRequest, in.wrong)
	}
	return nil
}

// bounded refuses a question whose answer has more than maxNumbers: each report says how many series it may have, of how
// many numbers for each interval.
func (in *input) bounded(series, numbers int) {
	if n := len(in.scope.buckets()); series*n*numbers > maxNumbers {
		in.refuse("%d series of %d intervals are more than an answer has: choose a longer interval, a shorter period or a smaller limit", series, n)
	}
}

func (in *input) understood() map[string]any { return in.echo }

// canonical names the question among all others of the report, whichever moment it is asked at.
func (in *input) canonical() string {
	v := url.Values{}
	for name, values := range in.values {
		if name != "max_age" && name != "after" && name != "timeout" {
			v[name] = values
		}
	}
	return v.Encode()
}

// one returns the value of a parameter, or its default; given says which.
func (in *input) one(p Param) (value string, given bool) {
	in.params = append(in.params, p)
	values := in.values[p.Name]
	switch {
	case len(values) > 1:
		in.refuse("parameter %s is given %d times", p.Name, len(values))
	case len(values) == 1 && values[0] != "":
		if in.fits(p.Name, values[0]) {
			in.echo[p.Name] = values[0]
			return values[0], true
		}
	}
	if p.Default != "" {
		in.echo[p.Name] = p.Default
	}
	return p.Default, false
}

func (in *input) fits(name, value string) bool {
	switch {
	case len(value) > maxText:
		in.refuse("%s is longer than %d bytes", name, maxText)
	case !utf8.ValidString(value):
		in.refuse("%s is not UTF-8", name)
	default:
		return true
	}
	return false
}

func (in *input) text(name, def, about string) string {
	v, _ := in.one(Param{Name: name, Type: "text", Default: def, About: about})
	return v
}

// required is text that must be given.
func (in *input) required(name, about string) string {
	v, given := in.one(Param{Name: name, Type: "text", About: about, Required: true})
	if !given {
		in.refuse("%s is missing: %s", name, about)
	}
	return v
}

func (in *input) texts(name, about string) []string {
	return in.many(Param{Name: name, Type: "text", Many: true, About: about})
}

func (in *input) many(p Param) []string {
	in.params = append(in.params, p)
	name := p.Name
	var list []string
	for _, v := range in.values[name] {
		if v != "" && in.fits(name, v) {
			list = append(list, v)
		}
	}
	if len(list) > maxMany {
		in.refuse("%s is given %d times, at most are %d", name, len(list), maxMany)
		return nil
	}
	if len(list) > 0 {
		in.echo[name] = list
	}
	return list
}

func (in *input) choice(name, def, about string, options ...string) string {
	v, _ := in.one(Param{Name: name, Type: "text", Default: def, Enum: options, About: about})
	if v != "" && !slices.Contains(options, v) {
		in.refuse("%s %q: want one of %s", name, v, strings.Join(options, ", "))
		return def
	}
	return v
}

func (in *input) integer(name string, def, least, most int, about string) int {
	v, given := in.one(Param{Name: name, Type: "integer", Default: strconv.Itoa(def), About: about})
	n := def
	if given {
		var err error
		if n, err = strconv.Atoi(v); err != nil || n < least || n > most {
			in.refuse("%s %q: want a number from %d to %d", name, v, least, most)
			n = def
		}
	}
	in.echo[name] = n
	return n
}

func (in *input) number(name string, def, least, most float64, about string) float64 {
	v, given := in.one(Param{Name: name, Type: "number", Default: strconv.FormatFloat(def, 'g', -1, 64), About: about})
	x := def
	if given {
		var err error
		// Not less than and not more than: NaN is neither.
		if x, err = strconv.ParseFloat(v, 64); err != nil || !(x >= least && x <= most) {
			in.refuse("%s %q: want a number from %g to %g", name, v, least, most)
			x = def
		}
	}
	in.echo[name] = x
	return x
}

func (in *input) boolean(name, about string) bool {
	v, given := in.one(Param{Name: name, Type: "boolean", About: about})
	if !given {
		return false
	}
	b, err := strconv.ParseBool(v)
	if err != nil {
		in.refuse("%s %q: want true or false", name, v)
	}
	in.echo[name] = b
	return b
}

// duration is Go's form, and days as 7d.
func (in *input) duration(name, def string, least, most time.Duration, about string) time.Duration {
	v, _ := in.one(Param{Name: name, Type: "duration", Default: def, About: about})
	d, err := parseDuration(v)
	if err != nil || d < least || d > most {
		in.refuse("%s %q: want a time such as 30m, 12h or 7d, from %s to %s", name, v, least, most)
		return least
	}
	return d
}

func parseDuration(text string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		if err != nil {
			return 0, fmt.Errorf("days: %w", err)
		}
		return time.Duration(n) * 24 * time.Hour, nil
	}
	return time.ParseDuration(text)
}

// manner is how a question wants to be answered, apart from what it asks.
type manner struct {
	after   string
	timeout time.Duration
	maxAge  time.Duration
}

// asked reads what all reports take last.
func (in *input) asked() manner {
	return manner{
		after:   in.text("after", "", "receipt of events that the answer must include"),
		timeout: in.duration("timeout", "5s", 0, 30*time.Second, "how long to wait for after"),
		maxAge:  in.duration("max_age", "0s", 0, time.Hour, "how old an answer from the cache may be"),
	}
}
