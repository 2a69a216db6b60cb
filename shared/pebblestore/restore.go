package pebblestore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/objstorage/objstorageprovider"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Restore makes a data directory of a backup. The directory must be empty, or not exist; without files it is one of the
// operating system. What Open finds there goes on where the store was when it was backed up, with all that it owed then. Its
// log has an epoch of its own, as what came later is not in it: clients that know more begin anew.
//
// The directory is none that can be opened before the whole backup was read and found to be what was written. When Restore
// fails it is empty again; what a crash leaves of it, Open refuses.
func Restore(ctx context.Context, r io.Reader, dir string, files vfs.FS) (err error) {
	if files == nil {
		files = vfs.Default
	}
	switch found, err := files.List(dir); {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("looking into the directory %s: %w", dir, err)
	case len(found) > 0:
		return fmt.Errorf("the directory %s is not empty: choose another one to restore to", dir)
	}
	if err := makeDirectory(files, dir); err != nil {
		return fmt.Errorf("creating the data directory %s: %w", dir, err)
	}
	lock, err := lockDirectory(files, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	if err := restore(ctx, r, dir, files, lock); err != nil {
		return errors.Join(err, emptyDirectory(files, dir))
	}
	return nil
}

// restore makes a database that Open refuses until its last step.
func restore(ctx context.Context, r io.Reader, dir string, files vfs.FS, lock *pebble.Lock) (err error) {
	s := &Store{failure: newFailure(nil)}
	options := s.pebbleOptions(files, lock)
	options.EnsureDefaults()
	db, err := pebble.Open(dir, options)
	if err != nil {
		return fmt.Errorf("opening the data directory %s: %w", dir, err)
	}
	s.failure.opened.Store(true)
	defer func() {
		close(s.failure.closing)
		err = errors.Join(err, db.Close())
	}()
	if err := db.Set([]byte(restoringRow), nil, pebble.Sync); err != nil {
		return errRestoring(err)
	}
	t := tables{files: files, dir: dir, options: options.MakeWriterOptions(len(options.Levels)-1, db.TableFormat())}
	if err := readBackup(ctx, r, t.add); err != nil {
		_ = t.finish() // releases the file; what it has to say is nothing beside what was wrong before
		return err
	}
	if err := t.finish(); err != nil {
		return errRestoring(err)
	}
	if err := db.Ingest(ctx, t.paths); err != nil {
		return errRestoring(err)
	}
	batch := db.NewBatch()
	mustStage(batch.Set([]byte(formatRow), t.layout, nil))
	mustStage(batch.Set([]byte(epochRow), newEpoch(), nil))
	mustStage(batch.Delete([]byte(restoringRow), nil))
	if err := errors.Join(batch.Commit(pebble.Sync), s.failure.cause()); err != nil {
		return errRestoring(err)
	}
	return nil
}

func errRestoring(err error) error { return fmt.Errorf("writing what is restored: %w", err) }

// emptyDirectory removes what is in a directory.
func emptyDirectory(files vfs.FS, dir string) error {
	names, err := files.List(dir)
	for _, name := range names {
		err = errors.Join(err, files.RemoveAll(files.PathJoin(dir, name)))
	}
	return err
}

// tableBytes is about how much of the rows a table holds.
const tableBytes = 64 << 20

// tables are the rows of a backup as files that Pebble takes over whole. So every fault of the disk is the answer to a step,
// where Pebble's own writing would try again for ever.
type tables struct {
	files   vfs.FS
	dir     string
	options sstable.WriterOptions
	paths   []string
	open    *sstable.Writer // the last of them; nil when it is full
	layout  []byte          // the row that the others count with
}

// add takes the next row. The one that makes a directory a store comes last, and not from here.
func (t *tables) add(key, value []byte) error {
	if string(key) == formatRow {
		t.layout = bytes.Clone(value)
		return nil
	}
	if t.open == nil {
		path := t.files.PathJoin(t.dir, fmt.Sprintf("restored-%d", len(t.paths)))
		file, err := t.files.Create(path, vfs.WriteCategoryUnspecified)
		if err != nil {
			return errRestoring(err)
		}
		t.paths = append(t.paths, path)
		t.open = sstable.NewWriter(objstorageprovider.NewFileWritable(file), t.options)
	}
	if err := t.open.Set(key, value); err != nil {
		return errRestoring(err)
	}
	if t.open.Raw().EstimatedSize() >= tableBytes {
		return t.finish()
	}
	return nil
}

// finish makes the last table durable.
func (t *tables) finish() error {
	if t.open == nil {
		return nil
	}
	table := t.open
	t.open = nil
	return table.Close()
}
