package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/services/millrace/client"
	"github.com/millrace/millrace/services/query/reports"
)

// reportFlags are what all reports take.
type reportFlags struct {
	target
	from, to, last, zone, interval string
	sources, where                 []string
	sample                         string
	compare                        bool
	after                          string
	wait                           time.Duration
	maxAge                         time.Duration
}

// register declares them, and those of the one report.
func (f *reportFlags) register(cmd *cobra.Command, own func(*flag.FlagSet)) *settings {
	s := newSettings(cmd, false, f.registerQuery, func(fs *flag.FlagSet) {
		fs.StringVar(&f.last, "last", "", "the newest `n` minutes, hours, days, weeks or months, such as 90m, 24h, 30d, 8w or 12mo, the present one being one of them: 1h begins at the full hour, 60m is the last 60 minutes (default 30d)")
		fs.StringVar(&f.from, "from", "", "beginning, a `time` such as 2026-11-01, 2026-11-01T08:30 or 2026-11-01T08:30:00Z")
		fs.StringVar(&f.to, "to", "", "end, exclusive, a `time` (default now)")
		fs.StringVar(&f.zone, "zone", "", "time `zone` whose days are meant, such as Europe/Berlin (default UTC)")
		fs.StringVar(&f.interval, "interval", "", "`length` of a bucket: minute, hour, day, week or month (default: one that fits)")
		fs.StringVar(&f.sample, "sample", "", "`share` of people to look at, such as 0.1; counts are scaled up to all")
		fs.BoolVar(&f.compare, "compare", false, "also show the period before")
		fs.StringVar(&f.after, "after", "", "`receipt` of a sent event that the answer must include")
		fs.DurationVar(&f.wait, "wait", 30*time.Second, "how long to wait for --after, up to 30s")
		fs.DurationVar(&f.maxAge, "max-age", 0, "how old an answer from the service's cache may be")
	}, own)
	cmd.Flags().StringArrayVar(&f.sources, "source", nil, "only events of this `source`; may be repeated")
	cmd.Flags().StringArrayVar(&f.where, "where", nil, "only events of which this `condition` holds, such as browser=Firefox or properties.plan!=pro; may be repeated")
	return s
}

// values are the parameters of the question, but those of the one report.
func (f *reportFlags) values() url.Values {
	v := url.Values{}
	for name, value := range map[string]string{
		"from": f.from, "to": f.to, "last": f.last, "zone": f.zone, "interval": f.interval, "sample": f.sample, "after": f.after,
	} {
		setIf(v, name, value)
	}
	if f.compare {
		v.Set("compare", "true")
	}
	if f.after != "" {
		v.Set("timeout", f.wait.String())
	}
	if f.maxAge > 0 {
		v.Set("max_age", f.maxAge.String())
	}
	v["source"], v["where"] = f.sources, f.where
	return v
}

func setIf(v url.Values, name, value string) {
	if value != "" {
		v.Set(name, value)
	}
}

// report asks for one and reads its result; prev is that of the period before, nil without one. With --output json the
// answer is printed as it came, and printed is true.
func report[T any](ctx context.Context, a *app, f *reportFlags, name string, v url.Values) (result T, prev *T, ans reports.Answer, printed bool, err error) {
	c, err := f.counter(0, nil)
	if err != nil {
		return result, nil, ans, false, err
	}
	defer c.Close()
	text, err := c.Get(ctx, reports.Root+"/"+url.PathEscape(name), v, &ans)
	if err != nil {
		return result, nil, ans, false, refused(err)
	}
	if a.output == "json" {
		return result, nil, ans, true, a.printJSON(text)
	}
	if err := json.Unmarshal(ans.Result, &result); err != nil {
		return result, nil, ans, false, fmt.Errorf("read the result: %w", err)
	}
	if ans.Previous != nil {
		prev = new(T)
		if err := json.Unmarshal(ans.Previous.Result, prev); err != nil {
			return result, nil, ans, false, fmt.Errorf("read the result of the period before: %w", err)
		}
	}
	return result, prev, ans, false, nil
}

// refused makes a question that the service cannot understand a wrong command line.
func refused(err error) error {
	if status, ok := errors.AsType[*client.StatusError](err); ok && status.Status == http.StatusBadRequest {
		return usageError{err}
	}
	return err
}

// note says after a table what its numbers are of, on standard error so that the table stays a table.
func (a *app) note(ans reports.Answer) {
	said := []string{}
	if ans.Sample > 0 {
		said = append(said, fmt.Sprintf("estimated from %s of all people", percentage(ans.Sample)))
	}
	if ans.Age > 0 {
		said = append(said, fmt.Sprintf("from the cache, %.1f s old", ans.Age))
	}
	if len(said) > 0 {
		fmt.Fprintln(a.stderr, strings.Join(said, "; "))
	}
	for _, note := range ans.Notes {
		fmt.Fprintln(a.stderr, "note: "+note)
	}
}

