package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/eddyhq/eddy/local/engine"
	"github.com/eddyhq/eddy/shared/eddy"
)

// ticked is what the function of these tests keeps of its ticks.
type ticked struct {
	Runs   int64   `json:"runs"`
	Missed int64   `json:"missed"`
	At     []int64 `json:"at"` // minutes of the Unix epoch
}

// noon is the minute before the hands begin.
const noon = 29_539_440

func (k ticked) String() string {
	text := fmt.Sprintf("%d runs, %d missed, at", k.Runs, k.Missed)
	for _, at := range k.At {
		text += fmt.Sprintf(" 12:%02d", at-noon)
	}
	return text
}

var ticks = eddy.Scope[ticked]("ticks")

func keepTick(ctx context.Context, in eddy.Tick) (eddy.None, error) {
	_, err := ticks.Update(ctx, in.Schedule,
		eddy.Increment("runs", 1), eddy.Increment("missed", in.Missed), eddy.Append(in.At.Unix()/60, "at"))
	return eddy.None{}, err
}

// scheduled returns an app with a function that ticks every minute, and every five by cron.
func scheduled() *eddy.App {
	app := eddy.New()
	eddy.Register(app, "test::tick", keepTick, eddy.Every(time.Minute), eddy.Cron("*/5 * * * *"), eddy.Uses(ticks))
	return app
}

func ticksOf(t *testing.T, e *engine.Engine, schedule string) (kept ticked) {
	t.Helper()
	if text := get(t, e, "ticks", schedule); text != "" {
		if err := json.Unmarshal([]byte(text), &kept); err != nil {
			t.Fatal(err)
		}
	}
	return kept
}

func TestAScheduleTicksAtItsTimesAndCountsWhatItMissed(t *testing.T) {
	t.Parallel()
	onceAndTwice(t, func(t *testing.T, o engine.Options) {
		h, log := newHands(), &journal{} // it is 12:00:30
		o.Now, o.FS, o.Logger = h.now, vfs.NewMem(), log.logger()
		e, err := engine.Open(scheduled(), "data", o)
		if err != nil {
			t.Fatal(err)
		}
		see := func(when, schedule, want string) {
			t.Helper()
			settle(t, e)
			if got := fmt.Sprint(ticksOf(t, e, schedule)); got != want {
				t.Errorf("%s, the ticks of %s are %s, want %s", when, schedule, got, want)
			}
		}
		see("at the start", "every 1m0s", "0 runs, 0 missed, at")
		h.move(29 * time.Second)
		see("a second before it is time", "every 1m0s", "0 runs, 0 missed, at")
		h.move(time.Second)
		see("when it is time", "every 1m0s", "1 runs, 0 missed, at 12:01")
		see("a moment later", "every 1m0s", "1 runs, 0 missed, at 12:01")
		h.move(-30 * time.Second)
		see("when the clock goes back", "every 1m0s", "1 runs, 0 missed, at 12:01")
		h.move(30 * time.Second)
		see("when it is time again", "every 1m0s", "1 runs, 0 missed, at 12:01")
		stop(t, e)
		h.move(10*time.Minute + 59*time.Second) // until 12:11:59
		e = start(t, scheduled(), o)
		see("after ten minutes of nothing", "every 1m0s", "2 runs, 9 missed, at 12:01 12:11")
		see("after ten minutes of nothing", "*/5 * * * *", "1 runs, 1 missed, at 12:10")
		told := log.lines("a schedule missed ticks")
		if len(told) != 2 {
			t.Errorf("what was missed is told as %q", told)
		}
		for _, s := range e.Schedules() {
			if next := s.Next.Format("15:04:05"); s.Function != "test::tick" || s.Ticks != 1 ||
				s.Schedule == "every 1m0s" && (next != "12:12:00" || s.Missed != 9) ||
				s.Schedule == "*/5 * * * *" && (next != "12:15:00" || s.Missed != 1) {
				t.Errorf("a schedule stands at %+v", s)
			}
		}
	})
}

func TestNoTickIsLostOrDoubledByCrashes(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("the seed is %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	h, files := newHands(), vfs.NewCrashableMem()
	began := h.now()
	o := engine.Options{Now: h.now, DuplicateDeliveries: true}
	for range 20 {
		o.FS = files
		e, err := engine.Open(scheduled(), "data", o)
		if err != nil {
			t.Fatal(err)
		}
		for range random.IntN(4) {
			h.move(time.Duration(random.Int64N(int64(5 * time.Minute))))
			if random.IntN(2) == 0 {
				settle(t, e)
			}
		}
		crashed := files.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: random.IntN(101), RNG: rand.New(rand.NewPCG(seed, 1))})
		stop(t, e)
		files = crashed
		h.move(time.Duration(random.Int64N(int64(3 * time.Minute))))
	}
	o.FS = files
	e := start(t, scheduled(), o)
	settle(t, e)
	for _, f := range e.App().Functions() {
		for _, s := range f.Schedules {
			_, due := s.Due(began, h.now())
			got := ticksOf(t, e, s.Expression)
			if due == 0 || got.Runs+got.Missed != due {
				t.Errorf("%q was due %d times: it ran %d times and counted %d as missed", s.Expression, due, got.Runs, got.Missed)
			}
			for i := 1; i < len(got.At); i++ {
				if got.At[i] <= got.At[i-1] {
					t.Errorf("%q ticked at minute %d after minute %d", s.Expression, got.At[i], got.At[i-1])
				}
			}
		}
	}
}

