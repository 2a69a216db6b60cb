package crash_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/eddyhq/eddy/local/gateway"
)

// disk is files that fail when a test says so.
type disk struct {
	files *vfs.MemFS
	fails atomic.Pointer[failure]
}

// failure says which operations fail, and how.
type failure struct {
	operations []errorfs.OpKind // nil: all that write
	err        error
}

func newDisk() *disk { return &disk{files: vfs.NewCrashableMem()} }

func (d *disk) fs() vfs.FS {
	return withoutReuse{errorfs.Wrap(d.files, errorfs.InjectorFunc(func(op errorfs.Op) error {
		f := d.fails.Load()
		if f == nil || op.Kind == errorfs.OpFileClose {
			return nil
		}
		if f.operations == nil && op.Kind.ReadOrWrite() == errorfs.OpIsWrite || slices.Contains(f.operations, op.Kind) {
			return fmt.Errorf("%s: %w", op.Path, f.err)
		}
		return nil
	}))}
}

// withoutReuse makes a new file where another would be written over: those of errorfs do not fail any more after that.
type withoutReuse struct{ vfs.FS }

// ReuseForWrite implements vfs.FS.
func (f withoutReuse) ReuseForWrite(old, name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if err := f.Remove(old); err != nil {
		return nil, err
	}
	return f.Create(name, category)
}

// inside is a gateway in this process.
type inside struct {
	*gateway.Gateway
	address string
	log     *safeBuffer
}

// safeBuffer is a log that is read while it is written.
type safeBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

// errors returns what was logged as an error.
func (b *safeBuffer) errors() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var found []string
	for line := range strings.Lines(b.text.String()) {
		if strings.Contains(line, "level=ERROR") {
			found = append(found, line)
		}
	}
	return strings.Join(found, "")
}

// openInside runs a gateway on files, by a clock.
func openInside(files vfs.FS, now func() time.Time) (*inside, error) {
	log := &safeBuffer{}
	g, err := gateway.Run(app(), gateway.Config{HTTP: "127.0.0.1:0", Data: "data", FS: files, Now: now, LogFormat: "text", Log: log})
	if err != nil {
		return nil, err
	}
	return &inside{Gateway: g, address: strings.TrimPrefix(g.URL(), "http://"), log: log}, nil
}

// mustOpen opens a gateway until the test ends.
func mustOpen(t *testing.T, files vfs.FS, now func() time.Time) *inside {
	t.Helper()
	g, err := openInside(files, now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.stop() })
	return g
}

// stop closes the gateway. One whose disk has failed has nothing to say about that which was not said before.
func (g *inside) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), stopLimit)
	defer cancel()
	_ = g.Close(ctx)
}

// checkAll waits until what is owed is done, and reports everything that is not as the journals say.
func (a audit) checkAll(t *testing.T) {
	t.Helper()
	found := a.writes()
	if err := eventually(settleLimit, func() error {
		owed := a.owed()
		return owed.err()
	}); err != nil {
		t.Errorf("what is owed: %v", err)
	}
	found.report(t)
}

// TestDiskFails lets the disk fail under a gateway that serves: it takes no more writes and says so, reads and sockets go on,
// and what it had acknowledged is there once the disk is in order and the gateway was started again.
func TestDiskFails(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		failure
	}{
		{"a disk that is full", failure{nil, syscall.ENOSPC}},
		{"a disk that has become read-only", failure{nil, syscall.EROFS}},
		{"an fsync that fails", failure{
			[]errorfs.OpKind{errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo, errorfs.OpFileFlush}, syscall.EIO,
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			seed, clock, d, j := drawSeed(t), newQuickClock(), newDisk(), newJournal("only", entriesEach)
			g := mustOpen(t, d.fs(), clock.now)
			c := &client{address: g.address}
			defer c.close()
			w := &writer{journal: j, client: c, random: rand.New(rand.NewPCG(seed, 0)), now: clock.now}
			for range 200 {
				w.step()
			}
			a := audit{client: c, journals: []*journal{j}, now: clock.now}
			a.checkAll(t)
			v := newView()
			socket := v.watch(t, g.address)
			items, err := a.items()
			if err != nil {
				t.Fatal(err)
			}
			shows := func() error { return socket.look(func() error { return v.shows(items) }) }
			if err := eventually(settleLimit, shows); err != nil {
				t.Fatal(err)
			}

			d.fails.Store(&test.failure)
			for range 50 {
				w.step()
			}
			set := map[string]any{"scope": "other", "key": "k", "value": entry{N: 1}}
			if r := c.invoke("state::set", set); r.status != http.StatusServiceUnavailable ||
				!strings.Contains(string(r.body), `"code":"unavailable"`) {
				t.Errorf("a write is answered %v", r)
			}
			if j.uncertain == 0 {
				t.Error("every write was acknowledged")
			}
			j.faults.report(t)
			before := slices.IndexFunc(j.entries, func(e *entryRecord) bool { return e.current && len(e.state) == 1 && e.state[0].exists })
			if before >= 0 {
				known := j.entries[before]
				var read entry
				if err := c.read(&read, a.get("ledger", known.key)); err != nil || read.N != known.state[0].n {
					t.Errorf("%s reads as %+v, %v; it is %+v", known.key, read, err, known.state[0])
				}
			}
			if err := shows(); err != nil {
				t.Error(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), startLimit)
			defer cancel()
			if err := socket.conn.Ping(ctx); err != nil {
				t.Errorf("the socket that was open: %v", err)
			}
			if said := g.log.errors(); !strings.Contains(said, "find out why the disk fails, then restart") ||
				!strings.Contains(said, test.err.Error()) {
				t.Errorf("it says\n%s", said)
			}

			crashed := d.files.CrashClone(vfs.CrashCloneCfg{})
			socket.close()
			g.stop()
			g = mustOpen(t, crashed, clock.now)
			again := audit{client: &client{address: g.address}, journals: []*journal{j}, now: clock.now}
			defer again.client.close()
			again.checkAll(t)
		})
	}
}

