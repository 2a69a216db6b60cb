package engine

import (
	"context"

	"github.com/eddyhq/eddy/shared/eddy"
	"github.com/eddyhq/eddy/shared/idempotency"
	"github.com/eddyhq/eddy/shared/operator"
)

// Answer implements operator.Host. A client that goes away does not take back its request, see Lifetime.
func (e *Engine) Answer(_ context.Context, f *eddy.Function, call operator.Call) (operator.Result, error) {
	return e.invoke(e.stop, f, e.Invocation(call.RequestID), call)
}

func (e *Engine) invoke(ctx context.Context, f *eddy.Function, in eddy.Invocation, call operator.Call) (
	operator.Result, error,
) {
	result := make(chan operator.Result, 1)
	err := e.Run(ctx, f, func(ctx context.Context) error {
		out, replayed, err := idempotency.Invoke(ctx, call.Idempotency, in, f, call.Payload)
		if err == nil {
			result <- operator.Result{JSON: out, Replayed: replayed}
		}
		return err
	})
	if err != nil {
		return operator.Result{}, err
	}
	return <-result, nil
}
