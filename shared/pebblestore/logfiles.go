package pebblestore

import (
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// logFiles are the files of Pebble, with a log that does not fail. Pebble would end the process when it cannot close its
// log or begin the next one. Here the first fault makes the store fail, and the log ends where it is: what Pebble goes on to
// write into it is dropped. Nobody is told that it was durable, as a store that failed acknowledges nothing.
type logFiles struct {
	vfs.FS
	failure *failure
}

// Create creates a file; one of the log always.
func (f logFiles) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return f.begin(name, func() (vfs.File, error) { return f.FS.Create(name, category) })
}

// ReuseForWrite makes a file of another one; one of the log always.
func (f logFiles) ReuseForWrite(old, name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return f.begin(name, func() (vfs.File, error) { return f.FS.ReuseForWrite(old, name, category) })
}

func (f logFiles) begin(name string, create func() (vfs.File, error)) (vfs.File, error) {
	if !strings.HasSuffix(name, ".log") {
		return create()
	}
	file := logFile{failure: f.failure}
	file.unlessFailed(func() (err error) {
		file.File, err = create()
		return err
	})
	if file.File == nil { // nothing will be written to it
		var err error
		if file.File, err = vfs.NewMem().Create("log", vfs.WriteCategoryUnspecified); err != nil {
			return nil, err
		}
	}
	return file, nil
}

// logFile is a file of the log. Nothing is written to it once the store failed.
type logFile struct {
	vfs.File
	failure *failure
}

func (f logFile) unlessFailed(do func() error) {
	if f.failure.err() != nil {
		return
	}
	if err := do(); err != nil {
		f.failure.fail(err)
	}
}

// Write appends to the file.
func (f logFile) Write(p []byte) (int, error) {
	f.unlessFailed(func() error { _, err := f.File.Write(p); return err })
	return len(p), nil
}

// Sync makes the file durable.
func (f logFile) Sync() error {
	f.unlessFailed(f.File.Sync)
	return nil
}

// SyncData makes what the file holds durable.
func (f logFile) SyncData() error {
	f.unlessFailed(f.File.SyncData)
	return nil
}

// SyncTo begins to make what the file holds durable.
func (f logFile) SyncTo(length int64) (full bool, _ error) {
	f.unlessFailed(func() (err error) { full, err = f.File.SyncTo(length); return err })
	return full, nil
}

// Preallocate takes space for the file.
func (f logFile) Preallocate(offset, length int64) error {
	f.unlessFailed(func() error { return f.File.Preallocate(offset, length) })
	return nil
}

// Close closes the file.
func (f logFile) Close() error {
	if err := f.File.Close(); err != nil {
		f.failure.fail(err)
	}
	return nil
}
