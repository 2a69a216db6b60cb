package host

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/google/go-cmp/cmp"

	"github.com/eddyhq/eddy/functions"
	"github.com/eddyhq/eddy/shared/aws/dynamo"
	"github.com/eddyhq/eddy/shared/deployed"
)

// cloud answers what the engine asks of AWS, and remembers it.
type cloud struct {
	answer func(w http.ResponseWriter, r *http.Request, body string)

	mu    sync.Mutex
	asked []string // "POST /path body" of Lambda, "Operation body" of DynamoDB
}

func (c *cloud) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	what := r.Method + " " + r.URL.Path
	if target := r.Header.Get("X-Amz-Target"); target != "" {
		_, what, _ = strings.Cut(target, ".")
	}
	c.mu.Lock()
	c.asked = append(c.asked, what+" "+string(body))
	c.mu.Unlock()
	c.answer(w, r, string(body))
}

func (c *cloud) said() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.asked
}

// engineOn returns an engine whose AWS is the cloud.
func engineOn(t *testing.T, c *cloud) *engine {
	t.Helper()
	server := httptest.NewServer(c)
	t.Cleanup(server.Close)
	cfg := aws.Config{
		Region: "us-east-1", BaseEndpoint: aws.String(server.URL), HTTPClient: server.Client(),
		Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
	}
	return &engine{
		Store:   dynamo.New(dynamo.NewClient(cfg), dynamo.Options{Documents: "documents", System: "system"}),
		app:     functions.App(),
		lambdas: newInvoker(cfg, "", "eddy-test"),
		logger:  slog.New(slog.DiscardHandler),
	}
}

// nobody fails the test when AWS is asked for anything.
func nobody(t *testing.T) *cloud {
	return &cloud{answer: func(_ http.ResponseWriter, r *http.Request, body string) {
		t.Errorf("AWS was asked for %s %s: %s", r.Method, r.URL, body)
	}}
}

// answers has every Lambda answer the same.
func answers(text string, header ...string) *cloud {
	return &cloud{answer: func(w http.ResponseWriter, _ *http.Request, _ string) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		_, _ = io.WriteString(w, text)
	}}
}

// ask returns a request as it arrives at the edge; signed says whether API Gateway has authorised it.
func ask(method, path, body string, signed bool) *httpEvent {
	e := &httpEvent{RouteKey: "$default", RawPath: path, Body: body, Headers: map[string]string{"host": "api.example"}}
	e.RequestContext.HTTP.Method = method
	e.RequestContext.RequestID = "request-1"
	if signed {
		e.RouteKey = deployed.RouteAdmin
		e.RequestContext.Authorizer = &events.APIGatewayV2HTTPRequestContextAuthorizerDescription{
			IAM: &events.APIGatewayV2HTTPRequestContextAuthorizerIAMDescription{AccessKey: "AKIA"},
		}
	}
	return e
}

func TestTheEdgeAnswersWithoutALambda(t *testing.T) {
	t.Parallel()
	edge := newEdge(engineOn(t, nobody(t)))
	signed := ask("GET", "/_eddy/functions", "", true)
	for _, test := range []struct {
		name   string
		event  *httpEvent
		status int
		says   string
	}{
		{"health needs no signature", ask("GET", "/_eddy/health", "", false), 200, `"status":"ok"`},
		{"HEAD has no body", ask("HEAD", "/_eddy/health", "", false), 200, ""},
		{"a path without a route is not found", ask("GET", "/nowhere", "", false), 404, `"code":"not_found"`},
		{"one that is not clean neither", ask("GET", "/todos//x", "", false), 404, `"code":"not_found"`},
		{"a method that the path has not is not allowed", ask("PUT", "/todos", "", false), 405, `"code":"method_not_allowed"`},
		{"who is authorised sees the functions", signed, 200, `"id":"todos::create"`},
		{"who is not is refused, however the path was spelled", ask("GET", "/_eddy/functions", "", false), 401, "unauthenticated"},
		{"and cannot call one", ask("POST", "/_eddy/invoke/state::get", `{"scope":"s","key":"k"}`, false), 401, "unauthenticated"},
		{"an unknown function is not found", ask("POST", "/_eddy/invoke/no::body", `{}`, true), 404, `"code":"not_found"`},
		{"a payload that is no JSON is refused", ask("POST", "/_eddy/invoke/todos::get", `{`, true), 400, "invalid_argument"},
		{"a body over the limit is refused", ask("POST", "/_eddy/invoke/todos::get", strings.Repeat(" ", 1<<20+1), true), 413, "too_large"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got := edge.serve(t.Context(), test.event)
			if got.StatusCode != test.status || !strings.Contains(got.Body, test.says) || test.says == "" && got.Body != "" {
				t.Errorf("status %d: %s", got.StatusCode, got.Body)
			}
			if got.Headers["X-Request-Id"] != "request-1" {
				t.Errorf("headers %v", got.Headers)
			}
		})
	}
}

