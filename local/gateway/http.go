package gateway

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/eddyhq/eddy/shared/eddy"
	"github.com/eddyhq/eddy/shared/errs"
)

// ServeHTTP answers every request of the HTTP door.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := requestID(r)
	w.Header().Set("X-Request-Id", id)
	defer g.recoverPanic(w, id)
	if g.cors(w, r) {
		return
	}
	counted := &countingWriter{ResponseWriter: w}
	started := time.Now()
	if isClean(r.URL.EscapedPath()) {
		g.mux.ServeHTTP(counted, r)
	} else {
		noSuchRoute(counted, r)
	}
	g.metrics.request(counted.status, time.Since(started))
}

// isClean reports whether a path can be a route's. The mux would answer others, such as //todos, with a redirect to where
// they lead, which API Gateway does not.
func isClean(escaped string) bool {
	clean := path.Clean(escaped)
	return escaped == clean || escaped == clean+"/"
}

// requestID is the caller's own id when it sent a sane one, so that a request can be followed through proxies.
func requestID(r *http.Request) string {
	id := r.Header.Get("X-Request-Id")
	if id == "" || len(id) > 128 || strings.ContainsFunc(id, func(c rune) bool { return c <= ' ' || c > '~' }) {
		return newRequestID()
	}
	return id
}

// newRequestID returns 32 hexadecimal digits: enough to be unique in the logs, and no secret.
func newRequestID() string {
	var id [16]byte
	binary.LittleEndian.PutUint64(id[:8], rand.Uint64())
	binary.LittleEndian.PutUint64(id[8:], rand.Uint64())
	return hex.EncodeToString(id[:])
}

// requestIDOf returns the id that ServeHTTP gave to the request.
func requestIDOf(w http.ResponseWriter) string { return w.Header().Get("X-Request-Id") }

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

// routes draws every path of the HTTP door.
func (g *Gateway) routes() *http.ServeMux {
	mux := http.NewServeMux()
	for _, route := range g.engine.App().Routes() {
		mux.Handle(route.Pattern(), g.userRoute(route))
	}
	g.adminRoutes(mux)
	g.streamRoutes(mux)
	mux.HandleFunc("/", g.noRoute)
	return mux
}

// userRoute runs the function of an HTTP trigger.
func (g *Gateway) userRoute(route *eddy.Route) http.Handler {
	parameters := route.Parameters()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := requestIDOf(w)
		body, err := readBody(w, r)
		if err != nil {
			writeError(w, err, id)
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
		invocation := g.engine.Invocation(id)
		answer := make(chan *eddy.HTTPResponse, 1)
		err = g.engine.Run(g.engine.Lifetime(), route.Function, func(ctx context.Context) error {
			answer <- route.Serve(ctx, invocation, request)
			return nil
		})
		if err != nil {
			writeError(w, err, id)
			return
		}
		write(w, <-answer)
	})
}

// readBody reads the body whole. One over MaxBody is refused before it is read, when it says its length, or at MaxBody.
func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	switch {
	case r.ContentLength == 0:
		return nil, nil
	case r.ContentLength > MaxBody:
		w.Header().Set("Connection", "close")
		return nil, tooLarge()
	case r.ContentLength > 0:
		body := make([]byte, r.ContentLength)
		if _, err := io.ReadFull(r.Body, body); err != nil {
			return nil, errs.New(errs.InvalidArgument, "the body ended before its Content-Length: %w", err)
		}
		return body, nil
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxBody))
	if over := (*http.MaxBytesError)(nil); errors.As(err, &over) {
		return nil, tooLarge()
	}
	if err != nil {
		return nil, errs.New(errs.InvalidArgument, "the body could not be read: %w", err)
	}
	return body, nil
}

func tooLarge() error {
	return errs.New(errs.TooLarge, "the body is over the limit of %d bytes", MaxBody)
}

// noRoute answers a path that has no route, or has one for other methods.
func (g *Gateway) noRoute(w http.ResponseWriter, r *http.Request) {
	var allowed []string
	for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"} {
		other := *r
		other.Method = method
		if _, pattern := g.mux.Handler(&other); pattern != "/" {
			allowed = append(allowed, method)
		}
	}
	if len(allowed) == 0 {
		noSuchRoute(w, r)
		return
	}
	w.Header().Set("Allow", strings.Join(allowed, ", "))
	writeError(w, errs.New(errs.MethodNotAllowed, "%s is not allowed here; allowed: %s",
		r.Method, strings.Join(allowed, ", ")), requestIDOf(w))
}

func noSuchRoute(w http.ResponseWriter, r *http.Request) {
	writeError(w, errs.New(errs.NotFound, "there is no route %s %s", r.Method, r.URL.EscapedPath()), requestIDOf(w))
}

func writeError(w http.ResponseWriter, err error, requestID string) {
	write(w, eddy.ErrorResponse(err, requestID))
}

func write(w http.ResponseWriter, response *eddy.HTTPResponse) {
	header := w.Header()
	for name, values := range response.Header {
		header[name] = values
	}
	w.WriteHeader(response.Status)
	_, _ = w.Write(response.Body) // the client may have gone; there is nobody left to tell
}

func writeJSON(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(body)
}
