package todos

import (
	"context"

	"github.com/eddyhq/eddy/shared/eddy"
)

// TodoChanged tells what happened to a todo.
type TodoChanged struct {
	Action eddy.Kind `json:"action"` // "created", "updated" or "deleted"
	Key    string    `json:"key"`
	Todo   *Todo     `json:"todo"` // as it is now; null when it is gone
}

// OnChange tells every subscriber of the group "all" what happened to a todo, in the order it happened.
func OnChange(ctx context.Context, c eddy.Change[Todo]) error {
	eddy.Logger(ctx).InfoContext(ctx, "todo changed", "key", c.Key, "action", c.Kind)
	return live.Group("all").Send(ctx, "todo_changed", TodoChanged{Action: c.Kind, Key: c.Key, Todo: c.New})
}
