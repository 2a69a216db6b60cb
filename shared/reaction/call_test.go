package reaction_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/eddyhq/eddy/shared/document"
	"github.com/eddyhq/eddy/shared/eddy"
	"github.com/eddyhq/eddy/shared/errs"
	"github.com/eddyhq/eddy/shared/pebblestore/pebbletest"
	"github.com/eddyhq/eddy/shared/port"
	"github.com/eddyhq/eddy/shared/reaction"
)

// bound is an app on a runner and a store of its own.
func bound(t pebbletest.TB, app *eddy.App) *workshop {
	t.Helper()
	if err := app.Validate(); err != nil {
		t.Fatal(err)
	}
	h := &host{Store: open(t), now: time.Unix(1_700_000_000, 0)}
	return &workshop{h, reaction.NewRunner(h, slog.New(slog.DiscardHandler)), reaction.NewRouter(app)}
}

// call commits a call and returns its delivery.
func (w *workshop) call(t pebbletest.TB, call port.Call) *reaction.Delivery {
	t.Helper()
	if _, err := w.Store.Commit(context.Background(), port.Commit{Calls: []port.Call{call}}); err != nil {
		t.Fatal(err)
	}
	records, err := w.Records(context.Background(), w.Head()-1, 1)
	if err != nil {
		t.Fatal(err)
	}
	deliveries, err := w.router.Route(&records[0])
	if err != nil || len(deliveries) != 1 {
		t.Fatal("the call has the deliveries", deliveries, err)
	}
	return deliveries[0]
}

// settle makes every delivery that there is, until nothing is left to do.
func (w *workshop) settle(t pebbletest.TB) {
	t.Helper()
	for position := uint64(0); ; {
		records, err := w.Records(context.Background(), position, 100)
		if err != nil {
			t.Fatal(err)
		}
		if len(records) == 0 {
			return
		}
		for i := range records {
			position = records[i].Position
			deliveries, err := w.router.Route(&records[i])
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range deliveries {
				for past, done := (port.Attempts{}), false; !done; {
					past, _, done = w.runner.Deliver(context.Background(), d, past)
				}
			}
		}
	}
}

// calls returns the calls that were recorded, in their order.
func (w *workshop) calls(t pebbletest.TB) (calls []port.Call) {
	t.Helper()
	records, err := w.Records(context.Background(), 0, 10_000)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		if r.Call != nil {
			calls = append(calls, *r.Call)
		}
	}
	return calls
}

func ignore(context.Context, counter) (eddy.None, error) { return eddy.None{}, nil }

func TestCallsOfOneGroupAreOneLane(t *testing.T) {
	t.Parallel()
	app := eddy.New()
	eddy.Register(app, "test::call", ignore)
	w := bound(t, app)
	call := func(id, group string) port.Call {
		return port.Call{ID: id, Function: "test::call", Payload: document.Value(`{"n":1}`), Group: group}
	}
	a, again, other := w.call(t, call("c1", "a")), w.call(t, call("c2", "a")), w.call(t, call("c3", "b"))
	alone, too := w.call(t, call("c4", "")), w.call(t, call("c5", ""))
	if a.Lane != again.Lane {
		t.Errorf("calls of one group have the lanes %s and %s", a.Lane, again.Lane)
	}
	lanes := []string{a.Lane, other.Lane, alone.Lane, too.Lane}
	cursors := []string{a.Cursor.Name, again.Cursor.Name, other.Cursor.Name, alone.Cursor.Name, too.Cursor.Name}
	for what, names := range map[string][]string{"lane": lanes, "cursor": cursors} {
		slices.Sort(names)
		if distinct := slices.Compact(slices.Clone(names)); len(distinct) != len(names) {
			t.Errorf("some share a %s: %v", what, names)
		}
	}
}

func TestADeliveryTellsWhenItMayBeMade(t *testing.T) {
	t.Parallel()
	app := eddy.New()
	eddy.Register(app, "test::call", ignore)
	w := bound(t, app)
	for _, at := range []int64{0, 1_700_000_060_000} {
		id := fmt.Sprint("until-", at)
		d := w.call(t, port.Call{ID: id, Function: "test::call", Payload: document.Value(`{"n":1}`), NotBefore: at})
		if d.NotBefore != at || d.ID != id {
			t.Errorf("the call that may run from %d on is %+v", at, d)
		}
	}
}

