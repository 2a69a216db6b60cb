package engine

import (
	"context"
	"encoding/json"

	"github.com/eddyhq/eddy/shared/eddy"
)

// Answer implements operator.Host. A client that goes away does not take back its request, see Lifetime.
func (e *Engine) Answer(_ context.Context, f *eddy.Function, payload []byte, requestID string) (json.RawMessage, error) {
	return e.invoke(e.stop, f, e.Invocation(requestID), payload)
}

func (e *Engine) invoke(ctx context.Context, f *eddy.Function, in eddy.Invocation, payload []byte) (
	json.RawMessage, error,
) {
	result := make(chan json.RawMessage, 1)
	err := e.Run(ctx, f, func(ctx context.Context) error {
		out, err := f.Invoke(ctx, in, payload)
		if err == nil {
			result <- out
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return <-result, nil
}
