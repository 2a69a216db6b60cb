package host

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/eddyhq/eddy/functions"
	"github.com/eddyhq/eddy/shared/eddy"
	"github.com/eddyhq/eddy/shared/errs"
)

// event is a request as API Gateway sends it.
func event(t *testing.T, text string) *httpEvent {
	t.Helper()
	e := new(httpEvent)
	if err := json.Unmarshal([]byte(text), e); err != nil {
		t.Fatal(err)
	}
	return e
}

func route(t *testing.T, pattern string) *eddy.Route {
	t.Helper()
	for _, r := range functions.App().Routes() {
		if r.String() == pattern {
			return r
		}
	}
	t.Fatalf("no route %s", pattern)
	return nil
}

const getTodo = `{
	"version": "2.0", "routeKey": "GET /todos/{id}", "rawPath": "/todos/a b%25é",
	"rawQueryString": "x=1&x=2&y=%20a%26b&empty=&flag",
	"cookies": ["a=b", "c=d"],
	"headers": {"host": "api.example", "x-dup": "1,2", "x-request-id": "mine"},
	"queryStringParameters": {"x": "1,2", "y": " a&b", "empty": "", "flag": ""},
	"pathParameters": {"id": "a b%25é"},
	"requestContext": {
		"domainName": "api.example", "requestId": "JKJaXmPLvHcESHA=", "routeKey": "GET /todos/{id}",
		"http": {"method": "GET", "path": "/todos/a b%25é", "sourceIp": "192.0.2.1"}
	},
	"isBase64Encoded": false}`

func TestARequestIsReadAsItWasSent(t *testing.T) {
	t.Parallel()
	e := event(t, getTodo)

	got, err := requestOf(e, route(t, "GET /todos/{id}"))

	if err != nil {
		t.Fatal(err)
	}
	want := &eddy.HTTPRequest{
		Method: "GET", Path: "/todos/a%20b%25%C3%A9", Route: "/todos/{id}",
		PathValues: map[string]string{"id": "a b%é"},
		Query:      url.Values{"x": {"1", "2"}, "y": {" a&b"}, "empty": {""}, "flag": {""}},
		Header:     http.Header{"Host": {"api.example"}, "X-Dup": {"1,2"}, "X-Request-Id": {"mine"}, "Cookie": {"a=b; c=d"}},
		Body:       []byte{}, RemoteAddr: "192.0.2.1:0",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("request (-want +got):\n%s", diff)
	}
}

func TestBodies(t *testing.T) {
	t.Parallel()
	large := strings.Repeat("x", 1<<20)
	for _, test := range []struct {
		name, body string
		encoded    bool
		want       string
		code       errs.Code
	}{
		{"a text comes as it is", `{"title":"ü"}`, false, `{"title":"ü"}`, ""},
		{"anything else comes as base64", base64.StdEncoding.EncodeToString([]byte("\x00\xff")), true, "\x00\xff", ""},
		{"base64 that is none is refused", "###", true, "", errs.InvalidArgument},
		{"1 MiB is taken", large, false, large, ""},
		{"a byte more is not", large + "x", false, "", errs.TooLarge},
		{"nor in base64", base64.StdEncoding.EncodeToString([]byte(large + "x")), true, "", errs.TooLarge},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			body, err := bodyOf(&httpEvent{Body: test.body, IsBase64Encoded: test.encoded})
			if string(body) != test.want || errs.CodeOf(err) != test.code {
				t.Errorf("%d bytes, %v", len(body), err)
			}
		})
	}
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	got := answerOf(&eddy.HTTPResponse{
		Status: 201, Header: http.Header{"Content-Type": {"text/x"}, "Vary": {"a", "b"}, "Set-Cookie": {"a=b", "c=d"}}, Body: []byte("é"),
	}, "id")
	want := httpAnswer{
		StatusCode: 201, Headers: map[string]string{"Content-Type": "text/x", "Vary": "a, b", "X-Request-Id": "id"},
		Cookies: []string{"a=b", "c=d"}, Body: "é",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("answer (-want +got):\n%s", diff)
	}
	binary := answerOf(&eddy.HTTPResponse{Status: 200, Body: []byte{0xff}}, "id")
	if binary.Body != "/w==" || !binary.IsBase64Encoded {
		t.Errorf("a body that is no text is answered as %+v", binary)
	}
}

func TestRequestIDs(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, sent, want string }{
		{"the caller's own is kept", "mine", "mine"},
		{"without one it is API Gateway's", "", "JKJaXmPLvHcESHA="},
	} {
		e := event(t, getTodo)
		e.Headers["x-request-id"] = test.sent
		if got := requestIDOf(e, headerOf(e)); got != test.want {
			t.Errorf("%s: %q", test.name, got)
		}
	}
	e := event(t, getTodo)
	e.Headers["x-request-id"] = "two\nlines"
	if got := requestIDOf(e, headerOf(e)); len(got) != 32 {
		t.Errorf("one that is not sane is replaced by %q", got)
	}
}

func TestKinds(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		event string
		want  eventKind
	}{
		{getTodo, httpRequest},
		{`{"version":"2.0","requestContext":{"a":[{}]},"rawPath":"/"}`, httpRequest},
		{`{"Records":[{"eventSource":"aws:sqs"}]}`, queueBatch},
		{` {"other":{"Records":1},"Records":[]}`, queueBatch},
		{`{"eddy_call":{"payload":{}}}`, directCall},
		{`{}`, 0}, {`[]`, 0}, {``, 0}, {`{"a":`, 0}, {`null`, 0}, {`{"a":1`, 0},
	} {
		got, err := kindOf([]byte(test.event))
		if got != test.want || (err == nil) != (test.want != 0) {
			t.Errorf("%.40s: kind %d, error %v, want kind %d", test.event, got, err, test.want)
		}
	}
}

func FuzzKind(f *testing.F) {
	f.Add([]byte(getTodo))
	f.Add([]byte(`{"Records":[{"eventSource":"aws:sqs"}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		if kind, err := kindOf(text); (kind == 0) != (err != nil) {
			t.Errorf("kind %d and error %v", kind, err)
		}
	})
}
