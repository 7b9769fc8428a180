// Package recovery is `millrace recover`: it carries an installation over to a
// new incarnation after a log, the ledger or the table went back.
//
// Its place is beside the flow, while no service runs. It looks at RAW,
// ENRICHED, the ledger, DEAD, IN and ClickHouse, shard by shard and frame by
// frame, and says what disagrees. If it is told to mend that, it first makes sure
// that no service runs and shuts the streams: from then on nobody opens them,
// and nobody who had them open can append to RAW. Then it looks, and
//
//  1. finishes under the old numbers what can be proven: rows of frames that
//     ENRICHED holds and ClickHouse lacks, dead letters that are not out;
//  2. copies what lies in RAW without any row or dead letter;
//  3. writes down what it has decided;
//  4. moves RAW and ENRICHED of every shard past the highest
//     number that was ever used, and appends the copies there, behind the ids
//     that the enricher must still know;
//  5. begins the new incarnation in the ledger, with what was counted, and opens
//     the streams.
//
// Invariants: nothing is cut away that is not in ClickHouse or copied; what is
// decided is written down before the first thing is cut away, and from then on
// another run goes on where this one ended; before that, it begins anew and
// finds done what was done. What was found stays so, for a run that sees a stream
// grow ends before it has decided, and the streams are shut until nothing was
// decided or all is done. Rows are told apart by their place and their id,
// because after a log went back a place alone may have been given twice.
//
// Guarantee: afterwards what could be saved is there once, and what could not
// is in the ledger's totals as lost, for ever.
package recovery
