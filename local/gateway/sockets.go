package gateway

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/eddyhq/eddy/shared/errs"
	"github.com/eddyhq/eddy/shared/stream"
)

// streamRoutes draws the WebSocket paths.
func (g *Gateway) streamRoutes(mux *http.ServeMux) {
	mux.HandleFunc("GET /stream", g.socket)
	mux.HandleFunc("GET /stream/{$}", g.socket)
	mux.HandleFunc("GET /stream/{stream}/{group}", g.socket)
	mux.HandleFunc("GET /stream/{stream}/{group}/{item}", g.socket)
}

// streamDoor is the handler of the door that is WebSocket alone: the same paths, and "/" for "/stream".
func (g *Gateway) streamDoor() http.Handler {
	mux := http.NewServeMux()
	g.streamRoutes(mux)
	mux.HandleFunc("GET /{$}", g.socket)
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		writeError(w, errs.New(errs.NotFound, "this port serves WebSocket at / and /stream/{stream}/{group}"), requestIDOf(w))
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := requestID(r)
		w.Header().Set("X-Request-Id", id)
		defer g.recoverPanic(w, id)
		mux.ServeHTTP(w, r)
	})
}

// socket upgrades a request to a connection of the hub, subscribed at once when the URL names a group.
func (g *Gateway) socket(w http.ResponseWriter, r *http.Request) {
	join, err := g.admitSocket(r)
	if err == nil {
		err = g.hub.Serve(w, r, join)
	}
	if err != nil {
		writeError(w, err, requestIDOf(w))
	}
}

// admitSocket checks a request before its upgrade. A page of a foreign origin is refused: browsers send no preflight
// for a WebSocket.
func (g *Gateway) admitSocket(r *http.Request) (*stream.Join, error) {
	if origin := r.Header.Get("Origin"); origin != "" && !g.originAllowed(origin) && !sameHost(origin, r.Host) {
		return nil, errs.New(errs.PermissionDenied, "pages of %s may not connect; see eddy.AllowOrigins", origin)
	}
	if r.PathValue("stream") == "" {
		return nil, nil
	}
	return &stream.Join{Stream: r.PathValue("stream"), Group: r.PathValue("group"), Item: r.PathValue("item")}, nil
}

func sameHost(origin, host string) bool {
	u, err := url.Parse(origin)
	return err == nil && strings.EqualFold(u.Host, host)
}
