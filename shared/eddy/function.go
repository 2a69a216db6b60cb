package eddy

import (
	"context"
	"encoding/json"
	"reflect"
	"time"

	"github.com/eddyhq/eddy/shared/errs"
	"github.com/eddyhq/eddy/shared/port"
)

// Function is one registered function.
type Function struct {
	ID      string
	Place   string // file:line of the registration
	Routes  []*Route
	Changes []*ChangeTrigger
	Queue   *QueueTrigger // nil when it has none
	Uses    []Use

	Schedules []*Schedule

	Memory      int           // MB
	Timeout     time.Duration // of one run; the host ends ctx
	Concurrency int           // runs at a time; kept by the host
	MaxAttempts int           // of a delivery, before it becomes a dead letter

	FirstBackoff, MaxBackoff time.Duration // between attempts; see Backoff

	Input, Output reflect.Type // None where there is none; Change[T] for a reaction

	app    *App
	access access
	input  func() *input                                                    // of payloadType; made when it is first needed
	call   func(ctx context.Context, bind binding) (json.RawMessage, error) // nil for a reaction
	react  func(ctx context.Context, d delivered) error                     // nil for what is no reaction
}

// binding fills the input that into points to.
type binding func(into any) error

// delivered is a change as one attempt brings it to a reaction.
type delivered struct {
	change  *port.Change
	id      string
	attempt int
	depth   int
}

// Invoke runs the function as called by its id. The payload of a reaction is the event that EventJSON writes.
//
// Empty and null payloads stand for an empty object. The error is one of the function's own, an invalid_argument that
// lists every fault of the payload, or internal after a panic, whose stack is logged.
func (f *Function) Invoke(ctx context.Context, inv Invocation, payload []byte) (result json.RawMessage, err error) {
	r := &run{Invocation: inv, function: f}
	defer r.recoverPanic(ctx, &err)
	if f.react != nil {
		d, err := f.parseEvent(payload)
		if err != nil {
			return nil, err
		}
		r.changeID = d.id
		return json.RawMessage("null"), f.react(r.within(ctx), d)
	}
	return f.call(r.within(ctx), func(into any) error { return f.input().bindPayload(payload, into) })
}

// React runs the function, a reaction, for the change of a record. Errors are those of Invoke; IsNoRetry tells whether
// another attempt could help.
func (f *Function) React(ctx context.Context, inv Invocation, record *port.Record) (err error) {
	if f.react == nil || record.Change == nil {
		return NoRetry(errs.New(errs.Internal, "%s cannot react to the record %s", f.ID, record.ID()))
	}
	d := delivered{change: record.Change, id: record.ID(), attempt: inv.Attempt, depth: record.Cause.Depth()}
	r := &run{Invocation: inv, function: f, changeID: d.id}
	defer r.recoverPanic(ctx, &err)
	return f.react(r.within(ctx), d)
}

// payloadType is what Invoke reads: of a reaction the event.
func (f *Function) payloadType() reflect.Type {
	if f.react != nil {
		return reflect.TypeFor[event]()
	}
	return f.Input
}

func (f *Function) mistake(format string, args ...any) {
	f.app.mistake(f.Place, f.ID+": "+format, args...)
}
