package fifo_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-lambda-go/events"

	"github.com/eddyhq/eddy/shared/aws/fifo"
	"github.com/eddyhq/eddy/shared/aws/message"
	"github.com/eddyhq/eddy/shared/deployed"
	"github.com/eddyhq/eddy/shared/document"
	"github.com/eddyhq/eddy/shared/eddy"
	"github.com/eddyhq/eddy/shared/port"
)

// queued is the Lambda of a function with the queue "mails", which is in order by "text".
func queued(t *testing.T, handle func(context.Context, thing) (eddy.None, error), opts ...eddy.Option) *world {
	app := eddy.New()
	eddy.Register(app, "test::send", handle, append(opts, eddy.Queue("mails", eddy.FIFO("text")), eddy.Uses(kept))...)
	return closing(t, worldOf(t, app, "test::send"))
}

func closing(t *testing.T, w *world) *world {
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// mail is a message of the queue as an event: in a group, held back until a time.
func (w *world) mail(t *testing.T, n int, group string, delay time.Duration, receives int) events.SQSMessage {
	t.Helper()
	payload, err := document.From(thing{N: n, Text: group})
	if err != nil {
		t.Fatal(err)
	}
	call, err := w.function.Message(fmt.Sprint("mail-", n), payload, time.Now(), delay)
	if err != nil {
		t.Fatal(err)
	}
	record := message.Record{ID: call.ID, Record: port.Record{Target: call.Function, Call: &call}}
	text, err := message.Encode(message.Message{Function: call.Function, Lane: "call/" + call.Group, Records: []message.Record{record}})
	if err != nil {
		t.Fatal(err)
	}
	return event(fmt.Sprint(n), string(text), receives)
}

// again is a batch that is handed out for the n-th time, without what did not fail the last time.
func again(batch []events.SQSMessage, failed []string, n int) (left []events.SQSMessage) {
	for _, m := range batch {
		if slices.Contains(failed, m.MessageId) {
			left = append(left, event(m.MessageId, m.Body, n))
		}
	}
	return left
}

// append notes the number of a thing under its text.
func appended(ctx context.Context, in thing) (eddy.None, error) {
	_, err := kept.Update(ctx, in.Text, eddy.Append(in.N, "seen"))
	return eddy.None{}, err
}

func TestAMessageThatIsHeldBackWaitsInItsQueueWithItsGroup(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := queued(t, appended)
		batch := []events.SQSMessage{
			w.mail(t, 1, "a", 10*time.Minute, 1), w.mail(t, 2, "b", 0, 1), w.mail(t, 3, "a", 0, 1), w.mail(t, 4, "c", time.Second, 1),
		}
		began := time.Now()
		failed := w.receive(t.Context(), batch...)
		if !slices.Equal(failed, []string{"1", "3"}) || w.kept(t, "a") != "" || w.kept(t, "b") != seen(2) || w.kept(t, "c") != seen(4) {
			t.Errorf("failed %q, kept %s, %s and %s", failed, w.kept(t, "a"), w.kept(t, "b"), w.kept(t, "c"))
		}
		if took := time.Since(began); took != time.Second || w.visible["receipt of 1"] != 600 || w.visible["receipt of 3"] != 600 {
			t.Errorf("after %s the queue is told %v", took, w.visible)
		}
		time.Sleep(10*time.Minute - time.Since(began))
		if failed := w.receive(t.Context(), again(batch, failed, 2)...); failed != nil || w.kept(t, "a") != seen(1, 3) {
			t.Errorf("in its time failed %q, kept %s", failed, w.kept(t, "a"))
		}
	})
}

func TestMessagesThatAreHeldBackOneAfterTheOtherAreNoDeadLetters(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := queued(t, appended)
		var batch []events.SQSMessage
		var want []int
		for n := range 10 {
			batch, want = append(batch, w.mail(t, n, "a", time.Duration(n+1)*3*time.Second, 1)), append(want, n)
		}
		receives := 1
		for ; len(batch) > 0 && receives < 20; receives++ {
			batch = again(batch, w.receive(t.Context(), batch...), receives+1)
			time.Sleep(3 * time.Second)
		}
		if w.kept(t, "a") != seen(want...) || len(w.letters(t)) != 0 || receives >= deployed.MaxReceives(w.function.MaxAttempts)/2 {
			t.Errorf("after %d receives kept %s, dead letters %v", receives, w.kept(t, "a"), w.letters(t))
		}
	})
}

