package reaction_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/eddyhq/eddy/shared/document"
	"github.com/eddyhq/eddy/shared/eddy"
	"github.com/eddyhq/eddy/shared/errs"
	"github.com/eddyhq/eddy/shared/port"
	"github.com/eddyhq/eddy/shared/reaction"
	"github.com/eddyhq/eddy/shared/transaction"
)

// commits counts the commits that reach the store, by the number of their cursors.
func (b *bench) commits() *[]int {
	var seen []int
	b.refuse = func(c port.Commit) error {
		seen = append(seen, len(c.Cursors))
		return nil
	}
	return &seen
}

func attemptsOf(deliveries ...*reaction.Delivery) []reaction.Attempt {
	attempts := make([]reaction.Attempt, len(deliveries))
	for i, d := range deliveries {
		attempts[i].Delivery = d
	}
	return attempts
}

func (b *bench) together(deliveries ...*reaction.Delivery) []reaction.Outcome {
	return b.runner.DeliverTogether(b.Context(), attemptsOf(deliveries...))
}

func allDone(outcomes []reaction.Outcome) bool {
	return !slices.ContainsFunc(outcomes, func(o reaction.Outcome) bool { return !o.Done })
}

func TestIncrementsOfOneCounterAreOneCommit(t *testing.T) {
	t.Parallel()
	b := newBench(t, addUp)
	deliveries := []*reaction.Delivery{b.change("a", 1), b.change("b", 10), b.change("c", 100)}
	seen := b.commits()
	before := b.Head()
	if outcomes := b.together(deliveries...); !allDone(outcomes) {
		t.Errorf("the outcomes are %+v", outcomes)
	}
	if diff := cmp.Diff([]int{3}, *seen); diff != "" || b.sum() != `{"n":111}` {
		t.Errorf("the sum is %s; cursors of the commits (-want +got):\n%s", b.sum(), diff)
	}
	records, err := b.Records(t.Context(), before, 10)
	if err != nil || len(records) > 1 {
		t.Errorf("the counter changed %d times, %v", len(records), err)
	}
	for _, d := range deliveries {
		if _, _, done := b.runner.Deliver(t.Context(), d, port.Attempts{}); !done || b.sum() != `{"n":111}` {
			t.Errorf("after a redelivery: done %v, the sum is %s", done, b.sum())
		}
	}
}

