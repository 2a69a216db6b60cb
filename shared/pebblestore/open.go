package pebblestore

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/eddyhq/eddy/shared/port"
)

// format is the version of the layout that this package reads and writes.
// A directory of an older format is read as it is, and has the newest one from then on:
//
//	2: documents that expire; records of expiries, and of calls with a group or a delay
const format = 2

// epochLength is 50 random bits: enough to tell a log from the one that a client remembers.
const epochLength = 10

const (
	memTableSize = 16 << 20 // also bounds what a start after a crash replays
	cacheSize    = 48 << 20
	walSyncBytes = 512 << 10
)

// Open opens the store in a directory, which it creates if need be. It fails when another process has the directory
// open, and when the directory holds something else or was written by a newer version.
func Open(dir string, options Options) (*Store, error) {
	s := &Store{
		follow:    options.Follow,
		published: options.Published,
		queue:     newQueue(),
		expiries:  newExpiryFloor(),
		synced:    make(chan *group, groupsInFlight),
		failure:   newFailure(options.Logger),
	}
	if options.Now == nil {
		options.Now = time.Now
	}
	s.now = s.seen.clock(options.Now)
	if s.follow == nil {
		s.follow = func(port.Collection) bool { return true }
	}
	if options.FS == nil {
		options.FS = vfs.Default
	}
	if err := s.openDatabase(dir, options.FS); err != nil {
		return nil, err
	}
	if err := s.load(dir); err != nil {
		return nil, errors.Join(err, s.closeDatabase())
	}
	s.workers.Go(s.commitGroups)
	s.workers.Go(s.acknowledgeGroups)
	return s, nil
}

func (s *Store) openDatabase(dir string, files vfs.FS) error {
	if err := makeDirectory(files, dir); err != nil {
		return fmt.Errorf("creating the data directory %s: %w", dir, err)
	}
	lock, err := lockDirectory(files, dir)
	if err != nil {
		return err
	}
	db, err := pebble.Open(dir, s.pebbleOptions(files, lock))
	if err != nil {
		return errors.Join(fmt.Errorf("opening the data directory %s: %w", dir, err), lock.Close())
	}
	s.db, s.lock = db, lock
	s.failure.opened.Store(true)
	if err := s.failure.cause(); err != nil {
		return errors.Join(fmt.Errorf("opening the data directory %s: %w", dir, err), s.closeDatabase())
	}
	return nil
}

func (s *Store) pebbleOptions(files vfs.FS, lock *pebble.Lock) *pebble.Options {
	options := &pebble.Options{
		FS:                          newFrozenFiles(files, s.failure),
		Lock:                        lock,
		Logger:                      s.failure,
		EventListener:               s.failure.listener(),
		FormatMajorVersion:          pebble.FormatValueSeparation,
		MemTableSize:                memTableSize,
		MemTableStopWritesThreshold: 4,
		CacheSize:                   cacheSize,
		WALBytesPerSync:             walSyncBytes,
	}
	for i := range options.Levels {
		options.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	options.ApplyCompressionSettings(func() pebble.DBCompressionSettings { return pebble.DBCompressionFastest })
	return options
}

// closeDatabase leaves everything in tables, so that the next start has nothing to replay.
func (s *Store) closeDatabase() error {
	var flushed error
	if s.failure.err() == nil {
		flushed = s.db.Flush()
	}
	close(s.failure.closing)
	return errors.Join(flushed, s.db.Close(), s.lock.Close())
}

// makeDirectory creates a directory and its parents, and makes each durable in the one above it.
func makeDirectory(files vfs.FS, dir string) error {
	if info, err := files.Stat(dir); err == nil && info.IsDir() {
		return nil
	}
	parent := files.PathDir(dir)
	if parent != dir {
		if err := makeDirectory(files, parent); err != nil {
			return err
		}
	}
	if err := files.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return syncDirectory(files, parent)
}

func syncDirectory(files vfs.FS, dir string) error {
	d, err := files.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func lockDirectory(files vfs.FS, dir string) (*pebble.Lock, error) {
	lock, err := pebble.LockDirectory(dir, files)
	var path *fs.PathError
	switch {
	case err == nil:
		return lock, nil
	case errors.As(err, &path): // the file could not be made; a lock that is held names no path
		return nil, fmt.Errorf("locking the data directory %s: %w", dir, err)
	default:
		return nil, fmt.Errorf("another Eddy is running on the data directory %s: stop it, or choose another directory (%w)",
			dir, err)
	}
}

// load reads what the store knows of itself.
func (s *Store) load(dir string) error {
	if err := s.checkFormat(dir); err != nil {
		return err
	}
	found, err := s.numbers(clockRow, 2)
	if err != nil {
		return err
	}
	trimmed, err := s.numbers(trimmedRow, 1)
	if err != nil {
		return err
	}
	epoch, err := s.get([]byte(epochRow))
	if err != nil {
		return err
	}
	s.epoch = string(epoch)
	s.clock = clock{version: int64(found[0]), position: found[1]}
	s.seen.begin(s.clock.version)
	s.trimmed.Store(trimmed[0])
	s.log.start(s.clock.position)
	return errors.Join(s.loadGuards(), s.loadProgress())
}

func (s *Store) numbers(row string, n int) ([]uint64, error) {
	value, err := s.get([]byte(row))
	if err != nil {
		return nil, err
	}
	values, err := numbers(value, n)
	if err != nil {
		return nil, fmt.Errorf("row %s: %w", row, err)
	}
	return values, nil
}

// checkFormat refuses a database of another kind or of a newer format, and marks a new one.
func (s *Store) checkFormat(dir string) error {
	found, err := s.numbers(formatRow, 1)
	if err != nil {
		return err
	}
	switch version := found[0]; {
	case version == format:
		return nil
	case version > 0 && version < format:
		return s.db.Set([]byte(formatRow), binary.BigEndian.AppendUint64(nil, format), pebble.Sync)
	case version > format:
		return fmt.Errorf("the data directory %s has format %d, written by a newer Eddy; this one reads up to %d",
			dir, version, format)
	}
	empty, err := s.empty(nil)
	if err != nil {
		return err
	}
	restoring, err := s.get([]byte(restoringRow))
	if err != nil {
		return err
	}
	if restoring != nil {
		return fmt.Errorf("restoring a backup to the data directory %s did not end: remove it, and restore again", dir)
	}
	if !empty {
		return fmt.Errorf("the data directory %s holds a database that is none of Eddy's: choose another directory", dir)
	}
	batch := s.db.NewBatch()
	if err := batch.Set([]byte(formatRow), binary.BigEndian.AppendUint64(nil, format), nil); err != nil {
		return err
	}
	if err := batch.Set([]byte(epochRow), newEpoch(), nil); err != nil {
		return err
	}
	if err := batch.Commit(pebble.Sync); err != nil {
		return err
	}
	// Pebble begins a new database with a log of an old format, in which what is damaged looks like what was torn. Another
	// log follows a flush.
	return s.db.Flush()
}

// newEpoch returns the name of a log.
func newEpoch() []byte { return []byte(rand.Text()[:epochLength]) }

// empty reports whether no row starts with prefix; nil is the start of all.
func (s *Store) empty(prefix []byte) (bool, error) {
	var bounds pebble.IterOptions
	if prefix != nil {
		bounds.LowerBound, bounds.UpperBound = prefix, end(prefix)
	}
	rows, err := s.db.NewIter(&bounds)
	if err != nil {
		return false, err
	}
	found := rows.First()
	return !found, errors.Join(rows.Error(), rows.Close())
}
