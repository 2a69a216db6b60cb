package pebblestore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/eddyhq/eddy/shared/document"
	"github.com/eddyhq/eddy/shared/errs"
	"github.com/eddyhq/eddy/shared/pebblestore"
	"github.com/eddyhq/eddy/shared/port"
)

// disk has faults once it is broken.
type disk struct {
	broken atomic.Bool
	fault  func(op errorfs.Op) error
}

func (d *disk) files(files vfs.FS) vfs.FS {
	return errorfs.Wrap(files, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if !d.broken.Load() {
			return nil
		}
		return d.fault(op)
	}))
}

// failing returns a fault of some operations on files with a suffix.
func failing(err error, suffix string, kinds ...errorfs.OpKind) func(op errorfs.Op) error {
	return func(op errorfs.Op) error {
		for _, kind := range kinds {
			if op.Kind == kind && strings.HasSuffix(op.Path, suffix) {
				return err
			}
		}
		return nil
	}
}

// large makes commits that soon need new files.
var large = document.Value(`"` + strings.Repeat("x", 300_000) + `"`)

func TestADiskThatTakesNoMoreLosesNothingAndGoesOnToRead(t *testing.T) {
	t.Parallel()
	const create, reuse, write = errorfs.OpCreate, errorfs.OpReuseForWrite, errorfs.OpFileWrite
	for _, c := range []struct {
		name  string
		fault func(op errorfs.Op) error
	}{
		{"the log cannot be written", failing(syscall.ENOSPC, ".log", write)},
		{"no log can be begun", failing(syscall.ENOSPC, ".log", create, reuse)},
		{"too many files are open", failing(syscall.EMFILE, "", create, reuse)},
		{"no table can be begun", failing(syscall.ENOSPC, ".sst", create)},
		{"no table can be written", failing(syscall.ENOSPC, ".sst", write)},
		{"the log cannot be synced", failing(syscall.EIO, ".log", errorfs.OpFileSync, errorfs.OpFileSyncData)},
		{"no table can be synced", failing(syscall.EIO, ".sst", errorfs.OpFileSync, errorfs.OpFileSyncData)},
		{"nothing can be written", failing(syscall.ENOSPC, "", create, reuse, write, errorfs.OpRename, errorfs.OpLink)},
		{"nothing can be synced", failing(syscall.EIO, "", errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo)},
		{"the manifest cannot be written", func(op errorfs.Op) error {
			if op.Kind == write && strings.Contains(op.Path, "MANIFEST") {
				return syscall.ENOSPC
			}
			return nil
		}},
		{"it is read-only now", func(op errorfs.Op) error {
			if op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
				return syscall.EROFS
			}
			return nil
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			files, d := vfs.NewCrashableMem(), &disk{fault: c.fault}
			s := open(t, d.files(files), pebblestore.Options{})
			mustSet(t, s, "before", `1`)
			d.broken.Store(true)
			acknowledged := 0
			var err error
			for ; err == nil && acknowledged < 1000; acknowledged++ {
				w := setWrite(key(acknowledged), string(large))
				w.Collection = port.Scope("large")
				if err = commit(t.Context(), s, port.Commit{Writes: []port.Write{w}}); err != nil {
					break
				}
			}
			wantCode(t, err, errs.Unavailable)
			wantCode(t, commit(t.Context(), s, port.Commit{Writes: []port.Write{setWrite("before", `2`)}}), errs.Unavailable)
			checkReads(t, s, acknowledged)

			crashed := files.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: rand.New(rand.NewPCG(1, 1))})
			if s, err := pebblestore.Open("data", pebblestore.Options{FS: d.files(crashed)}); err == nil {
				checkReads(t, s, acknowledged)
				_ = s.Close()
			}
			d.broken.Store(false)
			again := open(t, crashed, pebblestore.Options{})
			checkReads(t, again, acknowledged)
			mustSet(t, again, "before", `2`)
		})
	}
}

// checkReads reads what was durable before the disk failed.
func checkReads(t *testing.T, s *pebblestore.Store, acknowledged int) {
	t.Helper()
	if err := wantGet(s, "before", `1`); err != nil {
		t.Error(err)
	}
	wantKeys(t, s, "before")
	if n := len(readLog(t, s, 0, 10_000)); n < 1+acknowledged {
		t.Errorf("%d records are left of %d acknowledged commits", n, 1+acknowledged)
	}
	if _, _, err := s.DeadLetters(t.Context(), "", port.LetterID{}, 1); err != nil {
		t.Errorf("dead letters: %v", err)
	}
	for i := range acknowledged {
		d, err := s.Get(t.Context(), port.Scope("large"), key(i))
		if err != nil || string(d.Value) != string(large) {
			t.Errorf("document %d of %d is lost, %v", i, acknowledged, err)
		}
	}
}

