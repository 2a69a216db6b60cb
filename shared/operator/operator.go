// Package operator calls functions by their ids for whoever operates an application, on one machine and on AWS. Nothing is
// hidden from an operator: it calls the functions of the app, state::* and stream::* without a declaration, queue::*
// and data::*.
//
//	/_eddy/invoke, console, tests -> Operator -> engine function, over the store
//	                                          -> function of the app, where the host runs it
//	                                          -> a delivery, for later
package operator

import (
	"context"
	"encoding/json"
	"time"

	"github.com/eddyhq/eddy/shared/document"
	"github.com/eddyhq/eddy/shared/eddy"
	"github.com/eddyhq/eddy/shared/errs"
	"github.com/eddyhq/eddy/shared/idempotency"
	"github.com/eddyhq/eddy/shared/port"
	"github.com/eddyhq/eddy/shared/queue"
	"github.com/eddyhq/eddy/shared/transfer"
)

// Host is what an Operator needs of the place where the application runs.
type Host interface {
	port.Documents
	port.Ledger

	// Now is the host's clock.
	Now() time.Time

	// NewID returns a name that no other call returns.
	NewID() string

	// Answer runs a function of the app and waits for its result: once, when the call has an idempotency key.
	Answer(ctx context.Context, f *eddy.Function, call Call) (Result, error)
}

// Call is a call of a function.
type Call struct {
	Function    string // its id
	Payload     []byte
	RequestID   string               // of the request that asks for the call; "" when there is none
	Idempotency *idempotency.Request // of a call that the client may make again; nil of any other
}

// Result is what a function returned: JSON, null when it returns nothing.
type Result struct {
	JSON     json.RawMessage
	Replayed bool // it was told before
}

// Delivery is a call that runs later.
type Delivery struct {
	ID       string
	Replayed bool // it was told before
}

// Operator calls functions. It is safe for concurrent use.
type Operator struct {
	app  *eddy.App
	host Host
}

// New returns the Operator of an app on a host.
func New(app *eddy.App, host Host) *Operator { return &Operator{app, host} }

// Invoke runs any function by id, engine functions included, and returns its result. It fails as the function does, and with
// not_found when there is none.
func (o *Operator) Invoke(ctx context.Context, call Call) (Result, error) {
	if builtin, ok := eddy.EngineFunction(call.Function); ok {
		text, replayed, err := idempotency.InvokeEngine(ctx, call.Idempotency, o.host, builtin, call.Payload)
		return Result{text, replayed}, err
	}
	if builtin, ok := o.operators(call.Function); ok {
		if call.Idempotency != nil {
			return Result{}, errs.New(errs.InvalidArgument, "%s takes no %s", call.Function, idempotency.Header)
		}
		text, err := builtin(ctx, call.Payload)
		return Result{JSON: text}, err
	}
	f, err := o.app.Find(call.Function)
	if err != nil {
		return Result{}, err
	}
	return o.host.Answer(ctx, f, call)
}

// operators returns the engine function that only operators may call.
func (o *Operator) operators(id string) (call func(ctx context.Context, payload []byte) (json.RawMessage, error), ok bool) {
	if builtin, ok := queue.Lookup(id); ok {
		return func(ctx context.Context, payload []byte) (json.RawMessage, error) {
			return builtin(ctx, o.app, o.host, payload)
		}, true
	}
	if builtin, ok := transfer.Lookup(id); ok {
		return func(ctx context.Context, payload []byte) (json.RawMessage, error) {
			return builtin(ctx, o.host, o.host.Now(), payload)
		}, true
	}
	return nil, false
}

// Void records a call of a function: it runs once this is durable, and its effects happen once. An engine function is quick: it
// has taken effect when Void returns.
func (o *Operator) Void(ctx context.Context, call Call) (Delivery, error) {
	if _, ok := o.app.Function(call.Function); !ok {
		return o.voidEngine(ctx, call)
	}
	value, err := document.Parse(call.Payload)
	if err != nil {
		return Delivery{}, err
	}
	return o.record(ctx, call, port.Call{ID: o.host.NewID(), Function: call.Function, Payload: value})
}

func (o *Operator) voidEngine(ctx context.Context, call Call) (Delivery, error) {
	result, err := o.Invoke(ctx, call)
	if err != nil {
		return Delivery{}, err
	}
	if call.Idempotency != nil {
		return Delivery{call.Idempotency.IdempotencyKey(), result.Replayed}, nil
	}
	return Delivery{ID: o.host.NewID()}, nil
}

// Enqueue puts a message into a queue, whose function the call has to name. Delay holds it back in place of what the queue says;
// nil leaves it at that. It fails as eddy.Enqueue does, and with not_found when the queue is another function's.
func (o *Operator) Enqueue(ctx context.Context, queue string, call Call, delay *time.Duration) (Delivery, error) {
	f, err := o.app.FindQueue(queue)
	if err != nil {
		return Delivery{}, err
	}
	if f.ID != call.Function {
		return Delivery{}, errs.New(errs.NotFound, "the queue %q is not one of %s: it is that of %s", queue, call.Function, f.ID)
	}
	value, err := document.Parse(call.Payload)
	if err != nil {
		return Delivery{}, err
	}
	if delay == nil {
		delay = &f.Queue.Delay
	}
	message, err := f.Message(o.host.NewID(), value, o.host.Now(), *delay)
	if err != nil {
		return Delivery{}, err
	}
	return o.record(ctx, call, message)
}

func (o *Operator) record(ctx context.Context, call Call, delivery port.Call) (Delivery, error) {
	id, replayed, err := idempotency.Record(ctx, call.Idempotency, o.host, delivery)
	return Delivery{id, replayed}, err
}
