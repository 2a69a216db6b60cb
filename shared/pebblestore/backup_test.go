package pebblestore_test

import (
	"bytes"
	"compress/flate"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/google/go-cmp/cmp"

	"github.com/eddyhq/eddy/shared/document"
	"github.com/eddyhq/eddy/shared/errs"
	"github.com/eddyhq/eddy/shared/pebblestore"
	"github.com/eddyhq/eddy/shared/port"
)

func backup(t *testing.T, s *pebblestore.Store) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := s.Backup(t.Context(), &b); err != nil {
		t.Fatalf("backup: %v", err)
	}
	if err := pebblestore.VerifyBackup(t.Context(), bytes.NewReader(b.Bytes())); err != nil {
		t.Fatalf("verify: %v", err)
	}
	return b.Bytes()
}

// restore restores a backup into a file system of its own.
func restore(t *testing.T, b []byte) vfs.FS {
	t.Helper()
	files := vfs.NewMem()
	if err := pebblestore.Restore(t.Context(), bytes.NewReader(b), "data", files); err != nil {
		t.Fatalf("restore: %v", err)
	}
	return files
}

// smallStore has one of everything.
func smallStore(t *testing.T, options pebblestore.Options) *pebblestore.Store {
	t.Helper()
	s := open(t, vfs.NewMem(), options)
	mustSet(t, s, "k", `{"n":1}`)
	mustSet(t, s, "k", `{"n":2}`)
	err := commit(t.Context(), s, port.Commit{
		Writes: []port.Write{{
			Op: port.Set, Collection: port.Own("schedules", "f::g"), Key: "1", Value: document.Value(`1`), TTL: time.Hour,
		}},
		Calls:   []port.Call{{ID: "2", Function: "f::g", Payload: document.Value(`2`), Group: "g", NotBefore: 5}},
		Events:  []port.Event{{Group: port.Group("s", "g"), Type: "t", Data: document.Value(`{}`)}},
		Cursors: []port.Cursor{{Name: "f::g/k", Version: 7}},
		Failed:  []port.DeadLetter{letter("1")},
	})
	err = errors.Join(err,
		s.Attempted(t.Context(), "f::g/other", port.Attempts{Version: 9, Count: 2, First: time.Unix(1, 0).UTC()}),
		s.SetProgress(t.Context(), map[string]uint64{"f::g": 1}), s.Trim(t.Context(), 1))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestARestoredStoreGoesOnWhereItWasBackedUp(t *testing.T) {
	t.Parallel()
	s := smallStore(t, pebblestore.Options{})
	again := open(t, restore(t, backup(t, s)), pebblestore.Options{})

	for name, read := range map[string]func(s *pebblestore.Store) (any, error){
		"a document": func(s *pebblestore.Store) (any, error) { return s.Get(t.Context(), port.Scope("todos"), "k") },
		"one of Eddy's own": func(s *pebblestore.Store) (any, error) {
			return s.Get(t.Context(), port.Own("schedules", "f::g"), "1")
		},
		"the log": func(s *pebblestore.Store) (any, error) { return s.Records(t.Context(), 0, 100) },
		"the dead letters": func(s *pebblestore.Store) (any, error) {
			letters, _, err := s.DeadLetters(t.Context(), "", port.LetterID{}, 10)
			return letters, err
		},
		"the attempts":    func(s *pebblestore.Store) (any, error) { return s.Attempts(t.Context(), "f::g/other") },
		"the progress":    func(s *pebblestore.Store) (any, error) { return s.Progress(), nil },
		"the head":        func(s *pebblestore.Store) (any, error) { return s.Head(), nil },
		"the next expiry": func(s *pebblestore.Store) (any, error) { return s.Expire(t.Context()) },
		"a stale cursor": func(s *pebblestore.Store) (any, error) {
			err := commit(t.Context(), s, port.Commit{Cursors: []port.Cursor{{Name: "f::g/k", Version: 7}}})
			return errors.Is(err, port.ErrStale), nil
		},
	} {
		want, err := read(s)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got, err := read(again)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", name, err, diff)
		}
	}
	if s.CountRows() != again.CountRows() {
		t.Errorf("%d rows were backed up, %d are restored", s.CountRows(), again.CountRows())
	}
	if again.Epoch() == s.Epoch() || len(again.Epoch()) != len(s.Epoch()) {
		t.Errorf("the epoch was %s and is %s", s.Epoch(), again.Epoch())
	}
	before, err := s.Get(t.Context(), port.Scope("todos"), "k")
	if after := mustSet(t, again, "k", `3`); after <= before.Version || err != nil {
		t.Errorf("version %d follows %d, %v", after, before.Version, err)
	}
}

