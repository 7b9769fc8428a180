// Package check holds tests only: they prove that the dashboards and the alerts say something about a real installation.
//
// One is started in process, sent events through its doors and asked questions. Then every panel is read as Grafana reads
// it: variables and macros are put in, its SQL runs in that installation's ClickHouse over the native protocol as the user
// of the provisioned datasource, its PromQL in Prometheus' own engine over what was scraped from the installation's
// /metrics. A query that fails or shows nothing fails the test. So does a name that was misspelt: this is tried with each
// panel.
//
// A module of its own, so that the modules of Prometheus are nobody else's.
package check
