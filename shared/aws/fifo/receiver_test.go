package fifo_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/eddyhq/eddy/shared/aws/message"
	"github.com/eddyhq/eddy/shared/deployed"
	"github.com/eddyhq/eddy/shared/eddy"
	"github.com/eddyhq/eddy/shared/errs"
	"github.com/eddyhq/eddy/shared/port"
)

// failing fails every attempt at these numbers, and notes the others.
func failing(failures map[int]error, attempts *atomic.Int64) func(context.Context, eddy.Change[thing]) error {
	return func(ctx context.Context, c eddy.Change[thing]) error {
		if err := failures[c.New.N]; err != nil {
			attempts.Add(1)
			return err
		}
		return note(ctx, c)
	}
}

func TestABatchIsDeliveredInTheOrderOfItsLanes(t *testing.T) {
	t.Parallel()
	w := start(t, note)
	foreign := number("a", 5, 100)
	foreign.Change.Collection = port.Scope("others")
	failed := w.receive(t.Context(),
		event("1", body("a", number("a", 1, 1), number("a", 2, 2)), 1),
		event("2", body("b", number("b", 3, 10)), 1),
		event("3", body("a", foreign, number("a", 4, 3)), 1),
	)
	if failed != nil || w.kept(t, "a") != seen(1, 2, 3) || w.kept(t, "b") != seen(10) || w.kept(t, "all") != `{"sum":16}` {
		t.Errorf("failed %q, kept %s, %s and %s", failed, w.kept(t, "a"), w.kept(t, "b"), w.kept(t, "all"))
	}
	if w.asked != 0 || len(w.visible) != 0 {
		t.Errorf("the ledger was asked %d times, the queue told %v", w.asked, w.visible)
	}
}

func TestADeliveryThatFailsHoldsUpItsLaneUntilItIsADeadLetter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var attempts atomic.Int64
		w := start(t, failing(map[int]error{1: errors.New("not now")}, &attempts))
		messages := []events.SQSMessage{
			event("1", body("a", number("a", 1, 1), number("a", 2, 2)), 1),
			event("2", body("b", number("b", 3, 10)), 1),
			event("3", body("a", number("a", 4, 3)), 1),
		}
		failed := w.receive(t.Context(), messages...)
		if diff := cmp.Diff([]string{"1", "3"}, failed); diff != "" || w.kept(t, "b") != seen(10) || w.kept(t, "a") != "" {
			t.Errorf("kept %s and %s, failed (-want +got):\n%s", w.kept(t, "a"), w.kept(t, "b"), diff)
		}
		// Short waits are sat out; the first long one is the queue's.
		wait := w.visible["receipt of 1"]
		if n := attempts.Load(); n < 5 || n > 6 || wait < 2 || wait > 7 || w.visible["receipt of 3"] != wait || len(w.visible) != 2 {
			t.Errorf("after %d attempts the queue is told %v", n, w.visible)
		}
		for receives := 2; len(failed) > 0; receives++ {
			failed = w.receive(t.Context(), event("1", messages[0].Body, receives), event("3", messages[2].Body, receives))
		}
		letters := w.letters(t)
		if attempts.Load() != 8 || len(letters) != 1 || letters[0].Attempts != 8 || letters[0].Last.Sub(letters[0].First) <= 0 {
			t.Errorf("%d attempts, dead letters %+v", attempts.Load(), letters)
		}
		if w.kept(t, "a") != seen(2, 3) {
			t.Errorf("kept %s", w.kept(t, "a"))
		}
	})
}

func TestNoRetryIsADeadLetterAtOnce(t *testing.T) {
	t.Parallel()
	var attempts atomic.Int64
	w := start(t, failing(map[int]error{2: eddy.NoRetry(errors.New("never"))}, &attempts))
	failed := w.receive(t.Context(), event("1", body("a", number("a", 1, 1), number("a", 2, 2), number("a", 3, 3)), 1))
	if failed != nil || attempts.Load() != 1 || w.kept(t, "a") != seen(1, 3) || len(w.letters(t)) != 1 {
		t.Errorf("failed %q, kept %s, dead letters %+v", failed, w.kept(t, "a"), w.letters(t))
	}
}

