package fifo

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-lambda-go/events"

	"github.com/eddyhq/eddy/shared/deployed"
	"github.com/eddyhq/eddy/shared/errs"
	"github.com/eddyhq/eddy/shared/port"
	"github.com/eddyhq/eddy/shared/reaction"
)

// batch is the messages of one invocation, as the lanes they are of.
type batch struct {
	*Receiver
	messages []events.SQSMessage
	lanes    []*lane // by their first message
	byName   map[string]*lane
	unread   []int         // messages that could be neither read nor kept
	longest  time.Duration // that a round took
}

// lane is what runs one after the other.
type lane struct {
	tasks    []task        // the first is the next one
	attempts port.Attempts // at the first
	tried    bool          // the first has had an attempt in this invocation
	ready    time.Time     // before which the first has no further one
	held     bool          // no more in this invocation
	wait     time.Duration // once held: until the next one

	// How the cursor of that name stands, as it was last asked for.
	cursor string
	taken  int64
	stored port.Attempts
}

// task is one delivery of a lane, and the message it came in.
type task struct {
	message  int
	delivery *reaction.Delivery
	received int  // times, this one included; 0: not known
	unread   bool // there is no delivery: the message could not be read
}

// owed is a message in which something is left to do, after a wait.
type owed struct {
	message int
	wait    time.Duration
}

func (b *batch) lane(name string) *lane {
	l := b.byName[name]
	if l == nil {
		l = &lane{}
		b.byName[name] = l
		b.lanes = append(b.lanes, l)
	}
	return l
}

// hold ends what is done in a lane in this invocation.
func (l *lane) hold(wait time.Duration) { l.held, l.wait = true, wait }

// next goes on behind the first task.
func (l *lane) next() {
	l.tasks = l.tasks[1:]
	l.attempts, l.tried = port.Attempts{}, false
}

// run makes attempts until nothing is owed, or the rest has to wait for another invocation. Attempts are made in rounds:
// one at the first delivery of every lane whose turn it is.
func (b *batch) run(ctx context.Context) {
	for {
		heads := b.heads(ctx)
		if len(heads) > 0 {
			b.round(ctx, heads)
		} else if !b.pause(ctx) {
			return
		}
	}
}

// heads returns the lanes that are to have an attempt now.
func (b *batch) heads(ctx context.Context) []*lane {
	now := b.Now()
	due := slices.DeleteFunc(slices.Clone(b.lanes), func(l *lane) bool {
		return l.held || len(l.tasks) == 0 || l.ready.After(now)
	})
	var asking sync.WaitGroup
	for _, l := range due {
		asking.Go(func() { b.drop(ctx, l) })
	}
	asking.Wait()
	return slices.DeleteFunc(due, func(l *lane) bool { return l.held || len(l.tasks) == 0 || l.ready.After(now) })
}

// drop goes on to the first task of a lane that is to be attempted. A lane that was received before may hold what has
// taken effect: running that again would do no harm, but it could take all the time there is, each time.
func (b *batch) drop(ctx context.Context, l *lane) {
	for len(l.tasks) > 0 {
		t := &l.tasks[0]
		if t.unread {
			l.hold(time.Second)
			return
		}
		if b.early(ctx, l) || t.received == 1 || l.tried {
			return
		}
		if err := b.ask(ctx, l, t.delivery.Cursor.Name); err != nil {
			b.log(ctx, "it is not known what is left of a lane; it will come again", t, err)
			l.hold(time.Second)
			return
		}
		if l.stored.Version == t.delivery.Cursor.Version {
			l.attempts = l.stored
		}
		switch {
		case l.taken >= t.delivery.Cursor.Version:
			l.next()
		case t.received >= deployed.MaxReceives(b.function.MaxAttempts):
			if err := b.giveUp(ctx, t, l.attempts); err != nil {
				l.hold(time.Second)
				return
			}
			l.next()
		default:
			return
		}
	}
}

// early reports whether it is too early for the first task of a lane, and has the lane wait for it: those behind it are not to
// overtake it. That is no attempt.
func (b *batch) early(ctx context.Context, l *lane) bool {
	now := b.Now()
	wait := time.UnixMilli(l.tasks[0].delivery.NotBefore).Sub(now)
	if wait <= 0 {
		return false
	}
	b.rest(ctx, l, now, wait)
	return true
}

