package pebblestore_test

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"

	"github.com/eddyhq/eddy/shared/document"
	"github.com/eddyhq/eddy/shared/errs"
	"github.com/eddyhq/eddy/shared/pebblestore"
	"github.com/eddyhq/eddy/shared/port"
)

func TestFollowersSeeEveryRecordInOrderOverRestarts(t *testing.T) {
	t.Parallel()
	files := vfs.NewMem()
	var published []port.Record
	const restarts, writers, commits = 3, 8, 50
	for range restarts {
		s, err := pebblestore.Open("data", pebblestore.Options{
			FS:        files,
			Published: func(records []port.Record) { published = append(published, records...) },
		})
		if err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		for i := range writers {
			all.Go(func() {
				for range commits {
					_, err := s.Commit(context.Background(), port.Commit{
						Writes: []port.Write{setWrite(key(i), `1`)},
						Events: []port.Event{{Group: port.Group("s", "g"), Type: "t", Data: document.Value(`{}`)}},
					})
					if err != nil {
						t.Errorf("commit: %v", err)
					}
				}
			})
		}
		all.Wait()
		closeStore(t, s)
	}
	for i, r := range published {
		if r.Position != uint64(i+1) {
			t.Fatalf("record %d was published at position %d", i, r.Position)
		}
	}
	s := open(t, files, pebblestore.Options{})
	if want := restarts * writers * commits * 2; len(published) != want || s.Head() != uint64(want) {
		t.Errorf("%d records were published and the head is %d, want %d", len(published), s.Head(), want)
	}
	wantRecords(t, readLog(t, s, 0, 100), published)
}

func TestTheLogIsTheSameFromMemoryAndFromDisk(t *testing.T) {
	t.Parallel()
	files := vfs.NewMem()
	s := open(t, files, pebblestore.Options{})
	fill(t, s, 10_000) // more than are kept in memory
	mixed := readLog(t, s, 0, 777)
	closeStore(t, s)
	stored := readLog(t, open(t, files, pebblestore.Options{}), 0, 1_000)
	if len(mixed) != 10_000 {
		t.Errorf("%d records", len(mixed))
	}
	wantRecords(t, mixed, stored)
}

func TestRecord(t *testing.T) {
	t.Parallel()
	s := open(t, vfs.NewMem(), pebblestore.Options{})
	fill(t, s, 9_000)
	if err := s.Trim(t.Context(), 10); err != nil {
		t.Fatal(err)
	}
	for _, position := range []uint64{11, 500, 8_999, 9_000} {
		if r, err := s.Record(position); err != nil || r.Position != position || r.Change.Key != key(int(position)-1) {
			t.Errorf("record %d: %+v, %v", position, r, err)
		}
	}
	for _, position := range []uint64{0, 10, 9_001} {
		_, err := s.Record(position)
		wantCode(t, err, errs.NotFound)
	}
}

