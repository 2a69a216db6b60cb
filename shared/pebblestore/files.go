package pebblestore

import (
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// frozenFiles are the files of Pebble, until the first fault of a write to them. From then on they stay as they are on disk,
// which is what a crash would have left, and Pebble is told that its writes succeed: it would end the process after one fault
// and try again without end after another. As the store fails with the first fault, it acknowledges nothing any more.
//
// What Pebble flushes after that goes to files in memory, where it is read. That is no more than it held in memory before.
// What it compacts waits until the store closes, so that it does not try again and again.
type frozenFiles struct {
	vfs.FS
	failure *failure
	memory  *vfs.MemFS // the files that were begun after the fault
}

func newFrozenFiles(files vfs.FS, failure *failure) frozenFiles {
	return frozenFiles{FS: files, failure: failure, memory: vfs.NewMem()}
}

// Create creates a file.
func (f frozenFiles) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return f.begin(name, category, func() (vfs.File, error) { return f.FS.Create(name, category) })
}

// ReuseForWrite makes a file of another one.
func (f frozenFiles) ReuseForWrite(old, name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return f.begin(name, category, func() (vfs.File, error) { return f.FS.ReuseForWrite(old, name, category) })
}

func (f frozenFiles) begin(
	name string, category vfs.DiskWriteCategory, create func() (vfs.File, error),
) (file vfs.File, err error) {
	err = f.failure.guard(func() (err error) {
		file, err = create()
		return err
	})
	switch {
	case err != nil:
		return nil, err
	case file != nil:
		return frozenFile{File: file, failure: f.failure, isTable: strings.HasSuffix(name, ".sst")}, nil
	case category == "pebble-compaction":
		if f.failure.opened.Load() {
			<-f.failure.closing
		}
		return nil, f.failure.cause()
	}
	if err := f.memory.MkdirAll(f.PathDir(name), 0o700); err != nil {
		return nil, err
	}
	return f.memory.Create(name, category)
}

// Open opens a file to read it.
func (f frozenFiles) Open(name string, options ...vfs.OpenOption) (vfs.File, error) {
	if file, err := f.memory.Open(name, options...); err == nil {
		return file, nil
	}
	return f.FS.Open(name, options...)
}

// OpenDir opens a directory to make what is in it durable.
func (f frozenFiles) OpenDir(name string) (vfs.File, error) {
	file, err := f.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return frozenFile{File: file, failure: f.failure}, nil
}

// Stat tells about a file.
func (f frozenFiles) Stat(name string) (vfs.FileInfo, error) {
	if info, err := f.memory.Stat(name); err == nil && !info.IsDir() {
		return info, nil
	}
	return f.FS.Stat(name)
}

// Link gives a file another name.
func (f frozenFiles) Link(old, name string) error {
	return f.failure.guard(func() error { return f.FS.Link(old, name) })
}

// Rename gives a file its name.
func (f frozenFiles) Rename(old, name string) error {
	return f.failure.guard(func() error { return f.FS.Rename(old, name) })
}

// Remove removes a file.
func (f frozenFiles) Remove(name string) error {
	return f.failure.guard(func() error { return f.FS.Remove(name) })
}

// RemoveAll removes a directory and what is in it.
func (f frozenFiles) RemoveAll(name string) error {
	return f.failure.guard(func() error { return f.FS.RemoveAll(name) })
}

// frozenFile is a file, or a directory, that was begun before there was a fault.
type frozenFile struct {
	vfs.File
	failure *failure
	isTable bool
}

// guard does something to the file. Of a table a fault is returned, or Pebble would read what it believes to be there: it
// begins another one.
func (f frozenFile) guard(do func() error) error {
	if err := f.failure.guard(do); err != nil || !f.isTable {
		return err
	}
	return f.failure.cause()
}

// Write appends to the file.
func (f frozenFile) Write(p []byte) (int, error) {
	n := len(p)
	err := f.guard(func() (err error) {
		n, err = f.File.Write(p)
		return err
	})
	if err == nil {
		n = len(p)
	}
	return n, err
}

// Preallocate takes space for the file.
func (f frozenFile) Preallocate(offset, length int64) error {
	return f.guard(func() error { return f.File.Preallocate(offset, length) })
}

// Sync makes the file durable.
func (f frozenFile) Sync() error { return f.guard(f.File.Sync) }

// SyncData makes what is in the file durable.
func (f frozenFile) SyncData() error { return f.guard(f.File.SyncData) }

// SyncTo begins to make what is in the file durable.
func (f frozenFile) SyncTo(length int64) (full bool, err error) {
	err = f.guard(func() (err error) {
		full, err = f.File.SyncTo(length)
		return err
	})
	return full, err
}

// Close closes the file.
func (f frozenFile) Close() error {
	err := f.File.Close()
	return f.guard(func() error { return err })
}