// crashPoints keeps what a crash before each sync would leave of the files.
type crashPoints struct {
	mu   sync.Mutex
	left []*vfs.MemFS
}

// watch returns the files, as an engine is to see them.
func (c *crashPoints) watch(files *vfs.MemFS) vfs.FS {
	return errorfs.Wrap(files, errorfs.InjectorFunc(func(op errorfs.Op) error {
		switch op.Kind {
		case errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo:
			c.mu.Lock()
			defer c.mu.Unlock()
			c.left = append(c.left, files.CrashClone(vfs.CrashCloneCfg{}))
		default:
		}
		return nil
	}))
}

// from returns what was kept from the n-th on, and how much that is.
func (c *crashPoints) from(n int) []*vfs.MemFS {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.left[n:]
}

func TestACrashBetweenAnyTwoSyncsOfATickLosesAndDoublesNone(t *testing.T) {
	t.Parallel()
	h, files, points := newHands(), vfs.NewCrashableMem(), &crashPoints{}
	began := h.now()
	e := start(t, scheduled(), engine.Options{Now: h.now, FS: points.watch(files)})
	settle(t, e)
	begun := len(points.from(0))
	for range 3 {
		h.move(time.Minute)
		settle(t, e)
	}
	left := points.from(begun)
	if len(left) < 3 {
		t.Fatalf("three ticks made %d syncs", len(left))
	}
	h.move(time.Minute) // so that what a crash left open is not made good by a tick of the same time
	for i, crashed := range left {
		again := start(t, scheduled(), engine.Options{Now: h.now, FS: crashed})
		settle(t, again)
		for _, f := range again.App().Functions() {
			for _, s := range f.Schedules {
				_, due := s.Due(began, h.now())
				if got := ticksOf(t, again, s.Expression); got.Runs+got.Missed != due {
					t.Errorf("after a crash before sync %d %q, due %d times, has %v", i, s.Expression, due, got)
				}
			}
		}
	}
}

func TestAScheduleThatIsNewBeginsNow(t *testing.T) {
	t.Parallel()
	h, log := newHands(), &journal{}
	o := engine.Options{Now: h.now, FS: vfs.NewMem(), Logger: log.logger()}
	cycle := func(app *eddy.App) {
		t.Helper()
		e, err := engine.Open(app, "data", o)
		if err != nil {
			t.Fatal(err)
		}
		settle(t, e)
		stop(t, e)
		h.move(time.Hour)
	}
	without := eddy.New()
	eddy.Register(without, "test::other", func(context.Context, eddy.None) (eddy.None, error) { return eddy.None{}, nil })
	cycle(without)
	cycle(scheduled()) // new
	cycle(without)     // gone
	if told := log.lines("not registered any more and ends"); len(told) != 2 {
		t.Errorf("that schedules have ended is told as %q", told)
	}
	e := start(t, scheduled(), o) // new again
	settle(t, e)
	if got := ticksOf(t, e, "every 1m0s"); got.Runs != 0 {
		t.Errorf("a schedule that is new made up for the past: %+v", got)
	}
	h.move(time.Minute)
	settle(t, e)
	if got := ticksOf(t, e, "every 1m0s"); got.Runs != 1 || got.Missed != 0 {
		t.Errorf("a minute later its ticks are %+v", got)
	}
}

func TestATickThatFailsIsADeadLetterAndTheNextOneComes(t *testing.T) {
	t.Parallel()
	onceAndTwice(t, func(t *testing.T, o engine.Options) {
		app := eddy.New()
		h := newHands()
		bad := h.now().Truncate(time.Minute).Add(time.Minute)
		eddy.Register(app, "test::tick", func(ctx context.Context, in eddy.Tick) (eddy.None, error) {
			if in.At.Equal(bad) {
				return eddy.None{}, errors.New("not at this time")
			}
			return keepTick(ctx, in)
		}, eddy.Every(time.Minute), eddy.Uses(ticks), eddy.MaxAttempts(2), eddy.Backoff(time.Microsecond, time.Microsecond))
		o.Now = h.now
		e := start(t, app, o)
		for range 3 {
			h.move(time.Minute)
			settle(t, e)
		}
		if got := ticksOf(t, e, "every 1m0s"); got.Runs != 2 || got.Missed != 0 {
			t.Errorf("beside the one that fails, the ticks are %+v", got)
		}
		if dead := letters(t, e); len(dead) != 1 || dead[0].Attempts != 2 {
			t.Errorf("the dead letters are %+v", dead)
		}
	})
}
