package stack_test

import (
	"context"
	"fmt"
	"time"

	"github.com/eddyhq/eddy/shared/eddy"
)

type note struct {
	ID string `json:"id"`
}

type byID struct {
	ID string `json:"id"`
}

func none(context.Context, eddy.None) (eddy.None, error) { return eddy.None{}, nil }

func takes(context.Context, byID) (eddy.None, error) { return eddy.None{}, nil }

func reacts(context.Context, eddy.Change[note]) error { return nil }

var (
	notes   = eddy.Scope[note]("notes")
	counts  = eddy.Scope[note]("note/counts")
	live    = eddy.Stream[note]("notes-live")
	archive = eddy.Stream[note]("archive")
)

// small is an app with something of everything that is drawn.
func small() *eddy.App {
	app := eddy.New(eddy.AllowOrigins("https://example.org"))
	eddy.Register(app, "notes::get", takes, eddy.HTTP("GET /notes/{id}"), eddy.HTTP("GET /n/{id}"),
		eddy.Uses(notes.ReadOnly()), eddy.Memory(512), eddy.Timeout(2500*time.Millisecond), eddy.Concurrency(7))
	eddy.Register(app, "notes::import", none, eddy.HTTP("POST /notes/import", eddy.Rate(5, 10)), eddy.Cron("30 6 * * MON-FRI"), eddy.Every(time.Minute),
		eddy.Uses(notes, eddy.Invokes("mail::send"), eddy.Invokes("state::set"), eddy.Enqueues("mails")))
	eddy.Register(app, "mail::send", takes, eddy.Timeout(15*time.Minute), eddy.MaxAttempts(1000), eddy.Queue("mails", eddy.FIFO("id")))
	eddy.React(app, "notes::count", reacts, notes.Changes(), eddy.Uses(counts), eddy.MaxAttempts(2))
	eddy.React(app, "notes::tell", reacts, notes.Changes(), eddy.Uses(live, archive.ReadOnly()))
	return app
}

// many is an app of n functions in one area, each third of them a reaction.
func many(n int) *eddy.App {
	app := eddy.New()
	for i := range n {
		id := fmt.Sprintf("area::function-%d", i)
		if i%3 == 0 {
			eddy.React(app, id, reacts, eddy.Scope[note](fmt.Sprintf("scope-%d", i)).Changes(), eddy.Uses(notes, live))
			continue
		}
		eddy.Register(app, id, takes, eddy.HTTP(fmt.Sprintf("GET /path-%d/{id}", i)), eddy.Uses(notes, counts.ReadOnly()))
	}
	return app
}