func TestCallsOfSeveralGroupsAreCommittedTogetherInTheirOrder(t *testing.T) {
	t.Parallel()
	app := eddy.New()
	eddy.Register(app, "test::next", ignore, eddy.Queue("next", eddy.FIFO("n")))
	eddy.Register(app, "test::call", func(ctx context.Context, in counter) (eddy.None, error) {
		if _, err := eddy.Enqueue(ctx, "next", in); err != nil {
			return eddy.None{}, err
		}
		return eddy.None{}, sink.Increment(ctx, "sum", "n", int64(in.N))
	}, eddy.Uses(sink, eddy.Enqueues("next")))
	w := bound(t, app)
	var attempts []reaction.Attempt
	for n := range 5 {
		payload := document.Value(fmt.Sprintf(`{"n":%d}`, n))
		d := w.call(t, port.Call{ID: fmt.Sprint("c", n), Function: "test::call", Payload: payload, Group: fmt.Sprint(n)})
		attempts = append(attempts, reaction.Attempt{Delivery: d})
	}
	commits := []int{}
	w.refuse = func(c port.Commit) error {
		commits = append(commits, len(c.Cursors))
		return nil
	}
	for range 2 { // the second time, all of it is a redelivery
		if outcomes := w.runner.DeliverTogether(t.Context(), attempts); !allDone(outcomes) || commits[0] != len(attempts) {
			t.Errorf("commits of so many cursors: %v; the outcomes are %+v", commits, outcomes)
		}
		var groups []string
		for _, call := range w.calls(t)[5:] {
			groups = append(groups, call.Group)
		}
		if diff := cmp.Diff([]string{"0", "1", "2", "3", "4"}, groups); diff != "" {
			t.Errorf("the messages are of these groups (-want +got):\n%s", diff)
		}
	}
}

// winding is an app of a reaction, a queue and a function, each of which sets off the next, until the last of so many.
func winding(last int, ran *int) *eddy.App {
	app := eddy.New()
	step := func(next func(ctx context.Context, n int) error) func(ctx context.Context, in counter) error {
		return func(ctx context.Context, in counter) error {
			*ran++
			if in.N == last {
				return nil
			}
			return next(ctx, in.N+1)
		}
	}
	change := step(func(ctx context.Context, n int) error {
		_, err := eddy.Enqueue(ctx, "hops", counter{n})
		return err
	})
	eddy.React(app, "test::react", func(ctx context.Context, c eddy.Change[counter]) error { return change(ctx, *c.New) },
		source.Changes(), eddy.Uses(eddy.Enqueues("hops")))
	message := step(func(ctx context.Context, n int) error {
		_, err := eddy.Void(ctx, "test::call", counter{n})
		return err
	})
	eddy.Register(app, "test::message", func(ctx context.Context, in counter) (eddy.None, error) {
		return eddy.None{}, message(ctx, in)
	}, eddy.Queue("hops"), eddy.Uses(eddy.Invokes("test::call")))
	call := step(func(ctx context.Context, n int) error { return source.Set(ctx, "k", counter{n}) })
	eddy.Register(app, "test::call", func(ctx context.Context, in counter) (eddy.None, error) {
		return eddy.None{}, call(ctx, in)
	}, eddy.Uses(source))
	return app
}

func TestAChainIsStoppedOnlyWhereItIsTooDeep(t *testing.T) {
	t.Parallel()
	// The number of a step is its depth: a change by a client is the first, at depth 0.
	for _, test := range []struct {
		name       string
		last, runs int
		stopped    string // the function that is not run any more
	}{
		{"a chain that settles soon", 3, 4, ""},
		{"a chain that settles at the limit", reaction.MaxDepth, reaction.MaxDepth + 1, ""},
		{"a chain whose next step would be a call", reaction.MaxDepth + 1, reaction.MaxDepth + 1, "test::call"},
		{"a chain without an end", 1_000_000, reaction.MaxDepth + 1, "test::call"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			ran := 0
			w := bound(t, winding(test.last, &ran))
			first := set("k", `{"n":0}`)
			commit(t, w.Store, first)
			w.settle(t)
			if ran != test.runs {
				t.Errorf("%d functions ran, want %d", ran, test.runs)
			}
			letters, _, err := w.DeadLetters(t.Context(), "", port.LetterID{}, 10)
			if err != nil {
				t.Fatal(err)
			}
			if test.stopped == "" {
				if len(letters) > 0 {
					t.Errorf("the dead letters are %+v", letters)
				}
				return
			}
			checkStopped(t, letters, test.stopped)
		})
	}
}

// checkStopped expects the one dead letter of a chain that was too deep.
func checkStopped(t *testing.T, letters []port.DeadLetter, function string) {
	t.Helper()
	if len(letters) != 1 || letters[0].Function != function || letters[0].Code != string(errs.ConditionNotMet) {
		t.Fatalf("the dead letters are %+v", letters)
	}
	cause := letters[0].Record.Cause
	if cause.Depth() != reaction.MaxDepth+1 || !strings.Contains(letters[0].Message, strings.Join(cause.Chain, " -> ")+" -> "+function) ||
		!strings.Contains(letters[0].Message, cause.Root) || cause.Root == "" {
		t.Errorf("it came of %+v and says %s", cause, letters[0].Message)
	}
}

