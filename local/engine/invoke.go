package engine

import (
	"context"
	"encoding/json"

	"github.com/eddyhq/eddy/shared/document"
	"github.com/eddyhq/eddy/shared/eddy"
	"github.com/eddyhq/eddy/shared/port"
	"github.com/eddyhq/eddy/shared/queue"
)

// Invoke runs any function by id, engine functions included, as an operator: nothing is hidden from it. The result is
// JSON, `null` when there is none.
func (e *Engine) Invoke(ctx context.Context, id string, payload []byte, requestID string) (json.RawMessage, error) {
	if builtin, ok := eddy.EngineFunction(id); ok {
		return builtin(ctx, e.Store, payload)
	}
	if builtin, ok := queue.Lookup(id); ok {
		return builtin(ctx, e.Store, payload)
	}
	f, err := e.app.Find(id)
	if err != nil {
		return nil, err
	}
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

// Void records a call of a function and returns its delivery id: the function runs once this is durable, and its
// effects happen once. An engine function is quick: it has taken effect when Void returns.
func (e *Engine) Void(ctx context.Context, id string, payload []byte) (deliveryID string, err error) {
	if _, ok := e.app.Function(id); !ok {
		_, err := e.Invoke(ctx, id, payload, "")
		return e.NewID(), err
	}
	value, err := document.Parse(payload)
	if err != nil {
		return "", err
	}
	call := port.Call{ID: e.NewID(), Function: id, Payload: value}
	if _, err := e.Commit(ctx, port.Commit{Calls: []port.Call{call}}); err != nil {
		return "", err
	}
	return call.ID, nil
}
