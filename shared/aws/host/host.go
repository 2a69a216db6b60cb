// Package host runs an application in Lambdas: one binary, which its environment tells to be the Lambda of a function or to
// play one of the roles that a deployment has beside its functions.
//
//	HTTP API, payload 2.0 -> function: route      queue -> function: fifo.Receiver -> reaction.Runner
//	direct invocation     -> function: call       HTTP API's $default -> edge: door, calls of Lambdas
//	stream of documents   -> router: fifo.Router  queue of crashed deliveries -> router: dead letters
//	queue of live groups  -> lanes                WebSocket API -> socket
//
// A cold start opens nothing: clients are made of the environment, and connect when they are first used.
package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/eddyhq/eddy/shared/deployed"
	"github.com/eddyhq/eddy/shared/eddy"
)

// Main is the whole main function of the bootstrap of an app. It ends with a clear message when the environment names a
// function that the app does not have.
func Main(app *eddy.App) {
	handler, err := New(app, os.Getenv, slog.New(slog.NewJSONHandler(os.Stdout, nil)))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	lambda.Start(handler)
}

// Handler is a Lambda's handler.
type Handler struct{ handler }

// handler answers what a Lambda is invoked with.
type handler interface {
	handle(ctx context.Context, payload []byte) (any, error)
}

// Invoke implements lambda.Handler.
func (h Handler) Invoke(ctx context.Context, payload []byte) ([]byte, error) {
	answer, err := h.handle(ctx, payload)
	if err != nil {
		return nil, err
	}
	return json.Marshal(answer)
}

// read reads an event of AWS.
func read[Event any](payload []byte) (event Event, err error) {
	if err := json.Unmarshal(payload, &event); err != nil {
		return event, fmt.Errorf("read the event as %T: %w", event, err)
	}
	return event, nil
}

// New returns the handler of the function or role that the environment names.
func New(app *eddy.App, getenv func(string) string, logger *slog.Logger) (Handler, error) {
	return newHandler(app, getenv, configOf(getenv), logger)
}

// newHandler is New with the configuration by which AWS is reached.
func newHandler(app *eddy.App, getenv func(string) string, config aws.Config, logger *slog.Logger) (Handler, error) {
	id := getenv(deployed.EnvFunction)
	f, registered := app.Function(id)
	if !registered && !slices.Contains(deployed.Roles(), id) {
		return Handler{}, unknownFunction(app, id)
	}
	w, err := newWiring(app, getenv, config, logger)
	if err != nil {
		return Handler{}, err
	}
	switch id {
	case deployed.RoleEdge:
		return Handler{newEdge(w.engine)}, nil
	case deployed.RoleRouter:
		return Handler{w.newRouter()}, nil
	case deployed.RoleLanes:
		return Handler{w.newLanes()}, nil
	case deployed.RoleSocket:
		return Handler{w.newSocket()}, nil
	default:
		return Handler{w.newFunction(f)}, nil
	}
}

func unknownFunction(app *eddy.App, id string) error {
	if id == "" {
		return errors.New(deployed.EnvFunction + " is not set: it names the function that this Lambda runs")
	}
	var known []string
	for _, f := range app.Functions() {
		known = append(known, f.ID)
	}
	return fmt.Errorf("%s is %q, which is not registered: this binary has %s, and the roles %s. Deploy again, "+
		"so that Lambdas and binary are of one application", deployed.EnvFunction, id,
		strings.Join(known, ", "), strings.Join(deployed.Roles(), ", "))
}