func TestEveryKindOfDeliveryIsStoppedWhereItIsTooDeep(t *testing.T) {
	t.Parallel()
	chain := func(depth int) port.Cause {
		cause := port.Cause{}
		for i := range depth {
			cause = cause.Then("the beginning", fmt.Sprint("test::f", i))
		}
		return cause
	}
	payload := document.Value(`{"n":1000000}`)
	for _, test := range []struct {
		name, function string
		commit         port.Commit
	}{
		{"a change", "test::react", port.Commit{Writes: []port.Write{set("k", string(payload))}}},
		{"a call", "test::call", port.Commit{Calls: []port.Call{{ID: "c", Function: "test::call", Payload: payload}}}},
		{"a message", "test::message",
			port.Commit{Calls: []port.Call{{ID: "c", Function: "test::message", Payload: payload, Group: "g"}}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			for depth, runs := range map[int]int{reaction.MaxDepth: 1, reaction.MaxDepth + 1: 0} {
				ran := 0
				w := bound(t, winding(1_000_000, &ran))
				test.commit.Cause = chain(depth)
				if _, err := w.Store.Commit(t.Context(), test.commit); err != nil {
					t.Fatal(err)
				}
				w.settle(t)
				letters, _, err := w.DeadLetters(t.Context(), "", port.LetterID{}, 10)
				if ran != runs || err != nil {
					t.Errorf("at depth %d %d functions ran, %v", depth, ran, err)
				}
				if runs == 0 {
					checkStopped(t, letters, test.function)
				}
			}
		})
	}
}

// fate is what becomes of a run of a handler.
type fate string

const (
	fails     fate = "the handler fails"
	panics    fate = "the handler panics"
	throttled fate = "the store takes nothing"
	beaten    fate = "a race is lost"
	unheard   fate = "the commit is taken, and the answer lost"
	taken     fate = "the commit is taken"
)

// Each run of the handler does something else, through all that there is to do. What is left is what one run did.
func TestOnlyTheRunThatCommittedLeavesAnything(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		fates := rapid.SliceOfN(rapid.SampledFrom([]fate{fails, panics, throttled, beaten, unheard}), 0, 6).Draw(t, "fates")
		fates = append(fates, taken)
		run := -1
		app := eddy.New()
		eddy.Register(app, "test::next", ignore, eddy.Queue("next"))
		eddy.Register(app, "test::call", func(ctx context.Context, _ counter) (eddy.None, error) {
			run++
			return eddy.None{}, branch(ctx, run, fates[min(run, len(fates)-1)])
		}, eddy.Uses(sink, live, eddy.Enqueues("next")), eddy.MaxAttempts(100))
		w := bound(t, app)
		d := w.call(t, port.Call{ID: "c", Function: "test::call", Payload: document.Value(`{"n":1}`)})
		committed := -1
		w.refuse = func(c port.Commit) error {
			switch fates[min(run, len(fates)-1)] {
			case throttled:
				return errs.New(errs.Unavailable, "throttled")
			case beaten:
				return &port.ConflictError{}
			case unheard:
				_, err := w.Store.Commit(context.Background(), c)
				if err == nil {
					committed = run
				}
				return errs.New(errs.Unavailable, "the answer is lost")
			default:
				if committed < 0 {
					committed = run
				}
				return nil
			}
		}
		for past, done := (port.Attempts{}), false; !done; {
			if rapid.Bool().Draw(t, "together") {
				outcome := w.runner.DeliverTogether(context.Background(), []reaction.Attempt{{Delivery: d, Past: past}})[0]
				past, done = outcome.Attempts, outcome.Done
			} else {
				past, _, done = w.runner.Deliver(context.Background(), d, past)
			}
		}
		w.refuse = nil
		if diff := cmp.Diff(effects(committed), w.effects(t)); diff != "" {
			t.Errorf("of %v run %d was committed, and left (-want +got):\n%s", fates, committed, diff)
		}
	})
}

// branch is what a run does: a document, an event and a message tell its number.
func branch(ctx context.Context, run int, what fate) error {
	err := errors.Join(
		sink.Set(ctx, fmt.Sprint("run-", run), counter{run}),
		sink.Increment(ctx, "sum", "n", int64(run)),
		live.Group("g").Send(ctx, "ran", counter{run}),
	)
	if _, enqueued := eddy.Enqueue(ctx, "next", counter{run}); enqueued != nil || err != nil {
		return errors.Join(err, enqueued)
	}
	switch what {
	case fails:
		return fmt.Errorf("run %d fails", run)
	case panics:
		panic("run " + fmt.Sprint(run))
	default:
		return nil
	}
}

// effects is what branch leaves.
func effects(run int) []string {
	return []string{
		fmt.Sprintf(`run-%d {"n":%d}`, run, run), fmt.Sprintf(`sum {"n":%d}`, run),
		fmt.Sprintf(`sent {"n":%d}`, run), fmt.Sprintf(`enqueued {"n":%d}`, run),
	}
}

func (w *workshop) effects(t pebbletest.TB) (found []string) {
	page, err := w.List(context.Background(), port.Scope("sink"), port.Query{Limit: 100})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range page.Documents {
		found = append(found, fmt.Sprint(d.Key, " ", d.Value))
	}
	records, err := w.Records(context.Background(), 0, 1_000)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		switch {
		case r.Event != nil:
			found = append(found, fmt.Sprint("sent ", r.Event.Data))
		case r.Call != nil && r.Call.Function == "test::next":
			found = append(found, fmt.Sprint("enqueued ", r.Call.Payload))
		}
	}
	return found
}
