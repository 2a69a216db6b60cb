package transaction

import (
	"context"
	"math/rand/v2"
	"time"
)

// MaxRuns is how often a run is made that loses races for documents, before whoever asked for it is told.
const MaxRuns = 50

// maxPause is how long a run that lost a race waits at most.
const maxPause = 50 * time.Millisecond

// Pause waits a random time, which grows with the number of runs that lost a race, or until ctx ends.
func Pause(ctx context.Context, runs int) error {
	timer := time.NewTimer(rand.N(min(maxPause, time.Duration(runs)*time.Millisecond)))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
