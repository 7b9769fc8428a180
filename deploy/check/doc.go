// Package check holds tests only: they prove that what is in deploy/ does what it says, without Docker.
//
// compose.yaml is loaded by compose's own library. The binaries are built from what .dockerignore lets through, by the
// commands of the Dockerfile, and run. They accept the settings that compose.yaml and the systemd units give them. NATS
// runs with nats-server.conf, ClickHouse with the files of clickhouse/, and the whole of compose.yaml runs on them as
// processes: an event goes in by each door and comes out as a row, and every user is refused what is not its own.
package check
