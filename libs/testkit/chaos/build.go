package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// programs of the mill, and the command that people type.
var programs = []string{"ingester", "enricher", "indexer", "query", "millrace"}

// build compiles the programs into dir, with failpoints. overlay, if not "", is
// a file for `go build -overlay`: a program that is broken on purpose.
func build(ctx context.Context, root, dir, overlay string, names ...string) error {
	for _, name := range names {
		args := []string{"build", "-tags", "failpoint", "-o", filepath.Join(dir, name)}
		if overlay != "" {
			args = append(args, "-overlay", overlay)
		}
		cmd := exec.CommandContext(ctx, "go", append(args, "./services/"+name+"/cmd/"+name)...)
		cmd.Dir = root
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("build %s: %w\n%s", name, err, out)
		}
	}
	return nil
}

// root is the top of the repository, at or above the working directory.
func root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.work")); err == nil {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", fmt.Errorf("no go.work at or above the working directory: run it inside the repository")
		}
		dir = up
	}
}
