// Package svc is how every Millrace process lives and dies: it reads the
// configuration, builds the logger, serves the admin port, runs the services
// and stops them in order.
//
// The life of a process is written once, here:
//
//	flags > environment > file > defaults    Load
//	admin port answers, /readyz says no      NewAdmin
//	services run, /readyz asks their checks  Run
//	SIGINT or SIGTERM: /readyz says no, then each service is told to stop, the
//	last one first, and has drained before the one below it is told
//	admin port closes, the process exits with 0
//	a second signal: the process exits with 1 at once
//
// A service is anything with Run(ctx) error that returns when ctx is done and
// all that it accepted is drained. Nothing in this package is global: two of
// everything can live in one test process.
package svc
