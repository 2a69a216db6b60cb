package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/eddyhq/eddy/shared/document"
	"github.com/eddyhq/eddy/shared/eddy"
	"github.com/eddyhq/eddy/shared/port"
)

// schedulesOf is the collection of the states of a function's schedules.
func schedulesOf(function string) port.Collection { return port.Own("schedules", function) }

// schedule is a schedule of a function. What it has handed out is known by its state, a document: a tick and the state after
// it are one commit, so no crash can lose or double one.
type schedule struct {
	*eddy.Schedule
	function *eddy.Function
	key      string // of the state

	next   atomic.Int64  // when the next tick is due, in seconds of the Unix epoch
	ticks  atomic.Uint64 // handed out since the start
	missed atomic.Uint64 // counted as missed by those
}

// scheduleState is the state of a schedule.
type scheduleState struct {
	Function string    `json:"function"`
	Schedule string    `json:"schedule"`
	Last     time.Time `json:"last"` // the time of the last tick; before the first one, that of the start with this schedule
}

// startSchedules begins the schedules that are new, takes up the others, and forgets those that are not registered any more:
// should one come back, it is a new one.
func (e *Engine) startSchedules(ctx context.Context) error {
	known := make(map[port.Collection]map[string]bool)
	for _, f := range e.app.Functions() {
		for _, registered := range f.Schedules {
			s := &schedule{Schedule: registered, function: f, key: port.Digest(f.ID, registered.Expression)}
			if err := e.begin(ctx, s); err != nil {
				return fmt.Errorf("the schedule %q of %s: %w", s.Expression, f.ID, err)
			}
			e.clock.schedules = append(e.clock.schedules, s)
			c := schedulesOf(f.ID)
			if known[c] == nil {
				known[c] = make(map[string]bool)
			}
			known[c][s.key] = true
		}
	}
	collections, err := e.Collections(ctx, string(schedulesOf("")))
	if err != nil {
		return err
	}
	for _, c := range collections {
		if err := e.forgetSchedules(ctx, c, known[c]); err != nil {
			return err
		}
	}
	return nil
}

// begin reads the state of a schedule, or makes it: a new one begins now.
func (e *Engine) begin(ctx context.Context, s *schedule) error {
	state, version, err := e.scheduleState(ctx, s)
	if err != nil {
		return err
	}
	if version == 0 {
		state.Last = e.now()
		if _, err := e.Commit(ctx, port.Commit{Writes: []port.Write{s.setState(state.Last, 0)}}); err != nil {
			return err
		}
	}
	s.next.Store(s.Next(state.Last).Unix())
	return nil
}

// forgetSchedules removes the states in a collection whose keys are not known.
func (e *Engine) forgetSchedules(ctx context.Context, c port.Collection, known map[string]bool) error {
	page := port.Page{More: true}
	for page.More {
		var err error
		if page, err = e.List(ctx, c, port.Query{After: page.Next, Limit: chunk}); err != nil {
			return err
		}
		for _, d := range page.Documents {
			if known[d.Key] {
				continue
			}
			gone := port.Write{Op: port.Delete, Collection: c, Key: d.Key}
			if _, err := e.Commit(ctx, port.Commit{Writes: []port.Write{gone}}); err != nil {
				return err
			}
			e.logger.Info("a schedule is not registered any more and ends", "state", string(d.Value))
		}
	}
	return nil
}

// tick hands out what is due of a schedule: one tick, at the last due time, that counts those before it.
func (e *Engine) tick(ctx context.Context, s *schedule, now time.Time) error {
	if now.Unix() < s.next.Load() {
		return nil
	}
	state, version, err := e.scheduleState(ctx, s)
	if err != nil {
		return err
	}
	at, due := s.Due(state.Last, now)
	if due == 0 { // handed out already, by a commit whose success could not be told
		s.next.Store(s.Next(state.Last).Unix())
		return nil
	}
	missed := due - 1
	commit := port.Commit{
		Writes: []port.Write{s.setState(at, version)},
		Calls:  []port.Call{s.function.Tick(s.Schedule, eddy.TickTime(at), missed)},
	}
	if _, err := e.Commit(ctx, commit); err != nil {
		return fmt.Errorf("a tick of the schedule %q of %s: %w", s.Expression, s.function.ID, err)
	}
	s.next.Store(s.Next(at).Unix())
	s.ticks.Add(1)
	s.missed.Add(uint64(missed))
	if missed > 0 {
		e.logger.Warn("a schedule missed ticks while nothing ran: the one after them counts them", "function", s.function.ID,
			"schedule", s.Expression, "missed", missed, "since", s.Next(state.Last), "tick", at)
	}
	return nil
}

// scheduleState reads the state of a schedule; version 0: there is none.
func (e *Engine) scheduleState(ctx context.Context, s *schedule) (state scheduleState, version int64, err error) {
	found, err := e.Get(ctx, schedulesOf(s.function.ID), s.key)
	if err != nil || !found.Exists() {
		return state, 0, err
	}
	if err := json.Unmarshal(found.Value, &state); err != nil {
		return state, 0, fmt.Errorf("read the state of a schedule: %w", err)
	}
	return state, found.Version, nil
}

// setState returns the write of a state over the one that has the version.
func (s *schedule) setState(last time.Time, version int64) port.Write {
	value, err := document.From(scheduleState{s.function.ID, s.Expression, last.UTC().Truncate(time.Second)})
	if err != nil {
		panic(err) // two names and a time are always a document
	}
	return port.Write{Op: port.Set, Collection: schedulesOf(s.function.ID), Key: s.key, Value: value, IfVersion: &version}
}

// ScheduleStats is how a schedule stands.
type ScheduleStats struct {
	Function, Schedule string
	Next               time.Time // when the next tick is due
	Ticks, Missed      uint64    // handed out since the start, and those that they count as missed
}

// Schedules tells how every schedule stands.
func (e *Engine) Schedules() []ScheduleStats {
	stats := make([]ScheduleStats, 0, len(e.clock.schedules))
	for _, s := range e.clock.schedules {
		next := time.Unix(s.next.Load(), 0).UTC()
		stats = append(stats, ScheduleStats{s.function.ID, s.Expression, next, s.ticks.Load(), s.missed.Load()})
	}
	return stats
}
