package check

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	"gopkg.in/yaml.v3"
)

func composeFiles(t *testing.T, env map[string]string, files ...string) (*types.Project, error) {
	t.Helper()
	var list []string
	for k, v := range env {
		list = append(list, k+"="+v)
	}
	opts, err := cli.NewProjectOptions(files, cli.WithEnv(list))
	if err != nil {
		t.Fatal(err)
	}
	return opts.LoadProject(t.Context())
}

// TestComposeWithGrafana loads Prometheus and Grafana for both ways to run Millrace: what they mount is there, what the
// provisioned files ask of the environment is set, nothing is published to the world, and no password is forgotten.
func TestComposeWithGrafana(t *testing.T) {
	secrets := words()
	secrets["MILLRACE_GRAFANA_PASSWORD"] = "kgrafana"
	asked := map[string]bool{}
	for _, file := range []string{"datasources", "dashboards"} {
		for _, name := range regexp.MustCompile(`\$(MILLRACE_\w+)`).FindAllStringSubmatch(text(t, deployed("grafana", "provisioning", file, "millrace.yaml")), -1) {
			asked[name[1]] = true
		}
	}
	for way, c := range map[string]struct {
		files   []string
		secrets []string
	}{
		"compose": {[]string{deployed("compose.yaml"), deployed("compose.grafana.yaml")}, []string{"MILLRACE_GRAFANA_PASSWORD", "MILLRACE_CLICKHOUSE_READER_PASSWORD"}},
		"up":      {[]string{deployed("grafana", "compose.up.yaml")}, []string{"MILLRACE_CLICKHOUSE_READER_PASSWORD"}},
	} {
		p, err := composeFiles(t, secrets, c.files...)
		if err != nil {
			t.Errorf("%s: %v", way, err)
			continue
		}
		for _, name := range []string{"prometheus", "grafana"} {
			s := p.Services[name]
			if i := strings.LastIndex(s.Image, ":"); i < 0 || s.Image[i:] == ":latest" || s.Restart == "" {
				t.Errorf("%s: %s: image %q, restart %q", way, name, s.Image, s.Restart)
			}
			for _, port := range s.Ports {
				if port.HostIP != "127.0.0.1" {
					t.Errorf("%s: %s: port %s is published on %q", way, name, port.Published, port.HostIP)
				}
			}
			targets := []string{}
			for _, v := range s.Volumes {
				targets = append(targets, v.Target)
				if v.Type == types.VolumeTypeBind && !exists(v.Source) {
					t.Errorf("%s: %s: %s is not there", way, name, v.Source)
				}
			}
			for _, argument := range s.Command {
				if file, ok := strings.CutPrefix(argument, "--config.file="); ok && !slices.Contains(targets, file) {
					t.Errorf("%s: %s is not mounted", way, file)
				}
			}
			if dir := s.Environment["MILLRACE_DASHBOARDS"]; name == "grafana" && (dir == nil || !slices.Contains(targets, *dir)) {
				t.Errorf("%s: the dashboards are not mounted at %v", way, dir)
			}
		}
		for name := range asked {
			if v := p.Services["grafana"].Environment[name]; v == nil || *v == "" {
				t.Errorf("%s: Grafana is not told %s", way, name)
			}
		}
		for _, name := range c.secrets {
			less := map[string]string{}
			for k, v := range secrets {
				if k != name {
					less[k] = v
				}
			}
			if _, err := composeFiles(t, less, c.files...); err == nil || !strings.Contains(err.Error(), "secrets") {
				t.Errorf("%s without %s: %v, want an error that says where to look", way, name, err)
			}
		}
	}
	if written := text(t, deployed("secrets.sh")); !strings.Contains(written, "MILLRACE_GRAFANA_PASSWORD=") {
		t.Error("secrets.sh writes no password for Grafana")
	}
}

// TestPrometheusScrapesEveryService: each service of compose.yaml with an admin port, at that port, and the alerts.
func TestPrometheusScrapesEveryService(t *testing.T) {
	p, err := compose(t, words())
	if err != nil {
		t.Fatal(err)
	}
	var config struct {
		RuleFiles     []string `yaml:"rule_files"`
		ScrapeConfigs []struct {
			JobName string `yaml:"job_name"`
			DNS     []struct {
				Names []string
				Port  int
			} `yaml:"dns_sd_configs"`
		} `yaml:"scrape_configs"`
	}
	if err := yaml.Unmarshal([]byte(text(t, deployed("prometheus", "prometheus.yml"))), &config); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(config.RuleFiles, []string{"alerts.yml"}) {
		t.Errorf("rule files %v", config.RuleFiles)
	}
	scraped := map[string]int{}
	for _, c := range config.ScrapeConfigs {
		for _, dns := range c.DNS {
			for _, name := range dns.Names {
				scraped[name] = dns.Port
			}
		}
	}
	served := 0
	for name, s := range p.Services {
		if admin := s.Environment["MILLRACE_ADMIN_ADDR"]; admin != nil {
			served++
			if want := 8081; scraped[name] != want || *admin != "0.0.0.0:8081" {
				t.Errorf("%s has its admin port at %s and is scraped at %d", name, *admin, scraped[name])
			}
		}
	}
	if served == 0 || served != len(scraped) {
		t.Errorf("%d services, %v are scraped", served, scraped)
	}
}
