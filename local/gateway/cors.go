package gateway

import (
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/eddyhq/eddy/shared/door"
)

// cors answers a preflight (and reports true) and marks what the browser may show to the page of an allowed origin. A
// page of another origin that writes without a preflight, as a form does, is refused.
func (g *Gateway) cors(w http.ResponseWriter, r *http.Request) (answered bool) {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return false
	}
	header := w.Header()
	header.Add("Vary", "Origin")
	allowed := g.originAllowed(origin)
	if allowed {
		header.Set("Access-Control-Allow-Origin", origin)
		header.Set("Access-Control-Expose-Headers", "X-Request-Id, X-Next-Cursor, Retry-After, Idempotent-Replayed, *")
	}
	if r.Method != http.MethodOptions || r.Header.Get("Access-Control-Request-Method") == "" {
		err := door.ForeignWrite(r.Method, r.Host, r.Header, g.originAllowed)
		if err != nil {
			door.WriteError(w, err)
		}
		return err != nil
	}
	if allowed {
		header.Set("Access-Control-Allow-Methods", "GET, HEAD, POST, PUT, PATCH, DELETE")
		if headers := r.Header.Get("Access-Control-Request-Headers"); headers != "" {
			header.Set("Access-Control-Allow-Headers", headers)
		}
		header.Set("Access-Control-Max-Age", "600")
	}
	w.WriteHeader(http.StatusNoContent)
	return true
}

// originAllowed reports whether pages of the origin may use this gateway: those the app lists, or, when it lists none,
// those of this machine.
func (g *Gateway) originAllowed(origin string) bool {
	app := g.engine.App()
	return app.AllowsOrigin(origin) || len(app.AllowedOrigins()) == 0 && isLoopbackOrigin(origin)
}

func isLoopbackOrigin(origin string) bool {
	u, err := url.Parse(origin)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && isLoopbackHost(u.Host)
}

// isLoopbackHost reports whether host, with or without a port, names this machine.
func isLoopbackHost(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