func TestDiskThatCannotBeWrittenToRefusesTheStart(t *testing.T) {
	t.Parallel()
	now := newQuickClock().now
	for _, test := range []struct {
		name    string
		prepare func(*testing.T, *disk)
	}{
		{"a directory that is not there yet", func(*testing.T, *disk) {}},
		{"a directory with data", func(t *testing.T, d *disk) {
			g, err := openInside(d.fs(), now)
			if err != nil {
				t.Fatal(err)
			}
			g.stop()
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			d := newDisk()
			test.prepare(t, d)
			d.fails.Store(&failure{nil, syscall.EROFS})
			g, err := openInside(d.fs(), now)
			if err == nil {
				g.stop()
				t.Fatal("it serves")
			}
			if !errors.Is(err, syscall.EROFS) || !strings.Contains(err.Error(), "data directory data") {
				t.Errorf("it says %v", err)
			}
		})
	}
}

// TestTornWrite cuts off, after a kill, the end of what was written since the last answer, as a disk does that loses its power
// in the middle of a write.
func TestTornWrite(t *testing.T) {
	t.Parallel()
	const tears = 5
	seed := drawSeed(t)
	random := rand.New(rand.NewPCG(seed, 0))
	r := &rounds{
		data: t.TempDir(), seed: seed, clock: newQuickClock(), journals: newJournals(), view: newView(), news: newNews(),
	}
	torn := 0
	for round := range tears {
		p := r.start(t)
		r.found(t, r.auditOnce(p))
		for i, j := range r.journals {
			w := &writer{
				journal: j, client: &client{address: p.http}, random: rand.New(rand.NewPCG(random.Uint64(), uint64(i))), now: r.clock.now,
			}
			for range 10 {
				w.step()
			}
			w.client.close()
		}
		log, acknowledged := newestLog(t, r.data)
		l := &load{
			address: p.http, seed: seed, round: uint64(round), now: r.clock.now, deaf: true,
			limit: 50 + random.Int64N(100), reached: func() { go p.kill() },
		}
		l.write(r.journals)
		p.kill()
		last, size := newestLog(t, r.data)
		if last != log || size <= acknowledged {
			continue // the end of the log lies elsewhere, or nothing came
		}
		torn++
		cut := acknowledged + random.Int64N(size-acknowledged)
		if err := os.Truncate(log, cut); err != nil {
			t.Fatal(err)
		}
		if round%2 == 0 { // what was never written can also be zeros
			if err := os.Truncate(log, size); err != nil {
				t.Fatal(err)
			}
		}
		r.totals.kills++
		r.ended(t, p)
	}
	if torn == 0 {
		t.Error("no write was torn")
	}
	r.last(t)
	r.report(t)
}

// auditOnce looks at a gateway until nothing is owed any more.
func (r *rounds) auditOnce(p *process) (found findings) {
	a := r.audit(p)
	defer a.client.close()
	found = a.writes()
	var owed findings
	_ = eventually(settleLimit, func() error { // what is found in the end counts
		owed = a.owed()
		return owed.err()
	})
	found.add(owed)
	return found
}

// newestLog returns the file that Pebble logs to, and how long it is.
func newestLog(t *testing.T, data string) (path string, size int64) {
	t.Helper()
	logs, err := filepath.Glob(filepath.Join(data, "*.log"))
	if err != nil || len(logs) == 0 {
		t.Fatalf("%s has no logs: %v", data, err)
	}
	path = slices.Max(logs)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return path, info.Size()
}

// TestClockSteps lets the clock step back and forth by hours while clients write.
func TestClockSteps(t *testing.T) {
	t.Parallel()
	seed, steps := drawSeed(t), atomic.Int64{}
	now := func() time.Time { return time.Now().Round(0).Add(time.Duration(steps.Load())) }
	files := vfs.NewCrashableMem()
	g := mustOpen(t, files, now)
	journals := newJournals()[:4]
	var all sync.WaitGroup
	for i, j := range journals {
		all.Go(func() {
			random := rand.New(rand.NewPCG(seed, uint64(i)))
			w := &writer{journal: j, client: &client{address: g.address}, random: random, now: now}
			defer w.client.close()
			for n := range 200 {
				if n%10 == 0 {
					steps.Store(random.Int64N(int64(6*time.Hour)) - int64(3*time.Hour))
				}
				w.step()
			}
		})
	}
	all.Wait()
	steps.Store(int64(7 * time.Hour)) // later than ever: everything is due
	check := func(g *inside) ticked {
		a := audit{client: &client{address: g.address}, journals: journals, now: now}
		defer a.client.close()
		a.checkAll(t)
		kept, err := byKey[ticked](a.client, "tick")
		if err != nil {
			t.Error(err)
		}
		return kept[everything]
	}
	var before ticked
	if err := eventually(settleLimit, func() error {
		if before = check(g); before.Last < now().Unix()/60-1 {
			return fmt.Errorf("the last tick is %+v", before)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	crashed := files.CrashClone(vfs.CrashCloneCfg{})
	g.stop()
	steps.Store(-int64(3 * time.Hour))
	if after := check(mustOpen(t, crashed, now)); after != before {
		t.Errorf("once the clock is back in the past, the ticks are %+v; they were %+v", after, before)
	}
}
