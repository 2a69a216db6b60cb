package gateway

import (
	"net/http"

	"github.com/eddyhq/eddy/shared/door"
	"github.com/eddyhq/eddy/shared/errs"
	"github.com/eddyhq/eddy/shared/stream"
)

// streamRoutes draws the WebSocket paths.
func (g *Gateway) streamRoutes(handle func(pattern string, handler http.Handler)) {
	for _, path := range []string{"/stream", "/stream/{$}", "/stream/{stream}/{group}", "/stream/{stream}/{group}/{item}"} {
		handle("GET "+path, http.HandlerFunc(g.socket))
	}
}

// streamDoor is the handler of the door that is WebSocket alone: the same paths, and "/" for "/stream".
func (g *Gateway) streamDoor() http.Handler {
	mux := http.NewServeMux()
	g.streamRoutes(mux.Handle)
	mux.HandleFunc("GET /{$}", g.socket)
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		door.WriteError(w, errs.New(errs.NotFound, "this port serves WebSocket at / and /stream/{stream}/{group}"))
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		door.Begin(w, r)
		defer g.recoverPanic(w)
		g.limit(w, r, mux)
	})
}

// socket upgrades a request to a connection of the hub, subscribed at once when the URL names a group.
func (g *Gateway) socket(w http.ResponseWriter, r *http.Request) {
	join, err := g.admitSocket(r)
	if err == nil {
		err = g.hub.Serve(w, r, join)
	}
	if err != nil {
		door.WriteError(w, err)
	}
}

// admitSocket checks a request before its upgrade. A page of a foreign origin is refused: browsers send no preflight
// for a WebSocket.
func (g *Gateway) admitSocket(r *http.Request) (*stream.Join, error) {
	if origin := r.Header.Get("Origin"); origin != "" && !g.originAllowed(origin) && !door.SameHost(origin, r.Host) {
		return nil, errs.New(errs.PermissionDenied, "pages of %s may not connect; see eddy.AllowOrigins", origin)
	}
	if r.PathValue("stream") == "" {
		return nil, nil
	}
	return &stream.Join{Stream: r.PathValue("stream"), Group: r.PathValue("group"), Item: r.PathValue("item")}, nil
}
