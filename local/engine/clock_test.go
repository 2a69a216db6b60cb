package engine_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/eddyhq/eddy/local/engine"
	"github.com/eddyhq/eddy/shared/eddy"
)

// hands is a clock that moves when a test moves it.
type hands struct{ nanos atomic.Int64 }

func newHands() *hands {
	h := &hands{}
	h.nanos.Store(time.Date(2026, 3, 1, 12, 0, 30, 0, time.UTC).UnixNano())
	return h
}

func (h *hands) now() time.Time        { return time.Unix(0, h.nanos.Load()) }
func (h *hands) move(by time.Duration) { h.nanos.Add(int64(by)) }

// journal is a log that a test reads.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) lines(containing string) (found []string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for line := range strings.Lines(j.text.String()) {
		if strings.Contains(line, containing) {
			found = append(found, line)
		}
	}
	return found
}

func (j *journal) logger() *slog.Logger { return slog.New(slog.NewTextHandler(j, nil)) }

func TestADocumentExpiresOnceWithAChangeThatSaysSo(t *testing.T) {
	t.Parallel()
	onceAndTwice(t, func(t *testing.T, o engine.Options) {
		app := eddy.New()
		eddy.React(app, "test::note", func(ctx context.Context, c eddy.Change[thing]) error {
			if c.New == nil && c.Expired && c.Old.N == 1 {
				return tallies.Increment(ctx, c.Key, "count", 1)
			}
			return nil
		}, things.Changes(), eddy.Uses(tallies))
		h, files := newHands(), vfs.NewCrashableMem()
		o.Now, o.FS = h.now, files
		e, err := engine.Open(app, "data", o)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 3 {
			invoke(t, e, "state::set", fmt.Sprintf(`{"scope":"things","key":"k%d","value":{"n":1},"ttl_seconds":%d}`, i, 10*(i+1)))
		}
		write(t, e, "stays", 1)
		settle(t, e)
		h.move(9 * time.Second)
		settle(t, e)
		if got := get(t, e, "tallies", "k0"); got != "" {
			t.Errorf("before its time the expiry was told: %s", got)
		}
		h.move(time.Second)
		if got := get(t, e, "things", "k0"); got != "" {
			t.Errorf("at its time it is %s", got)
		}
		settle(t, e)
		h.move(10 * time.Second) // one more falls due while nothing runs
		o.FS = files.CrashClone(vfs.CrashCloneCfg{})
		stop(t, e)
		e = start(t, app, o)
		settle(t, e)
		settle(t, e)
		for key, want := range map[string]string{"k0": `{"count":1}`, "k1": `{"count":1}`, "k2": "", "stays": ""} {
			if got := get(t, e, "tallies", key); got != want {
				t.Errorf("the expiry of %s was handled as %s, want %s", key, got, want)
			}
		}
	})
}

func TestWhatIsDueHappensWithinHalfASecondByItself(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		app := eddy.New()
		happened := make(chan string, 10)
		say := func(what string) error {
			happened <- what
			return nil
		}
		eddy.React(app, "test::expiry", func(_ context.Context, c eddy.Change[thing]) error {
			if c.Expired {
				return say("expiry")
			}
			return nil
		}, things.Changes())
		eddy.Register(app, "test::message", func(context.Context, thing) (eddy.None, error) {
			return eddy.None{}, say("message")
		}, eddy.Queue("later", eddy.Delay(10*time.Second)))
		eddy.Register(app, "test::tick", func(_ context.Context, in eddy.Tick) (eddy.None, error) {
			return eddy.None{}, say(fmt.Sprint("tick ", in.Missed))
		}, eddy.Every(time.Minute))
		began := time.Now() // a full minute: the clock of a bubble begins at midnight
		e := start(t, app, engine.Options{})
		invoke(t, e, "state::set", `{"scope":"things","key":"k","value":{"n":1},"ttl_seconds":5}`)
		enqueue(t, e, "later", "test::message", `{"n":1}`)
		for _, want := range []struct {
			what  string
			after time.Duration
		}{{"expiry", 5 * time.Second}, {"message", 10 * time.Second}, {"tick 0", time.Minute}, {"tick 0", 2 * time.Minute}} {
			what := <-happened
			if late := time.Since(began) - want.after; what != want.what || late < 0 || late > time.Second/2 {
				t.Errorf("%s came %s after its time; want %s", what, late, want.what)
			}
		}
	})
}

func TestAClockThatGoesBackIsTold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h, log := newHands(), &journal{}
		e := start(t, eddy.New(), engine.Options{Now: h.now, Logger: log.logger()})
		synctest.Wait()
		h.move(-time.Hour)
		wait := time.NewTimer(time.Second)
		<-wait.C
		settle(t, e)
		if told := log.lines("the clock went back"); len(told) != 1 || !strings.Contains(told[0], "by=1h") {
			t.Errorf("a clock that went back an hour is told as %q", told)
		}
	})
}
