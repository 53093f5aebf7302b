package eventstore

// makeReady makes the next batch on top of one that is still being committed, if enough members wait for it: settled, hashed
// and encoded, it can go the moment that one has landed. It rests on the head that the batch in flight will leave; where
// that one does not land, dropReady takes it apart again.
func (l *lane) makeReady(inFlight *batch) {
	if l.ready != nil || l.waiting() < overlapFrom || l.clockLag(inFlight.next) > MaxClockLag {
		return
	}
	l.mu.Lock()
	members := l.cut(max(overlapFrom, (len(inFlight.members)+len(l.queue)+1)/2)) // half of all, to make while half is committed
	l.mu.Unlock()
	head := l.head
	l.head, l.landing = inFlight.next, inFlight.versions
	b, rest := l.settleReady(members)
	l.head, l.landing = head, nil
	l.putBack(rest)
	if len(b.members) == 0 {
		return
	}
	b.arguments(l)
	l.ready = b
}

// settleReady settles the members that can be settled by what the lane will know, up to the first that can't: it would take
// a look at the database, or it would be refused for what has not happened yet. That one and all behind it wait, so that
// nobody overtakes.
func (l *lane) settleReady(members []*member) (*batch, []*member) {
	able := 0
	for able < len(members) && len(l.unknownStreams(members[able:able+1])) == 0 && !l.contradicts(members[able]) {
		able++
	}
	b, deferred := l.settle(members[:able])
	return b, append(deferred, members[able:]...)
}

// takeReady is the batch of members that was made beforehand. There is none where the head has to be locked first: it is
// learned anew then. A batch of others, who were made ready while one was committed whose members go one by one now, is
// dropped: what is sent before it changes the head that it rests on.
func (l *lane) takeReady(members []*member, locked bool) *batch {
	if l.ready == nil {
		return nil
	}
	if l.ready.members[0].member != members[0] {
		l.dropReady()
		return nil
	}
	b := l.ready
	l.ready = nil
	if locked {
		return nil
	}
	return b
}

// dropReady gives the members of a batch that was made beforehand back to the queue, since the one before it has not landed.
func (l *lane) dropReady() {
	if l.ready != nil {
		members := l.ready.pending(nil)
		l.ready = nil
		l.putBack(members)
	}
}
