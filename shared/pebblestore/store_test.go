package pebblestore_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.uber.org/goleak"

	"github.com/eddyhq/eddy/shared/pebblestore"
	"github.com/eddyhq/eddy/shared/port"
	"github.com/eddyhq/eddy/shared/port/porttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestStoreKeepsThePromisesOfItsPorts(t *testing.T) {
	t.Parallel()
	porttest.Exercise(t, func(t *testing.T) porttest.Target {
		var moved atomic.Int64
		now := func() time.Time { return time.Now().Add(time.Duration(moved.Load())) }
		s := open(t, vfs.NewMem(), pebblestore.Options{Now: now})
		return porttest.Target{
			Advance:   func(d time.Duration) { moved.Add(int64(d)) },
			Documents: s,
			Ledger:    s,
			Records: func(ctx context.Context) ([]port.Record, error) {
				return s.Records(ctx, 0, 1<<20)
			},
		}
	})
}

// open opens the store of a file system, and closes it with the test.
func open(tb testing.TB, files vfs.FS, options pebblestore.Options) *pebblestore.Store {
	tb.Helper()
	options.FS = files
	s, err := pebblestore.Open("data", options)
	if err != nil {
		tb.Fatalf("open: %v", err)
	}
	tb.Cleanup(func() { closeStore(tb, s) })
	return s
}

func closeStore(tb testing.TB, s *pebblestore.Store) {
	tb.Helper()
	if err := s.Close(); err != nil {
		tb.Errorf("close: %v", err)
	}
}