// uncompacted are files of a disk on which nothing can be compacted.
type uncompacted struct {
	vfs.FS
	attempts atomic.Int64
}

func (u *uncompacted) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if category == "pebble-compaction" {
		u.attempts.Add(1)
		return nil, syscall.ENOSPC
	}
	return u.FS.Create(name, category)
}

func TestAStoreThatCannotCompactGoesOnToRead(t *testing.T) {
	t.Parallel()
	files := &uncompacted{FS: vfs.NewMem()}
	s := open(t, files, pebblestore.Options{})
	mustSet(t, s, "before", `1`)
	acknowledged := 0
	for acknowledged < 1000 {
		w := setWrite(key(acknowledged), string(large))
		w.Collection = port.Scope("large")
		if err := commit(t.Context(), s, port.Commit{Writes: []port.Write{w}}); err != nil {
			wantCode(t, err, errs.Unavailable)
			break
		}
		acknowledged++
	}
	checkReads(t, s, acknowledged)
	closeStore(t, s)
	if files.attempts.Load() == 0 {
		t.Error("there was nothing to compact")
	}
}

func TestADirectoryThatCannotBeWrittenIsNotOpened(t *testing.T) {
	t.Parallel()
	files := vfs.NewCrashableMem()
	mustSet(t, open(t, files, pebblestore.Options{}), "k", `1`)
	for _, kind := range []errorfs.OpKind{
		errorfs.OpCreate, errorfs.OpFileWrite, errorfs.OpFileSync,
	} {
		for _, existing := range []bool{true, false} {
			d := &disk{fault: failing(syscall.EROFS, "", kind)}
			d.broken.Store(true)
			directory := vfs.NewCrashableMem()
			if existing {
				directory = files.CrashClone(vfs.CrashCloneCfg{})
			}
			_, err := pebblestore.Open("data", pebblestore.Options{FS: d.files(directory)})
			wantError(t, err, "data directory data: ")
			if !errors.Is(err, syscall.EROFS) {
				t.Errorf("opening fails with %v", err)
			}
		}
	}
	if err := wantGet(open(t, files.CrashClone(vfs.CrashCloneCfg{}), pebblestore.Options{}), "k", `1`); err != nil {
		t.Error(err)
	}
}

// logOf returns the path and the bytes of the log that a database writes to.
func logOf(t *testing.T, files vfs.FS) (path string, b []byte) {
	t.Helper()
	names, err := files.List("data")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if filepath.Ext(name) == ".log" {
			path = max(path, files.PathJoin("data", name))
		}
	}
	return path, readFile(t, files, path)
}

func TestATornLastWriteIsNoWrite(t *testing.T) {
	t.Parallel()
	files := vfs.NewCrashableMem()
	s := open(t, files, pebblestore.Options{})
	var ends []int // of the log, after each commit
	const commits = 4
	for i := range commits {
		mustSet(t, s, key(i), `"`+strings.Repeat("x", 50)+`"`)
		_, b := logOf(t, files.CrashClone(vfs.CrashCloneCfg{}))
		ends = append(ends, len(b))
	}
	random := rand.New(rand.NewPCG(1, 1))
	for n := ends[0]; n <= ends[commits-1]; n++ {
		whole := 0 // commits that are before the tear
		for whole < commits && ends[whole] <= n {
			whole++
		}
		torn := files.CrashClone(vfs.CrashCloneCfg{})
		path, b := logOf(t, torn)
		tail := []string{"nothing", "zeros", "noise"}[n%3]
		switch rest := b[n:]; tail {
		case "nothing":
			b = b[:n]
		case "zeros":
			clear(rest)
		default:
			for i := range rest {
				rest[i] = byte(random.Uint32())
			}
		}
		writeFile(t, torn, path, b)
		again, err := pebblestore.Open("data", pebblestore.Options{FS: torn})
		if err != nil {
			t.Fatalf("with %s behind %d bytes: %v", tail, n, err)
		}
		checkPrefix(t, again, commits)
		if got := int(again.Head()); got != whole {
			t.Errorf("with %s behind %d bytes %d commits are left of %d", tail, n, got, whole)
		}
		mustSet(t, again, "more", `1`)
		closeStore(t, again)
	}
}

// checkPrefix checks that the documents with these keys are those of the commits that the log tells of.
func checkPrefix(t *testing.T, s *pebblestore.Store, keys int) {
	t.Helper()
	records := readLog(t, s, 0, 1000)
	for i := range keys {
		d, err := s.Get(t.Context(), port.Scope("todos"), key(i))
		if err != nil || d.Exists() != (i < len(records)) {
			t.Fatalf("document %d is %+v after %d records, %v", i, d, len(records), err)
		}
		if d.Exists() && (string(d.Value) != string(records[i].Change.New) || d.Version != records[i].Change.Version) {
			t.Fatalf("document %d is %+v, the log tells of %+v", i, d, records[i].Change)
		}
	}
}

