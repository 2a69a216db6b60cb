package gateway

import (
	"context"
	"net/http"
	"time"

	"github.com/eddyhq/eddy/shared/door"
	"github.com/eddyhq/eddy/shared/eddy"
	"github.com/eddyhq/eddy/shared/idempotency"
)

// ServeHTTP answers every request of the HTTP door.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	door.Begin(w, r)
	defer g.recoverPanic(w)
	if g.cors(w, r) {
		return
	}
	counted := &countingWriter{ResponseWriter: w}
	started := time.Now()
	g.limit(counted, r, g.door)
	g.metrics.request(counted.status, time.Since(started))
}

// countingWriter remembers the status of a response. It unwraps, so that a connection can be hijacked.
type countingWriter struct {
	http.ResponseWriter
	status int
}

func (w *countingWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *countingWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// userRoute runs the function of an HTTP trigger.
func (g *Gateway) userRoute(route *eddy.Route) http.Handler {
	parameters := route.Parameters()
	return g.limitRoute(route, func(w http.ResponseWriter, r *http.Request) {
		body, err := door.ReadBody(w, r)
		if err != nil {
			door.WriteError(w, err)
			return
		}
		request := &eddy.HTTPRequest{
			Method:     r.Method,
			Path:       r.URL.EscapedPath(),
			Route:      route.Path,
			Query:      r.URL.Query(),
			Header:     r.Header,
			Body:       body,
			RemoteAddr: r.RemoteAddr,
		}
		if len(parameters) > 0 {
			request.PathValues = make(map[string]string, len(parameters))
			for _, name := range parameters {
				request.PathValues[name] = r.PathValue(name)
			}
		}
		invocation := g.engine.Invocation(door.RequestIDOf(w))
		answer := make(chan *eddy.HTTPResponse, 1)
		err = g.engine.Run(g.engine.Lifetime(), route.Function, func(ctx context.Context) error {
			answer <- idempotency.Serve(ctx, invocation, route, request)
			return nil
		})
		if err != nil {
			door.WriteError(w, err)
			return
		}
		door.Write(w, <-answer)
	})
}
