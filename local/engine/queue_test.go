package engine_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/eddyhq/eddy/local/engine"
	"github.com/eddyhq/eddy/shared/eddy"
	"github.com/eddyhq/eddy/shared/operator"
)

// order is a message of the queue of these tests; orders of one customer are in order.
type order struct {
	Customer string `json:"customer"`
	N        int    `json:"n"`
}

func enqueue(t *testing.T, e *engine.Engine, queue, function, message string) {
	t.Helper()
	if _, err := e.Enqueue(t.Context(), queue, operator.Call{Function: function, Payload: []byte(message)}, nil); err != nil {
		t.Fatalf("enqueue %s: %v", message, err)
	}
}

func enqueueOrder(t *testing.T, e *engine.Engine, customer string, n int) {
	t.Helper()
	enqueue(t, e, "orders", "test::order", fmt.Sprintf(`{"customer":%q,"n":%d}`, customer, n))
}

// ordering registers a function of a FIFO queue that keeps what it was given in the tally of the customer, after a step of the
// test's own.
func ordering(app *eddy.App, step func(context.Context, order) error, opts ...any) {
	options := []eddy.Option{eddy.Uses(tallies)}
	queue := []eddy.QueueOption{eddy.FIFO("customer")}
	for _, opt := range opts {
		switch opt := opt.(type) {
		case eddy.Option:
			options = append(options, opt)
		case eddy.QueueOption:
			queue = append(queue, opt)
		}
	}
	eddy.Register(app, "test::order", func(ctx context.Context, in order) (eddy.None, error) {
		if err := step(ctx, in); err != nil {
			return eddy.None{}, err
		}
		_, err := tallies.Update(ctx, in.Customer, eddy.Append(in.N, "seen"))
		return eddy.None{}, err
	}, append(options, eddy.Queue("orders", queue...))...)
}

func quietly(context.Context, order) error { return nil }

func TestMessagesOfAGroupAreHandledInOrder(t *testing.T) {
	t.Parallel()
	onceAndTwice(t, func(t *testing.T, o engine.Options) {
		app := eddy.New()
		var attempts atomic.Int32
		ordering(app, func(_ context.Context, in order) error {
			if in.N%3 == 0 && attempts.Add(1)%2 == 0 {
				return errors.New("stumbled")
			}
			return nil
		}, eddy.Backoff(time.Microsecond, time.Millisecond), eddy.MaxAttempts(1000))
		e := start(t, app, o)
		for n := range 20 {
			for _, customer := range []string{"ada", "bob", "cid"} {
				enqueueOrder(t, e, customer, n)
			}
		}
		settle(t, e)
		const all = `{"seen":[0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19]}`
		for _, customer := range []string{"ada", "bob", "cid"} {
			if got := get(t, e, "tallies", customer); got != all {
				t.Errorf("the orders of %s were handled as %s", customer, got)
			}
		}
	})
}

func TestAFailingMessageHoldsUpItsGroupAloneUntilItIsADeadLetter(t *testing.T) {
	t.Parallel()
	app := eddy.New()
	failing, give := make(chan struct{}), make(chan struct{})
	bob := make(chan int, 10)
	var early atomic.Bool
	ordering(app, func(_ context.Context, in order) error {
		switch {
		case in.Customer == "bob":
			bob <- in.N
		case in.N == 0:
			close(failing)
			<-give
			return eddy.NoRetry(errors.New("cannot stand zero"))
		default:
			select {
			case <-give:
			default:
				early.Store(true)
			}
		}
		return nil
	})
	e := start(t, app, engine.Options{})
	enqueueOrder(t, e, "ada", 0)
	enqueueOrder(t, e, "ada", 1)
	<-failing
	for n := range 10 {
		enqueueOrder(t, e, "bob", n)
	}
	for range 10 {
		<-bob // that this ends says that bob does not wait for ada
	}
	if got := get(t, e, "tallies", "ada"); got != "" {
		t.Errorf("behind an order that has not ended, ada has %s", got)
	}
	close(give)
	settle(t, e)
	if got := get(t, e, "tallies", "ada"); got != `{"seen":[1]}` || early.Load() {
		t.Errorf("after the dead letter ada has %s; too early: %t", got, early.Load())
	}
	if dead := letters(t, e); len(dead) != 1 || dead[0].Function != "test::order" {
		t.Errorf("the dead letters are %+v", dead)
	}
}

