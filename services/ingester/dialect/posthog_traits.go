package dialect

import (
	"bytes"
	"slices"

	"github.com/millrace/millrace/libs/event"
)

// appendTraits appends what an identifying event says of its user: $set above
// $set_once, and within each what stands beside the properties above what
// stands among them, as PostHog's own ingestion has it. What is in the traits
// whole stands nowhere else; of any other nothing is lost either.
func (p *posthogPass) appendTraits(dst []byte) ([]byte, *event.Refusal) {
	f := &p.facts
	sources := [...][]byte{f.set, f.props[propSet].value, f.setOnce, f.props[propSetOnce].value}
	var whole [len(sources)]bool
	p.known = p.known[:0]
	clear(p.index)
	p.indexed = 0
	opened := false
	c := &p.inner
	for i, raw := range sources {
		if event.KindOf(raw) != event.KindObject {
			continue
		}
		if !opened {
			dst, opened = append(event.AppendComma(dst), `"traits":{`...), true
		}
		whole[i] = true
		before := len(p.known)
		c.Reset(raw)
		for c.Enter(); c.Next(); {
			f := partOf(c)
			if p.knows(before, f.key) {
				whole[i] = false
				continue
			}
			p.known = append(p.known, f.key)
			if len(p.known) > p.limits.MaxKeys {
				return nil, &event.Refusal{Reason: event.ReasonTooManyKeys, Detail: "more keys than the limit in $set and $set_once"}
			}
			dst = append(event.AppendComma(dst), f.member...)
		}
	}
	if opened {
		dst = append(dst, '}')
	}
	f.props[propSet].cut, f.props[propSetOnce].cut = whole[1], whole[3]
	if whole[0] {
		f.set = nil
	}
	if whole[2] {
		f.setOnce = nil
	}
	return appendSets(dst, f.set, f.setOnce), nil
}

// knows reports whether a key is among the first n of the traits. What is added
// later is the same object's, which may not hide that it has a key twice.
func (p *posthogPass) knows(n int, key []byte) bool {
	if n <= fewParts {
		return slices.ContainsFunc(p.known[:n], func(k []byte) bool { return bytes.Equal(k, key) })
	}
	if p.index == nil {
		p.index = make(map[string]bool, n)
	}
	for ; p.indexed < n; p.indexed++ {
		p.index[string(p.known[p.indexed])] = true
	}
	return p.index[string(key)]
}
