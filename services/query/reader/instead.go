package reader

import "strings"

// What somebody can do instead of what ClickHouse has refused, by its code. ClickHouse speaks to whoever administers it:
// who may not read a table is told of the grant that it takes, which nobody here can give.
const (
	insteadTables = "SELECT from the tables events and dead_letters of Millrace, which are all that there is for questions; DESCRIBE events shows the columns"
	insteadCost   = "ask for less: a shorter time by event_date, fewer columns, aggregates in place of rows, a condition in place of a cross join"
)

var insteadOf = map[int]string{
	62:  "write one SELECT as ClickHouse has it; parameters stand for values, columns and tables",
	158: insteadCost, 160: insteadCost, 159: insteadCost, 161: insteadCost, 162: insteadCost, 167: insteadCost, 168: insteadCost,
	191: insteadCost, 306: insteadCost, 307: insteadCost, 396: insteadCost, 241: insteadCost,
	164: "leave the setting out; a question may set max_execution_time, max_result_rows, max_result_bytes, max_memory_usage, max_threads and max_block_size",
	181: "leave FINAL out, no row is there twice",
	344: "write what is wanted as one SELECT, it runs as the reader of this key",
	358: "write the answer to a file where you are, such as with curl -o; the parameter format chooses among CSV, Parquet and the others",
	446: "do without the function",
	452: "stay within the bounds that are named, or leave the setting out",
	482: insteadTables, 497: insteadTables, 636: insteadTables, 60: insteadTables, 701: insteadTables, 81: insteadTables,
}

// instead completes ClickHouse's words. It is "" where they say themselves what is wrong, as of a name or a type.
func (e *Exception) instead() string {
	switch text := strings.ToLower(e.Message); {
	case e.Code == 160 && strings.Contains(text, "sleep time"):
		return "ask again later; GET /v1/live/sql asks again by itself"
	case e.manyTables():
		return "name one table; UNION ALL joins several"
	case e.Code == 62 && strings.Contains(text, "multi-statements"):
		return "send one statement in a request"
	case e.Code == 36 && strings.Contains(text, "dictionar"), e.Code == 43 && strings.Contains(text, "joinget"):
		return "join with a subquery, or use transform(); there are no dictionaries and Join tables for questions"
	}
	return insteadOf[e.Code]
}

// manyTables says whether the policies of a reader of some sources did not go with what it asked of merge() (seen with 26.7).
func (e *Exception) manyTables() bool {
	return e.Code == 49 && strings.Contains(e.Message, "Not-ready Set")
}
