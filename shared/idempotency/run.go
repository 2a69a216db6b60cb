package idempotency

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/eddyhq/eddy/shared/eddy"
	"github.com/eddyhq/eddy/shared/errs"
	"github.com/eddyhq/eddy/shared/port"
	"github.com/eddyhq/eddy/shared/state"
)

// Serve answers a request for a route as eddy.Route.Serve does, once when it has a key. A host calls it where it would call
// that: within the function's timeout and concurrency.
//
// The versions that a function reads of documents it wrote itself are provisional in a request with a key, as in a reaction.
func Serve(ctx context.Context, invocation eddy.Invocation, route *eddy.Route, r *eddy.HTTPRequest) *eddy.HTTPResponse {
	request, err := OfRoute(route, r)
	switch {
	case err != nil:
		return eddy.ErrorResponse(err, invocation.RequestID)
	case request == nil:
		return route.Serve(ctx, invocation, r)
	}
	answer, replayed, err := Do(ctx, invocation.Engine, request, func(ctx context.Context, d port.Documents) (Answer, error) {
		return Answer(*route.Serve(ctx, request.over(invocation, d), r)), nil
	})
	if err != nil {
		logInternal(ctx, invocation, request, err)
		return eddy.ErrorResponse(err, invocation.RequestID)
	}
	if replayed {
		answer.Header = answer.Header.Clone()
		if answer.Header == nil {
			answer.Header = make(http.Header)
		}
		answer.Header.Set(ReplayedHeader, "true")
	}
	response := eddy.HTTPResponse(answer)
	return &response
}

// over returns the invocation over other documents.
func (r *Request) over(invocation eddy.Invocation, documents port.Documents) eddy.Invocation {
	invocation.Engine = eddy.Over(documents, invocation.Engine)
	invocation.IdempotencyKey = r.IdempotencyKey()
	return invocation
}

// logInternal logs a fault on our side, which the client is not told.
func logInternal(ctx context.Context, invocation eddy.Invocation, request *Request, err error) {
	if errs.CodeOf(err) == errs.Internal {
		invocation.Logger.ErrorContext(ctx, "a request with a key failed", "function", request.Function,
			"request_id", invocation.RequestID, "error", err, "cause", errors.Unwrap(err))
	}
}

// Invoke runs a function that is called by its id, as eddy.Function.Invoke does, once when request is not nil. A host calls it
// where it would call that.
func Invoke(ctx context.Context, request *Request, invocation eddy.Invocation, f *eddy.Function, payload []byte) (
	result json.RawMessage, replayed bool, err error,
) {
	if request == nil {
		result, err = f.Invoke(ctx, invocation, payload)
		return result, false, err
	}
	return doJSON(ctx, doer{store: invocation.Engine, request: request,
		run: func(ctx context.Context, d port.Documents) (Answer, error) {
			result, err := f.Invoke(ctx, request.over(invocation, d), payload)
			return success(result), err
		}})
}

// InvokeEngine runs an engine function, once when request is not nil.
func InvokeEngine(ctx context.Context, request *Request, store port.Documents, f state.Function, payload []byte) (
	result json.RawMessage, replayed bool, err error,
) {
	if request == nil {
		result, err = f(ctx, store, payload)
		return result, false, err
	}
	return doJSON(ctx, doer{store: store, request: request, amends: true,
		run: func(ctx context.Context, d port.Documents) (Answer, error) {
			result, err := f(ctx, d, payload)
			return success(result), err
		}})
}

// Record makes calls once, when request is not nil, and returns the id of the first run's.
func Record(ctx context.Context, request *Request, store port.Documents, call port.Call) (id string, replayed bool, err error) {
	commit := port.Commit{Calls: []port.Call{call}}
	if request == nil {
		_, err = store.Commit(ctx, commit)
		return call.ID, false, err
	}
	answer, replayed, err := Do(ctx, store, request, func(ctx context.Context, d port.Documents) (Answer, error) {
		_, err := d.Commit(ctx, commit)
		return success([]byte(call.ID)), err
	})
	return string(answer.Body), replayed, err
}

func doJSON(ctx context.Context, d doer) (json.RawMessage, bool, error) {
	answer, replayed, err := d.do(ctx)
	return answer.Body, replayed, err
}

func success(body []byte) Answer { return Answer{Status: http.StatusOK, Body: body} }
