// Package demo makes the traffic of a small shop: visitors who arrive from
// somewhere, look at pages, fill carts, order, sometimes come back, and now and
// then a client that sends what is no event.
//
//	Shop (who does what next) -> Traffic (how often) -> the HTTP door
//
// It uses the public door like any client and nothing else. With the same seed
// a Shop does the same things in the same order; only ids and times are of the
// run, because an id that was seen before would be dropped as a repeat.
package demo
