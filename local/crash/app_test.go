package crash_test

import (
	"context"
	"errors"
	"runtime"
	"strconv"
	"time"

	"github.com/eddyhq/eddy/functions"
	"github.com/eddyhq/eddy/shared/eddy"
)

// entry is a document of the ledger; its only writer counts it up, sets it and deletes it.
type entry struct {
	N int `json:"n"`
}

// tally is what the reaction to the ledger keeps of one entry.
type tally struct {
	Changes  int   `json:"changes"`  // that have run the reaction
	N        int   `json:"n"`        // after the last of them
	Version  int64 `json:"version"`  // of the last of them
	Disorder int   `json:"disorder"` // how many did not follow on the one before
}

// item is an entry as the live stream shows it.
type item struct {
	ID string `json:"id"`
	N  int    `json:"n"`
}

// vitals is what a process says of itself.
type vitals struct {
	Heap       uint64 `json:"heap"` // bytes that are in use after a collection
	Goroutines int    `json:"goroutines"`
}

const everything = "all"

var (
	ledger  = eddy.Scope[entry]("ledger")
	tallies = eddy.Scope[tally]("tally")
	echoes  = eddy.Scope[entry]("echo")
	mirror  = eddy.Stream[item]("ledger-live")
)

// app is the application of package functions and, beside it, reactions whose every effect can be counted:
//
//	ledger -> crash::count -> tally of the entry, tally of all, mirror -> crash::echo (two changes each) -> echo
//	                       -> queue of followers -> crash::follow
func app() *eddy.App {
	app := functions.App()
	eddy.React(app, "crash::count", count, ledger.Changes(), hasty(), eddy.Uses(tallies, mirror, eddy.Enqueues("followers")))
	eddy.React(app, "crash::echo", echo, tallies.Changes(eddy.Lane(anyLane)), eddy.Uses(echoes))
	registerDuties(app)
	eddy.Register(app, "crash::vitals", takeVitals)
	return app
}

// hasty is for functions that stumble: the waits are no part of what is tested.
func hasty() eddy.Option { return eddy.Backoff(time.Millisecond, 10*time.Millisecond) }

// errStumble is what count returns now and then, after all its effects, so that there are attempts to repeat.
var errStumble = errors.New("stumbled on purpose")

func count(ctx context.Context, c eddy.Change[entry]) error {
	t, err := tallies.Get(ctx, c.Key)
	if err != nil && eddy.CodeOf(err) != eddy.CodeNotFound {
		return err
	}
	if c.Version <= t.Version || number(c.Old) != t.N {
		t.Disorder++
	}
	t.Changes++
	t.N, t.Version = number(c.New), c.Version
	_, err = eddy.Enqueue(ctx, "followers", follower{Key: c.Key, Version: c.Version})
	effects := []error{
		err,
		tallies.Increment(ctx, everything, "changes", 1),
		tallies.Set(ctx, c.Key, t),
		show(ctx, c),
	}
	if c.Attempt == 1 && c.Version%64 == 0 {
		effects = append(effects, errStumble)
	}
	return errors.Join(effects...)
}

func show(ctx context.Context, c eddy.Change[entry]) error {
	group := mirror.Group(everything)
	if c.New == nil {
		return group.Delete(ctx, c.Key)
	}
	return group.Set(ctx, c.Key, item{ID: c.Key, N: c.New.N})
}

func number(e *entry) int {
	if e == nil {
		return 0
	}
	return e.N
}

// anyLane spreads the changes of one tally over lanes, since echo counts them in any order.
func anyLane(c eddy.Change[tally]) string { return strconv.FormatInt(c.Version%8, 10) }

func echo(ctx context.Context, _ eddy.Change[tally]) error {
	return echoes.Increment(ctx, everything, "n", 1)
}

func takeVitals(context.Context, eddy.None) (vitals, error) {
	runtime.GC()
	runtime.GC() // what has a finaliser goes in the second
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return vitals{Heap: m.HeapAlloc, Goroutines: runtime.NumGoroutine()}, nil
}
