package engine

import (
	"context"
	"errors"
	"sync"
	"time"
)

// lookEvery is how long at most the engine does not look at its clock, which need not move as the timers do: it may step,
// and a test may move it.
const lookEvery = time.Second / 2

// clock is what happens because it is time: deliveries that were held back are let go, schedules tick, documents expire.
type clock struct {
	wake      chan struct{} // has a token when something is due earlier than was known
	schedules []*schedule
	elapsing  sync.Mutex // held by whoever does what is due
}

// signal says that something may be due earlier than was known.
func (c *clock) signal() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// followClock does what is due, when it is, until the engine drains.
func (e *Engine) followClock() {
	failing, seen := false, e.now().Round(0)
	for e.serving.Err() == nil {
		seen = e.checkClock(seen)
		next, err := e.elapse(e.serving)
		wait := lookEvery
		switch {
		case err == nil:
			failing = false
			if !next.IsZero() {
				wait = max(time.Millisecond, min(wait, next.Sub(e.now())))
			}
		case !failing && e.serving.Err() == nil:
			failing = true
			e.logger.Error("ticks and expiries could not be stored; trying again until they are", "error", err)
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-e.clock.wake:
		case <-e.serving.Done():
		}
		timer.Stop()
	}
}

// checkClock tells of a clock that went back since it was seen, and returns its time.
func (e *Engine) checkClock(seen time.Time) time.Time {
	now := e.now().Round(0) // by the wall clock, not by the monotonic one
	if back := seen.Sub(now); back > time.Second {
		e.logger.Warn("the clock went back: schedules and delayed messages wait until it has caught up, documents keep their "+
			"order; see to the synchronisation of this machine's clock", "by", back, "now", now)
	}
	return now
}

// elapse does what is due by now, and returns when the next thing is; the zero time when nothing is known to be.
func (e *Engine) elapse(ctx context.Context) (next time.Time, err error) {
	e.clock.elapsing.Lock()
	defer e.clock.elapsing.Unlock()
	now := e.now()
	next, err = e.Expire(ctx)
	for _, s := range e.clock.schedules {
		err = errors.Join(err, e.tick(ctx, s, now))
		next = earlier(next, time.Unix(s.next.Load(), 0))
	}
	for _, feed := range e.feeds {
		next = earlier(next, feed.release(now))
	}
	return next, err
}

// earlier returns the earlier one of two times; the zero time is none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
