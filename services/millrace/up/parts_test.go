package up

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/millrace/millrace/libs/svc"
)

func TestBudgetAddsUp(t *testing.T) {
	for _, shards := range []int{1, 4, 16, 256} {
		least := leastTotal(shards)
		if _, err := share(least-1, shards); err == nil || !strings.Contains(err.Error(), svc.Bytes(least).String()) {
			t.Errorf("%d shards in %d bytes: error %v, want one that names %s", shards, least-1, err, svc.Bytes(least))
		}
		for _, total := range []int64{least, 10 * least, 500 << 30} {
			if total < least {
				continue
			}
			b, err := share(total, shards)
			if err != nil {
				t.Fatal(err)
			}
			if sum := b.Streams.Total(shards) + b.ClickHouse + b.Rest; sum != total {
				t.Errorf("%d shards in %d bytes: the parts are %d", shards, total, sum)
			}
			if b.Streams.Raw < leastStream*9/10 || b.Streams.In < leastIn || b.Streams.Dead < leastIn || b.ClickHouse < total/3 || b.Rest <= 0 {
				t.Errorf("%d shards in %d bytes: %+v", shards, total, b)
			}
		}
	}
}

func TestBudgetMustFitTheDisk(t *testing.T) {
	b := Budget{Total: 100}
	if err := b.fits("d", 60, 40); err != nil {
		t.Errorf("60 free and 40 used are enough for 100: %v", err)
	}
	if err := b.fits("d", 59, 40); err == nil {
		t.Error("59 free and 40 used were enough for 100")
	}
	if got := defaultBudget(1<<40, 0); got != defaultMaxDisk {
		t.Errorf("default on a large disk is %d", got)
	}
	if got := defaultBudget(8<<30, 2<<30); got != 5<<30 {
		t.Errorf("default with 8 GiB free and 2 GiB ours is %s, want 5GiB", svc.Bytes(got))
	}
}

func TestGuardClosesAndOpens(t *testing.T) {
	reg, health := svc.NewRegistry(), svc.NewHealth()
	g := newGuard("d", 1_000, slog.New(slog.DiscardHandler), reg, health)
	var used, free int64
	g.measure = func() (int64, int64, error) { return used, free, nil }
	is := func(u, f int64, open bool) {
		t.Helper()
		used, free = u, f
		g.look()
		if err := g.admit(); (err == nil) != open || err != nil && !errors.Is(err, ErrOverBudget) {
			t.Errorf("%d used, %d free: %v, want open %v", u, f, err, open)
		}
	}
	const plenty = 10 * keepFree
	is(999, plenty, true)
	is(1_000, plenty, false)
	is(980, plenty, false) // not at once
	is(969, plenty, true)
	is(0, keepFree-1, false)
	is(0, keepFree+1, false)
	is(0, plenty, true)

	g.measure = func() (int64, int64, error) { return 0, 0, errors.New("away") }
	g.look()
	if err := g.admit(); err != nil {
		t.Errorf("a measurement that failed closed the door: %v", err)
	}
}

func TestDiskUsedCountsWhatIsThere(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "sub"), 0o700); err != nil {
		t.Fatal(err)
	}
	before, err := diskUsed(dir)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "sub", "file")
	if err := os.WriteFile(file, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(file, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	after, err := diskUsed(dir)
	if err != nil {
		t.Fatal(err)
	}
	if grown := after - before; grown < 1<<20 || grown >= 3<<19 {
		t.Errorf("a file of 1 MiB with two names takes %d bytes", grown)
	}
}

func TestLockNamesItsHolder(t *testing.T) {
	dir, say := t.TempDir(), newNarrator(io.Discard)
	first, err := lockDir(t.Context(), dir, say)
	if err != nil {
		t.Fatal(err)
	}
	if first.unclean {
		t.Error("a new directory looks as if a run had not ended well")
	}
	_, err = lockDir(t.Context(), dir, say)
	if !errors.Is(err, ErrRunning) || !strings.Contains(err.Error(), fmt.Sprint(os.Getpid())) {
		t.Errorf("error %v, want ErrRunning and the process id", err)
	}
	if err := first.file.Close(); err != nil { // as kill -9 does
		t.Fatal(err)
	}
	second, err := lockDir(t.Context(), dir, say)
	if err != nil {
		t.Fatal(err)
	}
	if !second.unclean {
		t.Error("an end without release does not show")
	}
	if err := second.release(); err != nil {
		t.Fatal(err)
	}
	third, err := lockDir(t.Context(), dir, say)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = third.release() }()
	if third.unclean {
		t.Error("a clean end does not show")
	}
}

func TestTakenPortsAreNamedWithTheirFlags(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	wanted := []wantedPort{{"a-port", l.Addr().String()}, {"b-port", "127.0.0.1:0"}, {"c-addr", "127.0.0.1:0"}}
	err = checkPorts(t.Context(), wanted, 0)
	if !errors.Is(err, ErrPort) || !strings.Contains(err.Error(), "--a-port") || strings.Contains(err.Error(), "--b-port") {
		t.Errorf("error %v, want one about --a-port only", err)
	}
	// Whoever has it may be about to end.
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- checkPorts(ctx, wanted, uncleanPatience) }()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Errorf("a port that was let go: %v", err)
	}
	// Two flags with one port.
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := free.Addr().String()
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	if err := claimAll([]wantedPort{{"a-port", addr}, {"b-port", addr}}); err == nil || !strings.Contains(err.Error(), "--b-port") {
		t.Errorf("error %v, want one about --b-port", err)
	}
}

func TestSecretsAreMadeOnce(t *testing.T) {
	dir := t.TempDir()
	first, err := keepSecrets(dir, "demo", "")
	if err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(filepath.Join(dir, secretsFile))
	if err != nil {
		t.Fatal(err)
	}
	if st.Mode().Perm() != 0o600 {
		t.Errorf("the file is %v", st.Mode())
	}
	again, err := keepSecrets(dir, "demo", "")
	if err != nil {
		t.Fatal(err)
	}
	if again.WriteKeys["demo"] != first.WriteKeys["demo"] || again.ClickHouse != first.ClickHouse || first.ClickHouse.Writer == "" {
		t.Errorf("first %+v, then %+v", first, again)
	}
	other, err := keepSecrets(dir, "shop", "mine")
	if err != nil {
		t.Fatal(err)
	}
	if other.WriteKeys["shop"] != "mine" || other.WriteKeys["demo"] != first.WriteKeys["demo"] {
		t.Errorf("keys %v", other.WriteKeys)
	}
	none, err := keepSecrets(dir, "", "")
	if err != nil {
		t.Fatal(err)
	}
	if len(none.WriteKeys) != 2 || none.ClickHouse != first.ClickHouse {
		t.Errorf("without a source the keys are %v", none.WriteKeys)
	}
	if err := os.WriteFile(filepath.Join(dir, secretsFile), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := keepSecrets(dir, "demo", ""); err == nil || !strings.Contains(err.Error(), secretsFile) {
		t.Errorf("damaged secrets: error %v", err)
	}
}
