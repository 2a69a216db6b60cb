package pebblestore_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/eddyhq/eddy/shared/document"
	"github.com/eddyhq/eddy/shared/pebblestore"
	"github.com/eddyhq/eddy/shared/port"
)

const crashWriters = 6

// world is what clients of the store know across crashes. Writer i owns document i, whose value is the number of its
// changes; a follower counts every change in one document, guarded by cursors, and trims the log behind itself.
type world struct {
	sync.Mutex
	acknowledged [crashWriters]int
	versions     [crashWriters]int64 // of the last acknowledged change
}

func (w *world) copy() (acknowledged [crashWriters]int, versions [crashWriters]int64) {
	w.Lock()
	defer w.Unlock()
	return w.acknowledged, w.versions
}

func TestNothingAcknowledgedIsLostAndNothingHappensTwiceOverManyCrashes(t *testing.T) {
	t.Parallel()
	for seed := range uint64(6) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(seed, 1))
			files, known := vfs.NewCrashableMem(), &world{}
			for range 12 {
				files = liveAndCrash(t, files, known, random)
			}
			s := openWorld(t, files)
			total := checkWorld(t, s, known)
			follow(t.Context(), s, s.Head())
			if counted := number(t, s, "metrics", "global"); counted != total {
				t.Errorf("the follower counted %d changes of %d", counted, total)
			}
		})
	}
}

func openWorld(t *testing.T, files *vfs.MemFS) *pebblestore.Store {
	t.Helper()
	return open(t, files, pebblestore.Options{
		Follow: func(c port.Collection) bool { return c == port.Scope("todos") },
	})
}

// liveAndCrash opens the store, checks it, works with it for some commits, and returns what a crash in their midst
// leaves.
func liveAndCrash(t *testing.T, files *vfs.MemFS, known *world, random *rand.Rand) *vfs.MemFS {
	t.Helper()
	s := openWorld(t, files)
	checkWorld(t, s, known)
	ctx, cancel := context.WithCancel(t.Context())
	var workers sync.WaitGroup
	var commits atomic.Int64
	crashAt, reached := 1+random.Int64N(400), make(chan struct{})
	for i := range crashWriters {
		workers.Go(func() {
			for ctx.Err() == nil {
				change(ctx, s, known, i)
				if commits.Add(1) == crashAt {
					close(reached)
				}
			}
		})
	}
	workers.Go(func() { follow(ctx, s, 0) })
	<-reached
	acknowledged, versions := known.copy()
	crashed := files.CrashClone(vfs.CrashCloneCfg{
		UnsyncedDataPercent: random.IntN(101), RNG: rand.New(rand.NewPCG(random.Uint64(), 2)),
	})
	cancel()
	workers.Wait()
	closeStore(t, s)
	known.acknowledged, known.versions = acknowledged, versions
	return crashed
}

// change makes writer i's next change and remembers what was acknowledged.
func change(ctx context.Context, s *pebblestore.Store, known *world, i int) {
	results, err := s.Commit(ctx, port.Commit{Writes: []port.Write{{
		Op: port.Update, Collection: port.Scope("todos"), Key: fmt.Sprint(i),
		Ops: []document.Op{{Type: document.OpIncrement, Path: []string{"n"}, By: 1}},
	}}})
	if err != nil {
		return // cancelled
	}
	var now struct{ N int }
	if err := results[0].New.Decode(&now); err != nil {
		panic(err)
	}
	known.Lock()
	defer known.Unlock()
	known.acknowledged[i], known.versions[i] = now.N, results[0].Version
}

// follow runs the reaction that counts, up to a position, or as long as ctx lives when that is 0.
func follow(ctx context.Context, s *pebblestore.Store, upTo uint64) {
	const function = "todos::count"
	done := s.Progress()[function]
	for ctx.Err() == nil && (upTo == 0 || done < upTo) {
		records, err := s.Records(ctx, done, 7)
		if err != nil {
			return
		}
		for _, r := range records {
			if err := count(ctx, s, r.Change); err != nil {
				return
			}
			done = r.Position
		}
		_ = s.SetProgress(ctx, map[string]uint64{function: done})
		if done%5 == 0 {
			_ = s.Trim(ctx, done)
		}
	}
}

// count takes a change into account, once.
func count(ctx context.Context, s *pebblestore.Store, c *port.Change) error {
	_, err := s.Commit(ctx, port.Commit{
		Writes: []port.Write{{
			Op: port.Update, Collection: port.Scope("metrics"), Key: "global", NoResult: true,
			Ops: []document.Op{{Type: document.OpIncrement, Path: []string{"n"}, By: 1}},
		}},
		Cursors: []port.Cursor{{Name: "todos::count/" + c.Key, Version: c.Version}},
	})
	if errors.Is(err, port.ErrStale) {
		return nil
	}
	return err
}

// checkWorld checks that all that was acknowledged is there, that versions go on rising, and that the log has no gaps.
// It returns the number of all changes.
func checkWorld(t *testing.T, s *pebblestore.Store, known *world) (total int) {
	t.Helper()
	acknowledged, versions := known.copy()
	for i := range crashWriters {
		n := number(t, s, "todos", fmt.Sprint(i))
		d, err := s.Get(t.Context(), port.Scope("todos"), fmt.Sprint(i))
		if err != nil || n < acknowledged[i] || n == acknowledged[i] && d.Version != versions[i] ||
			n > acknowledged[i] && d.Version <= versions[i] {
			t.Fatalf("document %d: n %d version %d, acknowledged were n %d version %d (%v)",
				i, n, d.Version, acknowledged[i], versions[i], err)
		}
		total += n
	}
	records, err := s.Records(t.Context(), 0, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	last := map[string]document.Value{}
	for i, r := range records {
		if r.Position != s.Head()-uint64(len(records)-1-i) {
			t.Fatalf("record %d of %d is at position %d, the head is %d", i, len(records), r.Position, s.Head())
		}
		if old, ok := last[r.Change.Key]; ok && string(old) != string(r.Change.Old) {
			t.Fatalf("a record of %s begins at %s, the one before ended at %s", r.Change.Key, r.Change.Old, old)
		}
		last[r.Change.Key] = r.Change.New
	}
	return total
}

// number returns the field n of a document.
func number(t *testing.T, s *pebblestore.Store, scope, key string) int {
	t.Helper()
	d, err := s.Get(t.Context(), port.Scope(scope), key)
	if err != nil {
		t.Fatal(err)
	}
	var value struct{ N int }
	if d.Exists() {
		if err := d.Value.Decode(&value); err != nil {
			t.Fatal(err)
		}
	}
	return value.N
}
