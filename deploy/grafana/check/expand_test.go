package check

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"
)

// moment is what Grafana knows when it asks for a panel.
type moment struct {
	from, to     time.Time
	interval     time.Duration // of one point
	rateInterval time.Duration
	values       map[string][]string // of variables; "$__all" is all
	options      map[string][]string // what all is
	allValue     map[string]string   // what stands for all of them, where the variable says it
}

const all = "$__all"

func (m *moment) allOf(name string) bool { v := m.values[name]; return len(v) == 1 && v[0] == all }

// sql puts in what Grafana's plugin for ClickHouse does: variables in the browser, macros in its backend, as version 4.20
// has them (src/data/CHDatasource.ts, pkg/macros/macros.go). Its expansions are repeated here; what it does not know, or
// what is left over, is an error.
func (m *moment) sql(raw string) (string, error) {
	raw, err := m.conditionalAll(raw)
	if err != nil {
		return "", err
	}
	if raw, err = m.variables(raw, quotedList); err != nil {
		return "", err
	}
	second := func(t time.Time) string { return fmt.Sprintf("toDateTime(%d)", t.Unix()) }
	points := max(1, int(m.interval.Seconds()))
	for _, macro := range []struct{ pattern, into string }{
		{`\$__timeFilter\((\w+)\)`, "$1 >= " + second(m.from) + " AND $1 <= " + second(m.to)},
		{`\$__timeInterval\((\w+)\)`, fmt.Sprintf("toStartOfInterval(toDateTime($1), INTERVAL %d second)", points)},
		{`\$__interval_s\b`, fmt.Sprint(points)},
		{`\$__fromTime\b`, second(m.from)},
		{`\$__toTime\b`, second(m.to)},
	} {
		raw = regexp.MustCompile(macro.pattern).ReplaceAllString(raw, macro.into)
	}
	if i := strings.Index(raw, "$"); i >= 0 {
		return "", fmt.Errorf("not known to Grafana: %.40s", raw[i:])
	}
	return raw, nil
}

// conditionalAll puts in $__conditionalAll(condition, $variable): nothing is asked for when all are chosen.
func (m *moment) conditionalAll(raw string) (string, error) {
	const macro = "$__conditionalAll("
	for {
		begin := strings.LastIndex(raw, macro)
		if begin < 0 {
			return raw, nil
		}
		var args []string
		depth, last, end := 1, begin+len(macro), -1
		for i := last; i < len(raw) && end < 0; i++ {
			switch {
			case raw[i] == '(':
				depth++
			case raw[i] == ')':
				if depth--; depth == 0 {
					args, end = append(args, raw[last:i]), i+1
				}
			case raw[i] == ',' && depth == 1:
				args, last = append(args, raw[last:i]), i+1
			}
		}
		if len(args) != 2 {
			return "", fmt.Errorf("$__conditionalAll with %d arguments: %.60s", len(args), raw[begin:])
		}
		condition := args[0]
		name := strings.Trim(strings.TrimSpace(args[1]), "${}")
		if _, known := m.values[name]; !known {
			return "", fmt.Errorf("$__conditionalAll asks for the variable %q", name)
		}
		if m.allOf(name) {
			condition = "1=1"
		}
		raw = raw[:begin] + condition + raw[end:]
	}
}

// promql puts in what Grafana's own datasource for Prometheus does.
func (m *moment) promql(raw string) (string, error) {
	raw = strings.NewReplacer(
		"$__rate_interval", fmt.Sprintf("%ds", int(m.rateInterval.Seconds())),
		"$__interval", fmt.Sprintf("%ds", int(m.interval.Seconds())),
		"$__range", fmt.Sprintf("%ds", int(m.to.Sub(m.from).Seconds())),
	).Replace(raw)
	return m.variables(raw, func(values []string) string {
		for i, v := range values {
			values[i] = regexp.QuoteMeta(v)
		}
		if len(values) == 1 {
			return values[0]
		}
		return "(" + strings.Join(values, "|") + ")"
	})
}

func quotedList(values []string) string {
	var quoted []string
	for _, v := range values {
		quoted = append(quoted, "'"+strings.ReplaceAll(v, "'", `\'`)+"'")
	}
	return strings.Join(quoted, ",")
}

var reference = regexp.MustCompile(`\$\{(\w+)(?::(\w+))?\}|\$(\w+)`)

// variables puts in the values of $name, ${name} and ${name:singlequote}. several says how more than one is written where
// the format is not named; a single one stands as it is.
func (m *moment) variables(raw string, several func([]string) string) (string, error) {
	var err error
	return reference.ReplaceAllStringFunc(raw, func(found string) string {
		parts := reference.FindStringSubmatch(found)
		name, format := parts[1]+parts[3], parts[2]
		if strings.HasPrefix(name, "__") {
			return found // a macro
		}
		values, known := m.values[name]
		if !known {
			err = fmt.Errorf("variable %q has no value", name)
			return found
		}
		if m.allOf(name) {
			if text := m.allValue[name]; text != "" {
				return text
			}
			values = m.options[name]
		}
		switch {
		case format == "singlequote":
			return quotedList(values)
		case format != "":
			err = fmt.Errorf("%s: this format is not known here", found)
		case len(values) != 1:
			return several(append([]string(nil), values...))
		}
		return values[0]
	}), err
}

// TestExpansion fixes what panels are read as, by the examples of the plugin's own documentation.
func TestExpansion(t *testing.T) {
	m := &moment{
		from: time.Unix(1415792726, 0), to: time.Unix(1447328726, 0), interval: 20 * time.Second, rateInterval: time.Minute,
		values:  map[string][]string{"source": {"web", "o'app"}, "every": {all}, "step": {"Order Completed"}, "shard": {all}},
		options: map[string][]string{"every": {"a", "b"}}, allValue: map[string]string{"shard": ".*"},
	}
	for raw, want := range map[string]string{
		"$__timeFilter(t)":   "t >= toDateTime(1415792726) AND t <= toDateTime(1447328726)",
		"$__timeInterval(t)": "toStartOfInterval(toDateTime(t), INTERVAL 20 second)",
		"count() * 60 / $__interval_s + ($__toTime - $__fromTime)":                                 "count() * 60 / 20 + (toDateTime(1447328726) - toDateTime(1415792726))",
		"$__conditionalAll(s IN (${source:singlequote}), $source)":                                 `s IN ('web','o\'app')`,
		"$__conditionalAll(f(a, b), $every) AND $__conditionalAll(s = ${step:singlequote}, $step)": "1=1 AND s = 'Order Completed'",
		"x IN (${every:singlequote})":                                                              "x IN ('a','b')",
	} {
		if got, err := m.sql(raw); got != want || err != nil {
			t.Errorf("%s became %q (%v), want %q", raw, got, err, want)
		}
	}
	for _, raw := range []string{"$nobody", "$__timeFilters(t)", "$__conditionalAll(x)", "${step:yaml}", "a $ b"} {
		if got, err := m.sql(raw); err == nil {
			t.Errorf("%s became %q", raw, got)
		}
	}
	got, err := m.promql(`rate(x{shard=~"$shard",source=~"$source"}[$__rate_interval])`)
	if want := `rate(x{shard=~".*",source=~"(web|o'app)"}[60s])`; got != want || err != nil {
		t.Errorf("PromQL became %s (%v), want %s", got, err, want)
	}
}
