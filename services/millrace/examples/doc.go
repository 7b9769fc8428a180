// Package examples holds nothing but tests: they run what the documents tell people to run, beside a whole Millrace.
//
//	the Flask application of docs/examples/flask, as a process, and its visitors' browsers (app_test.go, visitor_test.go)
//	   -> Millrace -> the pages, and rows in ClickHouse (flask_test.go), also through a bad door (door_test.go)
//	every command in docs/sdks.md that sends an event (commands_test.go) -> rows (sdks_test.go)
//
// What the pages say and what is in ClickHouse must be what was done, each event once.
package examples