func TestChangesThatNobodyFollowsAreNotLogged(t *testing.T) {
	t.Parallel()
	s := open(t, vfs.NewMem(), pebblestore.Options{Follow: func(c port.Collection) bool { return c == port.Scope("a") }})
	_, err := s.Commit(t.Context(), port.Commit{
		Writes: []port.Write{
			{Op: port.Set, Collection: port.Scope("a"), Key: "k", Value: document.Value(`1`)},
			{Op: port.Set, Collection: port.Scope("b"), Key: "k", Value: document.Value(`1`), NoResult: true},
		},
		Calls: []port.Call{{ID: "1", Function: "f::g"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	records := readLog(t, s, 0, 10)
	if len(records) != 2 || records[0].Change == nil || records[0].Change.Collection != port.Scope("a") ||
		records[1].Call == nil {
		t.Errorf("records: %+v", records)
	}
	if d, err := s.Get(t.Context(), port.Scope("b"), "k"); err != nil || !d.Exists() {
		t.Errorf("the document that is not followed: %+v, %v", d, err)
	}
}

func TestASnapshotIsExactlyWhatTheLogUpToItsPositionSays(t *testing.T) {
	t.Parallel()
	s := open(t, vfs.NewMem(), pebblestore.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	var writers sync.WaitGroup
	for i := range 6 {
		writers.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				w := setWrite(key((i+n)%10), fmt.Sprint(n))
				if n%3 == 2 {
					w.Op, w.Value = port.Delete, nil
				}
				_, _ = s.Commit(ctx, port.Commit{Writes: []port.Write{w, {
					Op: port.Set, Collection: port.Scope("elsewhere"), Key: key(i), Value: document.Value(`1`),
				}}})
			}
		})
	}
	for range 50 {
		documents, position, err := s.Snapshot(t.Context(), port.Scope("todos"), "")
		if err != nil {
			t.Fatal(err)
		}
		if s.Head() < position {
			t.Fatalf("a snapshot at %d, the head is %d", position, s.Head())
		}
		want := map[string]string{}
		for _, r := range readLog(t, s, 0, 1000) {
			if r.Position > position || r.Change.Collection != port.Scope("todos") {
				continue
			}
			if want[r.Change.Key] = string(r.Change.New); r.Change.New == nil {
				delete(want, r.Change.Key)
			}
		}
		got := map[string]string{}
		for _, d := range documents {
			got[d.Key] = string(d.Value)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("snapshot at %d (-log +snapshot):\n%s", position, diff)
		}
	}
	cancel()
	writers.Wait()
}

func TestProgressIsKeptAndNeverGoesBackOrAhead(t *testing.T) {
	t.Parallel()
	files := vfs.NewMem()
	s := open(t, files, pebblestore.Options{})
	fill(t, s, 100)
	set := func(progress map[string]uint64) {
		if err := s.SetProgress(t.Context(), progress); err != nil {
			t.Fatal(err)
		}
	}
	wantProgress := func(s *pebblestore.Store, want map[string]uint64) {
		t.Helper()
		if diff := cmp.Diff(want, s.Progress()); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	}
	wantProgress(s, map[string]uint64{})
	set(map[string]uint64{"a": 10, "b": 20})
	set(map[string]uint64{"a": 5, "b": 500, "c": 0})
	wantProgress(s, map[string]uint64{"a": 10, "b": 100, "c": 0})
	if err := s.Trim(t.Context(), 15); err != nil {
		t.Fatal(err)
	}
	want := map[string]uint64{"a": 15, "b": 100, "c": 15}
	wantProgress(s, want)
	closeStore(t, s)
	wantProgress(open(t, files, pebblestore.Options{}), want)
}

func TestTrimKeepsTheDatabaseBounded(t *testing.T) {
	t.Parallel()
	files := vfs.NewMem()
	s := open(t, files, pebblestore.Options{})
	rows := 0
	for round := range 30 {
		for n := range 50 {
			delivery := fmt.Sprintf("round %d delivery %d", round, n)
			mustSet(t, s, "k", `1`)
			if err := s.Attempted(t.Context(), delivery, port.Attempts{Version: 1, Count: 1}); err != nil {
				t.Fatal(err)
			}
			_, err := s.Commit(t.Context(), port.Commit{Cursors: []port.Cursor{{Name: delivery, Version: 1}}})
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Trim(t.Context(), s.Head()); err != nil {
			t.Fatal(err)
		}
		if stats := s.Stats(); stats.LogLength != 0 {
			t.Fatalf("the log has %d records after a trim", stats.LogLength)
		}
		if rows = s.CountRows(); rows > 250 {
			t.Fatalf("round %d: %d rows", round, rows)
		}
	}
	if records := readLog(t, s, 0, 10); len(records) != 0 {
		t.Errorf("%d records after a trim", len(records))
	}
	closeStore(t, s)
	again := open(t, files, pebblestore.Options{})
	if n := again.CountRows(); n != rows {
		t.Errorf("%d rows, %d after a restart", rows, n)
	}
}

func TestTrimLeavesWhatGuardsTheRest(t *testing.T) {
	t.Parallel()
	files := vfs.NewMem()
	s := open(t, files, pebblestore.Options{})
	var taken []port.Cursor // of the records from position 6 on
	for n := range 40 {
		mustSet(t, s, "k", `1`)
		cursor := port.Cursor{Name: fmt.Sprint(n), Version: 1}
		if _, err := s.Commit(t.Context(), port.Commit{Cursors: []port.Cursor{cursor}}); err != nil {
			t.Fatal(err)
		}
		taken = append(taken, cursor)
		if n >= 10 { // ten records behind
			if err := s.Trim(t.Context(), uint64(n-9)); err != nil {
				t.Fatal(err)
			}
			taken = taken[len(taken)-10:]
		}
		for _, cursor := range taken {
			_, err := s.Commit(t.Context(), port.Commit{Cursors: []port.Cursor{cursor}})
			if err != port.ErrStale {
				t.Fatalf("after %d records the cursor of record %s is gone (%v)", n+1, cursor.Name, err)
			}
		}
	}
	closeStore(t, s)
	again := open(t, files, pebblestore.Options{})
	for _, cursor := range taken {
		if _, err := again.Commit(t.Context(), port.Commit{Cursors: []port.Cursor{cursor}}); err != port.ErrStale {
			t.Errorf("after a restart the cursor of record %s is gone (%v)", cursor.Name, err)
		}
	}
}

func TestADeadLetterOutlivesItsRecordAndARestart(t *testing.T) {
	t.Parallel()
	files := vfs.NewMem()
	s := open(t, files, pebblestore.Options{})
	mustSet(t, s, "k", `1`)
	record, err := s.Record(1)
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Commit(t.Context(), port.Commit{Failed: []port.DeadLetter{{ID: "1", Function: "f::g", Record: record}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Trim(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	closeStore(t, s)
	s = open(t, files, pebblestore.Options{})
	if found, err := s.Redrive(t.Context(), "f::g", "1"); err != nil || !found {
		t.Fatalf("redrive: %v, %v", found, err)
	}
	record.Position, record.Target = 2, "f::g"
	wantRecords(t, readLog(t, s, 0, 10), []port.Record{record})
}

func TestLargeRecordsAreReadInParts(t *testing.T) {
	t.Parallel()
	files := vfs.NewMem()
	s := open(t, files, pebblestore.Options{})
	large := `"` + strings.Repeat("x", 300_000) + `"`
	for i := range 60 { // 18 MB: more than stays in memory, and than is read at a time
		mustSet(t, s, key(i), large)
	}
	first, err := s.Records(t.Context(), 0, 1000)
	if err != nil || len(first) == 0 || len(first) >= 60 {
		t.Errorf("%d records at a time, %v", len(first), err)
	}
	if records := readLog(t, s, 0, 1000); len(records) != 60 {
		t.Errorf("%d records", len(records))
	}
}

// wantRecords compares long logs, which cmp alone is slow at.
func wantRecords(t *testing.T, got, want []port.Record) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d records, want %d", len(got), len(want))
	}
	for i := range want {
		if !reflect.DeepEqual(got[i], want[i]) {
			t.Fatalf("record %d (-want +got):\n%s", i, cmp.Diff(want[i], got[i]))
		}
	}
}

// readLog reads the log from a position to its head.
func readLog(t *testing.T, s *pebblestore.Store, after uint64, limit int) (all []port.Record) {
	t.Helper()
	for {
		records, err := s.Records(t.Context(), after, limit)
		if err != nil {
			t.Fatal(err)
		}
		if len(records) == 0 {
			return all
		}
		for _, r := range records {
			if r.Position <= after {
				t.Fatalf("record %d after %d", r.Position, after)
			}
			after = r.Position
		}
		all = append(all, records...)
	}
}
