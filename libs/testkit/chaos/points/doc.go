// Package points passes every failpoint of the protocol once: a service is
// killed, stopped or misled there, takes up its work again or has it taken over
// by a twin, and what the producer was told is accepted is there, each event
// once. It holds only tests; each row of their table is the regression test of
// its point.
package points
