// Package tracked holds nothing but tests and a benchmark: they prove what libs/track promises on real servers and the real
// services, which that module must not depend on.
//
//	libs/track -> NATS -> ingester -> enricher -> indexer -> ClickHouse, where every row is counted
package tracked
