package eddy

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/eddyhq/eddy/shared/errs"
)

// HTTPRequest is a request as functions and middleware see it.
type HTTPRequest struct {
	Method     string
	Path       string            // as sent, percent-encoded
	Route      string            // the pattern that matched, such as "/todos/{id}"
	PathValues map[string]string // by name, percent-decoded
	Query      url.Values
	Header     http.Header
	Body       []byte // whole; at most 1 MiB
	RemoteAddr string // of the client, host:port
}

// HTTPResponse is an answer. A nil Body sends none.
type HTTPResponse struct {
	Status int
	Header http.Header
	Body   []byte
}

// Handler answers a request. An error becomes the error envelope with the status of its code.
type Handler func(ctx context.Context, r *HTTPRequest) (*HTTPResponse, error)

// Route is an HTTP trigger.
type Route struct {
	Method, Path string // as registered: "POST", "/todos/{id}"
	Status       int    // of a success; 204 sends no body
	Rate, Burst  int    // see Rate; 0: no limit of its own
	Function     *Function

	params     []string // of the path
	valid      bool     // the pattern is well-formed
	middleware []func(Handler) Handler
	handler    Handler // binding and function, inside the middleware of the route, inside that of the app
}

// RouteOption is an option of HTTP: Status, Rate, Middleware.
type RouteOption interface{ applyToRoute(*Route) }

// HTTP runs a function for requests with a method (GET, POST, PUT, PATCH, DELETE) and a path, whose segments can be
// parameters: "PATCH /todos/{id}". Every parameter is a field of the function's input. Where several routes match, the
// most specific one is taken, as in net/http.
func HTTP(pattern string, opts ...RouteOption) Option {
	return func(f *Function) {
		route := &Route{Status: http.StatusOK, Function: f}
		f.Routes = append(f.Routes, route)
		problem := route.parse(pattern)
		if problem != "" {
			f.mistake("the route %q: %s", pattern, problem)
		}
		route.valid = problem == ""
		for _, opt := range opts {
			if opt == nil {
				f.mistake("the route %q: an option is nil", pattern)
				continue
			}
			opt.applyToRoute(route)
		}
	}
}

// Status is the status of a route's success, 200 to 299; 200 without it. 204 sends no body.
func Status(code int) RouteOption { return statusOption(code) }

type statusOption int

func (s statusOption) applyToRoute(r *Route) {
	if s < 200 || s > 299 {
		r.Function.mistake("Status(%d): must be from 200 to 299", int(s))
	}
	r.Status = int(s)
}

// Rate lets through so many requests of the route a second, from all clients together, and burst of them at once after a
// pause. Further ones are answered with rate_limited, 429 and Retry-After, before the function runs.
func Rate(perSecond, burst int) RouteOption { return rateOption{perSecond, burst} }

type rateOption struct{ perSecond, burst int }

func (o rateOption) applyToRoute(r *Route) {
	if o.perSecond < 1 || o.burst < 1 {
		r.Function.mistake("Rate(%d, %d): both must be positive", o.perSecond, o.burst)
	}
	r.Rate, r.Burst = o.perSecond, o.burst
}

// MiddlewareOption is what Middleware returns: an option of New and of HTTP.
type MiddlewareOption struct {
	wrap  func(next Handler) Handler
	place string
}

// Middleware wraps what answers requests: all routes of an app, or one route. The app's is outside the route's, the
// first given outside the next. It runs before the input is bound, and may answer without calling next.
func Middleware(wrap func(next Handler) Handler) MiddlewareOption {
	return MiddlewareOption{wrap, caller(1)}
}

func (m MiddlewareOption) applyToApp(app *App) {
	if m.wrap == nil {
		app.mistake(m.place, "the function given to Middleware is nil")
		return
	}
	app.middleware = append(app.middleware, m.wrap)
}

func (m MiddlewareOption) applyToRoute(r *Route) {
	if m.wrap == nil {
		r.Function.mistake("the route %q: the function given to Middleware is nil", r)
		return
	}
	r.middleware = append(r.middleware, m.wrap)
}

// parse reads a pattern and returns what is wrong with it.
func (r *Route) parse(pattern string) (problem string) {
	var found bool
	r.Method, r.Path, found = strings.Cut(pattern, " ")
	if !found || !strings.HasPrefix(r.Path, "/") {
		return `write a method and a path, such as "GET /todos/{id}"`
	}
	switch r.Method {
	case http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete:
	case http.MethodHead, http.MethodOptions:
		return "HEAD and OPTIONS are answered for you"
	default:
		return "the method must be GET, POST, PUT, PATCH or DELETE"
	}
	if r.Path == "/" {
		return ""
	}
	segments := strings.Split(r.Path[1:], "/")
	if first := segments[0]; first == "_eddy" || first == "stream" {
		return "paths below /" + first + " are reserved"
	}
	for _, segment := range segments {
		if problem := r.parseSegment(segment); problem != "" {
			return problem
		}
	}
	return ""
}

