package pebblestore

import (
	"context"

	"github.com/cockroachdb/pebble/v2"

	"github.com/eddyhq/eddy/shared/errs"
	"github.com/eddyhq/eddy/shared/port"
)

const (
	groupsInFlight  = 1       // applied groups that wait for the acknowledger, beside the one it works on
	maxGroupCommits = 1 << 10 // of one group
	maxGroupBytes   = 4 << 20 // at which a group takes no further commit
)

// group is what is made durable together.
type group struct {
	batch    *pebble.Batch
	requests []*request
	rows     []string // of the pending table
	records  []port.Record
	clock    clock // after this group
	sync     bool  // whether something in the batch must be durable before it is acknowledged

	settled chan struct{} // closed when the group is durable, or has failed
	err     error         // set before settled is closed
	bytes   int64         // of the batch
}

// clock is the state of the committer that moves with each group.
type clock struct {
	version  int64  // the last given
	position uint64 // of the last record
}

// do has the committer stage something, and returns when it is durable, or was rejected on durable grounds. When ctx
// ends before that, it may still take effect.
func (s *Store) do(ctx context.Context, stage func(g *group) error) error {
	if err := ctx.Err(); err != nil {
		return errs.From(err)
	}
	if err := s.failure.err(); err != nil {
		return err // before it makes what it names unreadable
	}
	r := &request{stage: stage, done: make(chan struct{})}
	if !s.queue.put(r) {
		return errClosed()
	}
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		return errs.From(ctx.Err())
	case <-s.failure.failed:
		return s.failure.err()
	}
}

// commitGroups is the committer.
func (s *Store) commitGroups() {
	defer close(s.synced)
	var taken, spare []*request
	for {
		taken = s.queue.take(spare)
		if len(taken) == 0 {
			return
		}
		for rest := taken; len(rest) > 0; {
			g := s.stageGroup(rest)
			rest = rest[len(g.requests):]
			s.apply(g)
			s.synced <- g
		}
		spare = taken
	}
}

// stageGroup evaluates requests, one after the other, into a group.
func (s *Store) stageGroup(requests []*request) *group {
	g := &group{batch: s.db.NewBatch(), clock: s.clock, settled: make(chan struct{})}
	n := 0
	for n < len(requests) && n < maxGroupCommits && g.batch.Len() < maxGroupBytes {
		requests[n].err = requests[n].stage(g)
		n++
	}
	g.requests = append(g.requests, requests[:n]...)
	if g.clock != s.clock {
		g.set([]byte(clockRow), pair(uint64(g.clock.version), g.clock.position))
		s.clock = g.clock
	}
	return g
}

// apply makes the group visible in Pebble, without waiting for the disk.
func (s *Store) apply(g *group) {
	if g.batch.Empty() {
		return
	}
	if g.err = s.failure.err(); g.err != nil {
		return
	}
	// Before it is visible, so that whoever sees it knows what to wait for.
	s.newest.Store(g)
	if err := s.applyBatch(g); err != nil {
		s.failure.fail(err)
		g.err = s.failure.err()
	}
}

func (s *Store) applyBatch(g *group) error {
	if g.sync {
		return s.db.ApplyNoSyncWait(g.batch, pebble.Sync)
	}
	return s.db.Apply(g.batch, pebble.NoSync)
}

// set puts a row into the batch. It must be durable before the group is acknowledged.
func (g *group) set(key, value []byte) {
	g.sync = true
	g.setRelaxed(key, value)
}

// setRelaxed puts a row into the batch that may be lost in a crash.
func (g *group) setRelaxed(key, value []byte) {
	mustStage(g.batch.Set(key, value, nil))
}

func (g *group) delete(key []byte) {
	g.sync = true
	mustStage(g.batch.Delete(key, nil))
}

func (g *group) deleteRange(from, to []byte) {
	g.sync = true
	mustStage(g.batch.DeleteRange(from, to, nil))
}

// mustStage holds Pebble to its word that a batch which is not indexed takes everything.
func mustStage(err error) {
	if err != nil {
		panic(err)
	}
}
