package gateway

import (
	"crypto/subtle"
	_ "embed"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/eddyhq/eddy/shared/door"
	"github.com/eddyhq/eddy/shared/errs"
)

//go:embed console.html
var console []byte

// adminRoutes draws what /_eddy/* has on one machine alone.
func (g *Gateway) adminRoutes() {
	g.door.Guard("GET /_eddy/metrics", func(w http.ResponseWriter, r *http.Request) error {
		g.metrics.handler.ServeHTTP(w, r)
		return nil
	})
	g.door.Guard("GET /_eddy/backup", g.backup)
	g.door.Guard("GET /_eddy/{$}", func(w http.ResponseWriter, _ *http.Request) error {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; "+
			"script-src 'unsafe-inline'; connect-src 'self'; frame-ancestors 'none'")
		_, err := w.Write(console)
		return err
	})
}

// backup answers with the data of the store, however long that takes, as long as the client reads. What it can tell of a
// failure is a body that is cut off.
func (g *Gateway) backup(w http.ResponseWriter, r *http.Request) error {
	w.Header().Set("Content-Type", "application/octet-stream")
	if err := g.engine.Backup(r.Context(), steady{w, http.NewResponseController(w)}); err != nil {
		g.logger.Warn("a backup was not finished", "request_id", door.RequestIDOf(w), "error", err)
		panic(http.ErrAbortHandler)
	}
	return nil
}

// steady gives every write the time that a response has as a whole otherwise.
type steady struct {
	http.ResponseWriter
	control *http.ResponseController
}

// Write implements io.Writer.
func (s steady) Write(text []byte) (int, error) {
	err := s.control.SetWriteDeadline(time.Now().Add(writeTimeout))
	if err != nil && !errors.Is(err, http.ErrNotSupported) { // where there is no connection, in tests, there is no deadline
		return 0, err
	}
	return s.ResponseWriter.Write(text)
}

// admit decides whether a request may use /_eddy: with the token where there is one, otherwise from this machine alone
// and by nothing that a web page elsewhere or a proxy could be behind.
func (g *Gateway) admit(r *http.Request) error {
	if want := g.config.AdminToken; want != "" {
		got, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if subtle.ConstantTimeCompare([]byte(got), []byte(want)) != 1 {
			return errs.New(errs.Unauthenticated, "/_eddy needs the header Authorization: Bearer <admin token>")
		}
		return nil
	}
	refuse := func(why string) error {
		return errs.New(errs.PermissionDenied,
			"/_eddy is open to this machine only, and %s; start with -admin-token to allow more", why)
	}
	if g.http != nil && !isLoopbackHost(g.http.Addr().String()) {
		return refuse("this gateway listens on " + g.http.Addr().String())
	}
	if !isLoopbackHost(r.Host) {
		return refuse("the Host is not a loopback name")
	}
	for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-Ip", "Via"} {
		if r.Header.Get(name) != "" {
			return refuse("the request was forwarded (" + name + ")")
		}
	}
	if origin := r.Header.Get("Origin"); origin != "" && !isLoopbackOrigin(origin) {
		return refuse("the request comes from a page of another origin")
	}
	if r.ContentLength != 0 && !door.IsJSON(r.Header.Get("Content-Type")) {
		return refuse("a body must be sent with Content-Type: application/json")
	}
	return nil
}
