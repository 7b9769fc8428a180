// Package localdb runs a real ClickHouse as a child process: the database of `millrace up` and of every test.
//
// The engine is either libchdb.so (the ClickHouse library, loaded without cgo) or a clickhouse binary; [FindEngine]
// says where it is looked for. Both get the same configuration and the same three users.
//
// # Why the program starts itself again
//
// libchdb is not an executable, and it may not live in the parent: it owns signals, memory limits and half a gigabyte
// of address space, and a crash of it, or the kill -9 of a fault test, must leave the parent alive. So the child is the
// very program that is running, started once more: the init function of this package sees an environment variable and
// becomes ClickHouse instead of continuing to main. Any binary or test binary that links localdb can therefore host its
// own ClickHouse, with no second program to build, install or find.
//
// # Life and death
//
// The parent holds the write end of a pipe and never writes to it; the child's last query reads the other end. When the
// parent closes it, or ends in any way, kill -9 included, the query ends and ClickHouse shuts down cleanly. Polite
// signals are ignored by the child, so that a Ctrl-C or a service manager that signals a whole group does not take the
// database away from a parent that is still draining. A directory is used by one engine at a time: a lock on a file in
// it is inherited by the child and ends with the child, not with the parent.
//
// # The guard
//
// libchdb 26.7 aborts when a native connection fails in its handshake or is reset while idle; the server of a clickhouse
// binary does not. Before libchdb's native port therefore stands a small guard in the child, see guard.go. The database
// `millrace` is there before the ports open.
//
// # Guarantee
//
// [Start] returns a server that answers on both ports as this very instance, or an error that says what to do. What
// ClickHouse acknowledged survives Kill and Stop; a later Start on the same directory finds it.
package localdb
