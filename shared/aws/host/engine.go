package host

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"

	"github.com/eddyhq/eddy/shared/aws/dynamo"
	"github.com/eddyhq/eddy/shared/aws/message"
	"github.com/eddyhq/eddy/shared/document"
	"github.com/eddyhq/eddy/shared/eddy"
	"github.com/eddyhq/eddy/shared/errs"
	"github.com/eddyhq/eddy/shared/operator"
	"github.com/eddyhq/eddy/shared/port"
	"github.com/eddyhq/eddy/shared/reaction"
)

// engine is the eddy.Engine and the reaction.Host of a Lambda, and the operator.Host of the edge.
type engine struct {
	*dynamo.Store

	app     *eddy.App
	lambdas *invoker
	logger  *slog.Logger
}

// Now implements eddy.Engine.
func (e *engine) Now() time.Time { return time.Now() }

// NewID returns a UUID of version 7.
func (e *engine) NewID() string { return newID() }

func newID() string {
	id, err := uuid.NewV7()
	if err != nil {
		panic(fmt.Sprintf("no randomness: %v", err)) // the operating system's source does not fail
	}
	return id.String()
}

// Run implements reaction.Host. Concurrency is Lambda's business. Work that outlasts its timeout is left behind with its
// context ended; what it would still commit is refused.
func (e *engine) Run(ctx context.Context, f *eddy.Function, work func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, f.Timeout)
	ended := make(chan error, 1)
	go func() {
		defer cancel()
		ended <- work(ctx)
	}()
	return reaction.Await(ctx, f, ended)
}

// Call implements eddy.Engine: the function runs in its own Lambda.
func (e *engine) Call(
	ctx context.Context, id string, payload document.Value, cause port.Cause, idempotencyKey string,
) (document.Value, error) {
	call := message.Call{
		Payload: json.RawMessage(payload), Root: cause.Root, Chain: cause.Chain, IdempotencyKey: idempotencyKey,
	}
	reply, err := e.call(ctx, id, &call)
	if err != nil {
		return nil, err
	}
	result, err := reply.Open()
	return document.Value(result), err
}

// Answer implements operator.Host: the function runs in its own Lambda.
func (e *engine) Answer(ctx context.Context, f *eddy.Function, call operator.Call) (operator.Result, error) {
	if !json.Valid(call.Payload) {
		return operator.Result{}, errs.New(errs.InvalidArgument, "the payload must be valid JSON")
	}
	reply, err := e.call(ctx, f.ID, &message.Call{
		Payload: call.Payload, RequestID: call.RequestID, Idempotency: (*message.Idempotency)(call.Idempotency),
	})
	if err != nil {
		return operator.Result{}, err
	}
	result, err := reply.Open()
	return operator.Result{JSON: result, Replayed: reply.Replayed}, err
}

// call runs a function in its Lambda and waits for what it replies.
func (e *engine) call(ctx context.Context, id string, call *message.Call) (reply message.Reply, err error) {
	payload, err := message.Encode(message.Invocation{Call: call})
	if err != nil {
		return reply, err
	}
	answer, err := e.lambdas.invoke(ctx, id, payload)
	if err != nil {
		return reply, err
	}
	if err := json.Unmarshal(answer, &reply); err != nil {
		return reply, fmt.Errorf("read the reply of %s: %w", id, err)
	}
	return reply, nil
}
