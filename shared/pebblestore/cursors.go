package pebblestore

import (
	"context"
	"encoding/binary"
	"hash/maphash"
	"sync/atomic"

	"github.com/eddyhq/eddy/shared/port"
)

// guards says where cursors and attempts are kept: written in the current generation, looked up there and in the one
// before. Older ones are gone.
//
// A cursor guards records at or below the position at which it was written, since a delivery follows its record. All
// cursors of the generation before were written at or below began. So once the log is dropped up to began, that
// generation guards nothing.
type guards struct {
	generation atomic.Uint64 // the current one, from 1; moved by the committer only

	// The rest belongs to the committer.
	began uint64 // the position at which the current generation began
	names [2]nameSet
}

// generations returns where to look, the newest first.
func (g *guards) generations() [2]uint64 {
	current := g.generation.Load()
	return [2]uint64{current, current - 1}
}

// turn begins a new generation at a position.
func (g *guards) turn(position uint64) {
	g.generation.Add(1)
	g.began = position
	g.names = [2]nameSet{newNameSet(g.names[0].seed), g.names[0]}
}

// maxNames is how many names of cursors are remembered for each generation.
const maxNames = 256 << 10

// nameSet tells names of cursors that were surely not written in a generation from those that may have been. Most
// deliveries are the first of their document: it saves them the search for a row that does not exist.
type nameSet struct {
	seed   maphash.Seed
	hashes map[uint64]struct{} // nil when not all are known: then any name may have been written
}

func newNameSet(seed maphash.Seed) nameSet {
	return nameSet{seed: seed, hashes: make(map[uint64]struct{})}
}

func (n *nameSet) add(name string) {
	if n.hashes == nil {
		return
	}
	if n.hashes[maphash.String(n.seed, name)] = struct{}{}; len(n.hashes) > maxNames {
		n.hashes = nil
	}
}

func (n *nameSet) mayHold(name string) bool {
	if n.hashes == nil {
		return true
	}
	_, ok := n.hashes[maphash.String(n.seed, name)]
	return ok
}

// loadGuards reads where cursors are kept. Only of an empty generation all names are known.
func (s *Store) loadGuards() error {
	stored, err := s.numbers(generationRow, 2)
	if err != nil {
		return err
	}
	s.guards.generation.Store(max(1, stored[0]))
	s.guards.began = stored[1]
	seed := maphash.MakeSeed()
	for i, generation := range s.guards.generations() {
		s.guards.names[i].seed = seed
		empty, err := s.empty(guardKey(cursorSpace, generation, ""))
		if err != nil {
			return err
		}
		if empty {
			s.guards.names[i] = newNameSet(seed)
		}
	}
	return nil
}

// checkCursors returns ErrStale when a cursor is taken already.
func (s *Store) checkCursors(cursors []port.Cursor) error {
	for _, cursor := range cursors {
		version, found, err := s.currentCursor(cursor.Name)
		if err != nil {
			return err
		}
		if found && version >= cursor.Version {
			return port.ErrStale
		}
	}
	return nil
}

// currentCursor returns the version of a cursor as the commits before leave it, and whether it has one.
func (s *Store) currentCursor(name string) (version int64, found bool, err error) {
	for i, generation := range s.guards.generations() {
		if !s.guards.names[i].mayHold(name) {
			continue
		}
		row := guardKey(cursorSpace, generation, name)
		if pending, ok := s.pending.get(row); ok {
			return pending.version, true, nil
		}
		stored, err := s.get(row)
		if stored != nil || err != nil {
			return decodeCursor(stored, err)
		}
	}
	return 0, false, nil
}

func (s *Store) stageCursor(g *group, cursor port.Cursor) {
	row := guardKey(cursorSpace, s.guards.generation.Load(), cursor.Name)
	g.set(row, binary.BigEndian.AppendUint64(nil, uint64(cursor.Version)))
	s.pending.put(string(row), pendingRow{group: g, version: cursor.Version})
	s.guards.names[0].add(cursor.Name)
}

func decodeCursor(row []byte, err error) (version int64, found bool, _ error) {
	if err != nil {
		return 0, false, err
	}
	if len(row) != 8 {
		return 0, false, errReading(errCorrupt)
	}
	return int64(binary.BigEndian.Uint64(row)), true, nil
}

// Attempts returns what Attempted stored under the cursor's name, zero when nothing is; see port.Ledger. A commit with
// the cursor does not touch what is stored: attempts that its version covers are over.
func (s *Store) Attempts(ctx context.Context, cursor string) (attempts port.Attempts, err error) {
	err = s.read(ctx, func() error {
		stored, err := s.guarded(ctx, attemptSpace, cursor)
		if stored == nil || err != nil {
			return err
		}
		if attempts, err = decodeAttempts(stored); err != nil {
			return errReading(err)
		}
		taken, err := s.guarded(ctx, cursorSpace, cursor)
		if taken == nil || err != nil {
			return err
		}
		version, _, err := decodeCursor(taken, nil)
		if version >= attempts.Version {
			attempts = port.Attempts{}
		}
		return err
	})
	if err != nil {
		return port.Attempts{}, err
	}
	return attempts, nil
}

// guarded returns the durable row of a cursor or of its attempts, nil when there is none.
func (s *Store) guarded(ctx context.Context, space byte, name string) ([]byte, error) {
	for _, generation := range s.guards.generations() {
		row, err := s.getDurable(ctx, guardKey(space, generation, name))
		if row != nil || err != nil {
			return row, err
		}
	}
	return nil, nil
}

// Attempted stores the failed attempts of a delivery; see port.Ledger.
func (s *Store) Attempted(ctx context.Context, cursor string, a port.Attempts) error {
	return s.do(ctx, func(g *group) error {
		row := guardKey(attemptSpace, s.guards.generation.Load(), cursor)
		value := encodeAttempts(a)
		g.set(row, value)
		s.pending.put(string(row), pendingRow{group: g, value: value})
		return nil
	})
}
