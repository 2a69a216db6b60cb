// Package todos is a list of todos that everybody sees change as it changes, with counters that are never wrong.
//
//	api.go      what clients call
//	metrics.go  the counters, kept by a reaction
//	live.go     what subscribers hear, told by a reaction
package todos

import (
	"time"

	"github.com/eddyhq/eddy/shared/eddy"
)

// Todo is one thing to do, stored in the scope "todos" under its id.
type Todo struct {
	ID        string    `json:"id"`
	Title     string    `json:"title"`
	Completed bool      `json:"completed"`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at,omitzero"`
}

var (
	todos   = eddy.Scope[Todo]("todos")
	metrics = eddy.Scope[Metrics]("todo-metrics")
	live    = eddy.Stream[TodoChanged]("todos-live")
)

// Register adds the functions of this package to the app.
func Register(app *eddy.App) {
	eddy.Register(app, "todos::create", Create, eddy.HTTP("POST /todos", eddy.Status(201)), eddy.Uses(todos))
	eddy.Register(app, "todos::list", List, eddy.HTTP("GET /todos"), eddy.Uses(todos.ReadOnly()))
	eddy.Register(app, "todos::get", Get, eddy.HTTP("GET /todos/{id}"), eddy.Uses(todos.ReadOnly()))
	eddy.Register(app, "todos::edit", Edit, eddy.HTTP("PATCH /todos/{id}"), eddy.Uses(todos))
	eddy.Register(app, "todos::remove", Remove, eddy.HTTP("DELETE /todos/{id}", eddy.Status(204)), eddy.Uses(todos))
	eddy.Register(app, "todos::toggle", Toggle, eddy.HTTP("POST /todos/toggle"), eddy.Uses(todos))
	eddy.Register(app, "todos::delete", Delete, eddy.HTTP("POST /todos/delete"), eddy.Uses(todos))
	eddy.Register(app, "todos::get-metrics", GetMetrics,
		eddy.HTTP("GET /todos/metrics"), eddy.HTTP("GET /metrics"), eddy.Uses(metrics.ReadOnly()))

	eddy.React(app, "todos::update-metrics", UpdateMetrics, todos.Changes(eddy.When(moved)), eddy.Uses(metrics))
	eddy.React(app, "todos::on-change", OnChange, todos.Changes(), eddy.Uses(live))
}
