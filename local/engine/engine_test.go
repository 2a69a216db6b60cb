package engine_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.uber.org/goleak"

	"github.com/eddyhq/eddy/local/engine"
	"github.com/eddyhq/eddy/shared/eddy"
	"github.com/eddyhq/eddy/shared/operator"
	"github.com/eddyhq/eddy/shared/port"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// thing is the document of these tests; n tells its writes apart.
type thing struct {
	N int `json:"n"`
}

// tally is what their reactions keep.
type tally struct {
	Count int   `json:"count"`
	Seen  []int `json:"seen,omitempty"`
}

var (
	things  = eddy.Scope[thing]("things")
	tallies = eddy.Scope[tally]("tallies")
)

// start runs an app until the test ends.
func start(t *testing.T, app *eddy.App, o engine.Options) *engine.Engine {
	t.Helper()
	if o.FS == nil {
		o.FS = vfs.NewMem()
	}
	e, err := engine.Open(app, "data", o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, e) })
	return e
}

func stop(t *testing.T, e *engine.Engine) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := e.Close(ctx); err != nil {
		t.Error(err)
	}
}

func write(t *testing.T, e *engine.Engine, key string, n int) {
	t.Helper()
	invoke(t, e, "state::set", fmt.Sprintf(`{"scope":"things","key":%q,"value":{"n":%d}}`, key, n))
}

func invoke(t *testing.T, e *engine.Engine, id, payload string) string {
	t.Helper()
	result, err := e.Invoke(t.Context(), operator.Call{Function: id, Payload: []byte(payload)})
	if err != nil {
		t.Fatalf("%s %s: %v", id, payload, err)
	}
	return string(result.JSON)
}

func settle(t *testing.T, e *engine.Engine) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := e.Settle(ctx); err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, e *engine.Engine, scope, key string) string {
	t.Helper()
	found, err := e.Get(t.Context(), port.Scope(scope), key)
	if err != nil {
		t.Fatal(err)
	}
	return string(found.Value)
}