func TestABackupUnderCommitsIsOneMoment(t *testing.T) {
	t.Parallel()
	s := open(t, vfs.NewMem(), pebblestore.Options{})
	fill(t, s, 5_000) // so that commits go on while rows are written
	begun := s.Head()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var writers sync.WaitGroup
	ready := make(chan struct{}, 8)
	for i := range cap(ready) {
		writers.Go(func() {
			for n := 1; ctx.Err() == nil; n++ {
				// Two documents and a cursor, always together, and one record of each document.
				writes := []port.Write{setWrite(fmt.Sprint("a", i), fmt.Sprint(n)), setWrite(fmt.Sprint("z", i), fmt.Sprint(n))}
				_ = commit(ctx, s, port.Commit{
					Writes: writes, Cursors: []port.Cursor{{Name: fmt.Sprint("f::g/", i), Version: int64(n)}},
				})
				if n == 3 {
					ready <- struct{}{}
				}
			}
		})
	}
	for range cap(ready) {
		<-ready
	}
	var backups [][]byte
	for range 5 {
		backups = append(backups, backup(t, s))
	}
	cancel()
	writers.Wait()
	last := begun
	for _, b := range backups {
		last = checkMoment(t, open(t, restore(t, b), pebblestore.Options{}), cap(ready), begun, last)
	}
}

// checkMoment checks that what TestABackupUnderCommitsIsOneMoment writes together is together, and that the log ends with it.
func checkMoment(t *testing.T, s *pebblestore.Store, writers int, begun, last uint64) uint64 {
	t.Helper()
	total := 0
	for i := range writers {
		a, err := s.Get(t.Context(), port.Scope("todos"), fmt.Sprint("a", i))
		z, err2 := s.Get(t.Context(), port.Scope("todos"), fmt.Sprint("z", i))
		if err != nil || err2 != nil || string(a.Value) != string(z.Value) {
			t.Errorf("%s and %s were written together (%v, %v)", a.Value, z.Value, err, err2)
		}
		var n int
		if err := a.Value.Decode(&n); err != nil || n < 3 {
			t.Errorf("document %d is %s, %v", i, a.Value, err)
		}
		total += n
		for version, stale := range map[int]bool{n: true, n + 1: false} {
			err := commit(t.Context(), s, port.Commit{
				Cursors: []port.Cursor{{Name: fmt.Sprint("f::g/", i), Version: int64(version)}},
			})
			if errors.Is(err, port.ErrStale) != stale {
				t.Errorf("of %d effects, one with cursor %d: %v", n, version, err)
			}
		}
	}
	if s.Head() != begun+2*uint64(total) || s.Head() < last {
		t.Errorf("the head is %d after %d, with %d changes", s.Head(), begun, 2*total)
	}
	if records := readLog(t, s, 0, 1000); len(records) != int(s.Head()) {
		t.Errorf("the log has %d records up to %d", len(records), s.Head())
	}
	return s.Head()
}

func TestABackupWaitsForWhatItSawToBeDurable(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var g gate
		s := openBubble(t, g.files(vfs.NewMem()), pebblestore.Options{})
		defer closeStore(t, s)
		mustSet(t, s, "k", `1`)
		openGate := g.close()
		go func() { _ = commit(t.Context(), s, port.Commit{Writes: []port.Write{setWrite("k", `2`)}}) }()
		synctest.Wait()
		var b bytes.Buffer
		done := make(chan error, 1)
		go func() { done <- s.Backup(t.Context(), &b) }()
		synctest.Wait()
		if b.Len() > 0 || len(done) > 0 {
			t.Errorf("%d bytes were written before the sync", b.Len())
		}
		openGate()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		again := openBubble(t, restore(t, b.Bytes()), pebblestore.Options{})
		defer closeStore(t, again)
		if err := wantGet(again, "k", `2`); err != nil {
			t.Error(err)
		}
	})
}

