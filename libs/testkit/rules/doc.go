// Package rules holds no code, only tests of the repository's own layout: who
// may import whom, and that every module stands alone. Each rule says in its
// message why it is there. They read the source tree they lie in, so they run
// wherever the repository is cloned; scripts/check-modules runs them first.
package rules
