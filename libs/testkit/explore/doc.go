// Package explore runs a program under every list of decisions within stated
// bounds. The program is the code under test in a world that is simulated: at
// each point where the world could go on in several ways (a fault, another
// process that runs first) it asks the [Story], and is run again from its
// beginning for each answer. What is free is explored in full; what costs, up
// to a budget of its kind.
//
// A story that comes to a state it or another was in before, with no more left
// to spend, is broken off: its future has been seen. That makes every
// interleaving of two processes affordable, because most of their orders lead
// to the same states.
//
// The program must be deterministic: same decisions, same questions. A
// deviation is found and is an error.
package explore
