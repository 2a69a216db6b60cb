package todos

import (
	"context"

	"github.com/eddyhq/eddy/shared/eddy"
)

// Metrics counts the todos. There is one, in the scope "todo-metrics".
type Metrics struct {
	Total     int64 `json:"total"`
	Completed int64 `json:"completed"`
}

const global = "global"

// GetMetrics returns the counters: zeros before the first todo.
func GetMetrics(ctx context.Context, _ eddy.None) (Metrics, error) {
	m, err := metrics.Get(ctx, global)
	if eddy.CodeOf(err) == eddy.CodeNotFound {
		return Metrics{}, nil
	}
	return m, err
}

// UpdateMetrics keeps the counters. It takes effect exactly once for each change, so they equal a recount.
func UpdateMetrics(ctx context.Context, c eddy.Change[Todo]) error {
	before, after := count(c.Old), count(c.New)
	if err := metrics.Increment(ctx, global, "total", after.Total-before.Total); err != nil {
		return err
	}
	return metrics.Increment(ctx, global, "completed", after.Completed-before.Completed)
}

// moved reports whether a change moves a counter. A change that does not runs nothing.
func moved(c eddy.Change[Todo]) bool { return count(c.Old) != count(c.New) }

// count returns what one todo adds to the counters; nil is no todo.
func count(todo *Todo) Metrics {
	switch {
	case todo == nil:
		return Metrics{}
	case todo.Completed:
		return Metrics{Total: 1, Completed: 1}
	default:
		return Metrics{Total: 1}
	}
}