// figure writes a number with its thousands apart, and two decimals if it has any.
func figure(x *float64) string {
	switch {
	case x == nil:
		return "-"
	case *x == math.Trunc(*x) && math.Abs(*x) < 1<<53:
		if *x < 0 {
			return "-" + count(uint64(-*x))
		}
		return count(uint64(*x))
	case math.Abs(*x) < 1<<53:
		whole, part := math.Modf(math.Round(math.Abs(*x)*100) / 100)
		text := count(uint64(whole)) + strconv.FormatFloat(part, 'f', 2, 64)[1:]
		if *x < 0 {
			text = "-" + text
		}
		return text
	}
	return strconv.FormatFloat(*x, 'g', 6, 64)
}

func percentage(share float64) string { return strconv.FormatFloat(share*100, 'f', 1, 64) + "%" }

// bucketForm is how the beginning of a bucket is written.
func bucketForm(interval string) string {
	if interval == "minute" || interval == "hour" {
		return "2006-01-02 15:04"
	}
	return time.DateOnly
}

// zoneOf is the zone that an answer is in; where this machine does not know it, UTC.
func zoneOf(ans reports.Answer) *time.Location {
	name, _ := ans.Question["zone"].(string)
	zone, err := time.LoadLocation(name)
	if err != nil {
		return time.UTC
	}
	return zone
}

// named is a value as a person sees it.
func named(value string, other bool) string {
	switch {
	case other:
		return "(all others)"
	case value == "":
		return "(none)"
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' {
			return ' '
		}
		return r
	}, value)
}

func (a *app) anyReport() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "report [NAME [PARAMETER=VALUE ...]]",
		Short: "Ask for any report by its name, as JSON",
		Long: `Ask for any report of the query service: trend, top, funnel, retention, paths,
sessions, stickiness, revenue or timeline. The parameters are those of GET
/v1/reports/NAME; without a name, all reports are listed with what they take.`,
		Example: `  millrace report
  millrace report sessions last=7d zone=Europe/Berlin
  millrace report paths start='Product Viewed' depth=5
  millrace report timeline user=ada limit=20`,
	}
	var t target
	s := newSettings(cmd, false, t.registerQuery)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if done, err := a.fill(s); done || err != nil {
			return err
		}
		v := url.Values{}
		for _, arg := range args[min(1, len(args)):] {
			name, value, ok := strings.Cut(arg, "=")
			if !ok || name == "" {
				return usageError{fmt.Errorf("%q: want parameter=value", arg)}
			}
			v.Add(name, value)
		}
		c, err := t.counter(0, nil)
		if err != nil {
			return err
		}
		defer c.Close()
		if len(args) == 0 {
			var list reports.List
			text, err := c.Get(cmd.Context(), reports.Root, nil, &list)
			if err != nil {
				return err
			}
			if a.output == "json" {
				return a.printJSON(text)
			}
			return a.printDescriptions(list.Reports)
		}
		text, err := c.Get(cmd.Context(), reports.Root+"/"+url.PathEscape(args[0]), v, new(reports.Answer))
		if status, ok := errors.AsType[*client.StatusError](err); ok && status.Status == http.StatusNotFound {
			// Where reports are listed, the address is right and the name is wrong.
			if _, wrong := c.Get(cmd.Context(), reports.Root, nil, new(reports.List)); wrong == nil {
				return usageError{errors.New(status.Msg)}
			}
		}
		if err != nil {
			return refused(err)
		}
		if a.output == "json" {
			return a.printJSON(text)
		}
		var pretty bytes.Buffer
		if err := json.Indent(&pretty, text, "", "  "); err != nil {
			return fmt.Errorf("print the result: %w", err)
		}
		_, err = pretty.WriteTo(a.stdout)
		return err
	}
	return cmd
}

func (a *app) printDescriptions(list []reports.Description) error {
	// What all take is said once, at the end.
	var common []reports.Param
	for _, p := range list[0].Params {
		if !slices.ContainsFunc(list, func(d reports.Description) bool {
			return !slices.ContainsFunc(d.Params, func(q reports.Param) bool { return q.Name == p.Name && q.About == p.About })
		}) {
			common = append(common, p)
		}
	}
	show := func(head string, params []reports.Param) error {
		fmt.Fprintln(a.stdout, head)
		p := newPairs(a.stdout)
		for _, param := range params {
			about := param.About
			if len(param.Enum) > 0 {
				about += " (" + strings.Join(param.Enum, ", ") + ")"
			}
			if param.Default != "" {
				about += "; " + param.Default + " without it"
			}
			p.add("  "+param.Name, about)
		}
		if err := p.flush(); err != nil {
			return err
		}
		fmt.Fprintln(a.stdout)
		return nil
	}
	for _, d := range list {
		own := slices.DeleteFunc(slices.Clone(d.Params), func(p reports.Param) bool {
			return slices.ContainsFunc(common, func(c reports.Param) bool { return c.Name == p.Name })
		})
		if err := show(d.Name+": "+d.About, own); err != nil {
			return err
		}
	}
	return show("all of them:", common)
}