func TestTheOrderOfAGroupOutlivesARestart(t *testing.T) {
	t.Parallel()
	onceAndTwice(t, func(t *testing.T, o engine.Options) {
		stuck := eddy.New()
		begun := make(chan struct{}, 100)
		ordering(stuck, func(ctx context.Context, in order) error {
			if in.N < 3 {
				return nil
			}
			begun <- struct{}{}
			<-ctx.Done()
			return ctx.Err()
		})
		o.FS = vfs.NewMem()
		first, err := engine.Open(stuck, "data", o)
		if err != nil {
			t.Fatal(err)
		}
		for n := range 6 {
			enqueueOrder(t, first, "ada", n)
		}
		<-begun
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if err := first.Close(gone); err != nil {
			t.Fatal(err)
		}
		app := eddy.New()
		ordering(app, quietly)
		e := start(t, app, o)
		enqueueOrder(t, e, "ada", 6)
		settle(t, e)
		if got := get(t, e, "tallies", "ada"); got != `{"seen":[0,1,2,3,4,5,6]}` {
			t.Errorf("after the restart the orders were handled as %s", got)
		}
	})
}

func TestADelayedMessageWaitsForItsTimeWithWhatIsBehindIt(t *testing.T) {
	t.Parallel()
	onceAndTwice(t, func(t *testing.T, o engine.Options) {
		app := eddy.New()
		ordering(app, quietly, eddy.Delay(time.Minute), eddy.MaxAttempts(1))
		h := newHands()
		o.Now, o.FS = h.now, vfs.NewMem()
		e, err := engine.Open(app, "data", o)
		if err != nil {
			t.Fatal(err)
		}
		see := func(when, want string) {
			t.Helper()
			settle(t, e)
			if got := get(t, e, "tallies", "ada"); got != want {
				t.Errorf("%s, ada has %s, want %s", when, got, want)
			}
		}
		var none time.Duration
		enqueueOrder(t, e, "ada", 0)
		if _, err := e.Enqueue(t.Context(), "orders",
			operator.Call{Function: "test::order", Payload: []byte(`{"customer":"ada","n":1}`)}, &none); err != nil {
			t.Fatal(err)
		}
		see("at first", "")
		h.move(time.Minute - time.Millisecond)
		see("a moment before it is time", "")
		if held := stats(t, e, "test::order"); held.Held != 2 || held.Owed != 2 || held.Retries != 0 {
			t.Errorf("meanwhile the function stands at %+v", held)
		}
		stop(t, e)
		e = start(t, app, o)
		see("after a restart", "")
		h.move(-time.Hour)
		see("once the clock went back", "")
		h.move(time.Hour + time.Millisecond)
		see("when it is time", `{"seen":[0,1]}`)
		if held := stats(t, e, "test::order"); held.Held != 0 || held.Owed != 0 {
			t.Errorf("in the end the function stands at %+v", held)
		}
	})
}

func TestADelayedMessageBehindOneThatIsDueWaitsForItsTime(t *testing.T) {
	t.Parallel()
	onceAndTwice(t, func(t *testing.T, o engine.Options) {
		app := eddy.New()
		begun, give := make(chan struct{}, 1), make(chan struct{})
		ordering(app, func(_ context.Context, in order) error {
			if in.N == 0 {
				select {
				case begun <- struct{}{}:
				default:
				}
				<-give
			}
			return nil
		})
		h := newHands()
		o.Now = h.now
		e := start(t, app, o)
		enqueueOrder(t, e, "ada", 0)
		<-begun // and is held in there until the next one lies behind it
		late := time.Minute
		call := operator.Call{Function: "test::order", Payload: []byte(`{"customer":"ada","n":1}`)}
		if _, err := e.Enqueue(t.Context(), "orders", call, &late); err != nil {
			t.Fatal(err)
		}
		close(give)
		settle(t, e)
		if got := get(t, e, "tallies", "ada"); got != `{"seen":[0]}` {
			t.Errorf("before the second one is due ada has %s", got)
		}
		h.move(time.Minute)
		settle(t, e)
		if got := get(t, e, "tallies", "ada"); got != `{"seen":[0,1]}` {
			t.Errorf("when it is due ada has %s", got)
		}
	})
}

