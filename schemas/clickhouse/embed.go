// Package clickhouse holds the tables of the installation as migrations in order: goose files, each saying why its keys
// are what they are. libs/eventdb applies them; nothing else creates or changes a table.
//
// The statements name no database: they run in the one that the connection chose. They can be repeated without effect,
// since ClickHouse cannot record a migration in the same transaction that makes it.
package clickhouse

import "embed"

// FS holds the migration files at its root.
//
//go:embed *.sql
var FS embed.FS
