package eventstore

import (
	"bytes"
	"math"
)

// ChainCheck holds events that come one after the other, from wherever, against each other: positions, hashes, links and times. It
// judges as Verify does, and keeps nothing but the last event's hashes. Make it with NewChainCheck.
type ChainCheck struct{ checker *checker }

// NewChainCheck begins after a position whose hash is known; after 0 it begins with the genesis, and hash is not looked at.
func NewChainCheck(tenant string, after int64, hash []byte) *ChainCheck {
	c := &checker{tenant: tenant, from: after + 1}
	c.last.position, c.last.hash, c.last.at = after, Genesis(tenant), math.MinInt64
	if after > 0 {
		c.last.hash = bytes.Clone(hash)
	}
	return &ChainCheck{c}
}

// Add takes the next event, whose bytes stay the caller's. It returns false once something is wrong; more events are not looked
// at then.
func (c *ChainCheck) Add(event *Recorded) bool {
	k := c.checker
	if k.badPosition != 0 {
		return false
	}
	k.event = *event
	switch last := k.last.position; {
	case event.Tenant != k.tenant:
		k.badf(last+1, "position %d is another tenant's", last+1)
	case event.Position > last+1:
		k.missing()
	case event.Position == last && k.last.real:
		k.badf(last, "position %d stands twice", last)
	case event.Position <= last:
		k.badf(last+1, "position %d is missing: position %d stands in its place", last+1, event.Position)
	default:
		k.checked++
		k.judge(-1)
		k.advance()
	}
	return k.badPosition == 0
}

// End says that no more events come.
func (c *ChainCheck) End() {
	if c.checker.badPosition == 0 && c.checker.waiting {
		c.checker.rewritten()
	}
}

// Last is the last event's position and hash, those that the check began with where there was none. The bytes are the check's.
func (c *ChainCheck) Last() (position int64, hash []byte) {
	return c.checker.last.position, c.checker.last.hash
}

// Bad is the first bad position and why it is bad; 0 where there is none so far.
func (c *ChainCheck) Bad() (position int64, reason string) {
	return c.checker.badPosition, c.checker.reason
}
