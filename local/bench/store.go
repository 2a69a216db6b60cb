package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"sync"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"
	dto "github.com/prometheus/client_model/go"
)

// store makes the baseline's writes durable.
type store interface {
	// put returns once the document is on disk.
	put(key, value []byte) error
	syncs() (uint64, error)
	close() error
}

// pebbleStore is Pebble as it is, with its own group commit.
type pebbleStore struct{ db *pebble.DB }

func openPebble(dir string) (pebbleStore, error) {
	db, err := pebble.Open(dir, pebbleOptions())
	if err != nil {
		return pebbleStore{}, fmt.Errorf("open Pebble: %w", err)
	}
	return pebbleStore{db}, nil
}

// pebbleOptions are those of the gateway's store, as far as they matter for speed.
func pebbleOptions() *pebble.Options {
	o := &pebble.Options{
		Logger:                      silent{},
		FormatMajorVersion:          pebble.FormatValueSeparation,
		MemTableSize:                16 << 20,
		MemTableStopWritesThreshold: 4,
		CacheSize:                   48 << 20,
		WALBytesPerSync:             512 << 10,
	}
	for i := range o.Levels {
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	o.ApplyCompressionSettings(func() pebble.DBCompressionSettings { return pebble.DBCompressionFastest })
	return o
}

// silent drops what Pebble has to say.
type silent struct{}

func (silent) Infof(string, ...any)              {}
func (silent) Errorf(string, ...any)             {}
func (silent) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

func (s pebbleStore) put(key, value []byte) error { return s.db.Set(key, value, pebble.Sync) }

func (s pebbleStore) syncs() (uint64, error) {
	var latency dto.Metric
	if err := s.db.Metrics().LogWriter.FsyncLatency.Write(&latency); err != nil {
		return 0, err
	}
	return latency.GetHistogram().GetSampleCount(), nil
}

// close leaves everything in tables, as the gateway does, so that the next start has nothing to replay.
func (s pebbleStore) close() error { return errors.Join(s.db.Flush(), s.db.Close()) }

// logStore appends to a file whose blocks are allocated already, so that a sync writes data and no metadata. It shows
// what a log of that kind could give one client; it groups nothing, and cannot be read.
type logStore struct {
	mu     sync.Mutex
	file   vfs.File
	end    int64
	writes uint64
	record []byte
}

const logSize = 64 << 20

func openLog(dir string) (*logStore, error) {
	if err := vfs.Default.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	file, err := vfs.Default.Create(filepath.Join(dir, "log"), vfs.WriteCategoryUnspecified)
	if err != nil {
		return nil, err
	}
	// Zeros are written rather than promised: turning a promised block into a written one is metadata again.
	zeros := make([]byte, 1<<20)
	for range logSize / len(zeros) {
		if _, err := file.Write(zeros); err != nil {
			return nil, errors.Join(err, file.Close())
		}
	}
	return &logStore{file: file}, file.Sync()
}

func (s *logStore) put(key, value []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.record = binary.AppendUvarint(s.record[:0], uint64(len(key)))
	s.record = append(s.record, key...)
	s.record = binary.AppendUvarint(s.record, uint64(len(value)))
	s.record = append(s.record, value...)
	if s.end+int64(len(s.record)) > logSize {
		s.end = 0
	}
	if _, err := s.file.WriteAt(s.record, s.end); err != nil {
		return err
	}
	s.end += int64(len(s.record))
	s.writes++
	return s.file.SyncData()
}

func (s *logStore) syncs() (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.writes, nil
}

func (s *logStore) close() error { return s.file.Close() }
