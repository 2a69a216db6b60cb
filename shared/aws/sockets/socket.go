package sockets

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/eddyhq/eddy/shared/aws/dynamo"
	"github.com/eddyhq/eddy/shared/door"
	"github.com/eddyhq/eddy/shared/eddy"
	"github.com/eddyhq/eddy/shared/errs"
	"github.com/eddyhq/eddy/shared/port"
	"github.com/eddyhq/eddy/shared/stream"
)

const protocolHeader = "Sec-WebSocket-Protocol"

// SocketState is what a Socket needs of *dynamo.Lanes, which says what its methods promise.
type SocketState interface {
	Close(ctx context.Context, connection string) error
	Joined(ctx context.Context, connection string) ([]port.Collection, error)
	Joins(ctx context.Context, connection string, most int) (int, error)
	Subscribed(ctx context.Context, group port.Collection, key dynamo.SubscriptionKey) (bool, error)
}

// Sender is what a Socket needs of *sqs.Client.
type Sender interface {
	SendMessage(
		ctx context.Context, in *sqs.SendMessageInput, options ...func(*sqs.Options),
	) (*sqs.SendMessageOutput, error)
	SendMessageBatch(
		ctx context.Context, in *sqs.SendMessageBatchInput, options ...func(*sqs.Options),
	) (*sqs.SendMessageBatchOutput, error)
}

// SocketOptions are what a Socket needs; all of them are required, but for Logger.
type SocketOptions struct {
	App      *eddy.App
	State    SocketState
	Push     func(ctx context.Context, deliveries []Delivery) (gone []string, err error) // Pusher.Push
	Queue    Sender
	QueueURL string // of the queue of deployed.RoleLanes
	Now      func() time.Time
	Logger   *slog.Logger // nil: nothing is logged
}

// Socket answers what a WebSocket API tells of its connections: it is the role deployed.RoleSocket. Its methods are
// safe for concurrent use.
//
// What it has to say to a client it pushes. A route could respond in its place, but one that responds does so to each
// frame, and to a join with an empty message, which is none that a client may get.
type Socket struct{ options SocketOptions }

// NewSocket returns the Socket of a Lambda.
func NewSocket(options SocketOptions) *Socket {
	if options.Logger == nil {
		options.Logger = slog.New(slog.DiscardHandler)
	}
	return &Socket{options}
}

type (
	request  = events.APIGatewayWebsocketProxyRequest
	response = events.APIGatewayProxyResponse
)

// Handle answers an event by what happened. The route is no guide: a client's frame can name any.
func (s *Socket) Handle(
	ctx context.Context, event events.APIGatewayWebsocketProxyRequest,
) events.APIGatewayProxyResponse {
	var err error
	switch event.RequestContext.EventType {
	case "CONNECT":
		return s.connect(ctx, &event)
	case "MESSAGE":
		err = s.message(ctx, &event)
	case "DISCONNECT":
		err = s.disconnect(ctx, &event)
	default:
		err = errs.New(errs.InvalidArgument, "a WebSocket API has no event %q", event.RequestContext.EventType)
	}
	if err != nil {
		return s.refuse(ctx, &event, err)
	}
	return response{StatusCode: http.StatusOK}
}

func (s *Socket) refuse(ctx context.Context, event *request, err error) response {
	if errs.CodeOf(err).HTTPStatus() >= http.StatusInternalServerError {
		s.log(ctx, event, "an event of a connection could not be followed", err)
	}
	refusal := eddy.ErrorResponse(err, event.RequestContext.RequestID)
	header := map[string]string{"Content-Type": "application/json"}
	return response{StatusCode: refusal.Status, Headers: header, Body: string(refusal.Body)}
}

func (s *Socket) log(ctx context.Context, event *request, text string, err error) {
	s.options.Logger.ErrorContext(ctx, text, slog.String("connection", event.RequestContext.ConnectionID),
		slog.String("event", event.RequestContext.EventType), slog.Any("error", err))
}

// connect decides whether a connection comes to be, and what it joins at once.
func (s *Socket) connect(ctx context.Context, event *request) response {
	err := s.checkOrigin(event)
	if err == nil {
		err = s.joinByURL(ctx, event)
	}
	if err != nil {
		return s.refuse(ctx, event, err)
	}
	accepted := response{StatusCode: http.StatusOK}
	if protocol := stream.OfferedToken(header(event, protocolHeader)); protocol != "" {
		accepted.Headers = map[string]string{protocolHeader: protocol}
	}
	return accepted
}

// checkOrigin refuses a page of a foreign origin: browsers send no preflight for a WebSocket.
func (s *Socket) checkOrigin(event *request) error {
	origin := header(event, "Origin")
	if origin == "" || s.options.App.AllowsOrigin(origin) ||
		door.SameHost(origin, event.RequestContext.DomainName) || door.SameHost(origin, header(event, "Host")) {
		return nil
	}
	return errs.New(errs.PermissionDenied, "pages of %s may not connect; see eddy.AllowOrigins", origin)
}

