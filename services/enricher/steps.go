package enricher

// steps is everything that is added to an accepted event, in order: the
// campaign is read from the search part that the URL step has found. A step is
// one file; it must bound what it adds (see the property test of the frame's
// size) and may not fail.
type steps struct {
	agents *agentCache
}

func newSteps() *steps { return &steps{agents: newAgentCache(agentCacheSize)} }

func (s *steps) apply(r *row) {
	stepClock(r)
	stepIP(r)
	stepURL(r)
	stepUTM(r)
	s.stepUserAgent(r)
}
