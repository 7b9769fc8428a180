package recovery

import "errors"

var (
	// ErrRunning says that services work on the installation.
	ErrRunning = errors.New("services are running: stop all of them first, then run this again")
	// ErrNothing says that there is nothing to recover.
	ErrNothing = errors.New("there is neither a stream nor a row: this is no installation, or not the one you mean")
	// ErrNoTables says that ClickHouse lacks the tables.
	ErrNoTables = errors.New("ClickHouse has no tables of Millrace: run `millrace migrate --tables-only` first, then this again")
	// ErrShards says that there are more shards than the streams tell of.
	ErrShards = errors.New("there are more shards than RAW_0 tells of, and what lies in them would be lost: say how many with --shards")
	// ErrRefused says that ClickHouse refuses rows for their content.
	ErrRefused = errors.New("ClickHouse refuses rows that it once took or never saw: change the table's constraints back, then run this again")
	// ErrNewer says that a frame is of a newer Millrace.
	ErrNewer = errors.New("a frame is of a newer Millrace: use that one's `millrace recover`")
	// ErrRoom says that RAW cannot hold what is to be appended.
	ErrRoom = errors.New("RAW cannot be given room for what is to be appended: give NATS more (--max-disk, or its own limits), then run this again")
	// ErrInserts says that rows did not appear in ClickHouse.
	ErrInserts = errors.New("rows do not appear in ClickHouse: see that it answers and takes inserts, then run this again")
)
