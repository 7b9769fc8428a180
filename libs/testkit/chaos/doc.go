// Package chaos kills Millrace's processes while events go in and counts what
// is left: the four services as processes of their own, two of each, a NATS
// server and a ClickHouse. Its verdict is a number: what the producers were
// told is accepted = distinct rows = rows, and `verify` agrees.
package chaos