func TestAMessageThatFailsIsTriedAgainAndThenKept(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var runs []int
		w := queued(t, func(ctx context.Context, in thing) (eddy.None, error) {
			runs = append(runs, in.N)
			if in.N == 1 || len(runs) == 1 {
				return eddy.None{}, errors.New("not now")
			}
			return appended(ctx, in)
		}, eddy.MaxAttempts(2), eddy.Backoff(10*time.Second, 10*time.Second))
		batch := []events.SQSMessage{w.mail(t, 0, "a", 0, 1), w.mail(t, 1, "a", 0, 1), w.mail(t, 2, "a", 0, 1)}
		receives := 1
		for ; len(batch) > 0 && receives < 10; receives++ {
			batch = again(batch, w.receive(t.Context(), batch...), receives+1)
		}
		letters := w.letters(t)
		if !slices.Equal(runs, []int{0, 0, 1, 1, 2}) || w.kept(t, "a") != seen(0, 2) || len(letters) != 1 || letters[0].ID != "mail-1" {
			t.Errorf("after %d receives run %v, kept %s, dead letters %+v", receives, runs, w.kept(t, "a"), letters)
		}
	})
}

func TestACallThatCrashedItsFunctionIsKept(t *testing.T) {
	t.Parallel()
	w := queued(t, appended)
	done, lost := w.mail(t, 1, "a", 0, 1), w.mail(t, 2, "a", 0, 1)
	w.receive(t.Context(), done)
	for range 2 {
		if failed := w.crashed(t, done, lost); failed != nil {
			t.Errorf("failed %q", failed)
		}
	}
	if letters := w.letters(t); len(letters) != 1 || letters[0].ID != "mail-2" {
		t.Errorf("the dead letters are %+v", letters)
	}
	if w.receive(t.Context(), lost); w.kept(t, "a") != seen(1) {
		t.Errorf("what is a dead letter took effect: %s", w.kept(t, "a"))
	}
}

// placeholder is what EventBridge Scheduler puts the time of a tick in the place of.
const placeholder = "<aws.scheduler.scheduled-time>"

func TestATickIsOneDeliveryHoweverOftenItIsSent(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name     string
		register func(*eddy.App)
	}{
		{"of a function that takes a Tick", func(app *eddy.App) {
			eddy.Register(app, "test::tick", func(ctx context.Context, tick eddy.Tick) (eddy.None, error) {
				_, err := kept.Update(ctx, "ticks", eddy.Append(tick.At.Minute(), "seen"))
				return eddy.None{}, err
			}, eddy.Cron("*/5 * * * *"), eddy.Every(time.Hour), eddy.Uses(kept))
		}},
		{"of one that takes nothing", func(app *eddy.App) {
			eddy.Register(app, "test::tick", func(ctx context.Context, _ eddy.None) (eddy.None, error) {
				at := eddy.DeliveryID(ctx)[len(eddy.DeliveryID(ctx))-len("05:00Z"):]
				_, err := kept.Update(ctx, "ticks", eddy.Append(int(at[0]-'0')*10+int(at[1]-'0'), "seen"))
				return eddy.None{}, err
			}, eddy.Cron("*/5 * * * *"), eddy.Every(time.Hour), eddy.Uses(kept))
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			app := eddy.New()
			test.register(app)
			w := closing(t, worldOf(t, app, "test::tick"))
			text, lane, err := fifo.Tick(app, w.function, w.function.Schedules[0], placeholder)
			if err != nil || !strings.HasPrefix(lane, "call/tick/") {
				t.Fatalf("lane %q, %v", lane, err)
			}
			if _, other, err := fifo.Tick(app, w.function, w.function.Schedules[1], placeholder); err != nil || other == lane {
				t.Errorf("another schedule has the lane %q too, %v", other, err)
			}
			at := func(minute, receives int) events.SQSMessage {
				due := eddy.TickTime(time.Date(2026, 11, 25, 12, minute, 0, 0, time.UTC))
				return event(fmt.Sprint(minute, receives), strings.ReplaceAll(string(text), placeholder, due), receives)
			}
			for _, batch := range [][]events.SQSMessage{{at(5, 1), at(5, 1)}, {at(5, 2), at(10, 1)}, {at(10, 1)}} {
				if failed := w.receive(t.Context(), batch...); failed != nil {
					t.Errorf("failed %q", failed)
				}
			}
			if w.kept(t, "ticks") != seen(5, 10) || len(w.letters(t)) != 0 {
				t.Errorf("kept %s, dead letters %+v", w.kept(t, "ticks"), w.letters(t))
			}
		})
	}
}
