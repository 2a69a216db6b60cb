package pebblestore_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/eddyhq/eddy/shared/document"
	"github.com/eddyhq/eddy/shared/errs"
	"github.com/eddyhq/eddy/shared/pebblestore"
	"github.com/eddyhq/eddy/shared/port"
)

// gate holds back the syncs of Pebble's log while it is shut, and makes them fail once it is broken.
type gate struct {
	mu     sync.Mutex
	shut   chan struct{} // nil while it is open
	broken atomic.Bool
}

func (g *gate) files(files vfs.FS) vfs.FS {
	return errorfs.Wrap(files, errorfs.InjectorFunc(func(op errorfs.Op) error {
		isSync := op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData || op.Kind == errorfs.OpFileSyncTo
		if !isSync || !strings.HasSuffix(op.Path, ".log") {
			return nil
		}
		g.mu.Lock()
		shut := g.shut
		g.mu.Unlock()
		if shut != nil {
			<-shut
		}
		if g.broken.Load() {
			return errorfs.ErrInjected
		}
		return nil
	}))
}

func (g *gate) close() (open func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	shut := make(chan struct{})
	g.shut = shut
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.shut = nil
		close(shut)
	}
}

// pass lets the one sync through that waits.
func (g *gate) pass() { g.shut <- struct{}{} }

func TestNothingIsShownBeforeItIsDurable(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var g gate
		var published atomic.Int64
		files := vfs.NewCrashableMem()
		s := openBubble(t, g.files(files), pebblestore.Options{
			Published: func(records []port.Record) { published.Add(int64(len(records))) },
		})
		defer closeStore(t, s)
		mustSet(t, s, "k", `1`)
		mustSet(t, s, "other", `1`)
		cursor := port.Cursor{Name: "c", Version: 1}
		openGate := g.close()
		var done atomic.Int64
		inBackground := func(do func() error) {
			go func() {
				if err := do(); err != nil {
					t.Error(err)
				}
				done.Add(1)
			}()
			synctest.Wait()
		}
		inBackground(func() error {
			_, err := s.Commit(t.Context(), port.Commit{
				Writes: []port.Write{setWrite("k", `2`)}, Cursors: []port.Cursor{cursor},
			})
			return err
		})
		// Each of these sees the second value, and must not say so.
		reads := []func() error{
			func() error { return wantGet(s, "k", `2`) },
			func() error {
				page, err := s.List(t.Context(), port.Scope("todos"), port.Query{Limit: 1})
				if err == nil && string(page.Documents[0].Value) != `2` {
					err = errors.New("the list is stale")
				}
				return err
			},
			func() error {
				documents, position, err := s.Snapshot(t.Context(), port.Scope("todos"), "")
				if err == nil && (len(documents) != 2 || position != 3) {
					err = errors.New("the snapshot is stale")
				}
				return err
			},
			func() error { _, err := s.Collections(t.Context(), port.StateSpace); return err },
			func() error { // a conflict tells of it too
				zero := int64(0)
				w := setWrite("k", `3`)
				w.IfVersion = &zero
				var conflict *port.ConflictError
				if _, err := s.Commit(t.Context(), port.Commit{Writes: []port.Write{w}}); !errors.As(err, &conflict) {
					return errors.New("no conflict")
				}
				return nil
			},
			func() error {
				_, err := s.Commit(t.Context(), port.Commit{Cursors: []port.Cursor{cursor}})
				if !errors.Is(err, port.ErrStale) {
					return errors.New("not stale")
				}
				return nil
			},
		}
		for _, read := range reads {
			inBackground(read)
		}
		if n := done.Load(); n != 0 {
			t.Errorf("%d operations ended before the sync", n)
		}
		if err := wantGet(s, "other", `1`); err != nil {
			t.Errorf("a document that is durable: %v", err)
		}
		if s.Head() != 2 || published.Load() != 2 {
			t.Errorf("head %d, published %d: ahead of the sync", s.Head(), published.Load())
		}
		crashed := openBubble(t, files.CrashClone(vfs.CrashCloneCfg{}), pebblestore.Options{})
		defer closeStore(t, crashed)
		if err := wantGet(crashed, "k", `1`); err != nil {
			t.Errorf("after a crash: %v", err)
		}
		openGate()
		synctest.Wait()
		if n := int(done.Load()); n != len(reads)+1 {
			t.Errorf("%d of %d operations ended after the sync", n, len(reads)+1)
		}
		if s.Head() != 3 || published.Load() != 3 {
			t.Errorf("head %d, published %d after the sync", s.Head(), published.Load())
		}
	})
}

