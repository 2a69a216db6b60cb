package host

import (
	"context"

	"github.com/aws/aws-lambda-go/events"

	"github.com/eddyhq/eddy/shared/aws/sockets"
)

// lanes is the Lambda on the queue of live groups.
type lanes struct{ *sockets.Lanes }

// handle implements handler.
func (l lanes) handle(ctx context.Context, payload []byte) (any, error) {
	batch, err := read[events.SQSEvent](payload)
	if err != nil {
		return nil, err
	}
	return l.Receive(ctx, batch), nil
}

// socket is the Lambda of the WebSocket API's routes.
type socket struct{ *sockets.Socket }

// handle implements handler.
func (s socket) handle(ctx context.Context, payload []byte) (any, error) {
	event, err := read[events.APIGatewayWebsocketProxyRequest](payload)
	if err != nil {
		return nil, err
	}
	return s.Handle(ctx, event), nil
}
