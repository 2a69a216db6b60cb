package pebblestore

import (
	"context"
	"encoding/binary"
	"errors"
	"maps"
	"sync"

	"github.com/cockroachdb/pebble/v2"
)

// progress is how far each function has come in the log.
type progress struct {
	mu        sync.Mutex
	positions map[string]uint64
}

func (s *Store) loadProgress() (err error) {
	s.progress.positions = make(map[string]uint64)
	prefix := progressKey("")
	rows, err := s.db.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: end(prefix)})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for ok := rows.First(); ok; ok = rows.Next() {
		position, err := numbers(rows.Value(), 1)
		if err != nil {
			return err
		}
		s.progress.positions[string(rows.Key()[1:])] = position[0]
	}
	return rows.Error()
}

// Progress returns for each function that SetProgress ever named the position up to which it is done with the log. It
// is what was set last, or less after a crash, but never below what was trimmed.
func (s *Store) Progress() map[string]uint64 {
	s.progress.mu.Lock()
	defer s.progress.mu.Unlock()
	positions := maps.Clone(s.progress.positions)
	for function := range positions {
		positions[function] = max(positions[function], s.trimmed.Load())
	}
	return positions
}

// SetProgress stores how far functions have come; those it does not name stay as they are, and none goes back. It is
// not synced: a crash can take it back, and then replays meet their cursors. It never survives a crash that the records
// it speaks of do not survive, since it follows them in Pebble's log.
func (s *Store) SetProgress(ctx context.Context, positions map[string]uint64) error {
	head := s.Head()
	return s.do(ctx, func(g *group) error {
		s.progress.mu.Lock()
		defer s.progress.mu.Unlock()
		for function, position := range positions {
			position = min(position, head)
			if stored, ok := s.progress.positions[function]; ok && stored >= position {
				continue
			}
			s.progress.positions[function] = position
			g.setRelaxed(progressKey(function), binary.BigEndian.AppendUint64(nil, position))
		}
		return nil
	})
}

// Trim drops the records at or below a position, and the cursors and attempts that guard none of those that are left.
// Everything that follows the log must be done with what it drops. It is durable before it returns.
//
// All of it is one batch with the mark that Records and Progress start from: whatever a crash leaves, a record that
// can be read again finds its cursors.
func (s *Store) Trim(ctx context.Context, upTo uint64) error {
	upTo = min(upTo, s.Head())
	return s.do(ctx, func(g *group) error {
		trimmed := s.trimmed.Load()
		if upTo <= trimmed {
			return nil
		}
		g.deleteRange(logKey(trimmed+1), logKey(upTo+1))
		g.set([]byte(trimmedRow), binary.BigEndian.AppendUint64(nil, upTo))
		if s.guards.began <= upTo {
			s.turnGuards(g)
		}
		s.trimmed.Store(upTo)
		return nil
	})
}

// turnGuards drops the generation before and begins a new one.
func (s *Store) turnGuards(g *group) {
	current := s.guards.generation.Load()
	for _, space := range []byte{cursorSpace, attemptSpace} {
		prefix := guardKey(space, current-1, "")
		g.deleteRange(prefix, end(prefix))
	}
	g.set([]byte(generationRow), pair(current+1, g.clock.position))
	s.guards.turn(g.clock.position)
}
