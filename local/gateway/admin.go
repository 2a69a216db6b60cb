package gateway

import (
	"crypto/subtle"
	_ "embed"
	"net/http"
	"strings"

	"github.com/eddyhq/eddy/shared/eddy"
	"github.com/eddyhq/eddy/shared/errs"
)

//go:embed console.html
var console []byte

// adminRoutes draws /_eddy/*.
func (g *Gateway) adminRoutes(mux *http.ServeMux) {
	mux.HandleFunc("GET /_eddy/health", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, []byte(`{"status":"ok","version":"`+Version+`"}`))
	})
	mux.Handle("POST /_eddy/invoke/{function_id}", g.guarded(g.invoke))
	mux.Handle("GET /_eddy/functions", g.guarded(func(w http.ResponseWriter, _ *http.Request) error {
		writeJSON(w, http.StatusOK, eddy.Describe(g.engine.App()))
		return nil
	}))
	mux.Handle("GET /_eddy/openapi.json", g.guarded(func(w http.ResponseWriter, _ *http.Request) error {
		writeJSON(w, http.StatusOK, eddy.OpenAPI(g.engine.App(), Version))
		return nil
	}))
	mux.Handle("GET /_eddy/metrics", g.guarded(func(w http.ResponseWriter, r *http.Request) error {
		g.metrics.handler.ServeHTTP(w, r)
		return nil
	}))
	mux.Handle("GET /_eddy/{$}", g.guarded(func(w http.ResponseWriter, _ *http.Request) error {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; "+
			"script-src 'unsafe-inline'; connect-src 'self'; frame-ancestors 'none'")
		_, err := w.Write(console)
		return err
	}))
}

// guarded lets only those in who may use /_eddy.
func (g *Gateway) guarded(serve func(http.ResponseWriter, *http.Request) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		err := g.admit(r)
		if err == nil {
			err = serve(w, r)
		}
		if err != nil {
			writeError(w, err, requestIDOf(w))
		}
	})
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
	if r.ContentLength != 0 && !isJSON(r.Header.Get("Content-Type")) {
		return refuse("a body must be sent with Content-Type: application/json")
	}
	return nil
}

func isJSON(contentType string) bool {
	mediaType, _, _ := strings.Cut(contentType, ";")
	return strings.EqualFold(strings.TrimSpace(mediaType), "application/json")
}

// invoke calls any function by id, at once or, with X-Eddy-Action, later.
func (g *Gateway) invoke(w http.ResponseWriter, r *http.Request) error {
	payload, err := readBody(w, r)
	if err != nil {
		return err
	}
	if len(payload) == 0 {
		payload = []byte("{}")
	}
	id, action := r.PathValue("function_id"), r.Header.Get("X-Eddy-Action")
	queue, enqueue := strings.CutPrefix(action, "enqueue:")
	switch {
	case action == "":
		result, err := g.engine.Invoke(r.Context(), id, payload, requestIDOf(w))
		if err != nil {
			return err
		}
		writeJSON(w, http.StatusOK, result)
		return nil
	case action == "void":
		delivery, err := g.engine.Void(r.Context(), id, payload)
		if err != nil {
			return err
		}
		writeJSON(w, http.StatusAccepted, []byte(`{"delivery_id":"`+delivery+`"}`))
		return nil
	case enqueue:
		return errs.New(errs.NotFound, "there is no queue %q", queue)
	default:
		return errs.New(errs.InvalidArgument, "X-Eddy-Action is %q; it can be void or enqueue:<queue>", action)
	}
}