func TestADamagedFileIsAnErrorAndNeverOtherData(t *testing.T) {
	t.Parallel()
	const documents = 60 // several blocks of a table, and several of the 32 KiB of which a log is made
	for _, c := range []struct {
		name   string
		closed bool
		want   []string
	}{
		{"a table", true, []string{".sst unreadable"}},
		{"a log", false, []string{".log refused"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			files, random := vfs.NewCrashableMem(), rand.New(rand.NewPCG(1, 1))
			s := open(t, files, pebblestore.Options{})
			values := make([]string, documents)
			for i := range values {
				values[i] = fmt.Sprintf(`"%x"`, random.Perm(250))
				mustSet(t, s, key(i), values[i])
			}
			if c.closed {
				closeStore(t, s)
			}
			crashed := files.CrashClone(vfs.CrashCloneCfg{})
			names, err := crashed.List("data")
			if err != nil {
				t.Fatal(err)
			}
			found := map[string]int{}
			for _, name := range names {
				whole := readFile(t, crashed, "data/"+name)
				for i := 0; i < len(whole); i += 1 + len(whole)/60 {
					damaged := files.CrashClone(vfs.CrashCloneCfg{})
					b := bytes.Clone(whole)
					b[i] ^= 1 << random.IntN(8)
					writeFile(t, damaged, "data/"+name, b)
					found[filepath.Ext(name)+" "+openDamaged(t, damaged, values)]++
				}
			}
			for _, want := range c.want {
				if found[want] == 0 {
					t.Errorf("no fault led to %q: %v", want, found)
				}
			}
		})
	}
}

// openDamaged opens a store with a damaged file, and checks that it tells nothing that was never written.
func openDamaged(t *testing.T, files vfs.FS, values []string) string {
	t.Helper()
	s, err := pebblestore.Open("data", pebblestore.Options{FS: files})
	if err != nil {
		return "refused"
	}
	defer func() { _ = s.Close() }()
	outcome := "read"
	head := int(s.Head()) // the last block of the log can end early: that is how a torn write looks
	for i := range values {
		d, err := s.Get(t.Context(), port.Scope("todos"), key(i))
		switch {
		case err != nil:
			wantCode(t, err, errs.Internal)
			outcome = "unreadable"
		case d.Exists() != (i < head):
			t.Errorf("document %d is %+v, with %d records", i, d, head)
		case d.Exists() && string(d.Value) != values[i]:
			t.Errorf("document %d is %s", i, d.Value)
		}
	}
	records, err := s.Records(t.Context(), 0, 1000)
	if err != nil {
		wantCode(t, err, errs.Internal)
		outcome = "unreadable"
	}
	for i, r := range records {
		if r.Change.Key != key(i) || string(r.Change.New) != values[i] {
			t.Errorf("record %d is of %s: %s", i, r.Change.Key, r.Change.New)
		}
	}
	if outcome == "unreadable" {
		wantCode(t, commit(t.Context(), s, port.Commit{Writes: []port.Write{setWrite("k", `1`)}}), errs.Unavailable)
	}
	return outcome
}

func TestAClockThatStepsBackAndForthLosesNothing(t *testing.T) {
	t.Parallel()
	var offset atomic.Int64
	now := func() time.Time { return time.Unix(1_800_000_000, 0).Add(time.Duration(offset.Load())) }
	files := vfs.NewMem()
	var versions sync.Map // of all changes of all lives
	var last [4]int64
	for life := range 3 {
		s, err := pebblestore.Open("data", pebblestore.Options{FS: files, Now: now})
		if err != nil {
			t.Fatal(err)
		}
		var writers sync.WaitGroup
		for i := range last {
			random := rand.New(rand.NewPCG(uint64(life), uint64(i)))
			writers.Go(func() {
				for range 200 {
					offset.Store(int64(time.Duration(random.IntN(20)-10) * time.Hour))
					results, err := s.Commit(context.Background(), port.Commit{Writes: []port.Write{setWrite(key(i), `1`)}})
					if err != nil {
						t.Errorf("commit: %v", err)
						return
					}
					version := results[0].Version
					if _, twice := versions.LoadOrStore(version, true); twice || version <= last[i] {
						t.Errorf("version %d follows %d", version, last[i])
					}
					last[i] = version
				}
			})
		}
		writers.Wait()
		wantKeys(t, s, key(0), key(1), key(2), key(3))
		closeStore(t, s)
	}
}

func readFile(t *testing.T, files vfs.FS, path string) []byte {
	t.Helper()
	f, err := files.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(f)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	return b
}

func writeFile(t *testing.T, files vfs.FS, path string, b []byte) {
	t.Helper()
	f, err := files.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.Write(b)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		t.Fatal(err)
	}
}
