package host

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eddyhq/eddy/functions"
	"github.com/eddyhq/eddy/shared/aws/message"
	"github.com/eddyhq/eddy/shared/deployed"
	"github.com/eddyhq/eddy/shared/eddy"
)

// environment is one as the stack sets it, with changes.
func environment(changes ...string) func(string) string {
	env := map[string]string{
		deployed.EnvStack: "eddy-test", deployed.EnvDocuments: "documents", deployed.EnvSystem: "system",
		deployed.EnvQueues: "https://sqs.example/1/", deployed.EnvLambdas: "https://lambda.example", deployed.EnvSockets: "https://ws.example/live",
	}
	for i := 0; i < len(changes); i += 2 {
		env[changes[i]] = changes[i+1]
	}
	return func(name string) string { return env[name] }
}

func TestEveryFunctionAndRoleStarts(t *testing.T) {
	t.Parallel()
	app := functions.App()
	ids := deployed.Roles()
	for _, f := range app.Functions() {
		ids = append(ids, f.ID)
	}
	for _, id := range ids {
		if _, err := New(app, environment(deployed.EnvFunction, id), slog.New(slog.DiscardHandler)); err != nil {
			t.Errorf("%s: %v", id, err)
		}
	}
}

func TestAStartThatCannotBeSaysWhy(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		env  func(string) string
		says []string
	}{
		{"no function", environment(), []string{"EDDY_FUNCTION is not set"}},
		{"an unknown function", environment(deployed.EnvFunction, "todos::creat"),
			[]string{`"todos::creat"`, "not registered", "todos::create", "eddy::edge"}},
		{"an environment that lacks something",
			environment(deployed.EnvFunction, "todos::get", deployed.EnvSystem, "", deployed.EnvQueues, ""),
			[]string{"EDDY_QUEUES, EDDY_SYSTEM"}},
		{"lanes without an endpoint to push to",
			environment(deployed.EnvFunction, deployed.RoleLanes, deployed.EnvSockets, ""), []string{"EDDY_SOCKETS"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, err := New(functions.App(), test.env, slog.New(slog.DiscardHandler))
			for _, says := range test.says {
				if err == nil || !strings.Contains(err.Error(), says) {
					t.Errorf("error %v, want %q in it", err, says)
				}
			}
		})
	}
}

// called registers one function and returns its Lambda.
func called(t *testing.T, run func(context.Context, struct{ N int }) (int, error), opts ...eddy.Option) *function {
	t.Helper()
	app := eddy.New()
	eddy.Register(app, "a::b", run, opts...)
	if err := app.Validate(); err != nil {
		t.Fatal(err)
	}
	f, _ := app.Function("a::b")
	return newFunction(&engine{app: app, logger: slog.New(slog.DiscardHandler)}, f, nil)
}

func TestACallIsAnsweredWithAReply(t *testing.T) {
	t.Parallel()
	f := called(t, func(ctx context.Context, in struct{ N int }) (int, error) {
		switch in.N {
		case 0:
			return 0, eddy.Conflict("taken")
		case 1:
			panic("oh")
		}
		return in.N * 2, nil
	})
	for _, test := range []struct{ event, want string }{
		{`{"eddy_call":{"payload":{"N":21},"request_id":"r","root":"x","chain":["c::d"]}}`, `{"result":42}`},
		{`{"eddy_call":{"payload":{"N":0}}}`, `{"error":{"code":"conflict","message":"taken"}}`},
		{`{"eddy_call":{"payload":{"N":1}}}`, `{"error":{"code":"internal","message":"a::b panicked: panic: oh"}}`},
		{`{"eddy_call":{"payload":{"N":"x"}}}`,
			`{"error":{"code":"invalid_argument","message":"N: must be an integer","details":[{"field":"N","problem":"must be an integer"}]}}`},
		{`{"eddy_call":null}`, `{"error":{"code":"invalid_argument","message":"the call is empty"}}`},
	} {
		got, err := Handler{f}.Invoke(t.Context(), []byte(test.event))
		if err != nil || string(got) != test.want {
			t.Errorf("%s: %s, %v, want %s", test.event, got, err, test.want)
		}
	}
}

func TestARunEndsWithItsTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		over := make(chan struct{})
		defer close(over)
		f := called(t, func(context.Context, struct{ N int }) (int, error) {
			<-over // it does not heed its context
			return 0, nil
		}, eddy.Timeout(2*time.Second))
		began := time.Now()
		reply := f.call(t.Context(), &message.Call{Payload: json.RawMessage(`{"N":1}`)})
		if reply.Error == nil || reply.Error.Code != eddy.CodeTimeout || time.Since(began) != 2*time.Second {
			t.Errorf("after %s: %+v", time.Since(began), reply)
		}
	})
}

func TestARequestForARouteIsServed(t *testing.T) {
	t.Parallel()
	f := called(t, func(ctx context.Context, in struct{ N int }) (int, error) {
		eddy.SetHeader(ctx, "X-Path", eddy.Request(ctx).Path)
		return in.N, nil
	}, eddy.HTTP("PUT /n/{N}", eddy.Status(201)))
	for _, test := range []struct {
		name, event string
		status      int
		says        string
	}{
		{"a route of it", `{"routeKey":"PUT /n/{N}","rawPath":"/n/7","pathParameters":{"N":"7"},` +
			`"headers":{},"requestContext":{"http":{"method":"PUT"}}}`, 201, "7"},
		{"a parameter that is none", `{"routeKey":"PUT /n/{N}","rawPath":"/n/x","pathParameters":{"N":"x"},` +
			`"headers":{},"requestContext":{"http":{"method":"PUT"}}}`, 400, `"field":"N"`},
		{"a route of another function", `{"routeKey":"GET /n","rawPath":"/n","requestContext":{"http":{"method":"GET"}}}`, 404, "not_found"},
		{"a foreign page's form", `{"routeKey":"PUT /n/{N}","rawPath":"/n/7","pathParameters":{"N":"7"},` +
			`"headers":{"origin":"https://evil.example","host":"api.example"},"requestContext":{"http":{"method":"PUT"}}}`, 403, "permission_denied"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got, err := Handler{f}.Invoke(t.Context(), []byte(test.event))
			if err != nil {
				t.Fatal(err)
			}
			var answer httpAnswer
			if err := json.Unmarshal(got, &answer); err != nil {
				t.Fatal(err)
			}
			if answer.StatusCode != test.status || !strings.Contains(answer.Body, test.says) || answer.Headers["X-Request-Id"] == "" {
				t.Errorf("answered %s", got)
			}
		})
	}
}

func TestAnAnswerThatLambdaWouldNotTakeIsRefused(t *testing.T) {
	t.Parallel()
	app := eddy.New()
	eddy.Register(app, "a::b", func(_ context.Context, in struct{ N int }) (string, error) {
		return strings.Repeat(`"`, in.N), nil
	}, eddy.HTTP("GET /quotes"))
	f, _ := app.Function("a::b")
	lambda := newFunction(&engine{app: app, logger: slog.New(slog.DiscardHandler)}, f, nil)
	for _, test := range []struct {
		n, status int
		code      eddy.Code
	}{
		{1_500_000, 200, ""},
		{1_600_000, 413, ""}, // in the answer to a request each quote becomes four characters, in a reply two
		{3_200_000, 413, eddy.CodeTooLarge},
	} {
		event := &httpEvent{RouteKey: "GET /quotes", RawQueryString: fmt.Sprintf("N=%d", test.n)}
		if got := lambda.serve(t.Context(), event); got.StatusCode != test.status {
			t.Errorf("%d quotes: status %d", test.n, got.StatusCode)
		}
		reply := lambda.call(t.Context(), &message.Call{Payload: json.RawMessage(fmt.Sprintf(`{"N":%d}`, test.n))})
		if _, err := reply.Open(); eddy.CodeOf(err) != test.code {
			t.Errorf("%d quotes: %v", test.n, err)
		}
	}
}
