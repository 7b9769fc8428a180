// Package importer brings files of lines into Millrace: every line of a log
// becomes an event, or is declared refused and becomes a dead letter.
//
//	files -> lines -> (id, event or refusal) -> batches -> door, several at once
//
// Guarantee: an import that is repeated adds nothing, as long as the
// installation remembers ids (its dedup window). For that, an id is made from
// what the line says and from which of several equal lines it is, and from
// nothing else: not the file's name, not the line's number. Equal lines of one
// import stay separate events. Every line that was read is in exactly one of
// the counts of [Summary].
package importer
