// Package door is what the HTTP doors of an application answer alike, on one machine and on AWS: the routes of users, /_eddy/*,
// and the envelope for paths that lead nowhere.
//
//	request -> request id -> path -> user route (given by the host)
//	                              -> /_eddy/* (admission by the host) -> Operator
//	                              -> 404, or 405 with Allow
package door

import (
	"net/http"
	"path"
	"strings"

	"github.com/eddyhq/eddy/shared/eddy"
	"github.com/eddyhq/eddy/shared/errs"
	"github.com/eddyhq/eddy/shared/operator"
)

// Options of a Door; all are required.
type Options struct {
	App      *eddy.App
	Operator *operator.Operator
	Admit    func(*http.Request) error      // why a request may not use /_eddy/*, health excepted; nil when it may
	Serve    func(*eddy.Route) http.Handler // what answers the requests of a route
}

// Door answers requests. It is an http.Handler.
type Door struct {
	Options
	mux *http.ServeMux
}

// New returns a Door that knows the routes of the app and /_eddy/health, functions, openapi.json and invoke.
func New(options Options) *Door {
	d := &Door{Options: options, mux: http.NewServeMux()}
	for _, route := range d.App.Routes() {
		d.mux.Handle(route.Pattern(), d.Serve(route))
	}
	d.mux.HandleFunc("GET /_eddy/health", func(w http.ResponseWriter, _ *http.Request) {
		WriteJSON(w, http.StatusOK, []byte(`{"status":"ok","version":"`+eddy.Version+`"}`))
	})
	d.Guard("GET /_eddy/functions", func(w http.ResponseWriter, _ *http.Request) error {
		WriteJSON(w, http.StatusOK, eddy.Describe(d.App))
		return nil
	})
	d.Guard("GET /_eddy/openapi.json", func(w http.ResponseWriter, _ *http.Request) error {
		WriteJSON(w, http.StatusOK, eddy.OpenAPI(d.App, eddy.Version))
		return nil
	})
	d.Guard("POST /_eddy/invoke/{function_id}", d.invoke)
	d.mux.HandleFunc("/", d.noRoute)
	return d
}

// Handle adds a route, by a pattern of net/http.
func (d *Door) Handle(pattern string, handler http.Handler) { d.mux.Handle(pattern, handler) }

// Guard adds a route of /_eddy/*, for those whom Admit lets in. An error becomes the envelope.
func (d *Door) Guard(pattern string, serve func(http.ResponseWriter, *http.Request) error) {
	d.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		err := d.Admit(r)
		if err == nil {
			err = serve(w, r)
		}
		if err != nil {
			WriteError(w, err)
		}
	})
}

// ServeHTTP answers a request that Begin was called for.
func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if isClean(r.URL.EscapedPath()) {
		d.mux.ServeHTTP(w, r)
	} else {
		noSuchRoute(w, r)
	}
}

// isClean reports whether a path can be a route's. The mux would answer others, such as //todos, with a redirect to where
// they lead, which API Gateway does not.
func isClean(escaped string) bool {
	clean := path.Clean(escaped)
	return escaped == clean || escaped == clean+"/"
}

// noRoute answers a path that has no route, or has one for other methods.
func (d *Door) noRoute(w http.ResponseWriter, r *http.Request) {
	var allowed []string
	for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"} {
		other := *r
		other.Method = method
		if _, pattern := d.mux.Handler(&other); pattern != "/" {
			allowed = append(allowed, method)
		}
	}
	if len(allowed) == 0 {
		noSuchRoute(w, r)
		return
	}
	w.Header().Set("Allow", strings.Join(allowed, ", "))
	WriteError(w, errs.New(errs.MethodNotAllowed, "%s is not allowed here; allowed: %s",
		r.Method, strings.Join(allowed, ", ")))
}

func noSuchRoute(w http.ResponseWriter, r *http.Request) {
	WriteError(w, errs.New(errs.NotFound, "there is no route %s %s", r.Method, r.URL.EscapedPath()))
}
