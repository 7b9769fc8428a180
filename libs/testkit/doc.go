// Package testkit starts what Millrace runs on, for tests: a JetStream server
// in the test's own process and the real ClickHouse as its child, both with
// their files in the test's temporary directory and gone with the test. It is
// for whoever builds a worker on Millrace as much as for Millrace itself.
//
// Nothing here imitates anything: what passes a test has talked to the real
// servers. Both can be stopped, killed and started again on the same files and
// ports, because that is what they do in life.
package testkit
