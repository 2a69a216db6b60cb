package dynamo_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/eddyhq/eddy/shared/aws/dynamo"
	"github.com/eddyhq/eddy/shared/port"
)

func TestHowACursorStandsIsOneRead(t *testing.T) {
	t.Parallel()
	const attempts = `"attempts":{"M":{"version":{"N":"8"},"count":{"N":"2"},"first":{"S":"2026-01-02T03:04:05Z"}}}`
	failed := port.Attempts{Version: 8, Count: 2, First: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	for _, test := range []struct {
		name, row string
		taken     int64
		attempts  port.Attempts
	}{
		{"nothing is known", `{}`, 0, port.Attempts{}},
		{"it is taken", found(`{"version":{"N":"7"}}`), 7, port.Attempts{}},
		{"it was never taken, and has failed", found(`{` + attempts + `}`), 0, failed},
		{"it is taken, and the next version has failed", found(`{"version":{"N":"7"},` + attempts + `}`), 7, failed},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			play(t, []exchange{says("GetItem", test.row, `"sys"`, `cursor/a::b/`, `"ConsistentRead":true`)},
				func(t *testing.T, s *dynamo.Store) {
					taken, stored, err := s.Standing(t.Context(), "a::b/c")
					if diff := cmp.Diff(test.attempts, stored); diff != "" || taken != test.taken || err != nil {
						t.Errorf("%v, taken up to %d; attempts (-want +got):\n%s", err, taken, diff)
					}
				})
		})
	}
}
