package eddy_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/eddyhq/eddy/shared/eddy"
)

// scheduled returns the one schedule of a function that was registered with it.
func scheduled(t interface {
	Helper()
	Fatal(args ...any)
}, option eddy.Option) (*eddy.Function, *eddy.Schedule) {
	t.Helper()
	app := eddy.New()
	eddy.Register(app, "a::b", takes[eddy.Tick], option)
	if err := app.Validate(); err != nil {
		t.Fatal(err)
	}
	f, _ := app.Function("a::b")
	return f, f.Schedules[0]
}

func at(text string) time.Time {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		panic(err)
	}
	return t
}

func TestSchedulesAreDueInUTC(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name        string
		option      eddy.Option
		after, next string
	}{
		{"every minute is at the full minute", eddy.Every(time.Minute), "2026-11-25T10:00:30Z", "2026-11-25T10:01:00Z"},
		{"the next is never now", eddy.Every(time.Minute), "2026-11-25T10:01:00Z", "2026-11-25T10:02:00Z"},
		{"every hour is at the full hour", eddy.Every(time.Hour), "2026-11-25T10:00:30+01:00", "2026-11-25T10:00:00Z"},
		{"every day is at midnight", eddy.Every(24 * time.Hour), "2026-11-25T10:00:00Z", "2026-11-26T00:00:00Z"},
		{"steps", eddy.Cron("*/5 * * * *"), "2026-11-25T10:01:00Z", "2026-11-25T10:05:00Z"},
		{"days of the week", eddy.Cron("30 6 * * MON-FRI"), "2026-11-27T07:00:00Z", "2026-11-30T06:30:00Z"},
		{"a zone of the time before does not matter", eddy.Cron("0 12 * * *"), "2026-11-25T12:30:00+01:00", "2026-11-25T12:00:00Z"},
		{"days of the week, among all days of the month", eddy.Cron("0 0 1-31 * MON"), "2026-11-25T10:00:00Z", "2026-11-30T00:00:00Z"},
		{"a day of the month, among all days of the week", eddy.Cron("0 0 13 * 0-6"), "2026-11-25T10:00:00Z", "2026-12-13T00:00:00Z"},
		{"the end of February", eddy.Cron("0 0 29 2 *"), "2026-01-01T00:00:00Z", "2028-02-29T00:00:00Z"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, s := scheduled(t, c.option)
			if got := s.Next(at(c.after)); !got.Equal(at(c.next)) {
				t.Errorf("after %s the next is %s, want %s", c.after, got, c.next)
			}
		})
	}
}

func TestWhatIsDueIsWhatNextGoesThrough(t *testing.T) {
	t.Parallel()
	options := []eddy.Option{
		eddy.Every(time.Minute), eddy.Every(7 * time.Minute), eddy.Every(time.Hour),
		eddy.Cron("*/5 * * * *"), eddy.Cron("17 3,15 * * *"), eddy.Cron("0 0 1 * *"), eddy.Cron("59 23 * * SUN"),
	}
	rapid.Check(t, func(t *rapid.T) {
		_, s := scheduled(t, rapid.SampledFrom(options).Draw(t, "schedule"))
		after := time.Unix(rapid.Int64Range(1_700_000_000, 1_900_000_000).Draw(t, "after"), 0)
		now := after.Add(time.Duration(rapid.Int64Range(-3600, 3*86_400).Draw(t, "seconds")) * time.Second)
		var last time.Time
		count := int64(0)
		for next := s.Next(after); !next.After(now); next = s.Next(next) {
			last = next
			count++
		}
		if gotLast, gotCount := s.Due(after, now); gotCount != count || !gotLast.Equal(last) {
			t.Fatalf("%d are due, the last at %s; want %d and %s", gotCount, gotLast, count, last)
		}
	})
}

