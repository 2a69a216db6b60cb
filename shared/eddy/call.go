package eddy

import (
	"context"
	"encoding/json"
	"strconv"
	"strings"

	"github.com/eddyhq/eddy/shared/document"
	"github.com/eddyhq/eddy/shared/errs"
	"github.com/eddyhq/eddy/shared/port"
	"github.com/eddyhq/eddy/shared/state"
	"github.com/eddyhq/eddy/shared/stream"
)

// maxCallDepth is how deep functions can call each other, reactions on the way included.
const maxCallDepth = 16

// EngineFunction returns the built-in function over documents with the id: state::* or stream::*.
func EngineFunction(id string) (state.Function, bool) {
	if fn, ok := state.Lookup(id); ok {
		return fn, true
	}
	return stream.Lookup(id)
}

func isEngineFunction(id string) bool {
	_, ok := EngineFunction(id)
	return ok
}

// Call runs a function by its id, waits for it and reads its result into Out. The calling function declares it with
// Uses(Invokes(id)); for an engine function, such as state::list, it declares the scopes and streams instead.
//
// It fails as the function fails, with permission_denied for a function that is not declared, and with
// condition_not_met when calls are nested more than 16 deep.
func Call[Out any](ctx context.Context, id string, in any) (Out, error) {
	var out Out
	r, err := current(ctx)
	if err != nil {
		return out, err
	}
	payload, err := document.From(in)
	if err != nil {
		return out, err
	}
	result, err := r.call(ctx, id, payload)
	if err != nil {
		return out, err
	}
	if err := json.Unmarshal(result, &out); err != nil {
		return out, errs.New(errs.Internal, "the result of %s does not fit a %T: %w", id, out, err)
	}
	return out, nil
}

func (r *run) call(ctx context.Context, id string, payload document.Value) (json.RawMessage, error) {
	if fn, ok := EngineFunction(id); ok {
		return fn(ctx, r.guard(), payload)
	}
	if err := r.guard().mayInvoke(id); err != nil {
		return nil, err
	}
	if r.Cause.Depth() >= maxCallDepth {
		return nil, errs.New(errs.ConditionNotMet, "calls are nested more than %d deep: %s -> %s",
			maxCallDepth, strings.Join(r.Cause.Chain, " -> "), id)
	}
	result, err := r.Engine.Call(ctx, id, payload, r.Cause.Then(r.origin(), id), r.derivedKey(id, payload))
	return json.RawMessage(result), err
}

// derivedKey returns the idempotency key for a call that the run makes, "" when the run has none itself. Equal calls of one
// run are told apart by their number, so that it does not matter what other calls a repetition makes.
func (r *run) derivedKey(id string, payload document.Value) string {
	if r.Invocation.IdempotencyKey == "" {
		return ""
	}
	call := port.Digest(id, string(payload))
	return port.Digest(r.Invocation.IdempotencyKey, call, strconv.Itoa(r.number(call)))
}

// number tells a call from those before it that are equal: 1 for the first one. When a Transact runs again, its calls get
// the numbers that they had.
func (r *run) number(call string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.calls == nil {
		r.calls = make(map[string]int)
	}
	r.calls[call]++
	n := r.calls[call]
	if r.outer == nil {
		return n
	}
	if n > len(r.numbers[call]) {
		r.numbers[call] = append(r.numbers[call], r.outer.number(call))
	}
	return r.numbers[call][n-1]
}

// origin names what the run began with, for the chains of causes that begin here.
func (r *run) origin() string {
	for _, id := range []string{r.DeliveryID, r.RequestID} {
		if id != "" {
			return id
		}
	}
	return r.Engine.NewID()
}

// Void runs a function by its id once this is durable, without waiting: as a delivery, with its attempts and at last a
// dead letter. In a reaction it is part of the transaction. It returns the id of the delivery.
//
// The function is declared as for Call, and Void fails as Call does, but for the failures of the function. An engine
// function is refused as invalid_argument: it waits for nothing, so it is called.
func Void(ctx context.Context, id string, in any) (deliveryID string, err error) {
	r, err := current(ctx)
	if err != nil {
		return "", err
	}
	if isEngineFunction(id) {
		return "", errs.New(errs.InvalidArgument, "%s is an engine function: use eddy.Call", id)
	}
	payload, err := document.From(in)
	if err != nil {
		return "", err
	}
	call := port.Call{ID: r.Engine.NewID(), Function: id, Payload: payload}
	if _, err := r.guard().Commit(ctx, port.Commit{Calls: []port.Call{call}}); err != nil {
		return "", err
	}
	return call.ID, nil
}
