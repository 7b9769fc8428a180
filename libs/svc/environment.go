package svc

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
)

// EcosystemAliases are the variables that people who run NATS and ClickHouse
// have already set, by flag name. Source of the NATS names: the nats command
// line tool's own (natscli main.go).
func EcosystemAliases() map[string][]string {
	return map[string][]string{
		"nats-url":            {"NATS_URL"},
		"nats-context":        {"NATS_CONTEXT"},
		"nats-user":           {"NATS_USER"},
		"nats-password":       {"NATS_PASSWORD"},
		"nats-token":          {"NATS_TOKEN"},
		"nats-creds":          {"NATS_CREDS"},
		"nats-nkey":           {"NATS_NKEY"},
		"nats-cert":           {"NATS_CERT"},
		"nats-key":            {"NATS_KEY"},
		"nats-ca":             {"NATS_CA"},
		"clickhouse-url":      {"CLICKHOUSE_URL"},
		"clickhouse-http-url": {"CLICKHOUSE_HTTP_URL"},
		"clickhouse-database": {"CLICKHOUSE_DATABASE"},
		"clickhouse-user":     {"CLICKHOUSE_USER"},
		"clickhouse-password": {"CLICKHOUSE_PASSWORD"},
	}
}

// ForeignEnv are the variables with Millrace's prefix that are read elsewhere:
// the local engine's path by libs/localdb, write keys by the ingester and by
// the senders of the command, and the version by images that record it.
func ForeignEnv() []string {
	return []string{"MILLRACE_CLICKHOUSE", "MILLRACE_WRITE_KEY", "MILLRACE_WRITE_KEYS", "MILLRACE_VERSION"}
}

// EnvNames returns the names in environ, which is what os.Environ returns.
func EnvNames(environ []string) []string {
	names := make([]string, 0, len(environ))
	for _, e := range environ {
		name, _, _ := strings.Cut(e, "=")
		names = append(names, name)
	}
	return names
}

// envName is the variable of a flag: nats-url is MILLRACE_NATS_URL.
func envName(prefix, flagName string) string {
	return prefix + "_" + strings.ToUpper(strings.ReplaceAll(flagName, "-", "_"))
}

const fileSuffix = "_FILE"

func fromEnvironment(fs *flag.FlagSet, opts LoadOptions, set map[string]bool) error {
	known := map[string]bool{}
	var err error
	fs.VisitAll(func(f *flag.Flag) {
		if f.Name == flagPrintConfig || f.Name == flagVersion {
			return // a question to ask now, not a setting
		}
		names := append([]string{envName(opts.EnvPrefix, f.Name)}, opts.Aliases[f.Name]...)
		for _, name := range names {
			known[name], known[name+fileSuffix] = true, true
		}
		if err == nil && !set[f.Name] {
			set[f.Name], err = setFromEnvironment(fs, f.Name, names, opts.Env)
		}
	})
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(slices.Values(opts.EnvNames)) {
		if known[name] || !strings.HasPrefix(name, opts.EnvPrefix+"_") || isForeign(name, opts) {
			continue
		}
		own := make([]string, 0, len(known))
		for _, k := range sortedKeys(known) {
			if strings.HasPrefix(k, opts.EnvPrefix+"_") {
				own = append(own, k)
			}
		}
		return fmt.Errorf("%w: environment variable %s%s", ErrUnknownKey, name, nearest(name, own, ""))
	}
	return nil
}

// setFromEnvironment takes the first of the names that has a value, or whose
// name with _FILE names a file that holds it.
func setFromEnvironment(fs *flag.FlagSet, flagName string, names []string, env func(string) (string, bool)) (bool, error) {
	for _, name := range names {
		value, _ := env(name)
		if isServiceLink(name, value) {
			value = ""
		}
		path, _ := env(name + fileSuffix)
		switch {
		case value != "" && path != "":
			return false, fmt.Errorf("environment: %s and %s are both set, keep one", name, name+fileSuffix)
		case path != "":
			content, err := os.ReadFile(path)
			if err != nil {
				return false, fmt.Errorf("environment: read the file that %s names: %w", name+fileSuffix, err)
			}
			name += fileSuffix
			value = strings.TrimRight(string(content), "\r\n")
		case value == "":
			continue
		}
		if err := fs.Set(flagName, value); err != nil {
			return false, fmt.Errorf("environment: %s: %w", name, err)
		}
		return true, nil
	}
	return false, nil
}

func isForeign(name string, opts LoadOptions) bool {
	for _, k := range opts.KnownEnv {
		if name == k || name == k+fileSuffix {
			return true
		}
	}
	value, _ := opts.Env(name)
	return isServiceLink(name, value)
}

// Kubernetes gives every pod variables for each Service beside it. A Service
// "millrace-nats" makes MILLRACE_NATS_PORT=tcp://10.0.0.7:4222, which is
// neither a typing error nor a port number.
var (
	serviceLinkName  = regexp.MustCompile(`_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$`)
	serviceLinkValue = regexp.MustCompile(`^(tcp|udp|sctp)://`)
)

func isServiceLink(name, value string) bool {
	return serviceLinkName.MatchString(name) ||
		strings.HasSuffix(name, "_PORT") && serviceLinkValue.MatchString(value)
}