func TestAReadWaitsForTheLastOfTheCommitsItMaySee(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var g gate
		s := openBubble(t, g.files(vfs.NewMem()), pebblestore.Options{})
		defer closeStore(t, s)
		openGate := g.close()
		for _, text := range []string{`1`, `2`} {
			go func() {
				if err := commit(t.Context(), s, port.Commit{Writes: []port.Write{setWrite("k", text)}}); err != nil {
					t.Error(err)
				}
			}()
			synctest.Wait()
		}
		g.pass() // the first is durable now, the second waits
		synctest.Wait()
		if s.Head() != 1 {
			t.Fatalf("head %d", s.Head())
		}
		var done atomic.Bool
		go func() {
			if err := wantGet(s, "k", `2`); err != nil {
				t.Error(err)
			}
			done.Store(true)
		}()
		synctest.Wait()
		if done.Load() {
			t.Error("a commit was shown before it was durable")
		}
		openGate()
		synctest.Wait()
		if !done.Load() {
			t.Error("the read did not end")
		}
	})
}

func TestWhateverIsKeptIsDurableBeforeItIsAcknowledged(t *testing.T) {
	t.Parallel()
	for name, do := range map[string]func(ctx context.Context, s *pebblestore.Store) error{
		"a document that nobody follows": func(ctx context.Context, s *pebblestore.Store) error {
			return commit(ctx, s, port.Commit{Writes: []port.Write{setWrite("k", `1`)}})
		},
		"a deletion": func(ctx context.Context, s *pebblestore.Store) error {
			w := setWrite("there", ``)
			w.Op = port.Delete
			return commit(ctx, s, port.Commit{Writes: []port.Write{w}})
		},
		"a call": func(ctx context.Context, s *pebblestore.Store) error {
			return commit(ctx, s, port.Commit{Calls: []port.Call{{ID: "1", Function: "f::g"}}})
		},
		"a cursor": func(ctx context.Context, s *pebblestore.Store) error {
			return commit(ctx, s, port.Commit{Cursors: []port.Cursor{{Name: "c", Version: 1}}})
		},
		"a dead letter": func(ctx context.Context, s *pebblestore.Store) error {
			return commit(ctx, s, port.Commit{Failed: []port.DeadLetter{letter("2")}})
		},
		"attempts": func(ctx context.Context, s *pebblestore.Store) error {
			return s.Attempted(ctx, "c", port.Attempts{Version: 1, Count: 1})
		},
		"a redrive": func(ctx context.Context, s *pebblestore.Store) error {
			_, err := s.Redrive(ctx, "f::g", "1")
			return err
		},
		"a discard": func(ctx context.Context, s *pebblestore.Store) error {
			_, err := s.Discard(ctx, "f::g", "1")
			return err
		},
		"a trim": func(ctx context.Context, s *pebblestore.Store) error { return s.Trim(ctx, 1) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var g gate
				s := openBubble(t, g.files(vfs.NewMem()), pebblestore.Options{
					Follow: func(port.Collection) bool { return false },
				})
				defer closeStore(t, s)
				mustSet(t, s, "there", `1`)
				err := commit(t.Context(), s, port.Commit{
					Calls: []port.Call{{ID: "0", Function: "f::g"}}, Failed: []port.DeadLetter{letter("1")},
				})
				if err != nil {
					t.Fatal(err)
				}
				defer g.close()()
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				wantCode(t, do(ctx, s), errs.Timeout)
			})
		})
	}
}

func TestAReadThatWaitsForTheDiskEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var g gate
		s := openBubble(t, g.files(vfs.NewMem()), pebblestore.Options{})
		defer closeStore(t, s)
		defer g.close()()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := s.Commit(ctx, port.Commit{Writes: []port.Write{setWrite("k", `1`)}})
		wantCode(t, err, errs.Timeout)
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = s.Get(ctx, port.Scope("todos"), "k")
		wantCode(t, err, errs.Timeout)
	})
}

