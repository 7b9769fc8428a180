package compat

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// node is a script in node/ that uses an SDK; run.mjs says how it is called.
type node string

// modules is where npm installs the SDKs.
const modules = "node/node_modules"

// installed fails with what to do if the SDKs are not there.
func installed(t testing.TB) {
	t.Helper()
	if _, err := os.Stat(filepath.Join(modules, ".package-lock.json")); err != nil {
		t.Fatal("the Node SDKs are not installed: run scripts/install-compat, or `npm ci` in libs/testkit/compat/node")
	}
}

func (n node) calls(t *testing.T, door, key string) (wanted []want) {
	n.run(t, &wanted, nil, door, key, "calls")
	return wanted
}

func (n node) steady(t testing.TB, door, key string, until <-chan struct{}) (sent int) {
	n.run(t, &sent, until, door, key, "steady")
	return sent
}

// run runs the script, ends its input when somebody says until, and reads what
// it prints.
func (n node) run(t testing.TB, result any, until <-chan struct{}, args ...string) {
	t.Helper()
	installed(t)
	cmd := exec.CommandContext(t.Context(), "node", append([]string{string(n)}, args...)...)
	cmd.Dir = "node"
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	dieWith(cmd)
	in, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Errorf("%s: %v", n, err)
		return
	}
	if until != nil {
		<-until
	}
	_ = in.Close() // it is gone if the script is
	err = cmd.Wait()
	if err == nil {
		err = json.Unmarshal(out.Bytes(), result)
	}
	if err != nil {
		t.Errorf("%s: %v: %s\n%s", n, err, out.Bytes()[:min(out.Len(), 500)], said.Bytes())
		return
	}
	if said.Len() > 0 {
		t.Logf("%s says:\n%s", n, said.Bytes()[:min(said.Len(), 2000)])
	}
}
