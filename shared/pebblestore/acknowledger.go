package pebblestore

// acknowledgeGroups is the acknowledger: it settles groups in the order they were applied.
func (s *Store) acknowledgeGroups() {
	for g := range s.synced {
		s.settle(g)
		if g.err == nil && len(g.records) > 0 && s.published != nil {
			s.published(g.records)
		}
	}
}

// settle waits until a group is durable, and tells everyone who waits for that.
func (s *Store) settle(g *group) {
	s.waitDurable(g)
	if g.err == nil {
		s.log.append(g.records)
		s.pending.remove(g)
		s.newest.CompareAndSwap(g, nil)
	}
	s.counts.add(g)
	close(g.settled)
	for _, r := range g.requests {
		if g.err != nil {
			r.err = g.err
		}
		close(r.done)
	}
}

// waitDurable sets g.err when the group is not durable. The rows of such a group stay pending: they can be seen in
// Pebble, and nobody knows whether the next start will.
func (s *Store) waitDurable(g *group) {
	if g.err == nil && g.sync {
		if err := g.batch.SyncWait(); err != nil {
			s.failure.fail(err)
		}
	}
	if g.err == nil {
		g.err = s.failure.err()
	}
	if g.err == nil {
		g.bytes = int64(g.batch.Len())
		_ = g.batch.Close() // returns its memory; there is nothing else to release
		g.batch = nil
	}
}
