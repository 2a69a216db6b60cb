package eddy_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/eddyhq/eddy/shared/eddy"
	"github.com/eddyhq/eddy/shared/port"
)

// get serves a GET of the app's only route.
func get(t *testing.T, app *eddy.App, m *memory) *eddy.HTTPResponse {
	t.Helper()
	if err := app.Validate(); err != nil {
		t.Fatal(err)
	}
	request := &eddy.HTTPRequest{Method: "GET", Path: "/x", Route: "/x", Header: http.Header{"X-Who": {"me"}}}
	return app.Routes()[0].Serve(t.Context(), m.invocation(), request)
}

func TestResponses(t *testing.T) {
	t.Parallel()
	type text struct {
		HTML string `json:"html"`
	}
	for _, test := range []struct {
		name     string
		register func(app *eddy.App)
		status   int
		body     string
		header   http.Header
	}{
		{"a result, without escaping HTML", func(app *eddy.App) {
			eddy.Register(app, "a::b", func(context.Context, eddy.None) (text, error) { return text{"<b>&"}, nil }, eddy.HTTP("GET /x"))
		}, 200, `{"html":"<b>&"}`, nil},
		{"another status", func(app *eddy.App) {
			eddy.Register(app, "a::b", gives[text], eddy.HTTP("GET /x", eddy.Status(201)))
		}, 201, `{"html":""}`, nil},
		{"no result", func(app *eddy.App) {
			eddy.Register(app, "a::b", none, eddy.HTTP("GET /x"))
		}, 200, `null`, nil},
		{"no body", func(app *eddy.App) {
			eddy.Register(app, "a::b", gives[text], eddy.HTTP("GET /x", eddy.Status(204)))
		}, 204, ``, http.Header{}},
		{"a nil list is a list", func(app *eddy.App) {
			eddy.Register(app, "a::b", gives[[]text], eddy.HTTP("GET /x"))
		}, 200, `[]`, nil},
		{"headers", func(app *eddy.App) {
			eddy.Register(app, "a::b", func(ctx context.Context, _ eddy.None) (eddy.None, error) {
				eddy.SetHeader(ctx, "X-A", eddy.Request(ctx).Header.Get("X-Who"))
				return eddy.None{}, nil
			}, eddy.HTTP("GET /x"))
		}, 200, `null`, http.Header{"Content-Type": {"application/json"}, "X-A": {"me"}}},
		{"an error with a code, and headers set before it", func(app *eddy.App) {
			eddy.Register(app, "a::b", func(ctx context.Context, _ eddy.None) (eddy.None, error) {
				eddy.SetHeader(ctx, "X-A", "a")
				return eddy.None{}, fmt.Errorf("while reading: %w", eddy.NotFound("no <thing> %d", 7))
			}, eddy.HTTP("GET /x"))
		}, 404, `{"error":{"code":"not_found","message":"no <thing> 7","request_id":"request-1"}}`,
			http.Header{"Content-Type": {"application/json"}, "X-A": {"a"}}},
		{"too many requests", func(app *eddy.App) {
			eddy.Register(app, "a::b", func(context.Context, eddy.None) (eddy.None, error) {
				return eddy.None{}, eddy.RateLimited("slow down")
			}, eddy.HTTP("GET /x"))
		}, 429, `{"error":{"code":"rate_limited","message":"slow down","request_id":"request-1"}}`,
			http.Header{"Content-Type": {"application/json"}, "Retry-After": {"1"}}},
		{"faults of the input", func(app *eddy.App) {
			eddy.Register(app, "a::b", takes[line], eddy.HTTP("GET /x"))
		}, 400, `{"error":{"code":"invalid_argument","message":"sku: is required; qty: is required","details":[` +
			`{"field":"sku","problem":"is required"},{"field":"qty","problem":"is required"}],"request_id":"request-1"}}`, nil},
		{"an error without a code", func(app *eddy.App) {
			eddy.Register(app, "a::b", func(context.Context, eddy.None) (eddy.None, error) {
				return eddy.None{}, errors.New("the password is hunter2")
			}, eddy.HTTP("GET /x"))
		}, 500, `{"error":{"code":"internal","message":"internal error","request_id":"request-1"}}`, nil},
		{"an error that says it is internal", func(app *eddy.App) {
			eddy.Register(app, "a::b", func(context.Context, eddy.None) (eddy.None, error) {
				return eddy.None{}, &eddy.Error{Code: eddy.CodeInternal, Message: "hunter2", Details: []eddy.Detail{{Field: "hunter2"}}}
			}, eddy.HTTP("GET /x"))
		}, 500, `{"error":{"code":"internal","message":"internal error","request_id":"request-1"}}`, nil},
		{"a panic", func(app *eddy.App) {
			eddy.Register(app, "a::b", func(context.Context, eddy.None) (eddy.None, error) { panic("hunter2") }, eddy.HTTP("GET /x"))
		}, 500, `{"error":{"code":"internal","message":"internal error","request_id":"request-1"}}`, nil},
		{"a result that cannot be written", func(app *eddy.App) {
			eddy.Register(app, "a::b", func(context.Context, eddy.None) (any, error) { return func() {}, nil }, eddy.HTTP("GET /x"))
		}, 500, `{"error":{"code":"internal","message":"internal error","request_id":"request-1"}}`, nil},
		{"a middleware that answers nothing", func(app *eddy.App) {
			eddy.Register(app, "a::b", none, eddy.HTTP("GET /x", eddy.Middleware(func(eddy.Handler) eddy.Handler {
				return func(context.Context, *eddy.HTTPRequest) (*eddy.HTTPResponse, error) { return nil, nil }
			})))
		}, 500, `{"error":{"code":"internal","message":"internal error","request_id":"request-1"}}`, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			app := eddy.New()
			test.register(app)
			m := newMemory(app)
			response := get(t, app, m)
			if test.header == nil {
				test.header = http.Header{"Content-Type": {"application/json"}}
			}
			if response.Header == nil {
				response.Header = http.Header{}
			}
			want := &eddy.HTTPResponse{Status: test.status, Header: test.header}
			if test.body != "" {
				want.Body = []byte(test.body)
			}
			if diff := cmp.Diff(want, response); diff != "" {
				t.Error(diff)
			}
			if logged := m.logs.String(); (response.Status == 500) != (strings.Count(logged, "level=ERROR") == 1) {
				t.Errorf("logged: %s", logged)
			}
		})
	}
}

