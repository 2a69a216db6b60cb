// Package proof is the application that deployments are proven with: the one that ships, and beside it functions of the area
// proof::, which do what no shipped function does, such as to fail as they are told to. local/conformance drives them.
//
//	queue.go     what messages are handled by: each adds a line to a journal, or fails first
//	reaction.go  what changes are handled by: one that tells of them, and a chain that goes round
//	schedule.go  a count of ticks
//	route.go     what clients call: a counter, a transfer in one transaction, a route with a rate
package proof

import (
	"time"

	"github.com/eddyhq/eddy/functions"
	"github.com/eddyhq/eddy/shared/eddy"
)

// App returns the application that ships, with the functions of the area proof:: beside it.
func App() *eddy.App {
	app := functions.App()
	Register(app)
	return app
}

// Register adds the functions of the area proof:: to the app.
func Register(app *eddy.App) {
	eddy.Register(app, "proof::note", Note, eddy.Queue("proof-notes"), eddy.Uses(journals))
	eddy.Register(app, "proof::record", Note, eddy.Queue("proof-records", eddy.FIFO("journal")), eddy.Uses(journals))
	eddy.Register(app, "proof::stumble", Stumble, eddy.Queue("proof-stumbles", eddy.FIFO("journal")),
		eddy.MaxAttempts(3), eddy.Backoff(20*time.Millisecond, 100*time.Millisecond),
		eddy.Uses(journals, eddy.Invokes("proof::try")))
	eddy.Register(app, "proof::try", Try, eddy.Uses(tries))

	eddy.Register(app, "proof::tick", CountTick, eddy.Every(time.Minute), eddy.Uses(ticks))

	eddy.React(app, "proof::watch", Watch, watched.Changes(), eddy.Uses(seen))
	eddy.React(app, "proof::ping", Ping, pings.Changes(), eddy.Uses(pongs))
	eddy.React(app, "proof::pong", Pong, pongs.Changes(), eddy.Uses(pings))

	eddy.Register(app, "proof::count", Count, eddy.HTTP("POST /proof/counters/{counter}", eddy.Status(201)), eddy.Uses(counters))
	eddy.Register(app, "proof::transfer", Transfer, eddy.HTTP("POST /proof/transfers"),
		eddy.Uses(accounts, eddy.Enqueues("proof-records")))
	eddy.Register(app, "proof::limited", Limited, eddy.HTTP("GET /proof/limited", eddy.Rate(1, 3)))
}
