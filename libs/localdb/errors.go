package localdb

import "errors"

var (
	// ErrNoEngine says that no ClickHouse was found; the text lists the places and the fix.
	ErrNoEngine = errors.New("no ClickHouse engine found")
	// ErrInUse says that another ClickHouse works in the directory.
	ErrInUse = errors.New("directory is in use by another ClickHouse")
	// ErrPortTaken says that something else listens on a port that was asked for.
	ErrPortTaken = errors.New("port is taken")
	// ErrExited says that the child ended without being asked to.
	ErrExited = errors.New("ClickHouse ended unexpectedly")
)
