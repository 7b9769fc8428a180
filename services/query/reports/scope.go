package reports

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// scope is which events a report looks at.
type scope struct {
	period
	sources []string
	filters []filter
	sample  int // people of wholeSample
}

// wholeSample is how finely people can be sampled.
const wholeSample = 10000

// filter keeps events whose dimension has, or has not, the value.
type filter struct {
	dim   dimension
	not   bool
	value string
}

// dimension is what events can be told apart by: one of the columns, or a key of one of the maps.
type dimension struct {
	kind        string // "", name, column or map
	column, key string
}

// columnIsBot is the one column that is not text.
const columnIsBot = "is_bot"

// Columns that can be a dimension, and maps whose keys can.
var (
	dimensionColumns = []string{
		"source", "type", "event", "path", "host", "url", "title", "referrer", "referrer_host",
		"utm_source", "utm_medium", "utm_campaign", "utm_term", "utm_content",
		"browser", "browser_version", "os", "os_version", "device_type", columnIsBot, "locale", "group_id",
	}
	dimensionMaps = []string{"properties", "traits", "context", "extra"}
)

// parseDimension reads name, one of the columns, or <map>.<key>.
func parseDimension(text string) (dimension, error) {
	if text == "name" {
		return dimension{kind: "name"}, nil
	}
	if slices.Contains(dimensionColumns, text) {
		return dimension{kind: "column", column: text}, nil
	}
	if m, key, ok := strings.Cut(text, "."); ok && key != "" && slices.Contains(dimensionMaps, m) {
		return dimension{kind: "map", column: m, key: key}, nil
	}
	return dimension{}, fmt.Errorf("want name (the event's), a key of a map such as properties.plan (of %s), or one of %s",
		strings.Join(dimensionMaps, ", "), strings.Join(dimensionColumns, ", "))
}

// parseFilter reads a dimension, = or !=, and a value.
func parseFilter(text string) (f filter, err error) {
	name, value, ok := strings.Cut(text, "=")
	if !ok {
		return f, errors.New("want a dimension, = or !=, and a value, such as browser=Firefox")
	}
	f.value = value
	name, f.not = strings.CutSuffix(name, "!")
	if f.dim, err = parseDimension(name); err != nil {
		return f, fmt.Errorf("of the dimension: %w", err)
	}
	if f.dim.column == columnIsBot && f.dim.kind == "column" {
		// As text it is true or false; any other value would hold for nobody.
		is, err := strconv.ParseBool(value)
		if err != nil {
			return f, errors.New("want true or false")
		}
		f.value = strconv.FormatBool(is)
	}
	return f, nil
}

func (in *input) dimension(name, def, about string) dimension {
	text := in.text(name, def, about)
	if text == "" {
		return dimension{}
	}
	d, err := parseDimension(text)
	if err != nil {
		in.refuse("%s %q: %v", name, text, err)
	}
	return d
}

// scoped reads what all reports take first.
func (in *input) scoped() {
	in.scope.period = in.period()
	in.scope.sources = in.texts("source", "only events of this source")
	for _, text := range in.texts("where", "only events of which this is so: a dimension, = or !=, and a value, such as properties.plan=pro") {
		f, err := parseFilter(text)
		if err != nil {
			in.refuse("where %q: %v", text, err)
		}
		in.scope.filters = append(in.scope.filters, f)
	}
	if len(in.scope.filters) > 10 {
		in.refuse("where is given %d times, at most are 10", len(in.scope.filters))
	}
	in.scope.sample = wholeSample
}

// sampled reads what all reports take that count people.
func (in *input) sampled() {
	share := in.number("sample", 1, 1.0/wholeSample, 1, "share of people to look at; counts are scaled up to all")
	in.scope.sample = int(math.Round(share * wholeSample))
}

// compared reads whether the previous period is wanted too.
func (in *input) compared() {
	in.compare = in.boolean("compare", "also answer for the period before, as long as this one")
	if in.compare && in.scope.previous().from.Before(earliest) {
		in.refuse("the period before begins before %s", earliest.Format("2006-01-02"))
	}
}

func (in *input) events(about string) []string { return in.texts("event", about) }

// scaled is a number of a sample scaled up to all people.
func (s *scope) scaled(x float64) float64 {
	if s.sample == wholeSample {
		return x
	}
	return x * wholeSample / float64(s.sample)
}

// people is a count of a sample scaled up to all people.
func (s *scope) people(n uint64) uint64 { return uint64(math.Round(s.scaled(float64(n)))) }

// conditions are the filters' part of a WHERE clause and their parameters. The text depends on how many there are, and of
// what kind, not on what they say.
func (s *scope) conditions(v params) string {
	var b strings.Builder
	for i, f := range s.filters {
		n := strconv.Itoa(i)
		left := "toString({where_column" + n + ":Identifier})"
		switch f.dim.kind {
		case "name":
			left = sqlName
		case "map":
			left = "{where_column" + n + ":Identifier}[{where_key" + n + ":String}]"
			v.text("where_key"+n, f.dim.key)
		}
		if f.dim.column != "" {
			v.raw("where_column"+n, f.dim.column)
		}
		op := " = "
		if f.not {
			op = " != "
		}
		b.WriteString("\n    AND " + left + op + "{where_value" + n + ":String}")
		v.text("where_value"+n, f.value)
	}
	return b.String()
}
