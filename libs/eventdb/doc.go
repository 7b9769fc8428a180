// Package eventdb is the one way to ClickHouse for the indexer, the query service and `millrace migrate`: how to connect,
// the tables' versions, whether the table fits the rows that frames carry, and what an error of ClickHouse means.
//
//	indexer -> [Dial] + [Input]: native blocks, column bytes straight from frames
//	query   -> [Open]: questions
//	migrate -> [Migrate], [Status]; [Check] before anything is read or written
//
// The columns of table `events` are frame.Columns; the tables themselves are the files of schemas/clickhouse. This
// package holds no SQL that creates or changes a table.
//
// Its guarantee is about errors: [Classify] calls an error [Content] only if ClickHouse refuses values that rows hold, so
// that no outage and no wrong set-up can ever turn an event into a dead letter.
package eventdb
