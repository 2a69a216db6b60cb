// Package pebblestore is the durable store on one machine: port.Documents and port.Ledger over an embedded Pebble, and
// the log that reactions and live streams follow.
//
//	callers -> queue -> committer ----------------> acknowledger -> callers, followers
//	                    one goroutine: evaluates    one goroutine: waits for the sync,
//	                    a group of commits, puts    moves the head of the log, answers every
//	                    it into one Pebble batch    caller of the group, publishes its records
//
// The committer takes what is queued and evaluates each commit against the state that the commits before it leave.
// What is accepted - documents, records of the log, cursors, dead letters - goes into one batch, which is applied
// without waiting for the disk, so that the next group is evaluated while this one syncs. What is rejected leaves
// nothing, but its answer too waits for what it observed to be durable.
//
// A group that is applied but not synced can be seen in Pebble. The rows it wrote are listed in a table of pending
// rows: the committer reads them there first, and a reader waits for the group before it returns what it read. So a
// read never returns what a crash could take back, and one document is linearizable.
//
// Versions are the microseconds of the clock, but above every version given before, to whatever document. The last one
// is stored with each batch. So they rise over deletions, restarts and clocks that step back, and a deletion can
// remove its row: there are no tombstones.
//
// A document that expires has a row of its own in the order of those times. Once its time is up nobody sees it any more, also
// when the clock steps back: the store's own clock does not. Expire, or a write over it, tells of it in the log and removes it.
//
// The log numbers its records without gaps. Trim drops a part that nobody needs any more, with the cursors that guard
// it: cursors are kept in two generations, each of which goes as a whole once every record that its cursors guard is
// dropped in the same batch or was before. No replay can therefore find its cursor gone.
//
// A backup is all rows of a snapshot, once what the snapshot saw is durable. A group is one batch, so it is in a backup with
// all its commits, records and cursors, or not at all.
//
// When a write or a sync fails, or a file turns out to be damaged, it is unknown what the disk holds. The store then leaves
// the disk as it is, and refuses every commit, and reads of what was in flight, with unavailable until it is opened anew;
// other reads go on.
package pebblestore

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/eddyhq/eddy/shared/errs"
	"github.com/eddyhq/eddy/shared/port"
)

// Options of a Store. The zero value is a store on disk that logs every change.
type Options struct {
	// FS holds the files. Nil: the files of the operating system.
	FS vfs.FS

	// Now is the clock that versions follow. Nil: time.Now.
	Now func() time.Time

	// Follow reports whether changes of a collection are logged. It is called for every change and must be quick. Events
	// and calls are logged always. Nil: all changes are.
	Follow func(c port.Collection) bool

	// Published is called with the records of each group once they are durable, in the order of the log, after their
	// commits were acknowledged. It must be quick: the next acknowledgement waits for it. The slice may be kept, neither
	// it nor the records may be modified.
	Published func(records []port.Record)

	// Logger receives what Pebble reports: faults as errors, the rest at debug level. Nil: nothing is logged.
	Logger *slog.Logger
}

// Store is an open store. Its methods are safe for concurrent use. After Close they fail with unavailable.
type Store struct {
	db        *pebble.DB
	lock      *pebble.Lock
	now       func() time.Time // never goes back
	follow    func(c port.Collection) bool
	published func(records []port.Record)

	epoch    string
	queue    queue
	clock    clock
	seen     seenTime
	expiries expiryFloor
	scratch  []byte   // the committer's, for rows and records
	effects  []effect // the committer's, of one commit
	guards   guards
	trimmed  atomic.Uint64 // the position up to which the log was dropped
	pending  pendingRows
	newest   atomic.Pointer[group] // the last group that was applied, or is about to be
	synced   chan *group           // from the committer to the acknowledger, in the order they were applied
	log      recentLog
	progress progress
	failure  *failure
	counts   counts

	life    sync.RWMutex // held for reading by whoever uses db, for writing to close it
	closed  bool
	workers sync.WaitGroup
}

var (
	_ port.Documents = (*Store)(nil)
	_ port.Ledger    = (*Store)(nil)
)

// Epoch names the log: a position means something only beside it. It is random, made with the data directory, URL-safe
// and without a dot.
func (s *Store) Epoch() string { return s.epoch }

// closeGrace is how long Close waits for Pebble once the store failed.
const closeGrace = 2 * time.Second

// Close takes no further commits, waits until those it took are durable and acknowledged, and closes the database.
// What it leaves opens quickly: there is no log to replay. Closing twice is fine. After a failure, what still waits for
// the disk is left behind: it is for the process to end.
func (s *Store) Close() error {
	s.queue.close()
	closed := make(chan error, 1)
	go func() { closed <- s.drain() }()
	select {
	case err := <-closed:
		return err
	case <-s.failure.failed:
	}
	select {
	case err := <-closed:
		return err
	case <-time.After(closeGrace):
		return s.failure.err()
	}
}

// drain waits for the committer and the acknowledger, then closes the database.
func (s *Store) drain() error {
	s.workers.Wait()
	s.life.Lock()
	defer s.life.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	return s.closeDatabase()
}

// read runs a function that reads the database, which stays open meanwhile.
func (s *Store) read(ctx context.Context, do func() error) error {
	if err := ctx.Err(); err != nil {
		return errs.From(err)
	}
	s.life.RLock()
	defer s.life.RUnlock()
	if s.closed {
		return errClosed()
	}
	return do()
}

func errClosed() error { return errs.New(errs.Unavailable, "the store is shutting down: try again") }

func errReading(err error) error { return errs.New(errs.Internal, "reading the database: %w", err) }