func TestAfterAFailedSyncNothingIsAcknowledgedAndOtherReadsGoOn(t *testing.T) {
	t.Parallel()
	var g gate
	files := vfs.NewCrashableMem()
	s, err := pebblestore.Open("data", pebblestore.Options{FS: g.files(files)})
	if err != nil {
		t.Fatal(err)
	}
	mustSet(t, s, "k", `1`)
	g.broken.Store(true)
	var writers sync.WaitGroup
	for range 8 {
		writers.Go(func() {
			for range 50 {
				_, err := s.Commit(context.Background(), port.Commit{Writes: []port.Write{setWrite("lost", `1`)}})
				if errs.CodeOf(err) != errs.Unavailable {
					t.Errorf("commit: %v", err)
				}
			}
		})
	}
	writers.Wait()
	if err := wantGet(s, "k", `1`); err != nil {
		t.Errorf("a durable document: %v", err)
	}
	_, err = s.Get(context.Background(), port.Scope("todos"), "lost")
	wantCode(t, err, errs.Unavailable)
	if s.Head() != 1 {
		t.Errorf("head %d", s.Head())
	}
	crashed := files.CrashClone(vfs.CrashCloneCfg{})
	_ = s.Close()
	again := open(t, crashed, pebblestore.Options{})
	if err := wantGet(again, "k", `1`); err != nil {
		t.Errorf("after a restart: %v", err)
	}
	mustSet(t, again, "lost", `2`)
}

func TestCommitsDuringCloseAreDurableOrRefused(t *testing.T) {
	t.Parallel()
	files := vfs.NewMem()
	s := open(t, files, pebblestore.Options{})
	var acknowledged [8]int
	var writers sync.WaitGroup
	var started sync.WaitGroup
	for i := range acknowledged {
		started.Add(1)
		writers.Go(func() {
			for n := 1; ; n++ {
				_, err := s.Commit(context.Background(), port.Commit{
					Writes: []port.Write{setWrite(key(i), string(document.Value(`1`)))},
				})
				if n == 1 {
					started.Done()
				}
				if err != nil {
					wantCode(t, err, errs.Unavailable)
					return
				}
				acknowledged[i] = n
			}
		})
	}
	started.Wait()
	closeStore(t, s)
	writers.Wait()
	closeStore(t, s)
	_, err := s.Get(context.Background(), port.Scope("todos"), key(0))
	wantCode(t, err, errs.Unavailable)
	again := open(t, files, pebblestore.Options{})
	total := 0
	for _, n := range acknowledged {
		total += n
	}
	if got := int(again.Head()); got != total {
		t.Errorf("%d commits were acknowledged, %d are in the log", total, got)
	}
}

func commit(ctx context.Context, s *pebblestore.Store, c port.Commit) error {
	_, err := s.Commit(ctx, c)
	return err
}

func letter(id string) port.DeadLetter {
	return port.DeadLetter{ID: id, Function: "f::g", Record: port.Record{Call: &port.Call{ID: id, Function: "f::g"}}}
}

// openBubble opens a store inside a synctest bubble, where the test must close it before it ends.
func openBubble(t *testing.T, files vfs.FS, options pebblestore.Options) *pebblestore.Store {
	t.Helper()
	options.FS = files
	s, err := pebblestore.Open("data", options)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func setWrite(key, text string) port.Write {
	return port.Write{Op: port.Set, Collection: port.Scope("todos"), Key: key, Value: document.Value(text)}
}

func mustSet(t *testing.T, s *pebblestore.Store, key, text string) int64 {
	t.Helper()
	results, err := s.Commit(t.Context(), port.Commit{Writes: []port.Write{setWrite(key, text)}})
	if err != nil {
		t.Fatalf("set %s: %v", key, err)
	}
	return results[0].Version
}

func wantGet(s *pebblestore.Store, key, text string) error {
	d, err := s.Get(context.Background(), port.Scope("todos"), key)
	if err == nil && string(d.Value) != text {
		err = errors.New(key + " is " + string(d.Value) + ", not " + text)
	}
	return err
}

func wantCode(t *testing.T, err error, code errs.Code) {
	t.Helper()
	if errs.CodeOf(err) != code {
		t.Errorf("error %v, want %s", err, code)
	}
}
