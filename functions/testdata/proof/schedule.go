package proof

import (
	"context"
	"time"

	"github.com/eddyhq/eddy/shared/eddy"
)

// Ticks counts the ticks of a schedule since its first one.
type Ticks struct {
	First  time.Time `json:"first"` // when the first tick was due
	Last   time.Time `json:"last"`
	Runs   int64     `json:"runs"`
	Missed int64     `json:"missed"` // those that the runs after the first said were missed
}

var ticks = eddy.Scope[Ticks]("proof-ticks")

// CountTick counts a tick: the runs and the missed ones are as many as were due from the first to the last.
func CountTick(ctx context.Context, in eddy.Tick) (eddy.None, error) {
	count, err := ticks.Get(ctx, in.Schedule)
	switch {
	case eddy.CodeOf(err) == eddy.CodeNotFound:
		count = Ticks{First: in.At, Last: in.At, Runs: 1}
	case err != nil:
		return eddy.None{}, err
	default:
		count.Last = in.At
		count.Runs++
		count.Missed += in.Missed
	}
	return eddy.None{}, ticks.Set(ctx, in.Schedule, count)
}