func TestABackupEndsWithItsContextItsWriterAndItsStore(t *testing.T) {
	t.Parallel()
	s := open(t, vfs.NewMem(), pebblestore.Options{})
	fill(t, s, 5_000)
	full := errors.New("the pipe is full")
	ctx, cancel := context.WithCancel(t.Context())
	failing := func(do func()) io.Writer { return &writerFunc{do: do, err: full} }
	if err := s.Backup(ctx, failing(func() {})); !errors.Is(err, full) {
		t.Errorf("a writer that fails: %v", err)
	}
	wantCode(t, s.Backup(ctx, &writerFunc{do: cancel}), errs.Unavailable)

	closed := make(chan error, 1)
	err := s.Backup(t.Context(), &writerFunc{do: func() {
		if len(closed) > 0 {
			return
		}
		go func() { closed <- s.Close() }()
		for commit(context.Background(), s, port.Commit{}) == nil { // until it is closing
		}
	}})
	wantCode(t, err, errs.Unavailable)
	if err := <-closed; err != nil {
		t.Errorf("close: %v", err)
	}
	wantCode(t, s.Backup(t.Context(), io.Discard), errs.Unavailable)
}

// writerFunc does something with every write, and fails it when it has an error.
type writerFunc struct {
	do  func()
	err error
}

func (w *writerFunc) Write(p []byte) (int, error) {
	w.do()
	if w.err != nil {
		return 0, w.err
	}
	return len(p), nil
}

func TestABackupThatIsCutOffOrDamagedIsRefusedAndLeavesNothing(t *testing.T) {
	t.Parallel()
	b := backup(t, smallStore(t, pebblestore.Options{}))
	refused := func(b []byte, want ...string) {
		t.Helper()
		files := vfs.NewMem()
		err := pebblestore.Restore(t.Context(), bytes.NewReader(b), "data", files)
		verified := pebblestore.VerifyBackup(t.Context(), bytes.NewReader(b))
		if err == nil || verified == nil || verified.Error() != err.Error() {
			t.Fatalf("it was restored with %v and verified with %v", err, verified)
		}
		known := false
		for _, text := range want {
			known = known || bytes.Contains([]byte(err.Error()), []byte(text))
		}
		if left, listErr := files.List("data"); !known || listErr != nil || len(left) > 0 {
			t.Fatalf("it was refused with %v, and %v is left (%v)", err, left, listErr)
		}
	}
	for n := range len(b) {
		refused(b[:n], "cut off")
	}
	refused(append(bytes.Clone(b), 0), "damaged")
	for i := range b {
		flipped := bytes.Clone(b)
		flipped[i] ^= 1 << (i % 8)
		switch {
		case i < len("eddy backup 1\n"):
			refused(flipped, "no backup of Eddy's", "newer Eddy")
		default: // what says where it ends can be damaged too
			refused(flipped, "damaged", "cut off")
		}
	}
}

func TestABackupOfANewerVersionIsRefused(t *testing.T) {
	t.Parallel()
	b := backup(t, smallStore(t, pebblestore.Options{}))
	newer := append([]byte("eddy backup 2\n"), b[len("eddy backup 1\n"):]...)
	wantError(t, pebblestore.VerifyBackup(t.Context(), bytes.NewReader(newer)),
		"has version 2, written by a newer Eddy; this one reads up to 1")

	rows := packRows([2]string{"mformat", string(binary.BigEndian.AppendUint64(nil, 3))})
	wantError(t, pebblestore.Restore(t.Context(), bytes.NewReader(rows), "data", vfs.NewMem()),
		"holds format 3, written by a newer Eddy; this one reads up to 2")
}

// packRows makes a backup of rows.
func packRows(rows ...[2]string) []byte {
	var body []byte
	for _, row := range rows {
		for _, part := range row {
			body = append(binary.AppendUvarint(body, uint64(len(part))), part...)
		}
	}
	return pack(binary.AppendUvarint(append(body, 0), uint64(len(rows))))
}

// pack makes a backup of what is deflated in it.
func pack(body []byte) []byte {
	b := bytes.NewBufferString("eddy backup 1\n")
	w, _ := flate.NewWriter(b, flate.BestSpeed)
	_, _ = w.Write(body)
	_ = w.Close()
	sum := sha256.Sum256(b.Bytes())
	return append(b.Bytes(), sum[:]...)
}

