// Package reports answers the questions that product people ask, without their writing SQL: one question a file, its SQL
// beside it.
//
//	parameters (input.go) -> period and zone (period.go) -> SQL of the report -> ClickHouse -> Result
//
// Invariants. Nothing that an asker says becomes text of SQL: values are ClickHouse's typed parameters, and a column to
// break down or filter by is one of a closed list and travels as an Identifier. Every statement names source and event_date, so
// that the key of the table prunes. Who somebody is, is said in one place: person.sql, and person_is.sql for one person's
// rows. What an event is called: name.sql, its name, or its type when it has none, as a page view often has.
//
// Guarantee: an answer counts exactly the rows that ClickHouse held when the question was asked, which includes every row
// of the receipt it was asked after. It says when that was, up to which frames, and whether it was sampled. Numbers are
// exact (uniqExact, no approximate functions) unless the asker asked for a sample.
//
// The reports are compared with plain Go over the same events, random ones, in property_test.go.
package reports