func TestWhatOneCommitCannotHoldIsCommittedApart(t *testing.T) {
	t.Parallel()
	const most = transaction.MaxDocuments
	own := func(ctx context.Context, c eddy.Change[counter], documents int) error {
		for i := range documents {
			if err := sink.Set(ctx, fmt.Sprint(c.Key, i), *c.New); err != nil {
				return err
			}
		}
		return nil
	}
	for _, test := range []struct {
		name  string
		react func(ctx context.Context, c eddy.Change[counter]) error
		want  []int // cursors of each commit
	}{
		{"documents of their own add up", func(ctx context.Context, c eddy.Change[counter]) error { return own(ctx, c, 1) }, []int{4}},
		{"to as many as a commit holds", func(ctx context.Context, c eddy.Change[counter]) error { return own(ctx, c, most/3) },
			[]int{3, 1}},
		{"cursors, writes and events count together", func(ctx context.Context, c eddy.Change[counter]) error {
			for range 24 {
				if err := live.Group("g").Send(ctx, "done", *c.New); err != nil {
					return err
				}
			}
			return own(ctx, c, 1)
		}, []int{3, 1}},
		{"a delivery that writes all it may stands alone",
			func(ctx context.Context, c eddy.Change[counter]) error { return own(ctx, c, most) }, []int{1, 1, 1, 1}},
		{"sets of one document are apart",
			func(ctx context.Context, c eddy.Change[counter]) error { return sink.Set(ctx, "sum", *c.New) }, []int{1, 1, 1, 1}},
		{"also those with a time to live", func(ctx context.Context, c eddy.Change[counter]) error {
			return sink.Set(ctx, "sum", *c.New, eddy.TTL(time.Hour))
		}, []int{1, 1, 1, 1}},
		{"and checks of one document", func(ctx context.Context, _ eddy.Change[counter]) error {
			return sink.Check(ctx, "none", 0)
		}, []int{1, 1, 1, 1}},
		{"so is what adds to a document that another one sets", func(ctx context.Context, c eddy.Change[counter]) error {
			if c.New.N == 1 {
				return sink.Set(ctx, "sum", *c.New)
			}
			return addUp(ctx, c)
		}, []int{3, 1}},
		{"and what does more than add", func(ctx context.Context, c eddy.Change[counter]) error {
			_, err := sink.Update(ctx, "sum", eddy.Increment("n", 1), eddy.Merge(map[string]int{c.Key: 1}))
			return err
		}, []int{1, 1, 1, 1}},
		{"decrements add up as increments do", func(ctx context.Context, c eddy.Change[counter]) error {
			_, err := sink.Update(ctx, "sum", eddy.Decrement("n", 1), eddy.Increment("m", 1), eddy.Decrement("n", 1))
			return err
		}, []int{4}},
		{"sums beyond 64 bits do not", func(ctx context.Context, c eddy.Change[counter]) error {
			return sink.Increment(ctx, "sum", c.Key[:1], math.MaxInt64-2)
		}, []int{1, 1, 1, 1}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, test.react)
			var deliveries []*reaction.Delivery
			for n := range 4 {
				deliveries = append(deliveries, b.change(fmt.Sprint("k", n), n))
			}
			seen := b.commits()
			if outcomes := b.together(deliveries...); !allDone(outcomes) {
				t.Errorf("the outcomes are %+v", outcomes)
			}
			if diff := cmp.Diff(test.want, *seen); diff != "" {
				t.Errorf("cursors of the commits (-want +got):\n%s", diff)
			}
		})
	}
}

func TestTogetherDocumentsExpireAsTheyDoApart(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(ctx context.Context, c eddy.Change[counter]) error {
		return errors.Join(addUp(ctx, c), sink.Set(ctx, c.Key, *c.New, eddy.TTL(time.Duration(c.New.N)*time.Hour)))
	})
	const end = 1 << 35 // in seconds of the Unix epoch: no test lives to see it
	sum := port.Write{Op: port.Set, Collection: port.Scope("sink"), Key: "sum", Value: document.Value(`{"n":0}`), Expires: end}
	commit(b, b.Store, sum)
	deliveries := []*reaction.Delivery{b.change("a", 1), b.change("b", 10)}
	seen := b.commits()
	if outcomes := b.together(deliveries...); !allDone(outcomes) || len(*seen) != 1 {
		t.Fatalf("%d commits, the outcomes are %+v", len(*seen), outcomes)
	}
	expires := func(key string) int64 {
		found, err := b.Get(t.Context(), port.Scope("sink"), key)
		if err != nil {
			t.Fatal(err)
		}
		return found.Expires
	}
	if expires("sum") != end || expires("b")-expires("a") != 9*60*60 {
		t.Errorf("they expire at %d, %d and %d", expires("sum"), expires("a"), expires("b"))
	}
}

func TestDeliveriesOfDifferentChainsAreCommittedApart(t *testing.T) {
	t.Parallel()
	b := newBench(t, addUp)
	begun, follows := b.change("a", 1), b.change("b", 10)
	follows.Record.Cause = port.Cause{Root: "r", Chain: []string{"test::other"}}
	seen := b.commits()
	if outcomes := b.together(begun, follows); !allDone(outcomes) || len(*seen) != 2 || b.sum() != `{"n":11}` {
		t.Errorf("the outcomes are %+v of %v commits, the sum is %s", outcomes, *seen, b.sum())
	}
}