func TestAMessageThatCannotBeReadIsKept(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, body string }{
		{"no JSON", "hello \xff"},
		{"a record of nothing", `{"lane":"a","records":[{"id":"x"}]}`},
		{"nothing in it", `{"lane":"a"}`},
		{"its blob is gone", `{"lane":"a","blob":"test::react/gone"}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := start(t, note)
			w.fail = func() fate { return refused }
			batch := []events.SQSMessage{event("1", test.body, 1)}
			if failed := w.receive(t.Context(), batch...); len(failed) != 1 || w.visible["receipt of 1"] != 1 {
				t.Errorf("when it cannot be kept: failed %q, the queue is told %v", failed, w.visible)
			}
			w.fail = nil
			batch = append(batch, event("2", body("a", number("a", 1, 1)), 1))
			if failed := w.receive(t.Context(), batch...); failed != nil || w.kept(t, "a") != seen(1) {
				t.Errorf("failed %q, kept %s", failed, w.kept(t, "a"))
			}
			letters := w.letters(t)
			if len(letters) != 1 || letters[0].Function != "test::react" {
				t.Fatalf("the dead letters are %+v", letters)
			}
			if text, _ := letters[0].Record.Call.Payload.Text(); text != strings.ToValidUTF8(test.body, "\uFFFD") {
				t.Errorf("kept is %q", text)
			}
		})
	}
}

func TestABlobThatCannotBeReadNowHoldsUpItsLane(t *testing.T) {
	t.Parallel()
	w := start(t, note)
	w.blobs["test::react/x"] = errs.New(errs.Unavailable, "throttled")
	failed := w.receive(t.Context(),
		event("1", body("a", number("a", 1, 1)), 1),
		event("2", `{"lane":"a","blob":"test::react/x"}`, 1),
		event("3", body("a", number("a", 3, 3)), 1),
		event("4", body("b", number("b", 4, 4)), 1),
	)
	if diff := cmp.Diff([]string{"2", "3"}, failed); diff != "" || w.kept(t, "a") != seen(1) || w.kept(t, "b") != seen(4) {
		t.Errorf("kept %s and %s, failed (-want +got):\n%s", w.kept(t, "a"), w.kept(t, "b"), diff)
	}
}

func TestWhatHasTakenEffectIsNotRunAgain(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		n     int // times received
		runs  int64
		asked int
	}{
		{"a message that is said to come again", 2, 0, 1},
		{"a message of which nothing is said", 0, 0, 1},
		{"a repetition that looks new runs, and has no effect", 1, 3, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var runs atomic.Int64
			w := start(t, func(ctx context.Context, c eddy.Change[thing]) error {
				runs.Add(1)
				return note(ctx, c)
			})
			text := body("a", number("a", 1, 1), number("a", 2, 2), number("a", 3, 3))
			w.receive(t.Context(), event("1", text, 1))
			runs.Store(0)
			failed := w.receive(t.Context(), event("1", text, test.n))
			if failed != nil || runs.Load() != test.runs || w.asked != test.asked || w.kept(t, "a") != seen(1, 2, 3) {
				t.Errorf("failed %q, %d runs, asked %d times, kept %s", failed, runs.Load(), w.asked, w.kept(t, "a"))
			}
		})
	}
}

func TestWhatIsReceivedForTheLastTimeIsADeadLetterInItsTurn(t *testing.T) {
	t.Parallel()
	w := start(t, note)
	w.receive(t.Context(), event("1", body("a", number("a", 1, 1)), 1))
	failed := w.receive(t.Context(),
		event("2", body("a", number("a", 1, 1), number("a", 2, 2)), deployed.MaxReceives(w.function.MaxAttempts)),
		event("3", body("a", number("a", 3, 3)), 2),
	)
	letters := w.letters(t)
	if failed != nil || w.kept(t, "a") != seen(1, 3) || len(letters) != 1 || letters[0].Record.Change.Version != 2 ||
		letters[0].Code != "unavailable" || !strings.Contains(letters[0].Message, "100 times") {
		t.Errorf("failed %q, kept %s, dead letters %+v", failed, w.kept(t, "a"), letters)
	}
}

func TestALaneThatTakesLongerThanALambdaGoesOnWhereItWas(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var runs []int
		w := start(t, func(ctx context.Context, c eddy.Change[thing]) error {
			runs = append(runs, c.New.N)
			time.Sleep(time.Second)
			return note(ctx, c)
		}, eddy.Timeout(3*time.Second))
		var records []message.Record
		for n := range 8 {
			records = append(records, number("a", int64(n+1), n))
		}
		text := body("a", records...)
		began := time.Now()
		receives := 1
		for len(w.receive(t.Context(), event("1", text, receives))) > 0 {
			receives++
		}
		if want := []int{0, 1, 2, 3, 4, 5, 6, 7}; !slices.Equal(want, runs) || receives != 3 || time.Since(began) != 8*time.Second {
			t.Errorf("received %d times in %s, run %v", receives, time.Since(began), runs)
		}
		if w.visible["receipt of 1"] != 1 {
			t.Errorf("the queue is told %v", w.visible)
		}
	})
}

func TestAHandlerThatHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := start(t, func(ctx context.Context, c eddy.Change[thing]) error {
			if c.New.N == 1 {
				<-ctx.Done()
				return ctx.Err()
			}
			time.Sleep(2 * time.Second)
			return note(ctx, c)
		}, eddy.Timeout(5*time.Second))
		receive := func(n int, more ...events.SQSMessage) (failed []string, attempts int, took time.Duration) {
			began := time.Now()
			text := body("a", number("a", 1, 0), number("a", 2, 1))
			failed = w.receive(t.Context(), append(more, event("1", text, n))...)
			_, stored, err := w.Standing(t.Context(), "test::react/state/things/a")
			if err != nil {
				t.Fatal(err)
			}
			return failed, stored.Count, time.Since(began)
		}
		// Cut off late in an invocation, it was given no fair attempt, and there is still time for the answer.
		failed, attempts, took := receive(1, event("2", body("b", number("b", 4, 4)), 1))
		if !slices.Equal(failed, []string{"1"}) || attempts != 0 || took <= 5*time.Second || took >= 6*time.Second {
			t.Errorf("after %s failed %q, %d attempts are counted", took, failed, attempts)
		}
		if w.kept(t, "a") != seen(0) || w.kept(t, "b") != seen(4) {
			t.Errorf("kept %s and %s", w.kept(t, "a"), w.kept(t, "b"))
		}
		// In the next one it is the first, and has all of its time.
		if failed, attempts, _ := receive(2); !slices.Equal(failed, []string{"1"}) || attempts != 1 {
			t.Errorf("failed %q, %d attempts are counted", failed, attempts)
		}
	})
}

// transport brings the messages of some lanes to a function, at least once, in the order of their lanes.
type transport struct {
	chance   *rand.Rand
	queues   [][]events.SQSMessage // by lane
	received map[string]int        // by message
}

// newTransport makes messages of the records of lanes: folded, and repeated as a router does that reads its stream again.
func newTransport(chance *rand.Rand, lanes [][]message.Record) *transport {
	tr := &transport{chance: chance, received: map[string]int{}}
	for i, records := range lanes {
		var queue []events.SQSMessage
		for sent := 0; sent < len(records); {
			from := chance.IntN(sent + 1)
			to := min(len(records), from+1+chance.IntN(3))
			id := fmt.Sprint("lane ", i, " message ", len(queue))
			queue = append(queue, event(id, body(fmt.Sprint("lane ", i), records[from:to]...), 0))
			sent = max(sent, to)
		}
		tr.queues = append(tr.queues, queue)
	}
	return tr
}

// receive returns up to ten messages, each lane from its first on.
func (tr *transport) receive() (batch []events.SQSMessage) {
	for _, queue := range tr.queues {
		for _, m := range queue[:tr.chance.IntN(min(3, len(queue))+1)] {
			if len(batch) < 10 {
				tr.received[m.MessageId]++
				batch = append(batch, event(m.MessageId, m.Body, tr.received[m.MessageId]))
			}
		}
	}
	return batch
}

// acknowledge takes those of a batch that did not fail out of the queues.
func (tr *transport) acknowledge(batch []events.SQSMessage, failed []string) {
	for i := range tr.queues {
		tr.queues[i] = slices.DeleteFunc(tr.queues[i], func(m events.SQSMessage) bool {
			return !slices.Contains(failed, m.MessageId) &&
				slices.ContainsFunc(batch, func(of events.SQSMessage) bool { return of.MessageId == m.MessageId })
		})
	}
}

func (tr *transport) empty() bool {
	return !slices.ContainsFunc(tr.queues, func(queue []events.SQSMessage) bool { return len(queue) > 0 })
}

// scenario is what comes to a function, and how much of it fails.
type scenario struct {
	seed      uint64
	oneIn     int     // of so many attempts one fails, and of so many commits several
	poisonous int     // numbers below it are never handled
	custom    bool    // the trigger names the lanes
	numbers   [][]int // of the changes, by document
}

func drawScenario(t *rapid.T) scenario {
	numbers := rapid.SliceOfN(rapid.IntRange(0, 99), 1, 6)
	return scenario{
		seed:      rapid.Uint64().Draw(t, "seed"),
		oneIn:     rapid.IntRange(4, 40).Draw(t, "one in"),
		poisonous: rapid.SampledFrom([]int{0, 0, 10, 40}).Draw(t, "poisonous"),
		custom:    rapid.Bool().Draw(t, "custom lanes"),
		numbers:   rapid.SliceOfN(numbers, 1, 4).Draw(t, "numbers"),
	}
}

// fates makes commits fail in every way there is. After a crash nothing more happens, and nobody hears of it.
func (s scenario) fates(chance *rand.Rand, crashed *bool) func() fate {
	return func() fate {
		switch n := chance.IntN(4 * s.oneIn); {
		case *crashed || n == 0:
			return refused
		case n == 1:
			return lostReply
		case n == 2:
			*crashed = true
			return lostReply
		default:
			return taken
		}
	}
}

// play brings the changes to a function until nothing is left, and returns what is kept of each document, and the dead
// letters.
func (s scenario) play(t *testing.T) (got, want []string) {
	var attempts atomic.Int64
	var options []eddy.TriggerOption[thing]
	if s.custom {
		options = append(options, eddy.Lane(func(c eddy.Change[thing]) string { return c.Key }))
	}
	w := newWorld(t, func(ctx context.Context, c eddy.Change[thing]) error {
		if c.New.N < s.poisonous {
			return eddy.NoRetry(errors.New("never"))
		}
		if attempts.Add(1)%int64(s.oneIn) == 0 {
			return errors.New("not now")
		}
		return note(ctx, c)
	}, options, eddy.MaxAttempts(100))
	defer w.Close()

	lanes := make([][]message.Record, len(s.numbers))
	for i, numbers := range s.numbers {
		for j, n := range numbers {
			lanes[i] = append(lanes[i], number(fmt.Sprint("k", i), int64(j+1), n))
		}
	}
	chance := rand.New(rand.NewPCG(s.seed, 0))
	for tr := newTransport(chance, lanes); !tr.empty(); {
		batch := tr.receive()
		crashed := false
		w.fail = s.fates(chance, &crashed)
		failed := w.receive(t.Context(), batch...)
		if !crashed {
			tr.acknowledge(batch, failed)
		}
	}

	sum := 0
	for i, numbers := range s.numbers {
		var healthy []int
		for j, n := range numbers {
			if n < s.poisonous {
				want = append(want, "letter "+lanes[i][j].ID)
				continue
			}
			healthy = append(healthy, n)
			sum += n
		}
		if len(healthy) > 0 {
			want = append(want, seen(healthy...))
			got = append(got, w.kept(t, fmt.Sprint("k", i)))
		}
	}
	if len(got) > 0 {
		want, got = append(want, fmt.Sprintf(`{"sum":%d}`, sum)), append(got, w.kept(t, "all"))
	}
	for _, l := range w.letters(t) {
		got = append(got, "letter "+l.Record.ID())
	}
	return got, want
}

// Whatever comes twice, fails, or ends in the middle: each change takes effect once, in the order of its document, or is
// one dead letter.
func TestEveryChangeTakesEffectOnceInItsOrder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		s := drawScenario(rt)
		var got, want []string
		synctest.Test(t, func(t *testing.T) { got, want = s.play(t) })
		slices.Sort(got)
		slices.Sort(want)
		if diff := cmp.Diff(want, got); diff != "" {
			rt.Errorf("what is left (-want +got):\n%s", diff)
		}
	})
}
