// Package testkit starts what Millrace runs on, for tests: a JetStream server
// in the test's own process and the real ClickHouse as its child, both with
// their files in the test's temporary directory and gone with the test, and a
// proxy that breaks the network before either. It is for whoever builds a
// worker on Millrace as much as for Millrace itself.
//
// Nothing here imitates anything: what passes a test has talked to the real
// servers. Both can be stopped, killed and started again on the same files and
// ports, because that is what they do in life.
//
// # A worker's test
//
//	n := testkit.StartNATS(t)
//	js := n.Connect()                 // as the services connect
//	inst := n.Provision(js, 2)        // Millrace's streams: two shards
//	p := testkit.StartProxy(t, n.URL) // between the worker and NATS
//
//	go work(t.Context(), n.Connect(p), inst.Names)
//	n.PublishEnriched(js, 0, testkit.Row{Event: "order placed", UserID: "ann"})
//	p.Reset() // or Cut, Stall, LoseReplies ...: see package proxy
//	testkit.Eventually(t, "ann is counted", func() bool { return counted("ann") == 1 })
//
// worker_test.go is one in full. NATS alone takes a tenth of a second.
//
// # Tables
//
//	db := testkit.StartClickHouse(t) // a fifth of a second; needs the engine
//	conn := db.Open(localdb.ReaderUser)
//	n := db.Count("SELECT count() FROM events")
//
// docs/testing.md says how to require the module from outside this repository,
// how the engine is found, and how to run a whole installation in a test.
package testkit