func TestOneDeliveryThatFailsTakesNoOtherWithIt(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(ctx context.Context, c eddy.Change[counter]) error {
		if err := addUp(ctx, c); err != nil {
			return err
		}
		switch c.Key {
		case "fails":
			return errors.New("not now")
		case "hopeless":
			return eddy.NoRetry(errors.New("never"))
		default:
			return nil
		}
	})
	outcomes := b.together(b.change("a", 1), b.change("fails", 10), b.change("hopeless", 100), b.change("b", 1000))
	if !outcomes[0].Done || outcomes[1].Done || !outcomes[2].Done || !outcomes[3].Done || b.sum() != `{"n":1001}` {
		t.Errorf("the outcomes are %+v, the sum is %s", outcomes, b.sum())
	}
	if failed := outcomes[1]; failed.Attempts.Count != 1 || failed.Wait < eddy.DefaultFirstBackoff/2 {
		t.Errorf("the failed attempt came to %+v", failed)
	}
	letters, _, err := b.DeadLetters(t.Context(), "", port.LetterID{}, 10)
	if err != nil || len(letters) != 1 {
		t.Errorf("the dead letters are %+v, %v", letters, err)
	}
}

func TestARedeliveryAmongOthersChangesNothing(t *testing.T) {
	t.Parallel()
	b := newBench(t, addUp)
	first := b.change("a", 1)
	b.together(first)
	again := b.change("b", 10)
	if outcomes := b.together(again, first, again, b.change("c", 100)); !allDone(outcomes) || b.sum() != `{"n":111}` {
		t.Errorf("the outcomes are %+v, the sum is %s", outcomes, b.sum())
	}
}

func TestThoseThatRaceWithOneAnotherAllWin(t *testing.T) {
	t.Parallel()
	var runs atomic.Int32
	b := newBench(t, func(ctx context.Context, c eddy.Change[counter]) error {
		runs.Add(1)
		_, err := sink.Modify(ctx, "sum", func(sum *counter) error {
			sum.N += c.New.N
			return nil
		})
		return err
	})
	other := set("sum", `{"n":0}`)
	other.Collection = port.Scope("sink")
	commit(b, b.Store, other)
	if outcomes := b.together(b.change("a", 1), b.change("b", 10), b.change("c", 100)); !allDone(outcomes) {
		t.Errorf("the outcomes are %+v", outcomes)
	}
	if b.sum() != `{"n":111}` || runs.Load() != 5 {
		t.Errorf("the sum is %s after %d runs", b.sum(), runs.Load())
	}
}

func TestNoMoreHandlersRunSideBySideThanTheirFunctionAllows(t *testing.T) {
	t.Parallel()
	var running, most atomic.Int32
	b := newBench(t, func(ctx context.Context, c eddy.Change[counter]) error {
		now := running.Add(1)
		defer running.Add(-1)
		for {
			if seen := most.Load(); now <= seen || most.CompareAndSwap(seen, now) {
				return addUp(ctx, c)
			}
		}
	}, eddy.Concurrency(2))
	var deliveries []*reaction.Delivery
	for i := range 20 {
		deliveries = append(deliveries, b.change(fmt.Sprint("k", i), 1))
	}
	if outcomes := b.together(deliveries...); !allDone(outcomes) || most.Load() > 2 || b.sum() != `{"n":20}` {
		t.Errorf("%d ran side by side, the sum is %s", most.Load(), b.sum())
	}
}

func TestTheEndOfTheHostEndsThemAll(t *testing.T) {
	t.Parallel()
	b := newBench(t, addUp, eddy.MaxAttempts(1))
	deliveries := []*reaction.Delivery{b.change("a", 1), b.change("b", 10)}
	ctx, cancel := context.WithCancel(t.Context())
	commits := 0
	b.refuse = func(port.Commit) error {
		commits++
		cancel()
		return ctx.Err()
	}
	outcomes := b.runner.DeliverTogether(ctx, attemptsOf(deliveries...))
	if outcomes[0].Done || outcomes[1].Done || outcomes[0].Attempts.Count+outcomes[1].Attempts.Count != 0 || commits != 1 {
		t.Errorf("after %d commits the outcomes are %+v", commits, outcomes)
	}
}

