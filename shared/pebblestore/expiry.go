package pebblestore

import (
	"bytes"
	"context"
	"errors"
	"sync"
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

// expiryFloor is a row below which none tells when a document expires. Without it each look at the first of them would pass
// over all that were removed, which Pebble keeps as such for a while.
type expiryFloor struct {
	mu  sync.Mutex
	row []byte
}

func newExpiryFloor() expiryFloor { return expiryFloor{row: []byte{expirySpace}} }

func (f *expiryFloor) get() []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.row
}

// raise says that the rows up to this one are removed.
func (f *expiryFloor) raise(removed []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.row = after(bytes.Clone(removed))
}

// lower says that a row is there.
func (f *expiryFloor) lower(row []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if bytes.Compare(row, f.row) < 0 {
		f.row = row
	}
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
		return s.eachExpiry(func(row []byte) (more bool, err error) {
			at, _ := splitExpiryKey(row)
			next = time.Unix(at, 0)
			return false, nil
		})
	})
	return next, err
}

// eachExpiry calls do for the rows that tell when documents expire, in the order of those times, as long as it wants more.
func (s *Store) eachExpiry(do func(row []byte) (more bool, err error)) (err error) {
	rows, err := s.db.NewIter(&pebble.IterOptions{LowerBound: s.expiries.get(), UpperBound: end([]byte{expirySpace})})
	if err != nil {
		return errReading(err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for ok := rows.First(); ok; ok = rows.Next() {
		if len(rows.Key()) < len(expiryKey(0, "")) {
			return errReading(errCorrupt)
		}
		if more, err := do(rows.Key()); !more || err != nil {
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
	now, most := s.now(), expiryBatch
	return s.eachExpiry(func(row []byte) (more bool, err error) {
		at, documentRow := splitExpiryKey(row)
		if !port.IsExpired(at, now) {
			return false, nil
		}
		d, err := s.currentDocument(documentRow)
		if err != nil {
			return false, err
		}
		if d.expires == at {
			s.stageExpiry(g, string(documentRow), &d)
		} else {
			g.delete(row)
		}
		s.expiries.raise(row)
		most--
		return most > 0, nil
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
