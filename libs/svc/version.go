package svc

import "runtime/debug"

// version is set by the linker in release builds:
// -ldflags "-X github.com/millrace/millrace/libs/svc.version=v1.2.3".
var version string

// Version returns the release this binary was built as; without one, the
// commit it was built from; without that, "devel".
func Version() string {
	if version != "" {
		return version
	}
	if rev := revision(); rev != "" {
		return "devel-" + rev[:min(12, len(rev))]
	}
	return "devel"
}

// revision is the commit of the build, or "" when the build did not record it.
func revision() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return s.Value
		}
	}
	return ""
}
