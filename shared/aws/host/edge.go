package host

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"runtime/debug"

	"github.com/eddyhq/eddy/shared/deployed"
	"github.com/eddyhq/eddy/shared/door"
	"github.com/eddyhq/eddy/shared/eddy"
	"github.com/eddyhq/eddy/shared/errs"
	"github.com/eddyhq/eddy/shared/operator"
)

// edge answers what API Gateway has no route of a function for: /_eddy/*, HEAD, and paths and methods that lead nowhere.
type edge struct {
	engine *engine
	door   *door.Door
}

func newEdge(e *engine) *edge {
	edge := &edge{engine: e}
	edge.door = door.New(door.Options{App: e.app, Operator: operator.New(e.app, e), Admit: admit, Serve: edge.forward})
	return edge
}

// handle implements handler.
func (e *edge) handle(ctx context.Context, payload []byte) (any, error) {
	event, err := read[httpEvent](payload)
	if err != nil {
		return nil, err
	}
	return e.serve(ctx, &event), nil
}

type eventKey struct{}

// serve answers the request of an event.
func (e *edge) serve(ctx context.Context, event *httpEvent) httpAnswer {
	header := headerOf(event)
	w := &recorder{header: http.Header{"X-Request-Id": {requestIDOf(event, header)}}}
	body, err := bodyOf(event)
	if err == nil {
		err = door.ForeignWrite(event.RequestContext.HTTP.Method, header.Get("Host"), header, e.engine.app.AllowsOrigin)
	}
	if err != nil {
		door.WriteError(w, err)
		return w.answer()
	}
	r := (&http.Request{
		Method:        event.RequestContext.HTTP.Method,
		URL:           &url.URL{Path: decoded(event.RawPath), RawQuery: event.RawQueryString},
		Header:        header,
		Host:          header.Get("Host"),
		Body:          http.NoBody,
		ContentLength: int64(len(body)),
		RemoteAddr:    remoteAddr(event),
	}).WithContext(context.WithValue(ctx, eventKey{}, event))
	if len(body) > 0 {
		r.Body = readCloser{bytes.NewReader(body)}
	}
	defer e.recoverPanic(w)
	e.door.ServeHTTP(w, r)
	if r.Method == http.MethodHead {
		w.body.Reset()
	}
	return w.answer()
}

type readCloser struct{ *bytes.Reader }

func (readCloser) Close() error { return nil }

func (e *edge) recoverPanic(w *recorder) {
	if p := recover(); p != nil {
		e.engine.logger.Error("a request panicked", "panic", p, "stack", string(debug.Stack()))
		*w = recorder{header: http.Header{"X-Request-Id": w.header["X-Request-Id"]}}
		door.WriteError(w, fmt.Errorf("panic: %v", p))
	}
}

// admit lets those use /_eddy/* whom API Gateway has authorised by IAM. A path that reaches the edge by any other route
// is refused, however it is spelled.
func admit(r *http.Request) error {
	event, _ := r.Context().Value(eventKey{}).(*httpEvent)
	if event == nil || event.RouteKey != deployed.RouteAdmin ||
		event.RequestContext.Authorizer == nil || event.RequestContext.Authorizer.IAM == nil {
		return errs.New(errs.Unauthenticated, "/_eddy needs a request signed with AWS credentials that may call it")
	}
	return nil
}

// forward sends the request to the Lambda of the route: a HEAD, which API Gateway does not take for a GET.
func (e *edge) forward(route *eddy.Route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		event := *r.Context().Value(eventKey{}).(*httpEvent)
		event.RouteKey = route.String()
		event.RequestContext.RouteKey = event.RouteKey
		event.RequestContext.HTTP.Method = route.Method
		event.PathParameters = map[string]string{}
		for _, name := range route.Parameters() {
			event.PathParameters[name] = r.PathValue(name)
		}
		if err := e.pass(r.Context(), w, route, &event); err != nil {
			door.WriteError(w, err)
		}
	})
}

func (e *edge) pass(ctx context.Context, w http.ResponseWriter, route *eddy.Route, event *httpEvent) error {
	text, err := json.Marshal(event)
	if err != nil {
		return err
	}
	payload, err := e.engine.lambdas.invoke(ctx, route.Function.ID, text)
	if err != nil {
		return err
	}
	var answer httpAnswer
	if err := json.Unmarshal(payload, &answer); err != nil {
		return fmt.Errorf("read the answer of %s: %w", route.Function.ID, err)
	}
	response := &eddy.HTTPResponse{Status: answer.StatusCode, Header: http.Header{}, Body: []byte(answer.Body)}
	for name, value := range answer.Headers {
		response.Header.Set(name, value)
	}
	if answer.IsBase64Encoded {
		if response.Body, err = base64.StdEncoding.DecodeString(answer.Body); err != nil {
			return fmt.Errorf("read the answer of %s: %w", route.Function.ID, err)
		}
	}
	if len(answer.Cookies) > 0 {
		response.Header["Set-Cookie"] = answer.Cookies
	}
	door.Write(w, response)
	return nil
}

// recorder is an http.ResponseWriter that keeps what is written.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

// Header implements http.ResponseWriter.
func (w *recorder) Header() http.Header { return w.header }

// WriteHeader implements http.ResponseWriter.
func (w *recorder) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
}

// Write implements http.ResponseWriter.
func (w *recorder) Write(text []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.body.Write(text)
}

func (w *recorder) answer() httpAnswer {
	response := &eddy.HTTPResponse{Status: w.status, Header: w.header, Body: w.body.Bytes()}
	return answerOf(response, door.RequestIDOf(w))
}
