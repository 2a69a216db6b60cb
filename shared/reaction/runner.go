// Package reaction turns what happened in the store into runs of functions, each with an effect that happens once.
//
//	record -> Router: which functions, in which lanes -> Delivery
//	Delivery -> Runner: the handler over a Transaction -> one commit of its effects and its cursor
//
// A host brings the deliveries of one lane to the Runner one after the other, in the order of their records, again and
// again until the Runner is done with each. That is all a host has to promise: a delivery made twice finds its cursor
// taken and leaves nothing behind; a run that fails half-way has committed nothing.
//
// A host that has deliveries of several lanes at hand can bring them together: their handlers run side by side, and what
// they did becomes as few commits as it fits into. Where a commit costs a journey, this is what bounds how fast a counter
// that many documents add to can go.
package reaction

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/eddyhq/eddy/shared/eddy"
	"github.com/eddyhq/eddy/shared/errs"
	"github.com/eddyhq/eddy/shared/port"
	"github.com/eddyhq/eddy/shared/transaction"
)

// MaxDepth is the depth up to which the deliveries of a chain are run: a change made by a client has depth 0, one made
// by its reaction 1. What lies deeper becomes a dead letter that names the chain.
const MaxDepth = 16

// storeBackoff is how long a delivery waits that could not be committed or judged, at most: for a store that is unavailable.
const storeBackoff = time.Second

// Host is what a Runner needs of the place it runs in.
type Host interface {
	eddy.Engine
	port.Ledger

	// Run does the work of a function, within its timeout and its concurrency.
	Run(ctx context.Context, f *eddy.Function, work func(ctx context.Context) error) error
}

// Await is for a Host that runs a function in a goroutine of its own, within a ctx that ends with the function's timeout. It
// returns what the work tells when it ends, or, when ctx ends before that, an error that says so: the work is left behind.
func Await(ctx context.Context, f *eddy.Function, ended <-chan error) error {
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-ended:
		return err
	default:
		return errs.New(errs.From(ctx.Err()).Code, "%s did not end within %s", f.ID, f.Timeout)
	}
}

// Runner makes the attempts of deliveries. It is safe for concurrent use.
type Runner struct {
	host   Host
	logger *slog.Logger
}

// NewRunner returns a Runner on a host.
func NewRunner(host Host, logger *slog.Logger) *Runner { return &Runner{host: host, logger: logger} }

// Deliver makes one attempt. Given the failed attempts so far, it reports done when the delivery needs no further one:
// it took effect, now or before, or it was kept as a dead letter. Otherwise it returns the attempts to give with the
// next one, and how long to wait before that.
//
// An attempt counts when the handler fails. Losing a race for a document does not count, nor does a store that is
// unavailable, nor the end of ctx.
func (r *Runner) Deliver(ctx context.Context, d *Delivery, past port.Attempts) (
	attempts port.Attempts, wait time.Duration, done bool,
) {
	effect, err := r.run(ctx, d, past.Count+1)
	if err == nil {
		err = r.commit(ctx, effect)
	}
	return r.judge(ctx, d, past, err)
}

// handlerError is a failure of the function itself, as opposed to the store under it.
type handlerError struct{ error }

func (e *handlerError) Unwrap() error { return e.error }

// run runs the handler once and returns the commit that is its effect. Its errors are the function's.
func (r *Runner) run(ctx context.Context, d *Delivery, number int) (port.Commit, error) {
	cause := d.Record.Cause
	if d.poison != nil {
		return port.Commit{}, &handlerError{eddy.NoRetry(d.poison)}
	}
	if cause.Depth() > MaxDepth {
		return port.Commit{}, &handlerError{eddy.NoRetry(errs.New(errs.ConditionNotMet,
			"loop guard: %d functions deep, begun by %s: %s -> %s; let the chain end, or narrow the trigger with When",
			cause.Depth(), cause.Root, strings.Join(cause.Chain, " -> "), d.Function.ID))}
	}
	next := cause.Then(d.recordID, d.Function.ID)
	buffer := transaction.New(r.host)
	invocation := eddy.Invocation{
		Engine:     eddy.Over(buffer, r.host),
		Logger:     r.logger,
		Cause:      next,
		DeliveryID: d.ID,
		Attempt:    number,

		IdempotencyKey: d.ID,
	}
	err := r.host.Run(ctx, d.Function, func(ctx context.Context) error { return invoke(ctx, d, invocation) })
	effect := buffer.End()
	if err != nil {
		return port.Commit{}, &handlerError{err}
	}
	effect.Cause = next
	effect.Cursors = []port.Cursor{d.Cursor}
	return effect, nil
}

// commit makes the effect of one delivery happen, unless it has already.
func (r *Runner) commit(ctx context.Context, effect port.Commit) error {
	_, err := r.host.Commit(ctx, effect)
	switch {
	case errors.Is(err, port.ErrStale):
		return nil
	case refused(err):
		return &handlerError{err}
	}
	return err
}

