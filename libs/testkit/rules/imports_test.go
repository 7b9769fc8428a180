package rules

import (
	"bytes"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// edge is one import: from a module's folder to a package.
type edge struct{ from, to string }

// importRules are the arrows that must not be drawn, by test files neither.
var importRules = []struct {
	why    string
	broken func(edge) bool
}{
	{
		why: "services never import each other: what two of them share is a contract and belongs to libs or schemas (services/millrace excepted, it wires them)",
		broken: func(e edge) bool {
			from, to := service(e.from), service(e.to)
			return from != "" && to != "" && from != to && from != "millrace"
		},
	},
	{
		why: "libs never import services: the arrow points the other way, or nothing can be built without everything",
		broken: func(e edge) bool {
			return strings.HasPrefix(e.from, "libs/") && strings.HasPrefix(e.to, ours+"services/")
		},
	},
	{
		why: "schemas import nothing of ours: they are the contracts, readable and usable without any code of Millrace",
		broken: func(e edge) bool {
			return within(e.from, "schemas") && strings.HasPrefix(e.to, ours) && !within(strings.TrimPrefix(e.to, ours), "schemas")
		},
	},
}

func within(p, dir string) bool { return p == dir || strings.HasPrefix(p, dir+"/") }

// service is the name below services/ of a folder or import path, or "".
func service(p string) string {
	rest, ok := strings.CutPrefix(strings.TrimPrefix(p, ours), "services/")
	if !ok {
		return ""
	}
	name, _, _ := strings.Cut(rest, "/")
	return name
}

func brokenRules(e edge) (problems []string) {
	for _, rule := range importRules {
		if rule.broken(e) {
			problems = append(problems, fmt.Sprintf("%s imports %s: %s", e.from, e.to, rule.why))
		}
	}
	return problems
}

func TestImports(t *testing.T) {
	for _, m := range modules(t) {
		var problems []string
		for _, p := range packages(t, m) {
			for _, to := range slices.Concat(p.Imports, p.TestImports, p.XTestImports) {
				problems = append(problems, brokenRules(edge{from: m.Dir, to: to})...)
			}
		}
		// A requirement is the first step to an import, and a weight in itself.
		for _, r := range m.Mod.Require {
			problems = append(problems, brokenRules(edge{from: m.Dir, to: r.Path})...)
		}
		slices.Sort(problems)
		for _, problem := range slices.Compact(problems) {
			t.Error(problem)
		}
	}
}

// withoutDriver are the services that must run, scale and be released without
// ClickHouse: the way in stays open while the database is away or upgraded.
var withoutDriver = []string{"services/ingester", "services/enricher"}

var driver = []string{"github.com/ClickHouse/clickhouse-go", "github.com/ClickHouse/ch-go"}

func linksDriver(dep string) bool {
	return slices.ContainsFunc(driver, func(d string) bool { return within(dep, d) })
}

func TestTheWayInDoesNotLinkTheClickHouseDriver(t *testing.T) {
	seen := 0
	for _, m := range modules(t) {
		if !slices.Contains(withoutDriver, m.Dir) {
			continue
		}
		seen++
		for _, p := range packages(t, m) {
			for _, dep := range slices.Concat(p.Imports, p.Deps) {
				if linksDriver(dep) {
					t.Errorf("%s links %s: the way in must not know the database, and its binary must not carry the driver", p.ImportPath, dep)
					break
				}
			}
		}
		for _, r := range m.Mod.Require {
			if !r.Indirect && linksDriver(r.Path) {
				t.Errorf("%s/go.mod requires %s: go.mod is the fence between the way in and the database", m.Dir, r.Path)
			}
		}
	}
	if seen != len(withoutDriver) {
		t.Errorf("found %d of the modules %v: the rule has lost what it is about", seen, withoutDriver)
	}
}

// grabBags are names that say nothing about what is inside, and so attract
// everything.
var grabBags = []string{"util", "utils", "common", "helper", "helpers", "model", "models", "base", "misc", "shared", "tools"}

func grabBag(importPath string) bool {
	return slices.ContainsFunc(strings.Split(strings.TrimPrefix(importPath, ours), "/"),
		func(part string) bool { return slices.Contains(grabBags, part) })
}

func TestPackagesSayWhatIsInThem(t *testing.T) {
	for _, m := range modules(t) {
		for _, p := range packages(t, m) {
			if grabBag(p.ImportPath) {
				t.Errorf("%s: a package is named after what it does, not after the fact that it is used", p.ImportPath)
			}
		}
	}
}

// longestMain is the number of lines a main.go may have.
const longestMain = 30

func TestMainsAreShort(t *testing.T) {
	mains, err := filepath.Glob(filepath.Join(root(t), "services", "*", "cmd", "*", "main.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, main := range mains {
		content, err := os.ReadFile(main)
		if err != nil {
			t.Fatal(err)
		}
		if n := bytes.Count(content, []byte("\n")); n > longestMain {
			t.Errorf("%s has %d lines, want at most %d: main hands over to a package that tests can reach", main, n, longestMain)
		}
	}
}

// The rules themselves, on trees that do not exist.

func TestImportRulesSeeWhatTheyForbid(t *testing.T) {
	check := func(from, to, want string) {
		t.Helper()
		got := strings.Join(brokenRules(edge{from: from, to: to}), "\n")
		if (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("%s -> %s: got %q, want %q", from, to, got, want)
		}
	}
	check("services/ingester", ours+"services/enricher", "services never import each other")
	check("services/ingester", ours+"services/millrace/cmd/millrace", "services never import each other")
	check("services/ingester", ours+"services/ingester/cmd/ingester", "")
	check("services/millrace", ours+"services/enricher", "")
	check("services/ingester", ours+"libs/bus", "")
	check("libs/bus", ours+"services/query", "libs never import services")
	check("libs/testkit/bench", ours+"services/query", "libs never import services")
	check("libs/bus", ours+"schemas/streams", "")
	check("schemas", ours+"libs/event", "schemas import nothing of ours")
	check("schemas", ours+"schemas/streams", "")
	check("schemas", "embed", "")
}

func TestDriverRuleSeesTheDriver(t *testing.T) {
	check := func(dep string, want bool) {
		t.Helper()
		if got := linksDriver(dep); got != want {
			t.Errorf("linksDriver(%q) = %v", dep, got)
		}
	}
	check("github.com/ClickHouse/clickhouse-go/v2", true)
	check("github.com/ClickHouse/clickhouse-go/v2/lib/driver", true)
	check("github.com/ClickHouse/ch-go/proto", true)
	check("github.com/ClickHouse/ch-going", false)
	check(ours+"libs/event", false)
}

func TestVersionRulesSeeDifferences(t *testing.T) {
	with := func(dir, goVersion string, requires ...require) module {
		m := module{Dir: dir}
		m.Mod.Go = goVersion
		m.Mod.Require = requires
		return m
	}
	check := func(want string, all ...module) {
		t.Helper()
		got := strings.Join(versions(all), "\n")
		if (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	snappy := func(v string) require { return require{Path: "example.org/snappy", Version: v} }
	check("", with("libs/a", "1.26.0", snappy("v1.0.0")), with("libs/b", "1.26.0", snappy("v1.0.0")))
	check("versions of example.org/snappy differ", with("libs/a", "1.26.0", snappy("v1.0.0")), with("libs/b", "1.26.0", snappy("v1.1.0")))
	check("Go versions differ", with("libs/a", "1.26.0"), with("libs/b", "1.25.0"))
}

func TestOwnRequirementsSeesWhatDoesNotBuildAlone(t *testing.T) {
	check := func(version, replacedBy, want string) {
		t.Helper()
		m := module{Dir: "libs/testkit/bench"}
		m.Mod.Require = []require{{Path: ours + "libs/bus", Version: version}}
		if replacedBy != "" {
			r := replace{}
			r.Old.Path, r.New.Path = ours+"libs/bus", replacedBy
			m.Mod.Replace = []replace{r}
		}
		got := strings.Join(ownRequirements(m), "\n")
		if (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("%s => %s: got %q, want %q", version, replacedBy, got, want)
		}
	}
	check("v0.0.0", "../../../libs/bus", "")
	check("v0.0.0", "../../bus", "")
	check("v0.0.0", "", "want v0.0.0 replaced")
	check("v0.0.0", "../../libs/bus", "want v0.0.0 replaced")
	check("v0.1.0", "../../../libs/bus", "want v0.0.0 replaced")
}

func TestGrabBagsAreSeen(t *testing.T) {
	for _, p := range []string{"libs/utils", "services/query/helpers", "libs/common/x"} {
		if !grabBag(path.Join(ours, p)) {
			t.Errorf("%s passes", p)
		}
	}
	if grabBag(ours + "libs/commonness") {
		t.Error("libs/commonness does not pass")
	}
}