func (s *Socket) joinByURL(ctx context.Context, event *request) error {
	join, err := namedInURL(event)
	if join == nil || err != nil {
		return err
	}
	if err := s.post(ctx, event, joinOf(event, *join)); err != nil {
		s.log(ctx, event, "a join could not be taken to its group", err)
		return errs.New(errs.Unavailable, "the group cannot be joined now: try again")
	}
	return nil
}

// namedInURL returns the join that the query of a connection asks for, nil for none.
func namedInURL(event *request) (*stream.Join, error) {
	var join stream.Join
	var faults []errs.Detail
	named := false
	for _, parameter := range []struct {
		name string
		to   *string
	}{{"stream", &join.Stream}, {"group", &join.Group}, {"id", &join.Item}} {
		value, found := event.QueryStringParameters[parameter.name]
		named = named || found
		*parameter.to = value
		switch {
		case len(event.MultiValueQueryStringParameters[parameter.name]) > 1:
			faults = append(faults, errs.Detail{Field: parameter.name, Problem: "must be given once"})
		case found && value == "":
			faults = append(faults, errs.Detail{Field: parameter.name, Problem: "must not be empty"})
		}
	}
	if !named {
		return nil, nil
	}
	for _, missing := range []string{"stream", "group"} {
		if _, found := event.QueryStringParameters[missing]; !found {
			faults = append(faults, errs.Detail{Field: missing, Problem: "is required to join"})
		}
	}
	if faults != nil {
		return nil, errs.Invalid(faults...)
	}
	_, err := join.Collection()
	return &join, err
}

// header returns a header of a $connect, whatever the case of its name.
func header(event *request, name string) string {
	for found, value := range event.Headers {
		if strings.EqualFold(found, name) {
			return value
		}
	}
	return ""
}

// message follows a frame of a client. What is wrong with the frame is said to the client, and is no failure.
func (s *Socket) message(ctx context.Context, event *request) error {
	frame, err := parse(event)
	if err != nil {
		return s.tellError(ctx, event, stream.Join{}, err)
	}
	switch frame.Kind {
	case stream.ClientJoin:
		if err := s.mayJoin(ctx, event, frame.Join); err != nil {
			return s.tellError(ctx, event, frame.Join, err)
		}
		err = s.post(ctx, event, joinOf(event, frame.Join))
	case stream.ClientLeave:
		err = s.post(ctx, event, leaveOf(event, frame.Join))
	case stream.ClientPing:
		return s.tell(ctx, event, []byte(stream.Pong))
	case stream.ClientAuth: // nothing here expires
	}
	if err != nil {
		s.log(ctx, event, "a frame could not be taken to its group", err)
		return s.tellError(ctx, event, frame.Join, errs.New(errs.Unavailable, "the frame cannot be followed now: try again"))
	}
	return nil
}

func parse(event *request) (stream.ClientFrame, error) {
	switch {
	case event.IsBase64Encoded:
		return stream.ClientFrame{}, errs.New(errs.InvalidArgument, "a frame must be a text message")
	case len(event.Body) > stream.MaxClientFrame:
		return stream.ClientFrame{}, errs.New(errs.TooLarge, "a frame may have %d bytes", stream.MaxClientFrame)
	default:
		return stream.ParseClientFrame([]byte(event.Body))
	}
}

// mayJoin bounds the subscriptions of a connection. Joins that are on their way are not counted.
func (s *Socket) mayJoin(ctx context.Context, event *request, join stream.Join) error {
	connection := event.RequestContext.ConnectionID
	joins, err := s.options.State.Joins(ctx, connection, stream.MaxSubscriptions)
	if err != nil || joins < stream.MaxSubscriptions {
		return err
	}
	group, err := join.Collection()
	if err != nil {
		return err
	}
	key := dynamo.SubscriptionKey{Connection: connection, ID: join.SubscriptionID}
	again, err := s.options.State.Subscribed(ctx, group, key)
	if err != nil || again {
		return err
	}
	return stream.TooManySubscriptions(stream.MaxSubscriptions)
}

func (s *Socket) tellError(ctx context.Context, event *request, join stream.Join, err error) error {
	return s.tell(ctx, event, stream.ErrorFrame(s.options.Now(), join, err).AppendTo(nil))
}

// tell pushes a frame to the client of an event, if it is still there.
func (s *Socket) tell(ctx context.Context, event *request, frame []byte) error {
	_, err := s.options.Push(ctx, []Delivery{{Connection: event.RequestContext.ConnectionID, Frames: [][]byte{frame}}})
	if err != nil {
		return fmt.Errorf("answer a frame: %w", err)
	}
	return nil
}

// disconnect tells the groups of a connection that it is no more.
func (s *Socket) disconnect(ctx context.Context, event *request) error {
	connection := event.RequestContext.ConnectionID
	if s.options.Now().Sub(connectedAt(event)) < 2*youth { // nobody asks later; see Pusher
		if err := s.options.State.Close(ctx, connection); err != nil {
			return err
		}
	}
	groups, err := s.options.State.Joined(ctx, connection)
	if err != nil {
		return err
	}
	return s.postGone(ctx, event, groups)
}

func connectedAt(event *request) time.Time {
	return time.UnixMilli(event.RequestContext.ConnectedAt)
}