func TestABackupIsRestoredIntoAnEmptyDirectoryOnly(t *testing.T) {
	t.Parallel()
	s := smallStore(t, pebblestore.Options{})
	b := backup(t, s)
	dir := filepath.Join(t.TempDir(), "new", "data")
	into := func(dir string) error { return pebblestore.Restore(t.Context(), bytes.NewReader(b), dir, nil) }
	if err := into(dir); err != nil {
		t.Fatal(err)
	}
	wantError(t, into(dir), "the directory "+dir+" is not empty")
	again := openDir(t, dir, pebblestore.Options{})
	wantError(t, into(dir), "is not empty")
	if err := wantGet(again, "k", `{"n":2}`); err != nil {
		t.Error(err)
	}
	if err := into(t.TempDir()); err != nil {
		t.Errorf("an empty directory: %v", err)
	}
}

func TestADirectoryWhoseRestoreDidNotEndIsRefused(t *testing.T) {
	t.Parallel()
	s := open(t, vfs.NewMem(), pebblestore.Options{})
	fill(t, s, 5_000)
	b := backup(t, s)
	files := vfs.NewCrashableMem()
	var crashed []*vfs.MemFS
	each := errorfs.Wrap(files, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpCreate || op.Kind == errorfs.OpRename {
			crashed = append(crashed, files.CrashClone(vfs.CrashCloneCfg{}))
		}
		return nil
	}))
	if err := pebblestore.Restore(t.Context(), bytes.NewReader(b), "data", each); err != nil {
		t.Fatal(err)
	}
	refused := 0
	for _, files := range crashed {
		s, err := pebblestore.Open("data", pebblestore.Options{FS: files})
		if err != nil {
			if refused++; !bytes.Contains([]byte(err.Error()), []byte("did not end: remove it, and restore again")) {
				t.Errorf("it is refused with %v", err)
			}
			continue
		}
		if n := s.Head(); n != 0 && n != 5_000 { // before the first row, or after the last
			t.Errorf("a store with %d records is opened", n)
		}
		closeStore(t, s)
	}
	if refused == 0 {
		t.Errorf("none of %d crashes was in the midst", len(crashed))
	}
	wantRecords(t, readLog(t, open(t, files.CrashClone(vfs.CrashCloneCfg{}), pebblestore.Options{}), 0, 1000),
		readLog(t, s, 0, 1000))
}

func TestARestoreWithoutRoomOnTheDiskSaysSoAndLeavesNothing(t *testing.T) {
	t.Parallel()
	s := open(t, vfs.NewMem(), pebblestore.Options{})
	fill(t, s, 5_000)
	b := backup(t, s)
	files := vfs.NewMem()
	full := errorfs.Wrap(files, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileWrite && filepath.Base(op.Path) == "restored-0" {
			return syscall.ENOSPC
		}
		return nil
	}))
	err := pebblestore.Restore(t.Context(), bytes.NewReader(b), "data", full)
	if !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("it fails with %v", err)
	}
	if left, err := files.List("data"); err != nil || len(left) > 0 {
		t.Errorf("%v is left (%v)", left, err)
	}
}

func FuzzRestore(f *testing.F) {
	format := [2]string{"mformat", string(binary.BigEndian.AppendUint64(nil, 2))}
	f.Add(packRows(format))
	f.Add(packRows([2]string{"dstate/todos\x00k", "12345678{}"}, format))
	f.Add(packRows([2]string{"mclock", "1"}, format))
	f.Add([]byte("eddy backup 1\n"))
	f.Add([]byte("\x07mformat\x08\x00\x00\x00\x00\x00\x00\x00\x02\x00\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		// As it is, and as what a backup holds that is not damaged.
		for _, b := range [][]byte{b, pack(b)} {
			files := vfs.NewMem()
			verified := pebblestore.VerifyBackup(t.Context(), bytes.NewReader(b))
			if err := pebblestore.Restore(t.Context(), bytes.NewReader(b), "data", files); err != nil {
				if left, listErr := files.List("data"); listErr != nil || len(left) > 0 {
					t.Errorf("after %v, %v is left (%v)", err, left, listErr)
				}
				continue
			}
			if verified != nil {
				t.Errorf("what is restored was not verified: %v", verified)
			}
			// Rows that no store wrote may be refused, or read with errors.
			s, err := pebblestore.Open("data", pebblestore.Options{FS: files})
			if err != nil {
				continue
			}
			_, _ = s.Collections(t.Context(), "")
			_, _ = s.Records(t.Context(), 0, 10)
			_, _ = s.Expire(t.Context())
			closeStore(t, s)
		}
	})
}