// task is a document whose change says what the reaction to it does.
type task struct {
	Add    int64  `json:"add"`    // to the counter all share, and to one of its own
	Modify int64  `json:"modify"` // adds to what all share as well, by reading it
	Set    string `json:"set"`    // a document of its own
	Send   bool   `json:"send"`
	Fails  int    `json:"fails"` // so many attempts
}

var (
	tasks = eddy.Scope[task]("tasks")
	text  = eddy.Scope[string]("text")
	live  = eddy.Stream[counter]("live")
)

func perform(ctx context.Context, c eddy.Change[task]) error {
	do := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	if c.New.Add != 0 {
		do(sink.Increment(ctx, "shared", "n", c.New.Add))
		_, err := sink.Update(ctx, c.Key, eddy.Increment("n", c.New.Add), eddy.Decrement("m", 1))
		do(err)
	}
	if c.New.Set != "" {
		do(text.Set(ctx, c.Key, c.New.Set))
	}
	if c.New.Send {
		do(live.Group("g").Send(ctx, "done", counter{N: int(c.New.Add)}))
	}
	if c.Attempt <= c.New.Fails {
		return fmt.Errorf("attempt %d fails", c.Attempt)
	}
	if c.New.Modify == 0 {
		return nil
	}
	_, err := sink.Modify(ctx, "modified", func(sum *counter) error {
		sum.N += int(c.New.Modify)
		return nil
	})
	if eddy.CodeOf(err) == eddy.CodeNotFound {
		err = sink.Set(ctx, "modified", counter{N: int(c.New.Modify)}, eddy.IfVersion(0))
	}
	return err
}

// workshop runs the reaction above over a store that may lose commits, or their replies.
type workshop struct {
	*host
	runner *reaction.Runner
	router *reaction.Router
}

func newWorkshop(t *rapid.T) *workshop {
	app := eddy.New()
	eddy.React(app, "test::perform", perform, tasks.Changes(), eddy.Uses(tasks, sink, text, live), eddy.MaxAttempts(3))
	if err := app.Validate(); err != nil {
		t.Fatal(err)
	}
	h := &host{Store: open(t)}
	return &workshop{h, reaction.NewRunner(h, slog.New(slog.DiscardHandler)), reaction.NewRouter(app)}
}

// fail makes one in so many commits fail, in every way there is.
func (w *workshop) fail(seed uint64, oneIn int) {
	var mu sync.Mutex
	chance := rand.New(rand.NewPCG(seed, 0))
	w.refuse = func(c port.Commit) error {
		mu.Lock()
		fate := chance.IntN(oneIn * 3)
		mu.Unlock()
		switch fate {
		case 0:
			return errs.New(errs.Unavailable, "throttled")
		case 1:
			return &port.ConflictError{}
		case 2:
			if _, err := w.Store.Commit(context.Background(), c); err != nil {
				return err
			}
			return errs.New(errs.Unavailable, "the reply is lost")
		default:
			return nil
		}
	}
}

// deliveries writes the tasks, each by its key, and returns what the reaction is owed, in lanes.
func (w *workshop) deliveries(t *rapid.T, keys []string, list []task) map[string][]*reaction.Delivery {
	lanes := map[string][]*reaction.Delivery{}
	for i, do := range list {
		value, err := document.From(do)
		if err != nil {
			t.Fatal(err)
		}
		commit(t, w.Store, port.Write{Op: port.Set, Collection: port.Scope("tasks"), Key: keys[i], Value: value})
		records, err := w.Records(context.Background(), w.Head()-1, 1)
		if err != nil {
			t.Fatal(err)
		}
		deliveries, err := w.router.Route(&records[0])
		if err != nil {
			t.Fatal(err)
		}
		lanes[keys[i]] = append(lanes[keys[i]], deliveries...)
	}
	return lanes
}