const pathCharacters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~!$&'()*+,;=:@"

func (r *Route) parseSegment(segment string) (problem string) {
	name, isParam := strings.CutPrefix(segment, "{")
	name, closed := strings.CutSuffix(name, "}")
	switch {
	case segment == "":
		return "a segment is empty: write no double or trailing slash"
	case segment == "." || segment == "..":
		return "a segment is " + segment
	case isParam && closed:
		if !isIdentifier(name) {
			return "the parameter " + segment + " is no Go identifier: one parameter is one whole segment"
		}
		if slices.Contains(r.params, name) {
			return "the parameter " + segment + " is there twice"
		}
		r.params = append(r.params, name)
	case strings.Trim(segment, pathCharacters) != "":
		return "the segment " + segment + " holds a character that a path cannot hold, or a part of a parameter"
	}
	return ""
}

func isIdentifier(name string) bool {
	for i, c := range name {
		letter := c == '_' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return name != ""
}

// String returns the method and the path, as registered.
func (r *Route) String() string { return r.Method + " " + r.Path }

// Pattern returns the pattern of the route for a net/http.ServeMux.
func (r *Route) Pattern() string {
	if r.Path == "/" {
		return r.Method + " /{$}"
	}
	return r.String()
}

// Parameters returns the names of the parameters of the path, in their order.
func (r *Route) Parameters() []string { return slices.Clone(r.params) }

// shape is the same for routes that match the same requests.
func (r *Route) shape() string {
	segments := strings.Split(r.Path, "/")
	for i, segment := range segments {
		if strings.HasPrefix(segment, "{") {
			segments[i] = "{}"
		}
	}
	return r.Method + " " + strings.Join(segments, "/")
}

// checkParams records what stands in the way of binding the parameters of the path.
func (r *Route) checkParams() {
	if problem := r.Function.input().checkParams(r.params); problem != "" {
		r.Function.mistake("the route %q: %s", r, problem)
	}
}

// complete is called when the registration knows everything about the route.
func (r *Route) complete() {
	f := r.Function
	r.handler = r.answer
	for _, wrap := range slices.Backward(slices.Concat(f.app.middleware, r.middleware)) {
		err := recovered(func() { r.handler = wrap(r.handler) })
		if err != nil || r.handler == nil {
			f.mistake("the route %q: a middleware returned no handler", r)
			return
		}
	}
}

// Serve answers a request that matched the route: middleware, binding, function, response. It never fails: what goes
// wrong is in the response, and is logged when it is internal. The host adds what every response carries, X-Request-Id
// and the headers of CORS.
func (r *Route) Serve(ctx context.Context, inv Invocation, request *HTTPRequest) *HTTPResponse {
	run := &run{Invocation: inv, function: r.Function, request: request}
	ctx = run.within(ctx)
	response, err := run.handle(ctx, r.handler)
	if err == nil && response == nil {
		err = errs.New(errs.Internal, "a middleware of %s returned neither a response nor an error", r.Function.ID)
	}
	if err != nil {
		run.logInternal(ctx, err)
		response = ErrorResponse(err, inv.RequestID)
	}
	return run.withHeader(response)
}

func (r *run) handle(ctx context.Context, handler Handler) (response *HTTPResponse, err error) {
	defer r.recoverPanic(ctx, &err)
	return handler(ctx, r.request)
}

func (r *run) logInternal(ctx context.Context, err error) {
	if _, logged := errors.AsType[*panicked](err); !logged && CodeOf(err) == CodeInternal {
		r.log().ErrorContext(ctx, "the function failed", "error", err, "cause", errors.Unwrap(err))
	}
}

// withHeader puts what SetHeader set into the response.
func (r *run) withHeader(response *HTTPResponse) *HTTPResponse {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.header) == 0 {
		return response
	}
	whole := *response // a middleware may answer with a response that it keeps
	whole.Header = make(http.Header, len(response.Header)+len(r.header))
	maps.Copy(whole.Header, response.Header)
	maps.Copy(whole.Header, r.header)
	return &whole
}

// answer is the innermost handler of the route.
func (r *Route) answer(ctx context.Context, request *HTTPRequest) (*HTTPResponse, error) {
	f := r.Function
	result, err := f.call(ctx, func(into any) error { return f.input().bindRequest(request, into) })
	if err != nil {
		return nil, err
	}
	if r.Status == http.StatusNoContent {
		return &HTTPResponse{Status: r.Status}, nil
	}
	return &HTTPResponse{Status: r.Status, Header: jsonHeader(), Body: result}, nil
}

func jsonHeader() http.Header { return http.Header{"Content-Type": {"application/json"}} }