func TestAForeignPageCannotWriteWithoutAPreflight(t *testing.T) {
	t.Parallel()
	e := ask("POST", "/nowhere", "", false)
	e.Headers["origin"] = "https://evil.example"
	if got := newEdge(engineOn(t, nobody(t))).serve(t.Context(), e); got.StatusCode != 403 {
		t.Errorf("status %d: %s", got.StatusCode, got.Body)
	}
}

func TestTheEdgeSendsAHeadToTheLambdaOfTheGet(t *testing.T) {
	t.Parallel()
	c := answers(`{"statusCode":200,"headers":{"Content-Type":"application/json","X-Next-Cursor":"c"},"body":"{}","cookies":["a=b"]}`)
	got := newEdge(engineOn(t, c)).serve(t.Context(), ask("HEAD", "/todos/a b", "", false))

	want := httpAnswer{
		StatusCode: 200, Cookies: []string{"a=b"},
		Headers: map[string]string{"Content-Type": "application/json", "X-Next-Cursor": "c", "X-Request-Id": "request-1"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("answer (-want +got):\n%s", diff)
	}
	asked := c.said()
	if len(asked) != 1 {
		t.Fatalf("AWS was asked for %q", asked)
	}
	path, event, _ := strings.Cut(asked[0], "invocations ")
	var sent httpEvent
	if err := json.Unmarshal([]byte(event), &sent); err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(path, "/functions/eddy-test-todos__get/") || sent.RouteKey != "GET /todos/{id}" ||
		sent.RequestContext.HTTP.Method != "GET" || sent.PathParameters["id"] != "a b" {
		t.Errorf("asked %s for %s", path, event)
	}
}

func TestCallsOfFunctions(t *testing.T) {
	t.Parallel()
	const failed = "X-Amz-Function-Error"
	for _, test := range []struct {
		name   string
		answer *cloud
		status int
		says   string
	}{
		{"the result comes back", answers(`{"result":{"id":"1"}}`), 200, `{"id":"1"}`},
		{"an error keeps its code and details",
			answers(`{"error":{"code":"invalid_argument","message":"id: bad","details":[{"field":"id","problem":"bad"}]}}`),
			400, `"details":[{"field":"id","problem":"bad"}]`},
		{"a crash is internal and says nothing", answers(`{"errorType":"Runtime.ExitError","errorMessage":"secret"}`, failed, "Unhandled"),
			500, `"message":"internal error"`},
		{"the end of its time is a timeout",
			answers(`{"errorType":"Sandbox.Timedout","errorMessage":"RequestId: 1 Error: Task timed out after 3.00 seconds"}`, failed, "Unhandled"),
			504, "did not end in its time"},
		{"what cannot be read is internal", answers(`nonsense`), 500, "internal error"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got := newEdge(engineOn(t, test.answer)).serve(t.Context(), ask("POST", "/_eddy/invoke/todos::get", `{"id":"1"}`, true))
			if got.StatusCode != test.status || !strings.Contains(got.Body, test.says) {
				t.Errorf("status %d: %s", got.StatusCode, got.Body)
			}
		})
	}
}

func TestAThrottledCallIsMadeAgainAndAnyOtherIsNot(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name           string
		status         int
		kind           string
		calls, answers int
	}{
		{"throttled", 429, "TooManyRequestsException", 2, 200},
		{"a failure of which nobody knows whether it ran", 500, "ServiceException", 1, 500},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := &cloud{}
			c.answer = func(w http.ResponseWriter, _ *http.Request, _ string) {
				if len(c.said()) == 1 {
					w.Header().Set("X-Amzn-Errortype", test.kind)
					w.WriteHeader(test.status)
					return
				}
				_, _ = io.WriteString(w, `{"result":null}`)
			}
			got := newEdge(engineOn(t, c)).serve(t.Context(), ask("POST", "/_eddy/invoke/todos::get", `{}`, true))
			if got.StatusCode != test.answers || len(c.said()) != test.calls {
				t.Errorf("status %d after %d calls: %s", got.StatusCode, len(c.said()), got.Body)
			}
		})
	}
}

func TestAVoidCallIsOneRowOfTheOutbox(t *testing.T) {
	t.Parallel()
	c := answers(`{}`)
	e := ask("POST", "/_eddy/invoke/todos::toggle", `{"id":"1"}`, true)
	e.Headers["x-eddy-action"] = "void"
	got := newEdge(engineOn(t, c)).serve(t.Context(), e)
	if got.StatusCode != 202 || !strings.Contains(got.Body, `"delivery_id"`) {
		t.Errorf("status %d: %s", got.StatusCode, got.Body)
	}
	asked := c.said()
	if len(asked) != 1 || !strings.HasPrefix(asked[0], "PutItem ") || !strings.Contains(asked[0], `"call/todos::toggle"`) {
		t.Errorf("AWS was asked for %q", asked)
	}
}
