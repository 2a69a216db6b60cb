package dynamo_test

import (
	"testing"

	"github.com/eddyhq/eddy/shared/port"
	"github.com/eddyhq/eddy/shared/port/porttest"
)

func TestEndpointOneDocumentIsLinearizable(t *testing.T) {
	t.Parallel()
	porttest.Linearizable(t, func(t *testing.T) func() port.Documents {
		e := dial(t)
		return func() port.Documents { return e.store() } // each of a process of its own
	})
}
