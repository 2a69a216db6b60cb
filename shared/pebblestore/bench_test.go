package pebblestore_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/eddyhq/eddy/shared/document"
	"github.com/eddyhq/eddy/shared/pebblestore"
	"github.com/eddyhq/eddy/shared/port"
)

// callerCounts are how many commit at a time.
var callerCounts = []int{1, 32, 128}

var value120 = document.Value(`{"completed":false,"created_at":"2026-11-23T12:00:00Z","id":"todo-1","title":"` +
	strings.Repeat("x", 41) + `"}`)

// BenchmarkBarePebble is the baseline: each caller sets a row of its own and waits for the sync, which Pebble shares.
func BenchmarkBarePebble(b *testing.B) {
	for _, callers := range callerCounts {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			db, err := pebble.Open(b.TempDir(), &pebble.Options{
				Logger: silent{}, MemTableSize: 16 << 20, FormatMajorVersion: pebble.FormatValueSeparation,
			})
			if err != nil {
				b.Fatal(err)
			}
			defer db.Close()
			spread(b, callers, func(i int) error {
				return db.Set(fmt.Appendf(nil, "state/todos\x00todo-%012d", i), value120, pebble.Sync)
			})
		})
	}
}

// BenchmarkSet creates documents of 120 bytes.
func BenchmarkSet(b *testing.B) {
	for _, bench := range []struct {
		name     string
		follow   bool
		noResult bool
	}{{"unfollowed", false, true}, {"followed", true, false}} {
		for _, callers := range callerCounts {
			b.Run(fmt.Sprintf("%s/callers=%d", bench.name, callers), func(b *testing.B) {
				s := openDisk(b, pebblestore.Options{Follow: func(port.Collection) bool { return bench.follow }})
				spread(b, callers, func(i int) error {
					_, err := s.Commit(context.Background(), port.Commit{Writes: []port.Write{{
						Op: port.Set, Collection: "state/todos", Key: fmt.Sprintf("todo-%012d", i), Value: value120,
						NoResult: bench.noResult,
					}}})
					return err
				})
				stats := s.Stats()
				b.ReportMetric(float64(stats.WrittenBytes)/float64(b.N), "written-B/op")
				b.ReportMetric(float64(stats.Commits)/float64(stats.Groups), "commits/group")
			})
		}
	}
}

// BenchmarkReaction commits what a counting reaction does: a hot document and a cursor of its own.
func BenchmarkReaction(b *testing.B) {
	for _, callers := range callerCounts {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			s := openDisk(b, pebblestore.Options{Follow: func(port.Collection) bool { return false }})
			spread(b, callers, func(i int) error {
				_, err := s.Commit(context.Background(), port.Commit{
					Writes: []port.Write{{
						Op: port.Update, Collection: "state/metrics", Key: "global", NoResult: true,
						Ops: []document.Op{{Type: document.OpIncrement, Path: []string{"total"}, By: 1}},
					}},
					Cursors: []port.Cursor{{Name: fmt.Sprintf("todos::count\x00state/todos\x00todo-%012d", i), Version: 1}},
				})
				return err
			})
		})
	}
}

// BenchmarkGet reads documents at random out of 100,000.
func BenchmarkGet(b *testing.B) {
	s := openDisk(b, pebblestore.Options{})
	fill(b, s, 100_000)
	for i := 0; b.Loop(); i++ {
		if _, err := s.Get(context.Background(), "state/todos", key(i*7919%100_000)); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkOpen opens a store of 100,000 documents, closed in order or crashed.
func BenchmarkOpen(b *testing.B) {
	b.Run("closed", func(b *testing.B) {
		dir := b.TempDir()
		s := openDir(b, dir, pebblestore.Options{})
		fill(b, s, 100_000)
		closeStore(b, s)
		for b.Loop() {
			s, err := pebblestore.Open(dir, pebblestore.Options{})
			if err != nil {
				b.Fatal(err)
			}
			b.StopTimer()
			closeStore(b, s)
			b.StartTimer()
		}
	})
	b.Run("crashed", func(b *testing.B) {
		files := vfs.NewCrashableMem()
		s := open(b, files, pebblestore.Options{})
		fill(b, s, 100_000)
		for b.Loop() {
			b.StopTimer()
			crashed := files.CrashClone(vfs.CrashCloneCfg{})
			b.StartTimer()
			s, err := pebblestore.Open("data", pebblestore.Options{FS: crashed})
			if err != nil {
				b.Fatal(err)
			}
			b.StopTimer()
			closeStore(b, s)
			b.StartTimer()
		}
	})
}

// spread does b.N operations from so many callers.
func spread(b *testing.B, callers int, do func(i int) error) {
	b.Helper()
	b.ReportAllocs()
	var next atomic.Int64
	var all sync.WaitGroup
	b.ResetTimer()
	for range callers {
		all.Go(func() {
			for i := int(next.Add(1)); i <= b.N; i = int(next.Add(1)) {
				if err := do(i); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ops/s")
}

// fill creates documents, as many in a commit as there may be.
func fill(tb testing.TB, s *pebblestore.Store, n int) {
	tb.Helper()
	for i := 0; i < n; i += 90 {
		var commit port.Commit
		for j := i; j < min(i+90, n); j++ {
			commit.Writes = append(commit.Writes, port.Write{
				Op: port.Set, Collection: "state/todos", Key: key(j), Value: value120, NoResult: true,
			})
		}
		if _, err := s.Commit(context.Background(), commit); err != nil {
			tb.Fatal(err)
		}
	}
}

func key(i int) string { return fmt.Sprintf("todo-%012d", i) }

func openDisk(tb testing.TB, options pebblestore.Options) *pebblestore.Store {
	tb.Helper()
	return openDir(tb, tb.TempDir(), options)
}

func openDir(tb testing.TB, dir string, options pebblestore.Options) *pebblestore.Store {
	tb.Helper()
	s, err := pebblestore.Open(dir, options)
	if err != nil {
		tb.Fatalf("open: %v", err)
	}
	tb.Cleanup(func() { closeStore(tb, s) })
	return s
}

// silent is a logger for the bare Pebble.
type silent struct{}

func (silent) Infof(string, ...any)  {}
func (silent) Errorf(string, ...any) {}
func (silent) Fatalf(f string, a ...any) {
	panic(fmt.Sprintf(f, a...))
}
