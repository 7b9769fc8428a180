package eventdb

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/millrace/millrace/libs/localdb"
)

func TestMigrate(t *testing.T) {
	s := serve(t)
	cfg := s.as(localdb.MigratorUser)
	var seen []string
	n, err := Migrate(t.Context(), cfg, MigrateOptions{Progress: func(m Migration) { seen = append(seen, m.Name) }})
	if err != nil {
		t.Fatal(err)
	}
	if n < 2 || len(seen) != n || seen[0] != "00001_events.sql" || seen[1] != "00002_dead_letters.sql" {
		t.Fatalf("%d applied: %v", n, seen)
	}
	if n, err := Migrate(t.Context(), cfg, MigrateOptions{}); n != 0 || err != nil {
		t.Fatalf("second time: %d applied, %v", n, err)
	}
	list, err := Status(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != len(seen) {
		t.Fatalf("status lists %d migrations, %d were applied", len(list), len(seen))
	}
	for _, m := range list {
		if !m.Applied || m.At.IsZero() {
			t.Errorf("%s is not applied", m.Name)
		}
	}
	for _, user := range []string{localdb.ReaderUser, localdb.WriterUser} {
		if err := Check(t.Context(), s.open(t, user)); err != nil {
			t.Errorf("check as %s: %v", user, err)
		}
	}
}

// A crash between a statement and its record makes the statement run again.
func TestMigrationsCanBeRepeated(t *testing.T) {
	s := serve(t)
	s.migrate(t)
	s.exec(t, "TRUNCATE TABLE "+versionTable)
	n, err := Migrate(t.Context(), s.as(localdb.MigratorUser), MigrateOptions{})
	if err != nil || n < 2 {
		t.Fatalf("%d applied again, %v", n, err)
	}
}

// Rows of a version without the projection get it in the background, and the migration leaves no trace where there are none.
func TestOldRowsGetTheProjection(t *testing.T) {
	s := serve(t)
	s.migrate(t)
	conn := s.open(t, localdb.MigratorUser)
	const mutations = "SELECT count() FROM system.mutations WHERE database = currentDatabase() AND table = 'events'"
	if n := one[uint64](t, conn, mutations); n != 0 {
		t.Errorf("%d mutations of a new table", n)
	}
	s.exec(t, "ALTER TABLE events DROP PROJECTION by_person SETTINGS mutations_sync = 1")
	if err := insert(t.Context(), s.dial(t, localdb.WriterUser), rows(1000, strconv.Itoa), "old"); err != nil {
		t.Fatal(err)
	}
	s.exec(t, "TRUNCATE TABLE "+versionTable)
	s.migrate(t)
	s.exec(t, "ALTER TABLE events UPDATE title = title WHERE 0 SETTINGS mutations_sync = 1") // mutations are done in turn
	with := one[uint64](t, conn, `SELECT sum(rows) FROM system.parts
		WHERE database = currentDatabase() AND table = 'events' AND active AND has(projections, 'by_person')`)
	if with != 1000 {
		t.Errorf("%d rows have the projection, want all 1000", with)
	}
}

func TestMigrateSeveralAtOnce(t *testing.T) {
	s := serve(t)
	var wg sync.WaitGroup
	errs := make([]error, 4)
	for i := range errs {
		wg.Go(func() {
			_, errs[i] = Migrate(t.Context(), s.as(localdb.MigratorUser), MigrateOptions{Durability: DurabilityPower})
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	if err := Check(t.Context(), s.open(t, localdb.ReaderUser)); err != nil {
		t.Fatal(err)
	}
	if n, err := Migrate(t.Context(), s.as(localdb.MigratorUser), MigrateOptions{}); n != 0 || err != nil {
		t.Fatalf("afterwards: %d applied, %v", n, err)
	}
}

func TestDurability(t *testing.T) {
	s := serve(t)
	engine := func() string {
		return one[string](t, s.open(t, localdb.ReaderUser), "SELECT engine_full FROM system.tables WHERE database = 'millrace' AND name = 'events'")
	}
	for _, tc := range []struct {
		set  Durability
		want string
	}{
		{DurabilityKeep, "fsync_after_insert = 0, fsync_part_directory = 0"},
		{DurabilityPower, "fsync_after_insert = 1, fsync_part_directory = 1"},
		{DurabilityKeep, "fsync_after_insert = 1, fsync_part_directory = 1"},
		{DurabilityPower, "fsync_after_insert = 1, fsync_part_directory = 1"},
		{DurabilityProcess, "fsync_after_insert = 0, fsync_part_directory = 0"},
	} {
		if _, err := Migrate(t.Context(), s.as(localdb.MigratorUser), MigrateOptions{Durability: tc.set}); err != nil {
			t.Fatal(err)
		}
		if got := engine(); !strings.Contains(got, tc.want) {
			t.Fatalf("after %q the engine is %s", tc.set, got)
		}
	}
	if _, err := Migrate(t.Context(), s.as(localdb.MigratorUser), MigrateOptions{Durability: "paper"}); err == nil {
		t.Fatal("durability paper was taken")
	}
}

func TestCheckNamesWhatDiffers(t *testing.T) {
	s := serve(t)
	reader := s.open(t, localdb.ReaderUser)
	mustFail := func(want ...string) {
		t.Helper()
		err := Check(t.Context(), reader)
		if !errors.Is(err, ErrSchema) {
			t.Fatalf("check: %v, want ErrSchema", err)
		}
		for _, w := range append(want, "millrace migrate") {
			if !strings.Contains(err.Error(), w) {
				t.Fatalf("check: %v, want %q in it", err, w)
			}
		}
	}
	mustFail("no table events")
	s.migrate(t)
	if err := Check(t.Context(), reader); err != nil {
		t.Fatal(err)
	}
	s.exec(t, "ALTER TABLE events ADD COLUMN plan LowCardinality(String) MATERIALIZED properties['plan']")
	if err := Check(t.Context(), reader); err != nil {
		t.Fatalf("a column of one's own is no difference: %v", err)
	}
	s.exec(t, "ALTER TABLE events DROP COLUMN title, MODIFY COLUMN url LowCardinality(String), MODIFY COLUMN group_id Nullable(String)")
	mustFail("title is missing", "group_id is Nullable(String)")
	if err := Check(t.Context(), reader); strings.Contains(err.Error(), "column url") {
		t.Fatalf("LowCardinality(String) takes String: %v", err)
	}
	s.exec(t, "ALTER TABLE events MODIFY SETTING non_replicated_deduplication_window = 10")
	mustFail("10 insert tokens")

	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := Check(context.WithoutCancel(t.Context()), reader); err == nil || errors.Is(err, ErrSchema) || Classify(err) != Unavailable {
		t.Fatalf("check of a server that is gone: %v (%s)", err, Classify(err))
	}
}

func TestWindow(t *testing.T) {
	for engine, want := range map[string]int{
		"MergeTree ORDER BY x": 0,
		"MergeTree ORDER BY x SETTINGS non_replicated_deduplication_window = 12, a = 1": 12,
		"ReplicatedMergeTree('/a', 'b') ORDER BY x":                                     10000,
		"SharedMergeTree ORDER BY x":                                                    10000,
	} {
		if got := window(engine); got != want {
			t.Errorf("%s: %d, want %d", engine, got, want)
		}
	}
}
