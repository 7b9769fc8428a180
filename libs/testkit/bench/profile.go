package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// profile writes a CPU profile of the next while and then a heap profile of
// `up` to <path>.cpu.pprof and <path>.heap.pprof, for go tool pprof. It returns
// at once; a profile that does not come out is only said.
func (in *installation) profile(ctx context.Context, path string, length time.Duration) {
	if in.addrs.Admin == "" {
		return // the part `split` has no `up`
	}
	seconds := max(1, int(length.Seconds()))
	go func() { // ends after length
		for _, p := range [][2]string{{"cpu", fmt.Sprintf("profile?seconds=%d", seconds)}, {"heap", "heap"}} {
			if err := in.saveProfile(ctx, p[1], path+"."+p[0]+".pprof"); err != nil {
				fmt.Fprintln(os.Stderr, "bench: profile:", err)
			}
		}
	}()
}

func (in *installation) saveProfile(ctx context.Context, what, path string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, in.addrs.Admin+"/debug/pprof/"+what, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", what, resp.Status)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	if _, err := io.Copy(f, resp.Body); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return f.Sync()
}
