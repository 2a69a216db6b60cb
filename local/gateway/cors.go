package gateway

import (
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/eddyhq/eddy/shared/errs"
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
		header.Set("Access-Control-Expose-Headers", "X-Request-Id, X-Next-Cursor, Retry-After, *")
	}
	if r.Method != http.MethodOptions || r.Header.Get("Access-Control-Request-Method") == "" {
		writes := r.Method != http.MethodGet && r.Method != http.MethodHead
		if !allowed && writes && !isJSON(r.Header.Get("Content-Type")) && !sameHost(origin, r.Host) {
			writeError(w, errs.New(errs.PermissionDenied, "pages of %s may not write; see eddy.AllowOrigins", origin), requestIDOf(w))
			return true
		}
		return false
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
	if origins := g.engine.App().AllowedOrigins(); len(origins) > 0 {
		for _, allowed := range origins {
			if allowed == "*" || strings.EqualFold(allowed, origin) {
				return true
			}
		}
		return false
	}
	return isLoopbackOrigin(origin)
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
