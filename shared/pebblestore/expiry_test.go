package pebblestore_test

import (
	"encoding/binary"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/eddyhq/eddy/shared/document"
	"github.com/eddyhq/eddy/shared/pebblestore"
	"github.com/eddyhq/eddy/shared/port"
)

// movedClock is a clock that tests move, in any direction.
type movedClock struct{ seconds atomic.Int64 }

func newMovedClock() *movedClock {
	c := &movedClock{}
	c.seconds.Store(1_800_000_000)
	return c
}

func (c *movedClock) now() time.Time { return time.Unix(c.seconds.Load(), 0) }

func setUntil(t *testing.T, s *pebblestore.Store, key string, ttl time.Duration) {
	t.Helper()
	w := port.Write{Op: port.Set, Collection: port.Scope("todos"), Key: key, Value: document.Value(`1`), TTL: ttl}
	if _, err := s.Commit(t.Context(), port.Commit{Writes: []port.Write{w}}); err != nil {
		t.Fatal(err)
	}
}

func wantKeys(t *testing.T, s *pebblestore.Store, want ...string) {
	t.Helper()
	page, err := s.List(t.Context(), port.Scope("todos"), port.Query{Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	for _, d := range page.Documents {
		keys = append(keys, d.Key)
	}
	if fmt.Sprint(keys) != fmt.Sprint(want) {
		t.Errorf("the keys are %v, want %v", keys, want)
	}
}

func expire(t *testing.T, s *pebblestore.Store) time.Time {
	t.Helper()
	next, err := s.Expire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return next
}

func TestWhatHasExpiredIsRemovedOnceAndTold(t *testing.T) {
	t.Parallel()
	clock := newMovedClock()
	s := open(t, vfs.NewMem(), pebblestore.Options{Now: clock.now})
	const many = 1000 // more than are removed in one step
	for i := range many {
		setUntil(t, s, fmt.Sprintf("k%04d", i), time.Minute)
	}
	setUntil(t, s, "later", time.Hour)
	if next := expire(t, s); next.Unix() != clock.now().Unix()+60 {
		t.Errorf("the next is due at %s", next)
	}
	clock.seconds.Add(61)
	head := s.Head()
	rows := s.CountRows()
	expire(t, s)
	expire(t, s)
	records, err := s.Records(t.Context(), head, 2*many)
	if err != nil || len(records) != many {
		t.Fatalf("%d expiries of %d are told, %v", len(records), many, err)
	}
	seen := make(map[string]bool)
	for _, r := range records {
		if c := r.Change; c == nil || !c.Expired || c.Old == nil || c.New != nil || seen[c.Key] {
			t.Fatalf("an expiry is told as %+v", r.Change)
		}
		seen[r.Change.Key] = true
	}
	if left := rows - s.CountRows(); left != many { // a document and its time go, a record comes
		t.Errorf("%d rows are gone, want %d", left, many)
	}
	wantKeys(t, s, "later")
}

func TestADocumentThatIsWrittenAgainDoesNotExpireAtItsOldTime(t *testing.T) {
	t.Parallel()
	clock := newMovedClock()
	// Nothing is followed: such a write does not look at what was there.
	s := open(t, vfs.NewMem(), pebblestore.Options{Now: clock.now, Follow: func(port.Collection) bool { return false }})
	setUntil(t, s, "longer", time.Minute)
	setUntil(t, s, "forever", time.Minute)
	blind := func(key string, ttl time.Duration) {
		w := port.Write{
			Op: port.Set, Collection: port.Scope("todos"), Key: key, Value: document.Value(`2`), TTL: ttl, NoResult: true,
		}
		if _, err := s.Commit(t.Context(), port.Commit{Writes: []port.Write{w}}); err != nil {
			t.Fatal(err)
		}
	}
	blind("longer", time.Hour)
	blind("forever", 0)
	clock.seconds.Add(120)
	expire(t, s)
	wantKeys(t, s, "forever", "longer")
	clock.seconds.Add(3600)
	if next := expire(t, s); !next.IsZero() {
		t.Errorf("another is due at %s", next)
	}
	wantKeys(t, s, "forever")
}

func TestADocumentWithAnEarlierTimeThanThoseThatExpiredExpiresToo(t *testing.T) {
	t.Parallel()
	clock := newMovedClock()
	s := open(t, vfs.NewMem(), pebblestore.Options{Now: clock.now})
	setUntil(t, s, "b", time.Minute)
	clock.seconds.Add(60)
	expire(t, s)
	for _, expires := range []int64{clock.now().Unix() - 1000, clock.now().Unix()} {
		w := setWrite("a", `1`)
		w.Expires = expires
		if err := commit(t.Context(), s, port.Commit{Writes: []port.Write{w}}); err != nil {
			t.Fatal(err)
		}
		wantKeys(t, s)
		head := s.Head()
		if next := expire(t, s); !next.IsZero() {
			t.Errorf("another is due at %s", next)
		}
		if records := readLog(t, s, head, 10); len(records) != 1 || !records[0].Change.Expired {
			t.Errorf("the expiry is told as %+v", records)
		}
	}
}

func TestWhatHasExpiredStaysGoneWhenTheClockStepsBack(t *testing.T) {
	t.Parallel()
	clock := newMovedClock()
	files := vfs.NewMem()
	s, err := pebblestore.Open("data", pebblestore.Options{FS: files, Now: clock.now})
	if err != nil {
		t.Fatal(err)
	}
	setUntil(t, s, "k", time.Minute)
	clock.seconds.Add(61)
	wantKeys(t, s)
	clock.seconds.Add(-3600)
	wantKeys(t, s)
	if collections, err := s.Collections(t.Context(), port.StateSpace); err != nil || len(collections) > 0 {
		t.Errorf("the collections are %v, %v", collections, err)
	}
	version := mustSet(t, s, "k", `2`) // tells of the expiry, at a time that is kept
	setUntil(t, s, "soon", time.Second)
	clock.seconds.Add(3600 + 10)
	wantKeys(t, s, "k")
	expire(t, s)
	closeStore(t, s)

	clock.seconds.Add(-7200)
	s = open(t, files, pebblestore.Options{Now: clock.now})
	wantKeys(t, s, "k")
	if again := mustSet(t, s, "k", `3`); again <= version {
		t.Errorf("version %d follows %d", again, version)
	}
}

func TestADirectoryOfTheFormatBeforeIsReadAndMarked(t *testing.T) {
	t.Parallel()
	files, number := vfs.NewMem(), func(n uint64) string { return string(binary.BigEndian.AppendUint64(nil, n)) }
	for row, value := range map[string]string{
		"mformat":             number(1),
		"mepoch":              "ABCDEFGHIJ",
		"mclock":              number(7) + number(2),
		"dstate/todos\x00old": number(7) + `{"n":1}`,
		"l" + number(1):       "\x01\x00\x00\x00\x01\x0bstate/todos\x03old\x00\x08{\"n\":1}\x0e",
		"l" + number(2):       "\x01\x00\x00\x01f\x03\x01i\x01f\x022",
	} {
		plant(t, files, row, []byte(value))
	}
	s := open(t, files, pebblestore.Options{})
	d, err := s.Get(t.Context(), port.Scope("todos"), "old")
	if err != nil || string(d.Value) != `{"n":1}` || d.Version != 7 || d.Expires != 0 || s.Epoch() != "ABCDEFGHIJ" {
		t.Errorf("the document is %+v in the log %s, %v", d, s.Epoch(), err)
	}
	wantRecords(t, readLog(t, s, 0, 10), []port.Record{
		{Position: 1, Change: &port.Change{
			Collection: port.Scope("todos"), Key: "old", New: document.Value(`{"n":1}`), Version: 7,
		}},
		{Position: 2, Target: "f", Call: &port.Call{ID: "i", Function: "f", Payload: document.Value(`2`)}},
	})
	setUntil(t, s, "new", time.Hour)
	wantKeys(t, s, "new", "old")
	closeStore(t, s)
	if format := look(t, files, "mformat"); string(format) != number(2) {
		t.Errorf("the directory is marked %x", format)
	}
}
