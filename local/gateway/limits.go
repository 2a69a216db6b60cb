package gateway

import (
	"net/http"
	"strconv"
	"time"

	"github.com/eddyhq/eddy/local/limits"
	"github.com/eddyhq/eddy/shared/door"
	"github.com/eddyhq/eddy/shared/eddy"
	"github.com/eddyhq/eddy/shared/errs"
)

// limit has a request served unless there are too many: of its client, or in flight. Health is never limited.
func (g *Gateway) limit(w http.ResponseWriter, r *http.Request, served http.Handler) {
	if r.URL.Path == "/_eddy/health" {
		served.ServeHTTP(w, r)
		return
	}
	if g.clients != nil {
		if wait := g.clients.Take(r.RemoteAddr, g.now()); wait > 0 {
			g.metrics.limited("client")
			refuse(w, wait, errs.New(errs.RateLimited, "more than %d requests a second come from your address", g.config.ClientRate))
			return
		}
	}
	request, ok := g.connections.Begin(r.Context())
	if !ok {
		refuse(w, time.Second, errs.New(errs.Unavailable, "too many requests are being answered"))
		return
	}
	defer g.connections.End(request)
	served.ServeHTTP(w, r)
}

// limitRoute has the requests of a route served within its rate.
func (g *Gateway) limitRoute(route *eddy.Route, serve http.HandlerFunc) http.Handler {
	if route.Rate == 0 {
		return serve
	}
	bucket := limits.NewBucket(route.Rate, route.Burst)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if wait := bucket.Take(g.now()); wait > 0 {
			g.metrics.limited("route")
			refuse(w, wait, errs.New(errs.RateLimited, "%s takes %d requests a second", route, route.Rate))
			return
		}
		serve(w, r)
	})
}

// refuse answers with an error that passes, and says when to come again.
func refuse(w http.ResponseWriter, wait time.Duration, err error) {
	response := eddy.ErrorResponse(err, door.RequestIDOf(w))
	seconds := (wait + time.Second - 1) / time.Second
	response.Header.Set("Retry-After", strconv.FormatInt(int64(seconds), 10))
	door.Write(w, response)
}
