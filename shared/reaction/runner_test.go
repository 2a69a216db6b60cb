package reaction_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/eddyhq/eddy/shared/document"
	"github.com/eddyhq/eddy/shared/eddy"
	"github.com/eddyhq/eddy/shared/errs"
	"github.com/eddyhq/eddy/shared/pebblestore"
	"github.com/eddyhq/eddy/shared/port"
	"github.com/eddyhq/eddy/shared/reaction"
)

// host runs functions at once, over a store whose commits can be made to fail.
type host struct {
	*pebblestore.Store
	now    time.Time
	ids    atomic.Int64
	refuse func(port.Commit) error
}

func (h *host) Commit(ctx context.Context, commit port.Commit) ([]port.Result, error) {
	if h.refuse != nil {
		if err := h.refuse(commit); err != nil {
			return nil, err
		}
	}
	return h.Store.Commit(ctx, commit)
}

func (h *host) Call(context.Context, string, document.Value, port.Cause, string) (document.Value, error) {
	return nil, errors.New("no other function here")
}
func (h *host) Now() time.Time { return h.now }
func (h *host) NewID() string  { return fmt.Sprintf("id-%03d", h.ids.Add(1)) }
func (h *host) Run(ctx context.Context, _ *eddy.Function, work func(context.Context) error) error {
	return work(ctx)
}

type counter struct {
	N int `json:"n"`
}

var (
	source = eddy.Scope[counter]("s")
	sink   = eddy.Scope[counter]("sink")
)

// bench is a runner with one reaction to the scope s.
type bench struct {
	*testing.T
	*host
	runner *reaction.Runner
	router *reaction.Router
}

func newBench(t *testing.T, react func(ctx context.Context, c eddy.Change[counter]) error, opts ...eddy.Option) *bench {
	t.Helper()
	app := eddy.New()
	eddy.React(app, "test::react", react, source.Changes(), append(opts, eddy.Uses(source, sink, live))...)
	if err := app.Validate(); err != nil {
		t.Fatal(err)
	}
	h := &host{Store: open(t), now: time.Unix(1_700_000_000, 0)}
	return &bench{t, h, reaction.NewRunner(h, slog.New(slog.DiscardHandler)), reaction.NewRouter(app)}
}

// change writes the document and returns its delivery.
func (b *bench) change(key string, n int) *reaction.Delivery {
	b.Helper()
	commit(b, b.Store, set(key, fmt.Sprintf(`{"n":%d}`, n)))
	records, err := b.Records(b.Context(), b.Head()-1, 1)
	if err != nil {
		b.Fatal(err)
	}
	deliveries, err := b.router.Route(&records[0])
	if err != nil || len(deliveries) != 1 {
		b.Fatalf("routed to %d deliveries, %v", len(deliveries), err)
	}
	return deliveries[0]
}

func (b *bench) sum() string {
	b.Helper()
	found, err := b.Get(b.Context(), port.Scope("sink"), "sum")
	if err != nil {
		b.Fatal(err)
	}
	return string(found.Value)
}

func addUp(ctx context.Context, c eddy.Change[counter]) error {
	return sink.Increment(ctx, "sum", "n", int64(c.New.N))
}

func TestADeliveryThatIsMadeAgainChangesNothing(t *testing.T) {
	t.Parallel()
	b := newBench(t, addUp)
	first, second := b.change("k", 1), b.change("k", 10)
	for _, d := range []*reaction.Delivery{first, first, second, first, second} {
		if _, _, done := b.runner.Deliver(t.Context(), d, port.Attempts{}); !done {
			t.Fatal("a delivery is not done")
		}
	}
	if got := b.sum(); got != `{"n":11}` {
		t.Errorf("the sum is %s", got)
	}
}

func TestAFailedAttemptIsCountedRecordedAndLeavesNothing(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(ctx context.Context, c eddy.Change[counter]) error {
		if err := addUp(ctx, c); err != nil {
			return err
		}
		return fmt.Errorf("attempt %d", c.Attempt)
	}, eddy.MaxAttempts(3))
	d := b.change("k", 1)
	var attempts port.Attempts
	for n := 1; n <= 2; n++ {
		var wait time.Duration
		var done bool
		attempts, wait, done = b.runner.Deliver(t.Context(), d, attempts)
		if done || attempts.Count != n || wait < eddy.DefaultFirstBackoff/2 || wait > eddy.DefaultFirstBackoff<<(n-1) {
			t.Fatalf("attempt %d: done %v, counted %d, wait %s", n, done, attempts.Count, wait)
		}
		recorded, err := b.Attempts(t.Context(), d.Cursor.Name)
		if err != nil || recorded.Count != n || !recorded.First.Equal(b.now) {
			t.Errorf("attempt %d is recorded as %+v, %v", n, recorded, err)
		}
	}
	if _, _, done := b.runner.Deliver(t.Context(), d, attempts); !done {
		t.Error("the last attempt does not end the delivery")
	}
	if got := b.sum(); got != "" {
		t.Errorf("the failed attempts left %s", got)
	}
	letters, _, err := b.DeadLetters(t.Context(), "test::react", port.LetterID{}, 10)
	if err != nil || len(letters) != 1 || letters[0].Attempts != 3 || !strings.Contains(letters[0].Message, "attempt 3") {
		t.Errorf("the dead letters are %+v, %v", letters, err)
	}
}

