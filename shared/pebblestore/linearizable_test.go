package pebblestore_test

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/eddyhq/eddy/shared/pebblestore"
	"github.com/eddyhq/eddy/shared/port"
	"github.com/eddyhq/eddy/shared/port/porttest"
)

func TestOneDocumentIsLinearizable(t *testing.T) {
	t.Parallel()
	porttest.Linearizable(t, func(t *testing.T) func() port.Documents {
		s := open(t, vfs.NewMem(), pebblestore.Options{})
		return func() port.Documents { return s }
	})
}
