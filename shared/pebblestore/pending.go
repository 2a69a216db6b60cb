package pebblestore

import (
	"context"
	"errors"
	"strings"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"github.com/eddyhq/eddy/shared/errs"
)

// pendingRows holds the newest state of every row that a group wrote which is not durable yet. The committer adds to
// it and reads it; the acknowledger removes from it; readers look up what to wait for.
type pendingRows struct {
	mu   sync.RWMutex
	rows map[string]pendingRow
}

// pendingRow is the state of a row: a document's version and value, or the value of another row. A row that was
// deleted has neither.
type pendingRow struct {
	group   *group
	version int64
	value   []byte
	expires int64 // of a document
}

func (p *pendingRows) put(key string, row pendingRow) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.rows == nil {
		p.rows = make(map[string]pendingRow)
	}
	p.rows[key] = row
	row.group.rows = append(row.group.rows, key)
}

func (p *pendingRows) get(key []byte) (pendingRow, bool) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	row, ok := p.rows[string(key)]
	return row, ok
}

// holds reports whether a row that starts with prefix is not durable.
func (p *pendingRows) holds(prefix []byte) bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	for key := range p.rows {
		if strings.HasPrefix(key, string(prefix)) {
			return true
		}
	}
	return false
}

// remove forgets the rows of a group, those excepted that a later group wrote again.
func (p *pendingRows) remove(g *group) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, key := range g.rows {
		if p.rows[key].group == g {
			delete(p.rows, key)
		}
	}
}

// get returns a copy of a row as Pebble has it, nil when it has none.
func (s *Store) get(key []byte) ([]byte, error) {
	value, closer, err := s.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, errReading(err)
	}
	value = append(make([]byte, 0, len(value)), value...)
	return value, closer.Close()
}

// getDurable returns a copy of a row, nil when there is none, once that is durable.
//
// It looks first and asks then: a group lists its rows before it applies them and until it is durable, so a row that
// is not listed after it was read was durable when it was.
func (s *Store) getDurable(ctx context.Context, key []byte) ([]byte, error) {
	value, err := s.get(key)
	if err != nil {
		return nil, err
	}
	if row, ok := s.pending.get(key); ok {
		return value, s.wait(ctx, row.group)
	}
	return value, nil
}

// waitNewest waits until everything that could be seen in Pebble before the call is durable.
func (s *Store) waitNewest(ctx context.Context) error {
	if g := s.newest.Load(); g != nil {
		return s.wait(ctx, g)
	}
	return nil
}

// waitSeen waits until every row with the prefix that could be seen in Pebble before the call is durable. Once the store
// failed, it does so for rows that were all durable before.
func (s *Store) waitSeen(ctx context.Context, prefix []byte) error {
	err := s.waitNewest(ctx)
	if err != nil && s.failure.err() != nil && !s.pending.holds(prefix) {
		return nil
	}
	return err
}

// wait waits until a group is durable.
func (s *Store) wait(ctx context.Context, g *group) error {
	select {
	case <-g.settled:
		return g.err
	default:
	}
	select {
	case <-g.settled:
		return g.err
	case <-ctx.Done():
		return errs.From(ctx.Err())
	case <-s.failure.failed:
		return s.failure.err()
	}
}
