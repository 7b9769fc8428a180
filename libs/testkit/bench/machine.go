package main

import (
	"debug/buildinfo"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// machine is the processor, the cores that this process may use, memory, and
// the kernel.
func machine() string {
	model := "unknown processor"
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(text)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				model = strings.TrimSpace(value)
				break
			}
		}
	}
	kernel := runtime.GOOS
	if text, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		kernel = "Linux " + strings.TrimSpace(string(text))
	}
	memory := ""
	if text, err := os.ReadFile("/proc/meminfo"); err == nil {
		var kib int64
		if _, err := fmt.Sscanf(string(text), "MemTotal: %d kB", &kib); err == nil {
			memory = fmt.Sprintf(", %d GiB", (kib+1<<19)>>20)
		}
	}
	return fmt.Sprintf("%d cores of %s%s, %s", runtime.NumCPU(), model, memory, kernel)
}

// versions of what is measured, by name; ClickHouse's is added when one runs.
func versions(bin string) (map[string]string, error) {
	program := filepath.Join(bin, "millrace")
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		return nil, fmt.Errorf("%w (make build makes it)", err)
	}
	v := map[string]string{"go": strings.TrimPrefix(info.GoVersion, "go")}
	for _, dep := range info.Deps {
		if dep.Path == "github.com/nats-io/nats-server/v2" {
			v["nats-server"] = strings.TrimPrefix(dep.Version, "v")
		}
	}
	text, err := exec.Command(program, "version", "--output", "json").Output()
	if err != nil {
		return nil, fmt.Errorf("version of %s: %w", program, err)
	}
	var said struct{ Version string }
	if err := json.Unmarshal(text, &said); err != nil {
		return nil, fmt.Errorf("version of %s: %w", program, err)
	}
	v["millrace"] = said.Version
	return v, nil
}

// indexLength is how long one measurement of the machine takes.
const indexLength = 200 * time.Millisecond

// machineIndex is how fast this machine is just now: nanoseconds that one
// goroutine takes to decode one fixed event with encoding/json.
func machineIndex() float64 {
	text := newGenerator("index", 1, usualSize).append(nil)
	began := time.Now()
	n := 0
	for ; time.Since(began) < indexLength; n++ {
		var e map[string]any
		if err := json.Unmarshal(text, &e); err != nil {
			panic("bench: the generator makes JSON: " + err.Error())
		}
	}
	return float64(time.Since(began).Nanoseconds()) / float64(n)
}