func stats(t *testing.T, e *engine.Engine, function string) engine.ReactionStats {
	t.Helper()
	for _, s := range e.Reactions() {
		if s.Function == function {
			return s
		}
	}
	t.Fatalf("there is no %s", function)
	return engine.ReactionStats{}
}

func TestDelayedMessagesTakeNoWorker(t *testing.T) {
	t.Parallel()
	app := eddy.New()
	ordering(app, quietly, eddy.Concurrency(1))
	h := newHands()
	e := start(t, app, engine.Options{Now: h.now})
	late := time.Minute
	for n := range 50 {
		message := fmt.Sprintf(`{"customer":"late %d","n":%d}`, n, n)
		call := operator.Call{Function: "test::order", Payload: []byte(message)}
		if _, err := e.Enqueue(t.Context(), "orders", call, &late); err != nil {
			t.Fatal(err)
		}
		enqueueOrder(t, e, "ada", n)
		late -= time.Second // the last one is due first
	}
	settle(t, e)
	if s := stats(t, e, "test::order"); s.Ended != 50 || s.Held != 50 {
		t.Errorf("beside 50 delayed messages the function stands at %+v", s)
	}
	h.move(30 * time.Second)
	settle(t, e)
	if s := stats(t, e, "test::order"); s.Ended != 70 || s.Held != 30 {
		t.Errorf("when 20 of them are due the function stands at %+v", s)
	}
	h.move(30 * time.Second)
	settle(t, e)
	if s := stats(t, e, "test::order"); s.Ended != 100 || s.Held != 0 {
		t.Errorf("when all are due the function stands at %+v", s)
	}
}

func TestMoreDelayedMessagesThanTheWindowHoldsAllRun(t *testing.T) {
	t.Parallel()
	app := eddy.New()
	ordering(app, quietly, eddy.Delay(time.Minute))
	h := newHands()
	e := start(t, app, engine.Options{Now: h.now, Window: 4})
	for n := range 40 {
		enqueueOrder(t, e, fmt.Sprint("c", n), n)
	}
	h.move(time.Minute)
	settle(t, e)
	for n := range 40 {
		if got := get(t, e, "tallies", fmt.Sprint("c", n)); got != fmt.Sprintf(`{"seen":[%d]}`, n) {
			t.Errorf("order %d of 40 left %s", n, got)
		}
	}
}

func TestAMessageOfAReactionIsPartOfItsTransaction(t *testing.T) {
	t.Parallel()
	onceAndTwice(t, func(t *testing.T, o engine.Options) {
		app := eddy.New()
		ordering(app, quietly)
		var attempts atomic.Int32
		eddy.React(app, "test::placed", func(ctx context.Context, c eddy.Change[thing]) error {
			if _, err := eddy.Enqueue(ctx, "orders", order{Customer: "ada", N: c.New.N}); err != nil {
				return err
			}
			if attempts.Add(1)%2 == 1 {
				return errors.New("stumbled after it enqueued")
			}
			return nil
		}, things.Changes(), eddy.Uses(eddy.Enqueues("orders")), eddy.Backoff(time.Microsecond, time.Millisecond))
		e := start(t, app, o)
		for n := range 5 {
			write(t, e, "k", n)
		}
		settle(t, e)
		if got := get(t, e, "tallies", "ada"); got != `{"seen":[0,1,2,3,4]}` {
			t.Errorf("the messages of the reaction were handled as %s", got)
		}
	})
}
