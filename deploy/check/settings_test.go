package check

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestComposeSettings gives every program the environment that compose.yaml gives it: it must know each name and read
// each value.
func TestComposeSettings(t *testing.T) {
	p, err := compose(t, words())
	if err != nil {
		t.Fatal(err)
	}
	for name, s := range p.Services {
		if s.Build == nil {
			continue
		}
		var env []string
		for k, v := range s.Environment {
			env = append(env, k+"="+*v)
		}
		printed := answer(t, program(t, *s.Build.Args["SERVICE"]), env, append(slices.Clone([]string(s.Command)), "--print-config")...)
		for k, v := range s.Environment {
			flag := strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(k, "MILLRACE_")), "_", "-")
			line := regexp.MustCompile(`(?m)^` + flag + `: "?(.*?)"?$`).FindStringSubmatch(printed)
			if line == nil || line[1] != *v && line[1] != "<redacted>" {
				t.Errorf("%s: %s=%s came out as %q", name, k, *v, line)
			}
		}
	}
}

// unit is a systemd unit: section -> key -> values.
type unit map[string]map[string][]string

func parseUnit(t *testing.T, path string) unit {
	t.Helper()
	u, section := unit{}, ""
	for line := range strings.Lines(text(t, path)) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		if name, ok := strings.CutPrefix(line, "["); ok {
			section = strings.TrimSuffix(name, "]")
			u[section] = map[string][]string{}
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		if !ok || section == "" {
			t.Fatalf("%s: %q is neither a section nor a setting", path, line)
		}
		u[section][key] = append(u[section][key], value)
	}
	return u
}

// TestUnits reads the systemd units: each runs a program that exists with settings that it takes, hardened.
func TestUnits(t *testing.T) {
	paths, err := filepath.Glob(deployed("systemd", "*.service"))
	if err != nil || len(paths) != len(programs) {
		t.Fatalf("units %v (%v), want one for each of %v", paths, err, programs)
	}
	for _, path := range paths {
		u := parseUnit(t, path)
		s := u["Service"]
		for key, want := range map[string]string{
			"Type": "exec", "DynamicUser": "yes", "NoNewPrivileges": "yes", "ProtectSystem": "strict", "ProtectHome": "yes",
			"PrivateTmp": "yes", "CapabilityBoundingSet": "", "Restart": "on-failure",
		} {
			if !slices.Equal(s[key], []string{want}) {
				t.Errorf("%s: %s is %q, want %q", path, key, s[key], want)
			}
		}
		if u["Install"]["WantedBy"] == nil || u["Unit"]["Description"] == nil {
			t.Errorf("%s: no Description or WantedBy", path)
		}
		line := strings.Fields(s["ExecStart"][0])
		name := strings.TrimPrefix(line[0], "/opt/millrace/bin/")
		// What systemd puts in place of %d and %S, with a file for each credential.
		dir := t.TempDir()
		for _, c := range s["LoadCredential"] {
			id, _, _ := strings.Cut(c, ":")
			value := map[string]string{"write-keys": "web:kweb", "api-keys": "kapi0123456789abcdef"}[id]
			if value == "" {
				value = "ksecret"
			}
			if err := os.WriteFile(filepath.Join(dir, id), []byte(value+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		fill := strings.NewReplacer("%d", dir, "%S", dir)
		var env, args []string
		for _, e := range s["Environment"] {
			env = append(env, fill.Replace(e))
		}
		for _, a := range line[1:] {
			args = append(args, fill.Replace(a))
		}
		answer(t, program(t, name), env, append(args, "--print-config")...)
	}
	verify(t, paths)
}

// verify lets systemd itself read the units where it is installed. Elsewhere what is above has been checked.
func verify(t *testing.T, paths []string) {
	t.Helper()
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Log("systemd-analyze is not here, so the units were read by this test alone")
		return
	}
	dir, args := t.TempDir(), []string{"verify"}
	for _, path := range paths {
		copied := filepath.Join(dir, filepath.Base(path))
		here := regexp.MustCompile(`/opt/millrace/bin/(\w+)`).ReplaceAllStringFunc(text(t, path), func(s string) string {
			return program(t, filepath.Base(s))
		})
		if err := os.WriteFile(copied, []byte(here), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, copied)
	}
	// It exits with 0 also after warnings.
	if out, err := exec.CommandContext(t.Context(), analyze, args...).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}