// drawField draws a field of a cron expression, and the values that it selects.
func drawField(t *rapid.T, name string, first, last int) (text string, selects func(value int) bool) {
	value := rapid.IntRange(first, last)
	a, b, step := value.Draw(t, name), value.Draw(t, name), rapid.IntRange(1, last).Draw(t, name+" step")
	low, high := min(a, b), max(a, b)
	between := func(v int) bool { return low <= v && v <= high }
	switch rapid.SampledFrom([]string{"any", "steps", "one", "two", "range", "steps in a range"}).Draw(t, name+" form") {
	case "steps":
		return fmt.Sprintf("*/%d", step), func(v int) bool { return (v-first)%step == 0 }
	case "one":
		return strconv.Itoa(a), func(v int) bool { return v == a }
	case "two":
		return fmt.Sprintf("%d,%d", a, b), func(v int) bool { return v == a || v == b }
	case "range":
		return fmt.Sprintf("%d-%d", low, high), between
	case "steps in a range":
		return fmt.Sprintf("%d-%d/%d", low, high, step), func(v int) bool { return between(v) && (v-low)%step == 0 }
	default:
		return "*", func(int) bool { return true }
	}
}

func TestACronIsDueInTheMinutesThatAllItsFieldsSelect(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		minute, inMinute := drawField(t, "minute", 0, 59)
		hour, inHour := drawField(t, "hour", 0, 23)
		month, inMonth := drawField(t, "month", 1, 12)
		day, weekday := "*", "*"
		inDay, inWeekday := func(int) bool { return true }, func(int) bool { return true }
		if rapid.Bool().Draw(t, "of the week") {
			weekday, inWeekday = drawField(t, "weekday", 0, 6)
		} else {
			day, inDay = drawField(t, "day", 1, 28)
		}
		_, s := scheduled(t, eddy.Cron(strings.Join([]string{minute, hour, day, month, weekday}, " ")))

		after := time.Unix(rapid.Int64Range(1_700_000_000, 1_900_000_000).Draw(t, "after"), 0).UTC()
		now := after.Add(time.Duration(rapid.IntRange(0, 10*24*60).Draw(t, "minutes")) * time.Minute)
		var last time.Time
		count := int64(0)
		for m := after.Truncate(time.Minute).Add(time.Minute); !m.After(now); m = m.Add(time.Minute) {
			if inMinute(m.Minute()) && inHour(m.Hour()) && inDay(m.Day()) && inMonth(int(m.Month())) && inWeekday(int(m.Weekday())) {
				last = m
				count++
			}
		}
		if gotLast, gotCount := s.Due(after, now); gotCount != count || !gotLast.Equal(last) {
			t.Fatalf("%q: %d are due, the last at %s; want %d and %s", s.Expression, gotCount, gotLast, count, last)
		}
	})
}

func TestATickIsACallThatItsTimeNames(t *testing.T) {
	t.Parallel()
	f, s := scheduled(t, eddy.Every(5*time.Minute))
	tick := f.Tick(s, eddy.TickTime(at("2026-11-25T11:00:00+01:00")), 2)
	if want := `{"at":"2026-11-25T10:00:00Z","missed":2,"schedule":"every 5m0s"}`; string(tick.Payload) != want {
		t.Errorf("the payload is %s, want %s", tick.Payload, want)
	}
	if !strings.HasSuffix(tick.ID, "/2026-11-25T10:00:00Z") || tick.Group == "" || tick.Function != "a::b" {
		t.Errorf("the call is %+v", tick)
	}
	if again := f.Tick(s, eddy.TickTime(at("2026-11-25T10:00:00Z")), 0); again.ID != tick.ID {
		t.Errorf("ticks of one time are %s and %s", tick.ID, again.ID)
	}
	if _, err := f.Invoke(t.Context(), newMemory(nil).invocation(), tick.Payload); err != nil {
		t.Errorf("the function does not take it: %v", err)
	}
}

func TestAFunctionWithoutInputTakesTicks(t *testing.T) {
	t.Parallel()
	app := eddy.New()
	runs := 0
	eddy.Register(app, "a::b", func(context.Context, eddy.None) (eddy.None, error) {
		runs++
		return eddy.None{}, nil
	}, eddy.Cron("* * * * *"))
	f, _ := app.Function("a::b")
	tick := f.Tick(f.Schedules[0], eddy.TickTime(at("2026-11-25T10:00:00Z")), 0)
	if _, err := f.Invoke(t.Context(), newMemory(app).invocation(), tick.Payload); err != nil || runs != 1 {
		t.Errorf("%d runs, %v", runs, err)
	}
}

