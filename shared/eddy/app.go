// Package eddy is what functions import: the registry of an application, typed names for its data, and the few things
// that a running function asks of the place it runs in.
//
// # The programming model
//
// An application is a set of plain typed functions. Each is registered under an id, with what triggers it (HTTP
// requests, changes of documents) and what it touches:
//
//	var (
//		todos = eddy.Scope[Todo]("todos")               // documents, by key
//		live  = eddy.Stream[TodoChanged]("todos-live")  // data that clients subscribe to
//	)
//
//	func App() *eddy.App {
//		app := eddy.New()
//		eddy.Register(app, "todos::create", Create, eddy.HTTP("POST /todos", eddy.Status(201)), eddy.Uses(todos))
//		eddy.React(app, "todos::on-change", OnChange, todos.Changes(), eddy.Uses(live))
//		return app
//	}
//
//	func Create(ctx context.Context, in CreateInput) (Todo, error) {
//		if in.Title == "" {
//			return Todo{}, eddy.Invalid("title", "must not be empty")
//		}
//		todo := Todo{ID: "todo-" + eddy.NewID(ctx), Title: in.Title, CreatedAt: eddy.Now(ctx)}
//		return todo, todos.Set(ctx, todo.ID, todo)
//	}
//
//	func OnChange(ctx context.Context, c eddy.Change[Todo]) error {
//		return live.Group("all").Send(ctx, "todo_changed", TodoChanged{Action: c.Kind, Key: c.Key, Todo: c.New})
//	}
//
// Input is one struct. Over HTTP it is bound from the path, then from the query string (no body) or the JSON body;
// called by id, from the JSON payload. A name given twice, an unknown field, a missing one (required unless it is a
// pointer or tagged omitempty or omitzero), a value of a wrong type: each is a fault of one invalid_argument that lists
// them all. A Validate() error method on the input is asked next. Names are the exact ones of the json tags.
//
// A reaction runs for every change of the documents it listens to, at least once and in order per document. What it
// does through Eddy is one transaction: everything, exactly once, when it returns nil; nothing otherwise. So a counter
// kept by Increment in a reaction is never wrong. Effects on the outside world can happen again; DeliveryID is the key
// to make them idempotent.
//
// A function touches only what it declares with Uses; anything else is permission_denied.
//
// Handles (Scope, Stream) are names: they hold no state and open nothing. Everything a function does goes to the Engine
// that its host put under ctx, so a function passes on the ctx it was given. Mistakes in the registry never panic:
// App.Validate reports all of them, each with its place.
package eddy

import (
	"maps"
	"slices"
	"strings"
	"sync"
)

// Version is that of Eddy, as /_eddy/health reports it.
const Version = "0.1.0"

// App is the registry of an application: every function, with what triggers it, what it touches and its options.
// A host reads it without running a function. Register everything before the first use; then it is safe to share.
type App struct {
	functions  map[string]*Function
	middleware []func(Handler) Handler
	origins    []string
	mistakes   []mistake
	checking   sync.Mutex
	checks     []func() // that Validate has to make, each once
}

// AppOption is an option of New: Middleware, AllowOrigins.
type AppOption interface{ applyToApp(*App) }

// New returns an application without functions.
func New(opts ...AppOption) *App {
	app := &App{functions: make(map[string]*Function)}
	for _, opt := range opts {
		if opt == nil {
			app.mistake(caller(1), "an option of eddy.New is nil")
			continue
		}
		opt.applyToApp(app)
	}
	return app
}

// AllowOrigins lets pages of these origins ("https://example.org", or "*" for all) call the application from a browser.
// Without it a local gateway allows loopback origins, and a deployment none.
func AllowOrigins(origins ...string) AppOption { return originsOption{origins, caller(1)} }

type originsOption struct {
	origins []string
	place   string
}

func (o originsOption) applyToApp(app *App) {
	for _, origin := range o.origins {
		if !validOrigin(origin) {
			app.mistake(o.place, "%q is no origin: write scheme://host[:port], or *", origin)
		}
	}
	app.origins = append(app.origins, o.origins...)
}

// AllowedOrigins returns what AllowOrigins was given; nil when it was not used.
func (a *App) AllowedOrigins() []string { return slices.Clone(a.origins) }

// AllowsOrigin reports whether AllowOrigins named the origin, or all of them.
func (a *App) AllowsOrigin(origin string) bool {
	return slices.ContainsFunc(a.origins, func(allowed string) bool {
		return allowed == "*" || strings.EqualFold(allowed, origin)
	})
}

// Functions returns the functions in the order of their ids.
func (a *App) Functions() []*Function {
	return slices.SortedFunc(maps.Values(a.functions), func(x, y *Function) int { return strings.Compare(x.ID, y.ID) })
}

// Function returns the function with the id, and whether there is one.
func (a *App) Function(id string) (*Function, bool) {
	f, ok := a.functions[id]
	return f, ok
}

// Find returns the function with the id; not_found when there is none.
func (a *App) Find(id string) (*Function, error) {
	f, ok := a.functions[id]
	if !ok {
		return nil, NotFound("no function %q is registered; GET /_eddy/functions lists them all", id)
	}
	return f, nil
}

// Routes returns the routes of all functions, in the order of their functions' ids.
func (a *App) Routes() []*Route {
	var routes []*Route
	for _, f := range a.Functions() {
		routes = append(routes, f.Routes...)
	}
	return routes
}
