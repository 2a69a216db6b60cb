package conformance

import (
	"fmt"
	"testing"
	"time"
)

// ticks checks a function of the proof app that runs every minute, and counts: as many as were due have run or are counted
// as missed. It waits for the next tick.
func (s *suite) ticks(t *testing.T) {
	s.needs(t, "proof::tick")
	const every = time.Minute
	type count struct {
		First, Last  time.Time
		Runs, Missed int64
	}
	read := func() (now count) {
		decode(t, s.must(t, "state::get", `{"scope":"proof-ticks","key":"every 1m0s"}`), &now)
		return now
	}
	before := read()
	var after count
	within(t, every+patience, "the function ticks", func() error {
		if after = read(); after.Runs == before.Runs {
			return fmt.Errorf("it has ticked %d times, the last time for %s", after.Runs, after.Last)
		}
		return nil
	})
	for _, at := range []time.Time{after.First, after.Last} {
		if !at.Equal(at.Truncate(every)) {
			t.Errorf("a tick was due at %s, which is no full minute", at)
		}
	}
	if due := int64(after.Last.Sub(after.First)/every) + 1; after.Runs+after.Missed != due {
		t.Errorf("from %s to %s there are %d ticks, %d have run and %d are counted as missed",
			after.First, after.Last, due, after.Runs, after.Missed)
	}
}
