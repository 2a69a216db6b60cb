// Package pebbletest opens stores in memory for the tests of what is over a store.
package pebbletest

import (
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/eddyhq/eddy/shared/pebblestore"
)

// TB is a test: a *testing.T, or a *rapid.T.
type TB interface {
	Helper()
	Cleanup(func())
	Fatal(args ...any)
	Error(args ...any)
}

// Open opens an empty store in memory, and closes it with the test.
func Open(t TB, options pebblestore.Options) *pebblestore.Store {
	t.Helper()
	options.FS = vfs.NewMem()
	s, err := pebblestore.Open("data", options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}