// left is all that the reaction left in the store, in an order of its own.
func (w *workshop) left(t *rapid.T) []string {
	var left []string
	for _, scope := range []port.Collection{port.Scope("sink"), port.Scope("text")} {
		page, err := w.List(context.Background(), scope, port.Query{Limit: 100})
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range page.Documents {
			left = append(left, fmt.Sprint(scope, " ", d.Key, " ", d.Value))
		}
	}
	records, err := w.Records(context.Background(), 0, 10_000)
	if err != nil {
		t.Fatal(err)
	}
	var sent []string
	for _, r := range records {
		if r.Event != nil {
			sent = append(sent, fmt.Sprint("sent ", r.Event.Data))
		}
	}
	slices.Sort(sent)
	letters, _, err := w.DeadLetters(context.Background(), "", port.LetterID{}, 100)
	if err != nil {
		t.Fatal(err)
	}
	var buried []string
	for _, l := range letters {
		buried = append(buried, fmt.Sprint("letter ", l.Record.Change.Key, " ", l.Record.Change.New, " ", l.Attempts))
	}
	slices.Sort(buried)
	return slices.Concat(left, sent, buried)
}

func drawTask(t *rapid.T) task {
	return task{
		Add:    rapid.Int64Range(-2, 3).Draw(t, "add"),
		Modify: rapid.SampledFrom([]int64{0, 0, 1, 7}).Draw(t, "modify"),
		Set:    rapid.SampledFrom([]string{"", "x", "y"}).Draw(t, "set"),
		Send:   rapid.Bool().Draw(t, "send"),
		Fails:  rapid.SampledFrom([]int{0, 0, 0, 1, 2, 3}).Draw(t, "fails"),
	}
}

// Whatever way deliveries come together, are repeated and fail, what they leave is what one by one leaves.
func TestDeliveriesLeaveTheSameTogetherAndOneByOne(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		list := rapid.SliceOfN(rapid.Custom(drawTask), 1, 12).Draw(t, "tasks")
		keys := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "c", "d", "e"}), len(list), len(list)).Draw(t, "keys")

		single := newWorkshop(t)
		for _, lane := range single.deliveries(t, keys, list) {
			for _, d := range lane {
				for done, past := false, (port.Attempts{}); !done; {
					past, _, done = single.runner.Deliver(context.Background(), d, past)
				}
			}
		}

		batched := newWorkshop(t)
		lanes := batched.deliveries(t, keys, list)
		batched.fail(rapid.Uint64().Draw(t, "seed"), rapid.IntRange(2, 10).Draw(t, "one in"))
		past := map[string]port.Attempts{}
		var ended []*reaction.Delivery
		for len(lanes) > 0 {
			var batch []reaction.Attempt
			var names []string
			for _, name := range slices.Sorted(maps.Keys(lanes)) {
				if len(lanes) == 1 || rapid.Bool().Draw(t, "in the batch") {
					batch = append(batch, reaction.Attempt{Delivery: lanes[name][0], Past: past[name]})
					names = append(names, name)
				}
			}
			if len(ended) > 0 && rapid.Bool().Draw(t, "a redelivery") {
				batch = append(batch, reaction.Attempt{Delivery: rapid.SampledFrom(ended).Draw(t, "again")})
			}
			for i, o := range batched.runner.DeliverTogether(context.Background(), batch)[:len(names)] {
				name := names[i]
				if !o.Done {
					past[name] = o.Attempts
					continue
				}
				delete(past, name)
				ended = append(ended, lanes[name][0])
				if lanes[name] = lanes[name][1:]; len(lanes[name]) == 0 {
					delete(lanes, name)
				}
			}
		}
		if diff := cmp.Diff(single.left(t), batched.left(t)); diff != "" {
			t.Errorf("one by one and together leave different things (-one by one +together):\n%s", diff)
		}
	})
}
