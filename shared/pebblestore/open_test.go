package pebblestore_test

import (
	"encoding/binary"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/eddyhq/eddy/shared/pebblestore"
	"github.com/eddyhq/eddy/shared/port"
)

func TestAStoreOnDiskIsThereAgain(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "new", "data")
	s := openDir(t, dir, pebblestore.Options{Logger: slog.New(slog.DiscardHandler)})
	version := mustSet(t, s, "k", `1`)
	closeStore(t, s)
	s = openDir(t, dir, pebblestore.Options{})
	d, err := s.Get(t.Context(), port.Scope("todos"), "k")
	if err != nil || string(d.Value) != `1` || d.Version != version {
		t.Errorf("%+v, %v", d, err)
	}
	if again := mustSet(t, s, "k", `2`); again <= version {
		t.Errorf("version %d after %d", again, version)
	}
}

func TestADirectoryThatIsOpenIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	openDir(t, dir, pebblestore.Options{})
	_, err := pebblestore.Open(dir, pebblestore.Options{})
	wantError(t, err, "another Eddy is running on the data directory "+dir)
}

func TestADirectoryThatCannotBeMadeIsRefused(t *testing.T) {
	t.Parallel()
	_, err := pebblestore.Open("/dev/null/data", pebblestore.Options{})
	wantError(t, err, "creating the data directory /dev/null/data")
}

func TestANewerFormatIsRefused(t *testing.T) {
	t.Parallel()
	files := vfs.NewMem()
	closeStore(t, open(t, files, pebblestore.Options{}))
	plant(t, files, "mformat", binary.BigEndian.AppendUint64(nil, 3))
	_, err := pebblestore.Open("data", pebblestore.Options{FS: files})
	wantError(t, err, "has format 3, written by a newer Eddy; this one reads up to 2")
}

func TestADatabaseOfSomethingElseIsRefused(t *testing.T) {
	t.Parallel()
	files := vfs.NewMem()
	plant(t, files, "something", []byte("else"))
	_, err := pebblestore.Open("data", pebblestore.Options{FS: files})
	wantError(t, err, "none of Eddy's")
}

func TestVersionsRiseWhenTheClockStepsBack(t *testing.T) {
	t.Parallel()
	files, last := vfs.NewMem(), int64(0)
	for _, now := range []int64{2_000_000_000_000_000, 1_000_000_000_000_000, 3_000_000_000_000_000, 1} {
		s := open(t, files, pebblestore.Options{Now: func() time.Time { return time.UnixMicro(now) }})
		for range 3 {
			version := mustSet(t, s, "k", `1`)
			if version <= last || version < now {
				t.Errorf("version %d after %d at %d", version, last, now)
			}
			last = version
			if _, err := s.Commit(t.Context(), port.Commit{
				Writes: []port.Write{{Op: port.Delete, Collection: port.Scope("todos"), Key: "k"}},
			}); err != nil {
				t.Fatal(err)
			}
		}
		closeStore(t, s)
	}
}

// plant puts a row into the database behind the store's back.
func plant(t *testing.T, files vfs.FS, key string, value []byte) {
	t.Helper()
	db, err := pebble.Open("data", &pebble.Options{FS: files, Logger: silent{}})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Set([]byte(key), value, pebble.Sync); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

func wantError(t *testing.T, err error, text string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), text) {
		t.Errorf("error %v, want one with %q", err, text)
	}
}

// look returns a row of a closed database.
func look(t *testing.T, files vfs.FS, key string) []byte {
	t.Helper()
	db, err := pebble.Open("data", &pebble.Options{FS: files, Logger: silent{}})
	if err != nil {
		t.Fatal(err)
	}
	row, closer, err := db.Get([]byte(key))
	if err != nil {
		t.Fatal(err)
	}
	row = append([]byte(nil), row...)
	if err := errors.Join(closer.Close(), db.Close()); err != nil {
		t.Fatal(err)
	}
	return row
}
