package check

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/promql/parser"
	"gopkg.in/yaml.v3"
)

type rule struct {
	Alert       string            `yaml:"alert"`
	Expr        string            `yaml:"expr"`
	For         string            `yaml:"for"`
	Labels      map[string]string `yaml:"labels"`
	Annotations map[string]string `yaml:"annotations"`
}

func rules(t *testing.T) (all []rule) {
	t.Helper()
	var file struct {
		Groups []struct{ Rules []rule }
	}
	if err := yaml.Unmarshal(text(t, deployed("prometheus", "alerts.yml")), &file); err != nil {
		t.Fatal(err)
	}
	for _, g := range file.Groups {
		all = append(all, g.Rules...)
	}
	if len(all) < 20 {
		t.Fatalf("%d rules", len(all))
	}
	return all
}

// alerts evaluates every rule where all is well: none fires, and each asks for series that there are.
func (g *grafana) alerts(t *testing.T) {
	for _, r := range rules(t) {
		if r.Annotations["summary"] == "" || r.Labels["severity"] == "" {
			t.Errorf("%s: no summary or severity", r.Alert)
		}
		if _, err := time.ParseDuration(r.For); r.For != "" && err != nil {
			t.Errorf("%s: %v", r.Alert, err)
		}
		for _, problem := range g.askRule(t.Context(), r.Expr) {
			t.Errorf("%s: %s", r.Alert, problem)
		}
		v, err := g.vector(t.Context(), r.Expr)
		if err != nil || len(v) > 0 {
			t.Errorf("%s fires, although nothing is wrong: %v %v", r.Alert, v, err)
		}
	}
}

// askRule says which series of an expression do not exist.
func (g *grafana) askRule(ctx context.Context, expr string) (problems []string) {
	parsed, err := g.parser.ParseExpr(expr)
	if err != nil {
		return []string{err.Error()}
	}
	seen := 0
	parser.Inspect(parsed, func(node parser.Node, _ []parser.Node) error {
		selector, ok := node.(*parser.VectorSelector)
		if !ok {
			return nil
		}
		seen++
		plain := &parser.VectorSelector{Name: selector.Name, LabelMatchers: selector.LabelMatchers}
		if v, err := g.vector(ctx, plain.String()); err != nil || len(v) == 0 {
			problems = append(problems, fmt.Sprintf("there is no %s (%v)", plain, err))
		}
		return nil
	})
	if seen == 0 {
		problems = append(problems, "it asks for nothing")
	}
	return append(problems, g.missingLabels(parsed)...)
}

// missingLabels are those that an expression groups by although no series of what it asks for has them.
func (s *scrapes) missingLabels(expr parser.Expr) (problems []string) {
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		group, ok := node.(*parser.AggregateExpr)
		if !ok || group.Without {
			return nil
		}
		parser.Inspect(group.Expr, func(node parser.Node, _ []parser.Node) error {
			selector, ok := node.(*parser.VectorSelector)
			if !ok {
				return nil
			}
			for _, label := range group.Grouping {
				if len(s.labelValues(selector.Name, label)) == 0 {
					problems = append(problems, fmt.Sprintf("%s has no label %s", selector.Name, label))
				}
			}
			return nil
		})
		return nil
	})
	return problems
}

// alertsMisspelt: a wrong name in any rule would be found, which quiet rules do not show by themselves.
func (g *grafana) alertsMisspelt(t *testing.T) {
	names, labels := 0, 0
	for _, r := range rules(t) {
		for _, at := range metricName.FindAllStringIndex(r.Expr, -1) {
			names++
			wrong := r.Expr[:at[1]] + "_x" + r.Expr[at[1]:]
			if len(g.askRule(t.Context(), wrong)) == 0 {
				t.Errorf("%s: nobody would notice %s", r.Alert, wrong)
			}
		}
		for _, label := range []string{"shard", "reason", "code", "step", "event", "check", "part"} {
			wrong := strings.NewReplacer(" by ("+label, " by (x"+label, ", "+label+")", ", x"+label+")", "{"+label, "{x"+label).Replace(r.Expr)
			if wrong == r.Expr {
				continue
			}
			labels++
			if len(g.askRule(t.Context(), wrong)) == 0 {
				t.Errorf("%s: nobody would notice %s", r.Alert, wrong)
			}
		}
	}
	if names < 30 || labels < 10 {
		t.Errorf("%d metrics and %d labels were misspelt", names, labels)
	}
}