func TestMistakesOfQueuesAndSchedules(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		register func(app *eddy.App)
		want     string
	}{
		{"too few fields", func(app *eddy.App) { eddy.Register(app, "a::b", none, eddy.Cron("* * * *")) }, "write five fields"},
		{"six fields", func(app *eddy.App) { eddy.Register(app, "a::b", none, eddy.Cron("0 * * * * *")) }, "write five fields"},
		{"a word for the five", func(app *eddy.App) { eddy.Register(app, "a::b", none, eddy.Cron("@daily")) }, "write five fields"},
		{"a minute that there is not", func(app *eddy.App) { eddy.Register(app, "a::b", none, eddy.Cron("60 * * * *")) }, "above maximum (59)"},
		{"a zone", func(app *eddy.App) { eddy.Register(app, "a::b", none, eddy.Cron("TZ=Europe/Berlin * * * * *")) }, "in UTC"},
		{"both kinds of day", func(app *eddy.App) { eddy.Register(app, "a::b", none, eddy.Cron("0 0 1 * MON")) }, "cannot both be restricted"},
		{"a day that never comes", func(app *eddy.App) { eddy.Register(app, "a::b", none, eddy.Cron("0 0 30 2 *")) }, "no such day"},
		{"seconds", func(app *eddy.App) { eddy.Register(app, "a::b", none, eddy.Every(time.Second)) }, "whole minutes"},
		{"a schedule twice", func(app *eddy.App) {
			eddy.Register(app, "a::b", none, eddy.Every(time.Minute), eddy.Every(time.Minute))
		}, "given twice"},
		{"an input that is no tick", func(app *eddy.App) {
			eddy.Register(app, "a::b", takes[thing], eddy.Every(time.Minute))
		}, "takes an eddy.Tick or eddy.None"},
		{"a reaction on a schedule", func(app *eddy.App) {
			eddy.React(app, "a::b", reacts[thing], things.Changes(), eddy.Every(time.Minute))
		}, "neither a queue nor a schedule"},
		{"a queue of two functions", func(app *eddy.App) {
			eddy.Register(app, "a::b", none, eddy.Queue("q"))
			eddy.Register(app, "a::c", none, eddy.Queue("q"))
		}, `the queue "q" is that of a::b`},
		{"two queues of a function", func(app *eddy.App) {
			eddy.Register(app, "a::b", none, eddy.Queue("q"), eddy.Queue("r"))
		}, "has a queue already"},
		{"a name that is none", func(app *eddy.App) { eddy.Register(app, "a::b", none, eddy.Queue("a queue")) }, "names of queues"},
		{"an order by nothing", func(app *eddy.App) {
			eddy.Register(app, "a::b", none, eddy.Queue("q", eddy.FIFO("")))
		}, "FIFO names no member"},
		{"an option that is nil", func(app *eddy.App) {
			eddy.Register(app, "a::b", none, eddy.Queue("q", nil))
		}, "an option is nil"},
		{"a reaction with a queue", func(app *eddy.App) {
			eddy.React(app, "a::b", reacts[thing], things.Changes(), eddy.Queue("q"))
		}, "neither a queue nor a schedule"},
		{"a delay that SQS does not have", func(app *eddy.App) {
			eddy.Register(app, "a::b", none, eddy.Queue("q", eddy.Delay(time.Hour)))
		}, "must be from 0 to 15m0s"},
		{"a queue that nobody has", func(app *eddy.App) {
			eddy.Register(app, "a::b", none, eddy.Uses(eddy.Enqueues("q")))
		}, "no function has this queue"},
		{"waits that shrink", func(app *eddy.App) {
			eddy.Register(app, "a::b", none, eddy.Backoff(time.Minute, time.Second))
		}, "not above the longest"},
		{"a rate of nothing", func(app *eddy.App) {
			eddy.Register(app, "a::b", none, eddy.HTTP("GET /x", eddy.Rate(0, 1)))
		}, "must be positive"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			app := eddy.New()
			c.register(app)
			if err := app.Validate(); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("the mistakes are %v, want %q", err, c.want)
			}
		})
	}
}