// rest has a lane wait. A short wait is sat out, where there is time; any other is the queue's.
func (b *batch) rest(ctx context.Context, l *lane, from time.Time, wait time.Duration) {
	l.ready = from.Add(wait)
	if wait > maxPause || !b.room(ctx, l.ready) {
		l.hold(wait)
	}
}

// ask finds out how a cursor stands, unless that is known.
func (b *batch) ask(ctx context.Context, l *lane, cursor string) (err error) {
	if l.cursor == cursor {
		return nil
	}
	l.taken, l.stored, err = b.Ledger.Standing(ctx, cursor)
	if err == nil {
		l.cursor = cursor
	}
	return err
}

// giveUp keeps a delivery as a dead letter, in its turn, that was received too often: once it is in the queue of crashed
// deliveries, those behind it have overtaken it, and the cursor says no more whether it has taken effect.
func (b *batch) giveUp(ctx context.Context, t *task, attempts port.Attempts) error {
	if err := b.Runner.Bury(ctx, t.delivery, attempts, crashed(b.function.ID, t.received)); err != nil {
		b.log(ctx, "a dead letter could not be stored and will be tried again", t, err)
		return err
	}
	b.Logger.ErrorContext(ctx, "a delivery was received for the last time: kept as a dead letter",
		"function", b.function.ID, "dead_letter", t.delivery.ID)
	return nil
}

func (b *batch) log(ctx context.Context, text string, t *task, err error) {
	b.Logger.ErrorContext(ctx, text, "function", b.function.ID, "delivery_id", t.delivery.ID, "error", err)
}

// round makes one attempt at the first delivery of each of the lanes.
func (b *batch) round(ctx context.Context, heads []*lane) {
	attempts := make([]reaction.Attempt, len(heads))
	for i, l := range heads {
		attempts[i] = reaction.Attempt{Delivery: l.tasks[0].delivery, Past: l.attempts}
	}
	began := b.Now()
	outcomes := b.Runner.DeliverTogether(ctx, attempts)
	ended := b.Now()
	b.longest = max(b.longest, ended.Sub(began))
	for i, l := range heads {
		if outcomes[i].Done {
			l.next()
		} else {
			l.attempts, l.tried = outcomes[i].Attempts, true
		}
		b.rest(ctx, l, ended, outcomes[i].Wait)
	}
}

// room reports whether there is time for another round that begins then. One that is cut off does no harm.
func (b *batch) room(ctx context.Context, begins time.Time) bool {
	deadline, ok := ctx.Deadline()
	return ctx.Err() == nil && (!ok || begins.Add(b.longest).Before(deadline))
}

// pause waits for the first lane that is to have another attempt. It reports false when there is none.
func (b *batch) pause(ctx context.Context) bool {
	var until time.Time
	for _, l := range b.lanes {
		if !l.held && len(l.tasks) > 0 && (until.IsZero() || l.ready.Before(until)) {
			until = l.ready
		}
	}
	if until.IsZero() {
		return false
	}
	timer := time.NewTimer(until.Sub(b.Now()))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// owed returns the messages in which something is left, in their order. A lane waits as a whole: were a message shown
// again before the one it follows, it could be received first.
func (b *batch) owed() []owed {
	waits := make(map[int]time.Duration)
	for _, i := range b.unread {
		waits[i] = time.Second
	}
	for _, l := range b.lanes {
		for i := range l.tasks {
			waits[l.tasks[i].message] = l.wait
		}
	}
	left := make([]owed, 0, len(waits))
	for i := range b.messages {
		if wait, ok := waits[i]; ok {
			left = append(left, owed{i, wait})
		}
	}
	return left
}

// crashed is the reason of a dead letter that no attempt gave one.
func crashed(id string, receives int) error {
	return errs.New(errs.Unavailable, "%s crashed, or ran out of time or memory, %d times", id, receives)
}

func unregistered(id string) error {
	return errs.New(errs.NotFound, "no function %q is registered", id)
}