func TestTheWaitsBetweenAttemptsAreThoseOfTheFunction(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(context.Context, eddy.Change[counter]) error { return errors.New("no") },
		eddy.Backoff(time.Second, 5*time.Second))
	d := b.change("k", 1)
	var attempts port.Attempts
	for n, ceiling := range []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 5 * time.Second, 5 * time.Second} {
		var wait time.Duration
		attempts, wait, _ = b.runner.Deliver(t.Context(), d, attempts)
		if wait < ceiling/2 || wait > ceiling {
			t.Errorf("after attempt %d it waits %s, want from %s to %s", n+1, wait, ceiling/2, ceiling)
		}
	}
}

func TestNoRetryEndsADeliveryAtOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(context.Context, eddy.Change[counter]) error { return eddy.NoRetry(errors.New("hopeless")) })
	if _, _, done := b.runner.Deliver(t.Context(), b.change("k", 1), port.Attempts{}); !done {
		t.Error("the delivery is not done")
	}
}

func TestALostRaceIsRepeatedAndNotCounted(t *testing.T) {
	t.Parallel()
	var b *bench
	races := 3
	b = newBench(t, func(ctx context.Context, c eddy.Change[counter]) error {
		_, err := sink.Modify(ctx, "sum", func(sum *counter) error {
			sum.N += c.New.N
			return nil
		})
		if races > 0 {
			races--
			other := increment("sum", 100)
			other.Collection = port.Scope("sink")
			commit(b, b.Store, other)
		}
		return err
	})
	other := set("sum", `{"n":0}`)
	other.Collection = port.Scope("sink")
	commit(b, b.Store, other)
	d := b.change("k", 1)
	var attempts port.Attempts
	var done bool
	for range 4 {
		attempts, _, done = b.runner.Deliver(t.Context(), d, attempts)
		if attempts.Count != 0 {
			t.Errorf("a lost race is counted: %+v", attempts)
		}
	}
	if !done || b.sum() != `{"n":301}` {
		t.Errorf("done %v, the sum is %s", done, b.sum())
	}
}

func TestAStoreThatIsUnavailableIsNotTheFunctionsFault(t *testing.T) {
	t.Parallel()
	b := newBench(t, addUp, eddy.MaxAttempts(1))
	d := b.change("k", 1)
	b.refuse = func(port.Commit) error { return errs.New(errs.Unavailable, "throttled") }
	attempts, wait, done := b.runner.Deliver(t.Context(), d, port.Attempts{})
	if done || attempts.Count != 0 || wait == 0 {
		t.Errorf("done %v after %+v, wait %s", done, attempts, wait)
	}
	b.refuse = nil
	if _, _, done := b.runner.Deliver(t.Context(), d, attempts); !done || b.sum() != `{"n":1}` {
		t.Errorf("once the store is back: done %v, the sum is %s", done, b.sum())
	}
}

func TestAnEffectThatTheStoreRefusesForGoodIsAFailedAttempt(t *testing.T) {
	t.Parallel()
	b := newBench(t, addUp, eddy.MaxAttempts(1))
	d := b.change("k", 1)
	b.refuse = func(commit port.Commit) error {
		if len(commit.Writes) > 0 {
			return errs.New(errs.TooLarge, "over 400 KB")
		}
		return nil
	}
	if _, _, done := b.runner.Deliver(t.Context(), d, port.Attempts{}); !done {
		t.Error("the delivery is not done")
	}
	letters, _, err := b.DeadLetters(t.Context(), "test::react", port.LetterID{}, 10)
	if err != nil || len(letters) != 1 || letters[0].Code != "too_large" {
		t.Errorf("the dead letters are %+v, %v", letters, err)
	}
}

func TestTheEndOfTheHostIsNoFailedAttempt(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(ctx context.Context, _ eddy.Change[counter]) error { return ctx.Err() }, eddy.MaxAttempts(1))
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if attempts, _, done := b.runner.Deliver(ended, b.change("k", 1), port.Attempts{}); done || attempts.Count != 0 {
		t.Errorf("done %v after %+v", done, attempts)
	}
}

func TestChangesOfTheSameCommitCarryTheirCause(t *testing.T) {
	t.Parallel()
	b := newBench(t, addUp)
	d := b.change("k", 1)
	b.runner.Deliver(t.Context(), d, port.Attempts{})
	records, err := b.Records(t.Context(), b.Head()-1, 1)
	if err != nil {
		t.Fatal(err)
	}
	cause := records[0].Cause
	if cause.Root != d.Record.ID() || cause.Depth() != 1 || cause.Chain[0] != "test::react" {
		t.Errorf("the cause is %+v", cause)
	}
}
