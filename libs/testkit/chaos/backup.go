package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
)

// Backups of the two stores, each taken and put back while its server is away.

func (l *lab) backupDir() string { return filepath.Join(l.dir, "backup") }

func copyNATS(_ context.Context, l *lab) error {
	l.nats.kill()
	return errors.Join(os.RemoveAll(l.backupDir()), os.CopyFS(l.backupDir(), os.DirFS(l.natsDir())), l.nats.start())
}

func restoreNATS(_ context.Context, l *lab) error {
	l.nats.kill()
	return errors.Join(empty(l.natsDir()), os.CopyFS(l.natsDir(), os.DirFS(l.backupDir())), l.nats.start())
}

// restoreRaw puts one stream of the backup back.
func restoreRaw(_ context.Context, l *lab) error {
	l.nats.kill()
	stream := filepath.Join("jetstream", "$G", "streams", l.names().StreamRaw(1))
	now := filepath.Join(l.natsDir(), stream)
	return errors.Join(os.RemoveAll(now), os.CopyFS(now, os.DirFS(filepath.Join(l.backupDir(), stream))), l.nats.start())
}

func loseNATS(_ context.Context, l *lab) error {
	l.nats.kill()
	return errors.Join(empty(l.natsDir()), l.nats.start())
}

func copyClickHouse(ctx context.Context, l *lab) error {
	if err := l.db.kill(); err != nil {
		return err
	}
	return errors.Join(os.RemoveAll(l.backupDir()), os.CopyFS(l.backupDir(), os.DirFS(l.dbDir())), l.db.start(ctx))
}

func restoreClickHouse(ctx context.Context, l *lab) error {
	if err := l.db.kill(); err != nil {
		return err
	}
	return errors.Join(empty(l.dbDir()), os.CopyFS(l.dbDir(), os.DirFS(l.backupDir())), l.db.start(ctx))
}

// empty removes what is in a directory, which may be a mount point.
func empty(dir string) error {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
	}
	return err
}
