//go:build failpoint

package failpoint

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The test binary is also a process that passes points.
const envPass = "FAILPOINT_TEST_PASS"

func TestMain(m *testing.M) {
	if os.Getenv(envPass) == "" {
		os.Exit(m.Run())
	}
	for i := range 3 {
		At(IndexerInsertBefore)
		fmt.Printf("passed %d %v\n", i+1, Error(IndexerInsertAfter))
	}
	for _, name := range []string{envPoints, envClock} {
		if _, ok := os.LookupEnv(name); ok {
			fmt.Println("still set:", name)
		}
	}
}

// process runs the test binary with armed points.
func process(t *testing.T, env ...string) (stdout, stderr *bytes.Buffer, cmd *exec.Cmd) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	stdout, stderr = &bytes.Buffer{}, &bytes.Buffer{}
	cmd = exec.CommandContext(t.Context(), self)
	cmd.Env = append(append(os.Environ(), envPass+"=1"), env...)
	cmd.Stdout, cmd.Stderr = stdout, stderr
	return stdout, stderr, cmd
}

func TestFailpointActions(t *testing.T) {
	passed := "passed 1 <nil>\npassed 2 <nil>\npassed 3 <nil>\n"
	failed := "failpoint: the step was made to fail: indexer.insert.after"
	for list, want := range map[string]struct {
		code        int // -1: killed
		out, errors string
	}{
		"":                               {0, passed, ""},
		"indexer.insert.before=kill":     {-1, "", "failpoint indexer.insert.before: kill\n"},
		"indexer.insert.before=kill@3":   {-1, "passed 1 <nil>\npassed 2 <nil>\n", "failpoint indexer.insert.before: kill\n"},
		"indexer.insert.before=kill@4":   {0, passed, ""},
		"indexer.insert.after=error@2":   {0, "passed 1 <nil>\npassed 2 " + failed + "\npassed 3 <nil>\n", "failpoint indexer.insert.after: error\n"},
		"indexer.insert.after=sleep:1ms": {0, passed, "failpoint indexer.insert.after: sleep:1ms\n"},
		"indexer.insert.after=error, indexer.insert.before=kill@2": {
			-1, "passed 1 " + failed + "\n", "failpoint indexer.insert.after: error\nfailpoint indexer.insert.before: kill\n",
		},
	} {
		out, text, cmd := process(t, envPoints+"="+list)
		err := cmd.Run()
		if exit, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
			t.Fatal(err)
		} else if ok && exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			t.Errorf("%q: %v", list, err)
		}
		if got := cmd.ProcessState.ExitCode(); got != want.code || out.String() != want.out || text.String() != want.errors {
			t.Errorf("%q: ended with %d, said %q and %q", list, got, out, text)
		}
	}
}

func TestFailpointStopsUntilItIsContinued(t *testing.T) {
	out, _, cmd := process(t, envPoints+"=indexer.insert.before=stop@2")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var status syscall.WaitStatus
	for {
		_, err := syscall.Wait4(cmd.Process.Pid, &status, syscall.WUNTRACED, nil)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil || !status.Stopped() {
			t.Fatalf("not stopped: %v %v", status, err)
		}
		break
	}
	if err := cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "passed 3") {
		t.Errorf("said %q", out)
	}
}

func TestFailpointRefusesWhatItDoesNotKnow(t *testing.T) {
	for env, want := range map[string]string{
		envPoints + "=indexer.insert.befor=kill":                             `no point "indexer.insert.befor"`,
		envPoints + "=indexer.insert.before=explode":                         `no action "explode"`,
		envPoints + "=indexer.insert.before":                                 `no action ""`,
		envPoints + "=indexer.intent.before=error":                           "indexer.intent.before cannot fail",
		envPoints + "=indexer.insert.before=kill@0":                          "from 1 on",
		envPoints + "=indexer.insert.before=sleep:x":                         "sleep:<duration>",
		envPoints + "=indexer.insert.before=kill,indexer.insert.before=stop": "twice",
		envClock + "=" + filepath.Join(t.TempDir(), "none"):                  "no such file",
	} {
		out, text, cmd := process(t, env)
		err := cmd.Run()
		if cmd.ProcessState.ExitCode() != 2 || !strings.Contains(text.String(), want) || out.Len() > 0 {
			t.Errorf("%s: %v, said %q and %q", env, err, out, text)
		}
		if strings.Contains(want, "no point") && !strings.Contains(text.String(), "ingester.in_purge.after") {
			t.Errorf("%s does not list the points: %s", env, text)
		}
	}
}

func TestFailpointClockFollowsItsFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "clock")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("1h\n")
	f := clockFile{path: path}
	if err := f.read(); err != nil {
		t.Fatal(err)
	}
	write("-1h")
	if got := f.offset(); got != time.Hour {
		t.Errorf("read again at once: %s", got)
	}
	f.at = f.at.Add(-readEvery)
	if got := f.offset(); got != -time.Hour {
		t.Errorf("not read again: %s", got)
	}
	write("")
	f.at = f.at.Add(-readEvery)
	if got := f.offset(); got != -time.Hour {
		t.Errorf("a file that is being written moves the clock to %s", got)
	}
}

func TestFailpointClockJumps(t *testing.T) {
	began := Now()
	offset := time.Hour
	read := func() time.Duration { return offset }
	shift.Store(&read)
	t.Cleanup(func() { shift.Store(nil) })
	if got := Since(began); got < time.Hour || got > time.Hour+time.Minute {
		t.Errorf("after an hour forward %s have gone by", got)
	}
	later := Now()
	offset = -time.Hour
	if got := Until(later); got < time.Hour || got > 2*time.Hour {
		t.Errorf("after two hours back it is %s until then", got)
	}
	if !Due(later, 24*time.Hour) || Left(later, time.Second) != time.Second {
		t.Error("what lies ahead by more than it could is not mended")
	}
	if Due(Now(), time.Hour) || !Due(time.Time{}, time.Hour) || Left(Now(), time.Hour) > 0 {
		t.Error("times that did not jump are not as they were")
	}
}