// judge says what an attempt that ended with err comes to.
func (r *Runner) judge(ctx context.Context, d *Delivery, past port.Attempts, err error) (
	attempts port.Attempts, wait time.Duration, done bool,
) {
	var failure *handlerError
	switch {
	case err == nil:
		return past, 0, true
	case ctx.Err() != nil:
		return past, 0, false
	case errors.As(err, &failure):
		return r.failed(ctx, d, past, failure)
	case lostRace(err):
		return past, rand.N(20 * time.Millisecond), false
	}
	r.log(d).ErrorContext(ctx, "a delivery could not be committed and will be tried again", "error", err)
	return past, jitter(storeBackoff), false
}

// lostRace reports whether a condition of a commit does not hold any more.
func lostRace(err error) bool {
	conflict := (*port.ConflictError)(nil)
	return errors.As(err, &conflict)
}

// refused reports whether the store says that a commit can never be taken as it is.
func refused(err error) bool {
	if err == nil {
		return false
	}
	code := errs.CodeOf(err)
	return code == errs.TooLarge || code == errs.InvalidArgument
}

func invoke(ctx context.Context, d *Delivery, invocation eddy.Invocation) error {
	if d.Record.Call != nil {
		_, err := d.Function.Invoke(ctx, invocation, d.Record.Call.Payload)
		return err
	}
	return d.Function.React(ctx, invocation, d.Record)
}

// failed counts a failed attempt and decides what comes next.
func (r *Runner) failed(ctx context.Context, d *Delivery, past port.Attempts, failure *handlerError) (
	attempts port.Attempts, wait time.Duration, done bool,
) {
	attempts = port.Attempts{Version: d.Cursor.Version, Count: past.Count + 1, First: past.First}
	if past.Count == 0 {
		attempts.First = r.host.Now()
	}
	log := r.log(d).With("attempt", attempts.Count, "error", failure.error)
	if attempts.Count < d.Function.MaxAttempts && !eddy.IsNoRetry(failure.error) {
		if err := r.host.Attempted(ctx, d.Cursor.Name, attempts); err != nil {
			log.ErrorContext(ctx, "a failed attempt could not be recorded", "store_error", err)
			return past, jitter(storeBackoff), false
		}
		wait = backoff(d.Function, attempts.Count)
		log.WarnContext(ctx, "an attempt failed and will be repeated", "wait", wait)
		return attempts, wait, false
	}
	if err := r.Bury(ctx, d, attempts, failure.error); err != nil {
		log.ErrorContext(ctx, "a dead letter could not be stored and will be tried again", "store_error", err)
		return past, jitter(storeBackoff), false
	}
	log.ErrorContext(ctx, "the last attempt failed: kept as a dead letter", "dead_letter", d.ID)
	return attempts, 0, true
}

// Bury keeps the delivery as a dead letter, with the attempts at it and the reason: the lane goes on, and a redelivery is
// stale. One that has taken effect is done with already.
func (r *Runner) Bury(ctx context.Context, d *Delivery, attempts port.Attempts, reason error) error {
	_, err := r.host.Commit(ctx, d.Burial(attempts, reason, r.host.Now()))
	if errors.Is(err, port.ErrStale) {
		return nil
	}
	return err
}

// Burial returns the commit that keeps the delivery as a dead letter, in one step with its cursor. It fails with
// port.ErrStale when the delivery has taken effect.
func (d *Delivery) Burial(attempts port.Attempts, reason error, now time.Time) port.Commit {
	letter := port.DeadLetter{
		ID:       d.ID,
		Function: d.Function.ID,
		Record:   *d.Record,
		Code:     string(errs.CodeOf(reason)),
		Message:  reason.Error(),
		Attempts: attempts.Count,
		First:    attempts.First,
		Last:     now,
	}
	if attempts.Count == 0 {
		letter.First = now
	}
	return port.Commit{Cursors: []port.Cursor{d.Cursor}, Failed: []port.DeadLetter{letter}}
}

// Orphan returns the commit that keeps a record, which no function can be given, as a dead letter of the function it was for:
// whoever registers that again can redrive it. It fails with port.ErrStale when the record is kept already, since it was last
// redriven.
func Orphan(record *port.Record, function string, reason error, now time.Time) port.Commit {
	letter := port.DeadLetter{
		ID: port.Digest(function, record.ID()), Function: function, Record: *record,
		Code: string(errs.CodeOf(reason)), Message: reason.Error(), First: now, Last: now,
	}
	cursor := port.Cursor{Name: function + "/orphan/" + letter.ID, Version: max(1, int64(record.Position))}
	return port.Commit{Cursors: []port.Cursor{cursor}, Failed: []port.DeadLetter{letter}}
}

func (r *Runner) log(d *Delivery) *slog.Logger {
	log := r.logger.With("function", d.Function.ID, "delivery_id", d.ID)
	if c := d.Record.Change; c != nil {
		log = log.With("change_id", d.recordID, "collection", string(c.Collection), "key", c.Key)
	}
	return log
}

// backoff returns how long a delivery waits after so many failed attempts: the ceiling doubles with each.
func backoff(f *eddy.Function, attempts int) time.Duration {
	ceiling := f.FirstBackoff
	for i := 1; i < attempts && ceiling < f.MaxBackoff; i++ {
		ceiling *= 2
	}
	return jitter(min(ceiling, f.MaxBackoff))
}

// jitter returns a random wait below a ceiling and not below half of it, so that the number of attempts says something about
// the time they took.
func jitter(ceiling time.Duration) time.Duration { return ceiling/2 + rand.N(ceiling/2+1) }
