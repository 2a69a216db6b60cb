// Package operator calls functions by their ids for whoever operates an application, on one machine and on AWS. Nothing is
// hidden from an operator: it calls the functions of the app, state::* and stream::* without a declaration, and queue::*.
//
//	/_eddy/invoke, console, tests -> Operator -> engine function, over the store
//	                                          -> function of the app, where the host runs it
package operator

import (
	"context"
	"encoding/json"

	"github.com/eddyhq/eddy/shared/document"
	"github.com/eddyhq/eddy/shared/eddy"
	"github.com/eddyhq/eddy/shared/port"
	"github.com/eddyhq/eddy/shared/queue"
)

// Host is what an Operator needs of the place where the application runs.
type Host interface {
	port.Documents
	port.Ledger

	// NewID returns a name that no other call returns.
	NewID() string

	// Answer runs a function of the app and waits for its result: JSON, null when there is none.
	Answer(ctx context.Context, f *eddy.Function, payload []byte, requestID string) (json.RawMessage, error)
}

// Operator calls functions. It is safe for concurrent use.
type Operator struct {
	app  *eddy.App
	host Host
}

// New returns the Operator of an app on a host.
func New(app *eddy.App, host Host) *Operator { return &Operator{app, host} }

// Invoke runs any function by id, engine functions included, and returns its result: JSON, null when there is none. It fails
// as the function does, and with not_found when there is none.
func (o *Operator) Invoke(ctx context.Context, id string, payload []byte, requestID string) (json.RawMessage, error) {
	if builtin, ok := eddy.EngineFunction(id); ok {
		return builtin(ctx, o.host, payload)
	}
	if builtin, ok := queue.Lookup(id); ok {
		return builtin(ctx, o.host, payload)
	}
	f, err := o.app.Find(id)
	if err != nil {
		return nil, err
	}
	return o.host.Answer(ctx, f, payload, requestID)
}

// Void records a call of a function and returns its delivery id: the function runs once this is durable, and its effects
// happen once. An engine function is quick: it has taken effect when Void returns.
func (o *Operator) Void(ctx context.Context, id string, payload []byte) (deliveryID string, err error) {
	if _, ok := o.app.Function(id); !ok {
		_, err := o.Invoke(ctx, id, payload, "")
		return o.host.NewID(), err
	}
	value, err := document.Parse(payload)
	if err != nil {
		return "", err
	}
	call := port.Call{ID: o.host.NewID(), Function: id, Payload: value}
	if _, err := o.host.Commit(ctx, port.Commit{Calls: []port.Call{call}}); err != nil {
		return "", err
	}
	return call.ID, nil
}
