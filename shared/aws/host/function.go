package host

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/aws/aws-lambda-go/events"

	"github.com/eddyhq/eddy/shared/aws/fifo"
	"github.com/eddyhq/eddy/shared/aws/message"
	"github.com/eddyhq/eddy/shared/door"
	"github.com/eddyhq/eddy/shared/eddy"
	"github.com/eddyhq/eddy/shared/errs"
	"github.com/eddyhq/eddy/shared/idempotency"
)

// function is the Lambda of one function of the app.
type function struct {
	*eddy.Function
	engine   *engine
	receiver *fifo.Receiver
	routes   map[string]*eddy.Route // by route key
}

func newFunction(e *engine, f *eddy.Function, receiver *fifo.Receiver) *function {
	fn := &function{Function: f, engine: e, receiver: receiver, routes: make(map[string]*eddy.Route, len(f.Routes))}
	for _, route := range f.Routes {
		fn.routes[route.String()] = route
	}
	return fn
}

// handle implements handler.
func (f *function) handle(ctx context.Context, payload []byte) (any, error) {
	kind, err := kindOf(payload)
	if err != nil {
		return nil, err
	}
	switch kind {
	case httpRequest:
		event, err := read[httpEvent](payload)
		if err != nil {
			return nil, err
		}
		return f.serve(ctx, &event), nil
	case queueBatch:
		batch, err := read[events.SQSEvent](payload)
		if err != nil {
			return nil, err
		}
		return f.receiver.Receive(ctx, batch), nil
	default:
		invocation, err := read[message.Invocation](payload)
		if err != nil {
			return nil, err
		}
		return f.call(ctx, invocation.Call), nil
	}
}

// serve answers a request for one of the function's routes.
func (f *function) serve(ctx context.Context, event *httpEvent) httpAnswer {
	header := headerOf(event)
	id := requestIDOf(event, header)
	response, err := f.respond(ctx, event, header, id)
	if err != nil {
		response = eddy.ErrorResponse(err, id)
	}
	return answerOf(response, id)
}

func (f *function) respond(ctx context.Context, event *httpEvent, header http.Header, id string) (*eddy.HTTPResponse, error) {
	route, ok := f.routes[event.RouteKey]
	if !ok {
		return nil, errs.New(errs.NotFound, "%s has no route %s", f.ID, event.RouteKey)
	}
	if err := door.ForeignWrite(route.Method, header.Get("Host"), header, f.engine.app.AllowsOrigin); err != nil {
		return nil, err
	}
	request, err := requestOf(event, route)
	if err != nil {
		return nil, err
	}
	answer := make(chan *eddy.HTTPResponse, 1)
	invocation := eddy.Invocation{Engine: f.engine, Logger: f.engine.logger, RequestID: id}
	err = f.engine.Run(ctx, f.Function, func(ctx context.Context) error {
		answer <- idempotency.Serve(ctx, invocation, route, request)
		return nil
	})
	if err != nil {
		return nil, err
	}
	response := <-answer
	return response, checkAnswer(sizeAsText(response.Body))
}

// maxAnswer is how many bytes a Lambda that is waited for can answer with, as JSON.
const maxAnswer = 6 << 20

// checkAnswer refuses what Lambda would refuse with an error of its own that says nothing.
func checkAnswer(size int) error {
	const rest = 64 << 10 // what is around it
	if size+rest > maxAnswer {
		return errs.New(errs.TooLarge, "the answer has %d bytes as JSON, more than fit into the %d of a Lambda: ask for less",
			size, maxAnswer)
	}
	return nil
}

// sizeAsText returns about how many bytes a body has as a JSON string: exactly, once that may matter.
func sizeAsText(body []byte) int {
	if len(body) < maxAnswer/8 { // escaping makes six bytes of one at most
		return len(body)
	}
	text, err := json.Marshal(string(body))
	if err != nil {
		return len(body)
	}
	return len(text)
}

// call runs the function for somebody who waits for its result.
func (f *function) call(ctx context.Context, call *message.Call) message.Reply {
	if call == nil {
		return message.Answer(nil, errs.New(errs.InvalidArgument, "the call is empty"))
	}
	invocation := eddy.Invocation{
		Engine: f.engine, Logger: f.engine.logger, RequestID: call.RequestID, Cause: call.Cause(),
		IdempotencyKey: call.IdempotencyKey,
	}
	reply := make(chan message.Reply, 1)
	err := f.engine.Run(ctx, f.Function, func(ctx context.Context) error {
		request := (*idempotency.Request)(call.Idempotency)
		out, replayed, err := idempotency.Invoke(ctx, request, invocation, f.Function, call.Payload)
		if err == nil {
			err = checkAnswer(len(out))
		}
		if err == nil {
			reply <- message.Reply{Result: out, Replayed: replayed}
		}
		return err
	})
	if err != nil {
		if errs.CodeOf(err) == errs.Internal {
			f.engine.logger.ErrorContext(ctx, "the function failed",
				"function", f.ID, "request_id", call.RequestID, "error", err)
		}
		return message.Answer(nil, err)
	}
	return <-reply
}
