package eddy

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"sync"
	"time"

	"github.com/eddyhq/eddy/shared/document"
	"github.com/eddyhq/eddy/shared/errs"
	"github.com/eddyhq/eddy/shared/port"
)

// Engine is the one seam between functions and the host they run on: everything a function does through this package
// goes to the Engine that the host put under it. This package opens nothing itself.
type Engine interface {
	port.Documents

	// Call runs another registered function, waits for it and returns its result. Engine functions (state::*,
	// stream::*) never arrive here: they run over the Documents above. The cause is the one for the Invocation of the
	// function that is called.
	// The idempotency key is too.
	Call(ctx context.Context, functionID string, payload document.Value, cause port.Cause, idempotencyKey string) (
		document.Value, error)

	// Now is the host's clock.
	Now() time.Time

	// NewID returns a name that no other call returns and that sorts after those returned before it (UUID version 7).
	NewID() string
}

// Invocation is one run of a function, as its host describes it.
type Invocation struct {
	Engine     Engine
	Logger     *slog.Logger // never nil; Logger adds the ids below to what the function logs
	Cause      port.Cause   // carried by everything the run writes, sends and calls
	RequestID  string       // of the HTTP request or invoke at the start of this run; "" when there is none
	DeliveryID string       // of the delivery that is run; "" for a call
	Attempt    int          // of the delivery, from 1

	// IdempotencyKey is the same each time that the same run is made again: of a delivery its id, of a request what its
	// Idempotency-Key says, of a call what its caller's says; "" where there is none.
	IdempotencyKey string
}

// run is the state of one Invocation. It lies in the ctx of the function.
type run struct {
	Invocation
	function *Function
	request  *HTTPRequest // nil when not run by HTTP
	changeID string
	outer    *run // of a Transact: the run it is a part of

	mu     sync.Mutex
	logger *slog.Logger
	header http.Header    // set by SetHeader
	calls  map[string]int // how often Call was made with equal function and payload

	numbers map[string][]int // of a Transact: which of the outer run's calls they are; kept when it runs again
}

type runKey struct{}

func (r *run) within(ctx context.Context) context.Context { return context.WithValue(ctx, runKey{}, r) }

func current(ctx context.Context) (*run, error) {
	if r, ok := ctx.Value(runKey{}).(*run); ok {
		return r, nil
	}
	return nil, errs.New(errs.Internal, "%s", noRun)
}

const noRun = "this ctx belongs to no running function: pass on the ctx that the function was given"

// mustCurrent is current for what has no error to return.
func mustCurrent(ctx context.Context) *run {
	r, err := current(ctx)
	if err != nil {
		panic("eddy: " + noRun)
	}
	return r
}

// panicked is the cause of the internal error that a panic becomes. It was logged where it happened.
type panicked struct{ value any }

func (p *panicked) Error() string { return fmt.Sprintf("panic: %v", p.value) }

// recoverPanic is deferred around the code of users.
func (r *run) recoverPanic(ctx context.Context, err *error) {
	if p := recover(); p != nil {
		r.log().ErrorContext(ctx, "the function panicked", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
		*err = errs.New(errs.Internal, "%s panicked: %w", r.function.ID, &panicked{p})
	}
}

// log returns the host's logger with the ids of the run; made when it is first asked for, since most runs log nothing.
func (r *run) log() *slog.Logger {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.logger == nil {
		attributes := []any{"function", r.function.ID}
		for _, id := range []struct{ name, value string }{
			{"request_id", r.RequestID}, {"delivery_id", r.DeliveryID}, {"change_id", r.changeID},
		} {
			if id.value != "" {
				attributes = append(attributes, id.name, id.value)
			}
		}
		r.logger = r.Invocation.Logger.With(attributes...)
	}
	return r.logger
}

// Logger returns the logger of the running function: each line carries the ids of the function and of the request,
// delivery and change it runs for. Outside a run it is slog.Default.
func Logger(ctx context.Context) *slog.Logger {
	r, err := current(ctx)
	if err != nil {
		return slog.Default()
	}
	return r.log()
}

// Now returns the time by the host's clock, in UTC. It panics when ctx belongs to no running function.
func Now(ctx context.Context) time.Time { return mustCurrent(ctx).Engine.Now().UTC() }

// NewID returns a name that no other call returns and that sorts after those returned before it, a UUID of version 7.
// It panics when ctx belongs to no running function.
func NewID(ctx context.Context) string { return mustCurrent(ctx).Engine.NewID() }

// DeliveryID returns the id of the delivery that runs the function: the same for every attempt, so it is the
// idempotency key for the outside world. It is "" in a call, and outside a run.
func DeliveryID(ctx context.Context) string {
	r, err := current(ctx)
	if err != nil {
		return ""
	}
	return r.DeliveryID
}

// IdempotencyKey returns a key that is the same whenever the same run of the function is made again, for the outside world
// to tell a repetition by: of a delivery its id, as DeliveryID, of an HTTP request or an invoke one derived of its
// Idempotency-Key. A function that was called by Call gets a key derived of its caller's, the function and the payload:
// the same again when the caller runs again, whatever else that does then. It is "" when the run began with a request
// without a key.
func IdempotencyKey(ctx context.Context) string {
	r, err := current(ctx)
	if err != nil {
		return ""
	}
	return r.Invocation.IdempotencyKey
}

// Request returns the HTTP request that the function runs for, nil when it runs for something else. Do not modify it.
func Request(ctx context.Context) *HTTPRequest {
	r, err := current(ctx)
	if err != nil {
		return nil
	}
	return r.request
}

// SetHeader sets a header of the HTTP response, also when the function fails after that. It does nothing when the
// function does not run for an HTTP request.
func SetHeader(ctx context.Context, name, value string) {
	r, err := current(ctx)
	if err != nil || r.request == nil {
		return
	}
	for r.outer != nil {
		r = r.outer
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.header == nil {
		r.header = make(http.Header)
	}
	r.header.Set(name, value)
}
