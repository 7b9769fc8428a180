// Package reader asks ClickHouse over HTTP, always as one of two users that can only SELECT:
//
//	every source          -> Config.User
//	some sources, named   -> Config.Scoped, whose row policies show the sources that the question's id names, and no row else
//
// Why the id: a policy needs something that the gateway chooses for each question and SQL cannot change. The local engine
// has no CREATE USER, and a setting could be changed by a SETTINGS clause. The id of a question is an argument of the HTTP
// interface that no statement reaches; the policies read it as initialQueryID(), which other servers of a cluster keep. So
// there is nothing to store, to lease or to forget: any number of query services may run, and a question without named
// sources sees nothing. The policies are in libs/localdb/users.go and deploy/clickhouse/users.xml.
//
// Invariants: nothing of a client reaches ClickHouse but what is in a [Question]; a result that was cut short never ends
// like a whole one ([Pass], [Client.Rows]).
package reader
