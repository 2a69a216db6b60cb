package pebblestore

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/eddyhq/eddy/shared/port"
)

// seenTime makes a clock that never goes back of one that may.
type seenTime struct{ micros atomic.Int64 }

// begin sets the time below which the clock is not.
func (t *seenTime) begin(micros int64) { t.micros.Store(micros) }

func (t *seenTime) clock(now func() time.Time) func() time.Time {
	return func() time.Time {
		micros := now().UnixMicro()
		for {
			seen := t.micros.Load()
			if seen >= micros {
				return time.UnixMicro(seen)
			}
			if t.micros.CompareAndSwap(seen, micros) {
				return time.UnixMicro(micros)
			}
		}
	}
}

// isExpired reports whether the document's time is up.
func (s *Store) isExpired(d *stored) bool {
	return d.expires != 0 && port.IsExpired(d.expires, s.now())
}

// expiryBatch is how many documents are removed in one step.
const expiryBatch = 256

// Expire removes the documents whose time is up, with a record of each where it is followed. It returns when the next one is
// due; the zero time when none is. Without anything to remove it costs one look.
func (s *Store) Expire(ctx context.Context) (next time.Time, err error) {
	for {
		next, err := s.nextExpiry(ctx)
		if err != nil || next.IsZero() || next.After(s.now()) {
			return next, err
		}
		if err := s.do(ctx, s.expireSome); err != nil {
			return time.Time{}, err
		}
	}
}

// nextExpiry returns the time of the first document to expire.
func (s *Store) nextExpiry(ctx context.Context) (next time.Time, err error) {
	err = s.read(ctx, func() error {
		return s.eachExpiry(1, func(at int64, _ []byte) error {
			next = time.Unix(at, 0)
			return nil
		})
	})
	return next, err
}

// eachExpiry calls do for the first rows that tell when documents expire, in the order of those times.
func (s *Store) eachExpiry(most int, do func(at int64, document []byte) error) (err error) {
	prefix := []byte{expirySpace}
	rows, err := s.db.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: end(prefix)})
	if err != nil {
		return errReading(err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for ok := rows.First(); ok && most > 0; ok = rows.Next() {
		most--
		if len(rows.Key()) < len(expiryKey(0, "")) {
			return errReading(errCorrupt)
		}
		if err := do(splitExpiryKey(rows.Key())); err != nil {
			return err
		}
	}
	if err := rows.Error(); err != nil {
		return errReading(err)
	}
	return nil
}

// expireSome stages the removal of documents whose time is up. A row of the order of times can be left from before the document
// was written again: what the document itself says counts.
func (s *Store) expireSome(g *group) error {
	now := s.now()
	return s.eachExpiry(expiryBatch, func(at int64, row []byte) error {
		if !port.IsExpired(at, now) {
			return nil
		}
		d, err := s.currentDocument(row)
		if err != nil {
			return err
		}
		if d.expires == at {
			s.stageExpiry(g, string(row), &d)
		} else {
			g.delete(expiryKey(at, string(row)))
		}
		return nil
	})
}

// stageExpiry removes a document whose time is up, and tells of it.
func (s *Store) stageExpiry(g *group, row string, d *stored) {
	c, key := splitDocumentKey([]byte(row))
	version := s.nextVersion(g)
	s.stageRemoval(g, row, d.expires)
	if s.follows(c) {
		s.stageRecord(g, port.Record{Change: &port.Change{
			Collection: c, Key: key, Old: d.value, Version: version, Expired: true,
		}})
	}
}
