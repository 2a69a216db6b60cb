// Package functions is the list of what runs: App. Each area of the application is a package below this one.
package functions

import (
	"github.com/eddyhq/eddy/functions/todos"
	"github.com/eddyhq/eddy/shared/eddy"
)

// App returns the application, with everything registered.
func App() *eddy.App {
	app := eddy.New()
	todos.Register(app)
	return app
}
