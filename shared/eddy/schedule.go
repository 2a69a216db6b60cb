package eddy

import (
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/robfig/cron/v3"

	"github.com/eddyhq/eddy/shared/document"
	"github.com/eddyhq/eddy/shared/port"
)

// Tick is the input of a function that runs on a schedule; it may take None as well.
type Tick struct {
	Schedule string    `json:"schedule"` // as registered: "*/5 * * * *", or "every 5m0s"
	At       time.Time `json:"at"`       // when the tick was due, in UTC
	Missed   int64     `json:"missed"`   // the ticks before it, since the last one, that were due while nothing ran
}

// Schedule runs a function at certain times. One of Every and Fields is set.
type Schedule struct {
	Expression string // names the schedule: "*/5 * * * *", or "every 5m0s"
	Every      time.Duration
	Fields     *CronFields

	cron cron.Schedule
}

// CronFields is what a cron expression selects, in ascending order; nil is every value.
type CronFields struct {
	Minutes, Hours, Days, Months []int
	Weekdays                     []int // 0 is Sunday
}

// Every runs the function each time that d has passed since the beginning of the Unix epoch: Every(time.Hour) at the full
// hour, in UTC. d is a whole number of minutes, as schedules on AWS are; there, one that divides neither an hour nor a day
// counts from when it is deployed. See Cron for what is promised.
func Every(d time.Duration) Option {
	return func(f *Function) {
		if d < time.Minute || d%time.Minute != 0 || d > maxEvery {
			f.mistake("Every(%s): must be whole minutes, from 1m to %s", d, maxEvery)
			return
		}
		f.addSchedule(&Schedule{Expression: "every " + d.String(), Every: d})
	}
}

const maxEvery = 365 * 24 * time.Hour

// Cron runs the function at the times that an expression of five fields selects, in UTC: minute, hour, day of the month,
// month, day of the week (0 or SUN is Sunday), such as "*/5 * * * *" or "30 6 * * MON-FRI". Only one of the two kinds of
// day can be restricted.
//
// A tick is a delivery: it is durable before the function runs, its effects happen exactly once, and a failure is
// retried. Ticks of one schedule run one after the other. None is doubled. Those that are due while the application does
// not run become one tick, the last one, whose Missed counts the others; EventBridge Scheduler, on AWS, hands out each
// for itself.
func Cron(expression string) Option {
	return func(f *Function) {
		s, problem := parseCron(expression)
		if problem != "" {
			f.mistake("Cron(%q): %s", expression, problem)
			return
		}
		f.addSchedule(s)
	}
}

func (f *Function) addSchedule(s *Schedule) {
	for _, other := range f.Schedules {
		if other.Expression == s.Expression {
			f.mistake("the schedule %q is given twice", s.Expression)
		}
	}
	f.Schedules = append(f.Schedules, s)
}

func parseCron(expression string) (s *Schedule, problem string) {
	const form = "write five fields: minute, hour, day of the month, month, day of the week"
	if strings.HasPrefix(expression, "TZ=") || strings.HasPrefix(expression, "CRON_TZ=") {
		return nil, "schedules are in UTC; " + form
	}
	parsed, err := cron.NewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow).Parse("TZ=UTC " + expression)
	if err != nil {
		return nil, fmt.Sprintf("%v; %s", err, form)
	}
	spec, ok := parsed.(*cron.SpecSchedule)
	if !ok {
		return nil, form
	}
	fields := &CronFields{
		Minutes: selected(spec.Minute, 0, 59), Hours: selected(spec.Hour, 0, 23), Days: selected(spec.Dom, 1, 31),
		Months: selected(spec.Month, 1, 12), Weekdays: selected(spec.Dow, 0, 6),
	}
	// Days that are all listed, as 1-31, restrict nothing. To the parser they do, and then a day of either kind is enough.
	spec.Dom, spec.Dow = starred(spec.Dom, fields.Days), starred(spec.Dow, fields.Weekdays)
	switch {
	case fields.Days != nil && fields.Weekdays != nil:
		return nil, "days of the month and days of the week cannot both be restricted: leave one *"
	case spec.Next(time.Unix(0, 0)).IsZero():
		return nil, "there is no such day"
	}
	return &Schedule{Expression: expression, Fields: fields, cron: spec}, ""
}

// starred returns the bits of a field that selects values, marked as the parser marks *, when that is every one.
func starred(bits uint64, values []int) uint64 {
	const star = 1 << 63
	if values == nil {
		return bits | star
	}
	return bits
}

// selected returns the values whose bits are set, nil when that is every one from first to last.
func selected(bits uint64, first, last int) []int {
	var values []int
	for value := first; value <= last; value++ {
		if bits&(1<<uint(value)) != 0 {
			values = append(values, value)
		}
	}
	if len(values) == last-first+1 {
		return nil
	}
	return values
}

// Next returns the first time above after at which a tick is due.
func (s *Schedule) Next(after time.Time) time.Time {
	if s.Every == 0 {
		return s.cron.Next(after.UTC())
	}
	minutes, every := floorMinutes(after), int64(s.Every/time.Minute)
	return time.Unix((minutes/every+1)*every*60, 0).UTC()
}

// floorMinutes returns the full minutes of the Unix epoch; times before that do not occur.
func floorMinutes(t time.Time) int64 { return max(0, t.Unix()) / 60 }

// Due returns the last time above after, and not above now, at which a tick is due, and how many there are; 0: none is.
func (s *Schedule) Due(after, now time.Time) (last time.Time, count int64) {
	first := s.Next(after)
	if first.After(now) {
		return time.Time{}, 0
	}
	if s.Every > 0 {
		count = int64(now.Sub(first)/s.Every) + 1
		return first.Add(time.Duration(count-1) * s.Every), count
	}
	for next := first; !next.IsZero() && !next.After(now); next = s.cron.Next(next) {
		last = next
		count++
	}
	return last, count
}

// TickTime is the text of a tick's time in its id and payload.
func TickTime(at time.Time) string { return at.UTC().Format(time.RFC3339) }

// Tick returns the call that is a tick of one of the function's schedules. The time is the text that TickTime gives, or
// what somebody else puts such a text in the place of. Ticks of one time are the same delivery.
func (f *Function) Tick(s *Schedule, at string, missed int64) port.Call {
	schedule := port.Digest(f.ID, s.Expression)
	payload := document.Value("{}")
	if f.Input == reflect.TypeFor[Tick]() {
		payload = document.Value(mustEncode(map[string]any{"schedule": s.Expression, "at": at, "missed": missed}))
	}
	return port.Call{ID: "tick/" + schedule + "/" + at, Function: f.ID, Payload: payload, Group: "tick/" + schedule}
}

// checkSchedules says what a function with schedules must be like.
func (f *Function) checkSchedules() {
	if len(f.Schedules) > 0 && f.Input != reflect.TypeFor[Tick]() && f.Input != reflect.TypeFor[None]() {
		f.mistake("a function on a schedule takes an eddy.Tick or eddy.None, not a %s", f.Input)
	}
}
