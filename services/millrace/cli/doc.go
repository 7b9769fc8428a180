// Package cli is the command that people type: what its words mean, what it
// prints and how it ends.
//
// One file a command. A command reads its settings (flags, then environment),
// calls the package that does the work (up, importer, client) and prints the
// result as a table, or as JSON with --output json. Results go to standard
// output, everything else to standard error. How it ends is part of the
// contract, see exit.go.
package cli
