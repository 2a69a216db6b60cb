package crash_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/eddyhq/eddy/shared/eddy"
)

// task is something that a client wants done once. Clients number their tasks of each kind from 1.
type task struct {
	Client string `json:"client"`
	N      int    `json:"n"`
}

// follower is a message of a reaction to the ledger.
type follower struct {
	Key     string `json:"key"`
	Version int64  `json:"version"`
}

// doneTimes says how often each task of a client was done, by its number.
type doneTimes map[string]int

// queued is what the FIFO queue has kept of the tasks of a client.
type queued struct {
	Seen []int `json:"seen"`
}

// ticked is what the schedule has kept of its ticks.
type ticked struct {
	First    int64 `json:"first"` // the time that was the first to be due; this and the next in minutes of the Unix epoch
	Last     int64 `json:"last"`  // the time of the last tick
	Runs     int64 `json:"runs"`
	Missed   int64 `json:"missed"`
	Disorder int   `json:"disorder"` // ticks that were not later than the one before
}

// move takes one out of one purse and puts it into another.
type move struct {
	From string `json:"from"`
	To   string `json:"to"`
}

var (
	jobs      = eddy.Scope[doneTimes]("job")
	orders    = eddy.Scope[queued]("order")
	followers = eddy.Scope[tally]("follower")
	payments  = eddy.Scope[entry]("payment")
	purses    = eddy.Scope[entry]("purse")
	leases    = eddy.Scope[task]("lease")
	expiries  = eddy.Scope[doneTimes]("expiry")
	schedules = eddy.Scope[ticked]("tick")
)

// registerDuties registers what else is promised to happen once: messages of queues, ticks, expiries, transactions, and requests that
// are sent again until they are answered.
func registerDuties(app *eddy.App) {

	eddy.Register(app, "crash::job", doJob, eddy.Queue("jobs"), hasty(), eddy.Uses(jobs))
	eddy.Register(app, "crash::order", takeOrder, eddy.Queue("orders", eddy.FIFO("client")), hasty(), eddy.Uses(orders))
	eddy.Register(app, "crash::follow", follow, eddy.Queue("followers", eddy.FIFO("key")), hasty(), eddy.Uses(followers))
	eddy.Register(app, "crash::tick", tick, eddy.Every(time.Minute), hasty(), eddy.Uses(schedules))
	eddy.Register(app, "crash::pay", pay, eddy.HTTP("POST /payments"), eddy.Uses(payments))
	eddy.Register(app, "crash::move", moveOne, eddy.Uses(purses))
	eddy.React(app, "crash::expire", expire, leases.Changes(), hasty(), eddy.Uses(expiries))
}

// stumble fails now and then, so that there are attempts to repeat. It comes after the effects of a handler.
func stumble() error {
	if rand.IntN(32) == 0 {
		return errStumble
	}
	return nil
}

func doJob(ctx context.Context, in task) (eddy.None, error) {
	err := jobs.Increment(ctx, in.Client, strconv.Itoa(in.N), 1)
	return eddy.None{}, errors.Join(err, stumble())
}

func takeOrder(ctx context.Context, in task) (eddy.None, error) {
	_, err := orders.Update(ctx, in.Client, eddy.Append(in.N, "seen"))
	return eddy.None{}, errors.Join(err, stumble())
}

func follow(ctx context.Context, in follower) (eddy.None, error) {
	t, err := followers.Get(ctx, in.Key)
	if err != nil && eddy.CodeOf(err) != eddy.CodeNotFound {
		return eddy.None{}, err
	}
	if in.Version <= t.Version {
		t.Disorder++
	}
	t.Changes++
	t.Version = in.Version
	return eddy.None{}, errors.Join(followers.Set(ctx, in.Key, t), stumble())
}

func tick(ctx context.Context, in eddy.Tick) (eddy.None, error) {
	at := in.At.Unix() / 60
	t, err := schedules.Get(ctx, everything)
	switch {
	case eddy.CodeOf(err) == eddy.CodeNotFound:
		t.First = at - in.Missed
	case err != nil:
		return eddy.None{}, err
	case at <= t.Last:
		t.Disorder++
	}
	t.Last = at
	t.Runs++
	t.Missed += in.Missed
	return eddy.None{}, errors.Join(schedules.Set(ctx, everything, t), stumble())
}

// pay returns how often the client has paid.
func pay(ctx context.Context, in task) (entry, error) {
	if err := payments.Increment(ctx, in.Client, "n", 1); err != nil {
		return entry{}, err
	}
	return payments.Get(ctx, in.Client)
}

func moveOne(ctx context.Context, in move) (eddy.None, error) {
	return eddy.None{}, eddy.Transact(ctx, func(ctx context.Context) error {
		return errors.Join(purses.Increment(ctx, in.From, "n", -1), purses.Increment(ctx, in.To, "n", 1))
	})
}

func expire(ctx context.Context, c eddy.Change[task]) error {
	if !c.Expired {
		return nil
	}
	return errors.Join(expiries.Increment(ctx, c.Old.Client, strconv.Itoa(c.Old.N), 1), stumble())
}
