package pebblestore

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"github.com/eddyhq/eddy/shared/errs"
	"github.com/eddyhq/eddy/shared/port"
)

// How much of the log stays in memory, and how much of it is read from disk at a time.
const (
	maxRecentRecords = 8 << 10
	maxRecentBytes   = 16 << 20
	maxReadBytes     = 4 << 20
)

// recentLog is the end of the durable log. Positions in it have no gaps.
type recentLog struct {
	mu      sync.RWMutex
	head    uint64        // the position of the last durable record
	records []port.Record // the last of them, up to head
	bytes   int
}

func (l *recentLog) start(head uint64) { l.head = head }

// append adds records that became durable, and forgets the oldest.
func (l *recentLog) append(records []port.Record) {
	if len(records) == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.head = records[len(records)-1].Position
	if free := cap(l.records) - len(l.records); free < len(records) {
		// Doubled, so that the copies of a slice whose front is dropped all the time stay few.
		l.records = slices.Grow(l.records, len(l.records)+len(records))
	}
	l.records = append(l.records, records...)
	for i := range records {
		l.bytes += footprint(&records[i])
	}
	drop := 0
	for len(l.records)-drop > maxRecentRecords || l.bytes > maxRecentBytes {
		l.bytes -= footprint(&l.records[drop])
		drop++
	}
	clear(l.records[:drop])
	l.records = l.records[drop:]
}

// footprint returns about how many bytes a record takes in memory.
func footprint(r *port.Record) int { return 256 + r.ValueBytes() }

// after returns at most limit records above a position, and whether all of those are still in memory.
func (l *recentLog) after(position uint64, limit int) (records []port.Record, ok bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if position >= l.head {
		return nil, true
	}
	forgotten := l.head - uint64(len(l.records))
	if position < forgotten {
		return nil, false
	}
	from := int(position - forgotten)
	return slices.Clone(l.records[from:min(from+limit, len(l.records))]), true
}

func (l *recentLog) last() uint64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.head
}

// Head returns the position of the last durable record; 0 when there never was one.
func (s *Store) Head() uint64 { return s.log.last() }

// Records returns durable records with positions above after, in order, without gaps from the first on: at least one
// and at most limit, which must be positive, when there are any, none otherwise. It passes over what was trimmed. The
// records are shared and may not be modified.
func (s *Store) Records(ctx context.Context, after uint64, limit int) (records []port.Record, err error) {
	err = s.read(ctx, func() error {
		after = max(after, s.trimmed.Load())
		var recent bool
		if records, recent = s.log.after(after, limit); !recent {
			records, err = s.storedRecords(after, limit)
		}
		return err
	})
	return records, err
}

// storedRecords reads records from the database.
func (s *Store) storedRecords(position uint64, limit int) (records []port.Record, err error) {
	rows, err := s.db.NewIter(&pebble.IterOptions{LowerBound: logKey(position + 1), UpperBound: logKey(s.Head() + 1)})
	if err != nil {
		return nil, errReading(err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	size := 0
	for ok := rows.First(); ok && len(records) < limit && size < maxReadBytes; ok = rows.Next() {
		value, err := rows.ValueAndErr()
		if err != nil {
			return nil, errReading(err)
		}
		record, err := decodeRecord(binary.BigEndian.Uint64(rows.Key()[1:]), slices.Clone(value))
		if err != nil {
			return nil, errReading(err)
		}
		size += len(value)
		records = append(records, record)
	}
	if err := rows.Error(); err != nil {
		return nil, errReading(err)
	}
	return records, nil
}

// Record returns the record at a position. It fails with not_found when there is none yet, or no more.
func (s *Store) Record(position uint64) (port.Record, error) {
	if position > 0 {
		records, err := s.Records(context.Background(), position-1, 1)
		if err != nil {
			return port.Record{}, err
		}
		if len(records) == 1 && records[0].Position == position {
			return records[0], nil
		}
	}
	return port.Record{}, errs.New(errs.NotFound, "the log holds no record at position %d", position)
}