func letters(t *testing.T, e *engine.Engine) []port.DeadLetter {
	t.Helper()
	found, _, err := e.DeadLetters(t.Context(), "", port.LetterID{}, 1000)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// onceAndTwice runs a test with each delivery made once, and in the mode that makes each twice: what it sees is the same.
func onceAndTwice(t *testing.T, test func(t *testing.T, o engine.Options)) {
	t.Helper()
	for _, mode := range []struct {
		name string
		o    engine.Options
	}{
		{"each delivery is made once", engine.Options{}},
		{"each delivery is made twice", engine.Options{DuplicateDeliveries: true}},
	} {
		t.Run(mode.name, func(t *testing.T) {
			t.Parallel()
			test(t, mode.o)
		})
	}
}

// counting adds one to the tally "all" for each change.
func counting(app *eddy.App, opts ...eddy.Option) {
	eddy.React(app, "test::count", func(ctx context.Context, _ eddy.Change[thing]) error {
		return tallies.Increment(ctx, "all", "count", 1)
	}, things.Changes(), append(opts, eddy.Uses(tallies))...)
}

func TestTheTestModeMakesEachDeliveryTwice(t *testing.T) {
	t.Parallel()
	for _, mode := range []struct {
		name  string
		twice bool
		runs  int32
	}{
		{"without it the function runs once", false, 1},
		{"with it the function runs twice and takes effect once", true, 2},
	} {
		t.Run(mode.name, func(t *testing.T) {
			t.Parallel()
			var runs atomic.Int32
			app := eddy.New()
			eddy.React(app, "test::count", func(ctx context.Context, _ eddy.Change[thing]) error {
				runs.Add(1)
				return tallies.Increment(ctx, "all", "count", 1)
			}, things.Changes(), eddy.Uses(tallies))
			e := start(t, app, engine.Options{DuplicateDeliveries: mode.twice})
			write(t, e, "k", 1)
			settle(t, e)
			if got := get(t, e, "tallies", "all"); runs.Load() != mode.runs || got != `{"count":1}` {
				t.Errorf("the function ran %d times, want %d, and left %s", runs.Load(), mode.runs, got)
			}
		})
	}
}

func TestACounterOfAReactionIsExactUnderConcurrentWrites(t *testing.T) {
	t.Parallel()
	onceAndTwice(t, func(t *testing.T, o engine.Options) {
		app := eddy.New()
		counting(app)
		e := start(t, app, o)
		var writers sync.WaitGroup
		for w := range 8 {
			writers.Go(func() {
				for i := range 50 {
					write(t, e, fmt.Sprint("k", w, "-", i%10), i)
				}
			})
		}
		writers.Wait()
		settle(t, e)
		if got := get(t, e, "tallies", "all"); got != `{"count":400}` {
			t.Errorf("the counter is %s after 400 writes", got)
		}
	})
}

func TestChangesOfOneDocumentAreHandledInOrder(t *testing.T) {
	t.Parallel()
	onceAndTwice(t, func(t *testing.T, o engine.Options) {
		app := eddy.New()
		eddy.React(app, "test::note", func(ctx context.Context, c eddy.Change[thing]) error {
			_, err := tallies.Update(ctx, c.Key, eddy.Append(c.New.N, "seen"))
			return err
		}, things.Changes(), eddy.Uses(tallies))
		e := start(t, app, o)
		want := strings.Builder{}
		for i := range 100 {
			write(t, e, "one", i)
			write(t, e, "two", i)
			fmt.Fprint(&want, ",", i)
		}
		settle(t, e)
		for _, key := range []string{"one", "two"} {
			if got := get(t, e, "tallies", key); got != `{"seen":[`+want.String()[1:]+`]}` {
				t.Errorf("the changes of %s were handled as %s", key, got)
			}
		}
	})
}

func TestACustomLaneReplacesTheLaneOfTheDocument(t *testing.T) {
	t.Parallel()
	onceAndTwice(t, func(t *testing.T, o engine.Options) {
		app := eddy.New()
		var running, most atomic.Int32
		eddy.React(app, "test::alone", func(ctx context.Context, _ eddy.Change[thing]) error {
			most.Store(max(most.Load(), running.Add(1)))
			defer running.Add(-1)
			return tallies.Increment(ctx, "all", "count", 1)
		}, things.Changes(eddy.Lane(func(eddy.Change[thing]) string { return "the only one" })), eddy.Uses(tallies))
		e := start(t, app, o)
		for i := range 100 {
			write(t, e, fmt.Sprint("k", i%7), i)
		}
		settle(t, e)
		if most.Load() != 1 {
			t.Errorf("%d deliveries of one lane ran at once", most.Load())
		}
		if got := get(t, e, "tallies", "all"); got != `{"count":100}` {
			t.Errorf("the counter is %s after 100 writes", got)
		}
	})
}

func TestAReactionThatFailsIsKeptAsADeadLetterAndDelaysNothing(t *testing.T) {
	t.Parallel()
	onceAndTwice(t, func(t *testing.T, o engine.Options) {
		app := eddy.New()
		counting(app)
		eddy.React(app, "test::fail", func(ctx context.Context, c eddy.Change[thing]) error {
			if err := tallies.Increment(ctx, "never", "count", 1); err != nil {
				return err
			}
			if c.Key == "bad" && c.New.N == 0 {
				return errors.New("cannot stand zero")
			}
			return nil
		}, things.Changes(), eddy.Uses(tallies), eddy.MaxAttempts(2))
		e := start(t, app, o)
		write(t, e, "bad", 0)
		write(t, e, "bad", 1)
		write(t, e, "good", 0)
		settle(t, e)
		if got := get(t, e, "tallies", "all"); got != `{"count":3}` {
			t.Errorf("the other function counted %s of 3", got)
		}
		if got := get(t, e, "tallies", "never"); got != `{"count":2}` {
			t.Errorf("the failing function left %s: its failed attempts must leave nothing, its lane must go on", got)
		}
		dead := letters(t, e)
		if len(dead) != 1 || dead[0].Attempts != 2 || dead[0].Function != "test::fail" ||
			!strings.Contains(dead[0].Message, "cannot stand zero") || dead[0].Last.Before(dead[0].First) {
			t.Errorf("the dead letters are %+v", dead)
		}
		shown := invoke(t, e, "queue::dead_letters", `{"function_id":"test::fail"}`)
		if !strings.Contains(shown, `"key":"bad"`) || !strings.Contains(shown, `"attempts":2`) {
			t.Errorf("queue::dead_letters shows %s", shown)
		}
	})
}

func TestADeadLetterCanBeRedrivenAndTakesEffectOnce(t *testing.T) {
	t.Parallel()
	onceAndTwice(t, func(t *testing.T, o engine.Options) {
		app := eddy.New()
		var mended atomic.Bool
		eddy.React(app, "test::fail", func(ctx context.Context, _ eddy.Change[thing]) error {
			if !mended.Load() {
				return eddy.NoRetry(errors.New("not yet"))
			}
			return tallies.Increment(ctx, "all", "count", 1)
		}, things.Changes(), eddy.Uses(tallies))
		e := start(t, app, o)
		redrive := func() string {
			return invoke(t, e, "queue::redrive", fmt.Sprintf(`{"function_id":"test::fail","id":%q}`, letters(t, e)[0].ID))
		}
		write(t, e, "k", 1)
		settle(t, e)
		if got := redrive(); got != `{"redriven":1}` {
			t.Fatalf("redrive says %s", got)
		}
		settle(t, e)
		if n := len(letters(t, e)); n != 1 {
			t.Fatalf("redriven without a mend, there are %d dead letters", n)
		}
		mended.Store(true)
		redrive()
		settle(t, e)
		if got := get(t, e, "tallies", "all"); got != `{"count":1}` || len(letters(t, e)) != 0 {
			t.Errorf("redriven after the mend, the counter is %s", got)
		}
	})
}

func TestAPoisonousWhenBecomesADeadLetter(t *testing.T) {
	t.Parallel()
	onceAndTwice(t, func(t *testing.T, o engine.Options) {
		app := eddy.New()
		eddy.React(app, "test::react", func(context.Context, eddy.Change[thing]) error { return nil },
			things.Changes(eddy.When(func(c eddy.Change[thing]) bool { return c.New.N/(c.New.N-1) > 0 })))
		e := start(t, app, o)
		write(t, e, "k", 1)
		write(t, e, "k", 2)
		settle(t, e)
		if dead := letters(t, e); len(dead) != 1 || !strings.Contains(dead[0].Message, "panicked") {
			t.Errorf("the dead letters are %+v", dead)
		}
	})
}

func TestAPanicIsAFailedAttempt(t *testing.T) {
	t.Parallel()
	onceAndTwice(t, func(t *testing.T, o engine.Options) {
		app := eddy.New()
		var attempts atomic.Int32
		eddy.React(app, "test::panic", func(ctx context.Context, _ eddy.Change[thing]) error {
			if attempts.Add(1) == 1 {
				panic("once")
			}
			return tallies.Increment(ctx, "all", "count", 1)
		}, things.Changes(), eddy.Uses(tallies))
		e := start(t, app, o)
		write(t, e, "k", 1)
		settle(t, e)
		if got := get(t, e, "tallies", "all"); got != `{"count":1}` {
			t.Errorf("the counter is %s", got)
		}
	})
}

func TestAFunctionThatHangsIsGivenUpAndDelaysNoOther(t *testing.T) {
	t.Parallel()
	app := eddy.New()
	counting(app)
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	eddy.React(app, "test::hang", func(context.Context, eddy.Change[thing]) error {
		<-release
		return nil
	}, things.Changes(), eddy.Timeout(time.Millisecond), eddy.MaxAttempts(1), eddy.Concurrency(4))
	e := start(t, app, engine.Options{})
	for i := range 4 {
		write(t, e, fmt.Sprint("k", i), i)
	}
	settle(t, e)
	dead := letters(t, e)
	if len(dead) != 4 || dead[0].Code != "timeout" {
		t.Errorf("the dead letters are %+v", dead)
	}
	if got := get(t, e, "tallies", "all"); got != `{"count":4}` {
		t.Errorf("the other function counted %s of 4", got)
	}
}

func TestTheLoopGuardEndsAChainAndNamesIt(t *testing.T) {
	t.Parallel()
	onceAndTwice(t, func(t *testing.T, o engine.Options) {
		app := eddy.New()
		eddy.React(app, "test::again", func(ctx context.Context, c eddy.Change[thing]) error {
			return things.Set(ctx, c.Key, thing{N: c.New.N + 1})
		}, things.Changes(), eddy.Uses(things))
		e := start(t, app, o)
		write(t, e, "k", 0)
		settle(t, e)
		if got := get(t, e, "things", "k"); got != `{"n":17}` {
			t.Errorf("the chain ended at %s, want depth 16 to be the last that runs", got)
		}
		dead := letters(t, e)
		if len(dead) != 1 || !strings.Contains(dead[0].Message, "test::again -> test::again") {
			t.Errorf("the dead letters are %+v", dead)
		}
	})
}

func TestAVoidCallRunsOnceItIsRecorded(t *testing.T) {
	t.Parallel()
	onceAndTwice(t, func(t *testing.T, o engine.Options) {
		app := eddy.New()
		eddy.Register(app, "test::work", func(ctx context.Context, in thing) (eddy.None, error) {
			return eddy.None{}, tallies.Increment(ctx, "all", "count", int64(in.N))
		}, eddy.Uses(tallies))
		eddy.React(app, "test::order", func(ctx context.Context, c eddy.Change[thing]) error {
			_, err := eddy.Void(ctx, "test::work", c.New)
			return err
		}, things.Changes(), eddy.Uses(eddy.Invokes("test::work")))
		e := start(t, app, o)
		if _, err := e.Void(t.Context(), operator.Call{Function: "test::work", Payload: []byte(`{"n":5}`)}); err != nil {
			t.Fatal(err)
		}
		write(t, e, "k", 7)
		settle(t, e)
		if got := get(t, e, "tallies", "all"); got != `{"count":12}` {
			t.Errorf("the calls left %s", got)
		}
		if _, err := e.Void(t.Context(), operator.Call{Function: "test::nobody", Payload: []byte(`{}`)}); eddy.CodeOf(err) != "not_found" {
			t.Errorf("a call of an unknown function returns %v", err)
		}
	})
}

func TestReactionsThatWereOwedRunAfterARestart(t *testing.T) {
	t.Parallel()
	onceAndTwice(t, func(t *testing.T, o engine.Options) {
		files := vfs.NewMem()
		silent := eddy.New()
		eddy.React(silent, "test::count", func(ctx context.Context, _ eddy.Change[thing]) error {
			<-ctx.Done()
			return ctx.Err()
		}, things.Changes(), eddy.Uses(tallies))
		o.FS = files
		first, err := engine.Open(silent, "data", o)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 20 {
			write(t, first, fmt.Sprint("k", i), i)
		}
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if err := first.Close(gone); err != nil {
			t.Fatal(err)
		}

		app := eddy.New()
		counting(app)
		e := start(t, app, o)
		settle(t, e)
		if got := get(t, e, "tallies", "all"); got != `{"count":20}` {
			t.Errorf("after the restart the counter is %s of 20", got)
		}
	})
}

func TestEffectsHappenOnceAcrossCrashes(t *testing.T) {
	t.Parallel()
	onceAndTwice(t, func(t *testing.T, o engine.Options) {
		app := eddy.New()
		counting(app)
		files := vfs.NewCrashableMem()
		written := 0
		for round := range 10 {
			o.FS = files
			e, err := engine.Open(app, "data", o)
			if err != nil {
				t.Fatal(err)
			}
			for i := range 30 {
				write(t, e, fmt.Sprint("k", i), i)
				written++
			}
			if round%2 == 0 {
				settle(t, e)
			}
			crashed := files.CrashClone(vfs.CrashCloneCfg{})
			stop(t, e)
			files = crashed
		}
		o.FS = files
		e := start(t, app, o)
		settle(t, e)
		if got := get(t, e, "tallies", "all"); got != fmt.Sprintf(`{"count":%d}`, written) {
			t.Errorf("after ten crashes the counter is %s of %d", got, written)
		}
	})
}

func TestAFunctionThatIsBehindReadsOnFromTheLog(t *testing.T) {
	t.Parallel()
	onceAndTwice(t, func(t *testing.T, o engine.Options) {
		app := eddy.New()
		release := make(chan struct{})
		eddy.React(app, "test::slow", func(ctx context.Context, c eddy.Change[thing]) error {
			<-release
			_, err := tallies.Update(ctx, "all", eddy.Append(c.New.N, "seen"))
			return err
		}, things.Changes(), eddy.Uses(tallies), eddy.Concurrency(2))
		counting(app)
		o.Window = 8
		e := start(t, app, o)
		const changes = 300
		for i := range changes {
			write(t, e, "k", i)
		}
		close(release)
		settle(t, e)
		var seen []int
		for i := range changes {
			seen = append(seen, i)
		}
		want := fmt.Sprintf(`{"count":%d,"seen":%s}`, changes, strings.ReplaceAll(fmt.Sprint(seen), " ", ","))
		if got := get(t, e, "tallies", "all"); got != want {
			t.Errorf("with a window of 8 the changes were handled as %s", got)
		}
	})
}

func TestAStuckDocumentIsNotOutrunWithoutEnd(t *testing.T) {
	t.Parallel()
	app := eddy.New()
	release := make(chan struct{})
	var others atomic.Int32
	eddy.React(app, "test::slow", func(ctx context.Context, c eddy.Change[thing]) error {
		if c.Key == "stuck" {
			<-release
		} else {
			others.Add(1)
		}
		return tallies.Increment(ctx, "all", "count", 1)
	}, things.Changes(), eddy.Uses(tallies))
	e := start(t, app, engine.Options{Window: 4})
	write(t, e, "stuck", 0)
	const changes = 200
	for i := range changes {
		write(t, e, fmt.Sprint("k", i), i)
	}
	if n := others.Load(); n > 4*8 {
		t.Errorf("%d deliveries got ahead of the stuck one with a window of 4", n)
	}
	close(release)
	settle(t, e)
	if got := get(t, e, "tallies", "all"); got != fmt.Sprintf(`{"count":%d}`, changes+1) || others.Load() != changes {
		t.Errorf("the counter is %s, the other documents were handled %d times", got, others.Load())
	}
}

func TestANewFunctionBeginsWithTheChangesAfterIt(t *testing.T) {
	t.Parallel()
	files := vfs.NewMem()
	before := eddy.New()
	eddy.React(before, "test::other", func(context.Context, eddy.Change[thing]) error { return nil }, things.Changes())
	first, err := engine.Open(before, "data", engine.Options{FS: files})
	if err != nil {
		t.Fatal(err)
	}
	write(t, first, "old", 1)
	stop(t, first)

	app := eddy.New()
	counting(app)
	e := start(t, app, engine.Options{FS: files})
	write(t, e, "new", 1)
	settle(t, e)
	if got := get(t, e, "tallies", "all"); got != `{"count":1}` {
		t.Errorf("the new function counted %s", got)
	}
}

func TestMistakesOfAnAppAreReportedTogether(t *testing.T) {
	t.Parallel()
	app := eddy.New()
	eddy.Register(app, "same::id", func(context.Context, eddy.None) (eddy.None, error) { return eddy.None{}, nil })
	eddy.Register(app, "same::id", func(context.Context, eddy.None) (eddy.None, error) { return eddy.None{}, nil })
	eddy.Register(app, "state::mine", func(context.Context, eddy.None) (eddy.None, error) { return eddy.None{}, nil })
	_, err := engine.Open(app, "data", engine.Options{FS: vfs.NewMem()})
	if err == nil || !slices.ContainsFunc([]string{"same::id"}, func(id string) bool { return strings.Contains(err.Error(), id) }) ||
		!strings.Contains(err.Error(), "state::mine") {
		t.Errorf("the app starts with %v", err)
	}
}
