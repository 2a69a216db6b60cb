package engine

import (
	"context"
	"errors"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/eddyhq/eddy/shared/errs"
	"github.com/eddyhq/eddy/shared/port"
	"github.com/eddyhq/eddy/shared/reaction"
)

const (
	chunk      = 1024        // records read from the log at a time
	saveEvery  = time.Second // how often progress is stored
	trimBehind = 8192        // how many handled records may stay in the log before it is trimmed
)

// dispatcher is where the engine stands in the log.
type dispatcher struct {
	wake chan struct{} // has a token when the log may have grown

	published atomic.Uint64 // every record up to here was given to Options.Published

	mu       sync.Mutex
	position uint64 // every record up to here was offered to the feeds that are not behind
	saved    map[string]uint64
	trimmed  uint64

	waiters atomic.Int32
	settled *sync.Cond // on mu: something that Settle waits for may have come true
}

// signal says that the log may have grown.
func (d *dispatcher) signal() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// notify wakes those who wait for the reactions to settle.
func (d *dispatcher) notify() {
	if d.waiters.Load() == 0 {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.settled.Broadcast()
}

// follow reads the log in order and offers what it holds, until the engine drains.
func (e *Engine) follow() {
	for e.serving.Err() == nil {
		records, err := e.Records(e.serving, e.dispatch.position, chunk)
		if err != nil && e.serving.Err() == nil {
			e.logger.Error("the log cannot be read; trying again", "error", err)
			pause(e.serving, saveEvery)
			continue
		}
		if len(records) > 0 {
			e.offer(records)
			continue
		}
		e.dispatch.notify()
		select {
		case <-e.dispatch.wake:
		case <-e.serving.Done():
		}
	}
}

func pause(ctx context.Context, wait time.Duration) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// offer hands the records to the feeds of their functions and moves the position over them.
func (e *Engine) offer(records []port.Record) {
	e.dispatch.mu.Lock()
	defer e.dispatch.mu.Unlock()
	for i := range records {
		record := &records[i]
		deliveries, err := e.router.Route(record)
		if err != nil {
			e.bury(record, err)
		}
		for _, d := range deliveries {
			e.feeds[d.Function.ID].offer(d)
		}
		e.dispatch.position = record.Position
	}
}

// bury keeps a record whose function is no longer there, so that whoever registers it again can redrive it.
func (e *Engine) bury(record *port.Record, reason error) {
	commit := reaction.Orphan(record, record.Target, reason, e.now())
	if _, err := e.Commit(e.stop, commit); err != nil && !errors.Is(err, port.ErrStale) {
		e.logger.Error("a record for an unknown function could not be kept", "function", record.Target, "error", err)
		return
	}
	e.logger.Error("a record for an unknown function was kept as a dead letter", "function", record.Target)
}

// maintain stores the progress of the reactions and trims the log behind them, now and then.
func (e *Engine) maintain() {
	ticker := time.NewTicker(saveEvery)
	defer ticker.Stop()
	for {
		select {
		case <-e.serving.Done():
			return
		case <-ticker.C:
			if err := e.save(e.serving); err != nil && e.serving.Err() == nil {
				e.logger.Error("the progress of the reactions could not be stored", "error", err)
			}
		}
	}
}

func (e *Engine) save(ctx context.Context) error {
	e.saving.Lock()
	defer e.saving.Unlock()
	progress := e.progress()
	if !maps.Equal(progress, e.dispatch.saved) {
		if err := e.SetProgress(ctx, progress); err != nil {
			return err
		}
		e.dispatch.saved = progress
	}
	handled := e.Head()
	for _, position := range progress {
		handled = min(handled, position)
	}
	if handled < e.dispatch.trimmed+trimBehind {
		return nil
	}
	if err := e.Trim(ctx, handled); err != nil {
		return err
	}
	e.dispatch.trimmed = handled
	return nil
}

// progress returns, for each function, the position up to which nothing is owed to it.
func (e *Engine) progress() map[string]uint64 {
	e.dispatch.mu.Lock()
	defer e.dispatch.mu.Unlock()
	progress := make(map[string]uint64, len(e.feeds))
	for id, feed := range e.feeds {
		progress[id] = feed.handled(e.dispatch.position)
	}
	return progress
}

// Settle does what is due by the clock, and waits until every reaction, call and tick that is owed has ended: taken effect, or
// become a dead letter. It does not wait for what is held back until later, such as a delayed message, nor for what is behind
// that in its group.
func (e *Engine) Settle(ctx context.Context) error {
	if _, err := e.elapse(ctx); err != nil {
		return err
	}
	d := &e.dispatch
	d.waiters.Add(1)
	defer d.waiters.Add(-1)
	defer context.AfterFunc(ctx, d.notify)()
	d.mu.Lock()
	defer d.mu.Unlock()
	for !e.isSettled() {
		if ctx.Err() != nil {
			return errs.New(errs.Timeout, "reactions are still owed: %w", context.Cause(ctx))
		}
		d.settled.Wait()
	}
	return nil
}

func (e *Engine) isSettled() bool {
	if head := e.Head(); e.dispatch.position < head || e.dispatch.published.Load() < head {
		return false
	}
	for _, feed := range e.feeds {
		if !feed.idle() {
			return false
		}
	}
	return true
}

// ReactionStats is how one function stands with what it is owed.
type ReactionStats struct {
	Function string
	Owed     int    // deliveries that have not ended, as far as they were read from the log
	Held     int    // those of them that wait for their time, or for one in their group that does
	Lag      uint64 // records between what is handled and the head of the log
	Ended    uint64 // deliveries that took effect or became a dead letter
	Retries  uint64 // attempts that did not end their delivery
}

// Reactions tells how every function stands.
func (e *Engine) Reactions() []ReactionStats {
	e.dispatch.mu.Lock()
	dispatched := e.dispatch.position
	e.dispatch.mu.Unlock()
	head := e.Head()
	stats := make([]ReactionStats, 0, len(e.feeds))
	for _, f := range e.app.Functions() {
		feed := e.feeds[f.ID]
		s := ReactionStats{Function: f.ID}
		if handled := feed.handled(dispatched); handled < head {
			s.Lag = head - handled
		}
		feed.mu.Lock()
		s.Owed, s.Held, s.Ended, s.Retries = feed.open, feed.heldBack, feed.done, feed.failures
		feed.mu.Unlock()
		stats = append(stats, s)
	}
	return stats
}