func TestAPanicIsLoggedWithItsStackAndIDs(t *testing.T) {
	t.Parallel()
	app := eddy.New()
	eddy.Register(app, "a::b", func(context.Context, eddy.None) (eddy.None, error) { panic("hunter2") }, eddy.HTTP("GET /x"))
	m := newMemory(app)
	get(t, app, m)
	for _, want := range []string{"hunter2", "route_test.go", "function=a::b", "request_id=request-1"} {
		if !strings.Contains(m.logs.String(), want) {
			t.Errorf("%q is missing in %s", want, m.logs.String())
		}
	}
}

func TestMiddlewareOfTheAppIsOutsideThatOfTheRoute(t *testing.T) {
	t.Parallel()
	trace := func(name string) eddy.MiddlewareOption {
		return eddy.Middleware(func(next eddy.Handler) eddy.Handler {
			return func(ctx context.Context, r *eddy.HTTPRequest) (*eddy.HTTPResponse, error) {
				eddy.Logger(ctx).Info("into " + name)
				response, err := next(ctx, r)
				eddy.SetHeader(ctx, "X-Last", name)
				return response, err
			}
		})
	}
	app := eddy.New(trace("1"), trace("2"))
	eddy.Register(app, "a::b", none, eddy.HTTP("GET /x", trace("3"), trace("4")))
	m := newMemory(app)
	response := get(t, app, m)
	if got := response.Header.Get("X-Last"); got != "1" {
		t.Errorf("the outermost is %s", got)
	}
	last := 0
	for n := range 4 {
		at := strings.Index(m.logs.String(), fmt.Sprintf("into %d", n+1))
		if at <= last {
			t.Errorf("%d is not in its place: %s", n+1, m.logs.String())
		}
		last = at
	}
}

func TestMiddlewareCanRefuse(t *testing.T) {
	t.Parallel()
	app := eddy.New(eddy.Middleware(func(eddy.Handler) eddy.Handler {
		return func(context.Context, *eddy.HTTPRequest) (*eddy.HTTPResponse, error) {
			return nil, eddy.Unauthenticated("who are you?")
		}
	}))
	eddy.Register(app, "a::b", takes[line], eddy.HTTP("GET /x"))
	if got := told(t, get(t, app, newMemory(app))); got != "unauthenticated: who are you?" {
		t.Error(got)
	}
}

func TestARunKnowsItsHost(t *testing.T) {
	t.Parallel()
	m := newMemory(nil)
	err := within(t.Context(), m, func(ctx context.Context) error {
		if got := eddy.Now(ctx); !got.Equal(m.Now()) {
			t.Errorf("it is %s", got)
		}
		if got := eddy.NewID(ctx); got != "id-1" {
			t.Errorf("the id is %s", got)
		}
		if eddy.Request(ctx) != nil || eddy.DeliveryID(ctx) != "" {
			t.Error("there is a request or a delivery")
		}
		eddy.SetHeader(ctx, "X", "nothing happens")
		eddy.Logger(ctx).Info("hello")
		return nil
	})
	if err != nil || !strings.Contains(m.logs.String(), "msg=hello function=test::run request_id=request-1\n") {
		t.Errorf("%v: %s", err, m.logs.String())
	}
}

func TestOutsideOfARun(t *testing.T) {
	t.Parallel()
	if err := things.Set(t.Context(), "a", thing{}); eddy.CodeOf(err) != eddy.CodeInternal || !strings.Contains(err.Error(), "pass on the ctx") {
		t.Errorf("got %v", err)
	}
	defer func() {
		if recover() == nil {
			t.Error("Now did not panic")
		}
	}()
	eddy.Now(t.Context())
}

func TestNoRetry(t *testing.T) {
	t.Parallel()
	cause := eddy.NotFound("gone")
	err := fmt.Errorf("while cleaning: %w", eddy.NoRetry(cause))
	if !eddy.IsNoRetry(err) || !errors.Is(err, cause) || eddy.CodeOf(err) != eddy.CodeNotFound || eddy.IsNoRetry(cause) {
		t.Errorf("got %v", err)
	}
	if eddy.NoRetry(nil) != nil {
		t.Error("NoRetry(nil) is an error")
	}
	var f eddy.Function
	if err := f.React(t.Context(), eddy.Invocation{}, &port.Record{}); !eddy.IsNoRetry(err) {
		t.Errorf("a function that is no reaction: %v", err)
	}
}
