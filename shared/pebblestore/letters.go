package pebblestore

import (
	"bytes"
	"context"
	"errors"

	"github.com/cockroachdb/pebble/v2"

	"github.com/eddyhq/eddy/shared/port"
)

// DeadLetters lists dead letters; see port.Ledger.
func (s *Store) DeadLetters(ctx context.Context, function string, above port.LetterID, limit int) (
	letters []port.DeadLetter, more bool, err error,
) {
	err = s.read(ctx, func() error {
		prefix := []byte{letterSpace}
		if function != "" {
			prefix = letterKey(function, "")
		}
		if letters, more, err = s.deadLetters(prefix, above, limit); err != nil {
			return errReading(err)
		}
		return s.waitSeen(ctx, prefix)
	})
	if err != nil {
		return nil, false, err
	}
	return letters, more, nil
}

func (s *Store) deadLetters(prefix []byte, above port.LetterID, limit int) (
	letters []port.DeadLetter, more bool, err error,
) {
	bounds := &pebble.IterOptions{LowerBound: prefix, UpperBound: end(prefix)}
	if first := after(letterKey(above.Function, above.ID)); above != (port.LetterID{}) && bytes.Compare(first, prefix) > 0 {
		bounds.LowerBound = first
	}
	rows, err := s.db.NewIter(bounds)
	if err != nil {
		return nil, false, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for ok := rows.First(); ok; ok = rows.Next() {
		function, id := splitLetterKey(rows.Key())
		if len(letters) == limit {
			return letters, true, nil
		}
		value, err := rows.ValueAndErr()
		if err != nil {
			return nil, false, err
		}
		letter, err := decodeLetter(function, id, append([]byte(nil), value...))
		if err != nil {
			return nil, false, err
		}
		letters = append(letters, letter)
	}
	return letters, false, rows.Error()
}

// Redrive puts a dead letter back into the log; see port.Ledger.
func (s *Store) Redrive(ctx context.Context, function, id string) (bool, error) {
	return s.takeLetter(ctx, function, id, func(g *group, letter *port.DeadLetter) {
		record := letter.Record
		record.Target = function
		s.stageRecord(g, record)
	})
}

// Discard removes a dead letter; see port.Ledger.
func (s *Store) Discard(ctx context.Context, function, id string) (bool, error) {
	return s.takeLetter(ctx, function, id, func(*group, *port.DeadLetter) {})
}

// takeLetter removes a dead letter and stages what is to be done with it. Reports whether there was one.
func (s *Store) takeLetter(ctx context.Context, function, id string, stage func(*group, *port.DeadLetter)) (
	bool, error,
) {
	found := false
	err := s.do(ctx, func(g *group) error {
		row := letterKey(function, id)
		stored, err := s.currentRow(row)
		if stored == nil || err != nil {
			return err
		}
		letter, err := decodeLetter(function, id, stored)
		if err != nil {
			return errReading(err)
		}
		g.delete(row)
		s.pending.put(string(row), pendingRow{group: g})
		stage(g, &letter)
		found = true
		return nil
	})
	if err != nil {
		return false, err
	}
	return found, nil
}

// currentRow returns a row that holds no document as the commits before leave it, nil when there is none.
func (s *Store) currentRow(row []byte) ([]byte, error) {
	if pending, ok := s.pending.get(row); ok {
		return pending.value, nil
	}
	return s.get(row)
}

func (s *Store) stageLetter(g *group, letter *port.DeadLetter) {
	row := letterKey(letter.Function, letter.ID)
	value := encodeLetter(letter)
	g.set(row, value)
	s.pending.put(string(row), pendingRow{group: g, value: value})
}
