package remote_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/eddyhq/eddy/local/remote"
	"github.com/eddyhq/eddy/shared/errs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// environment has the example credentials of AWS's documentation.
func environment(name string) string {
	return map[string]string{
		"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "AWS_SESSION_TOKEN": "session",
	}[name]
}

// client asks an application, and does not wait between tries.
func client(t *testing.T, o remote.Options) (c *remote.Client, waits *[]time.Duration) {
	t.Helper()
	waits = new([]time.Duration)
	o.Getenv, o.Now = environment, func() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) }
	o.Wait = func(_ context.Context, d time.Duration) error {
		*waits = append(*waits, d)
		return nil
	}
	c, err := remote.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c, waits
}

// application answers with what it is given, one after the other, and then with the last.
func application(t *testing.T, answers ...func(w http.ResponseWriter, r *http.Request)) *httptest.Server {
	t.Helper()
	n := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n++ // an answer may panic
		answers[min(n, len(answers))-1](w, r)
	}))
	t.Cleanup(server.Close)
	return server
}

func says(status int, body string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func breaks(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

func TestWhatPassesIsTriedAgain(t *testing.T) {
	t.Parallel()
	envelope := func(code string) string { return fmt.Sprintf(`{"error":{"code":%q,"message":"m"}}`, code) }
	server := application(t, says(503, envelope("unavailable")), breaks, says(429, envelope("rate_limited")),
		says(504, envelope("timeout")), says(502, "<html>"), says(200, `{"n":7}`))
	c, waits := client(t, remote.Options{URL: server.URL})
	var out struct{ N int }
	if err := c.Invoke(t.Context(), "f", map[string]any{}, &out); err != nil || out.N != 7 {
		t.Errorf("%+v, %v", out, err)
	}
	if len(*waits) != 5 || (*waits)[4] < 2*time.Second || (*waits)[0] > 250*time.Millisecond {
		t.Errorf("it waited %v", *waits)
	}
}

func TestWhatDoesNotPassIsAnErrorThatSaysWhy(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		answer func(http.ResponseWriter, *http.Request)
		code   errs.Code
		says   string
		tries  int
	}{
		{"the envelope", says(404, `{"error":{"code":"not_found","message":"no function"}}`), errs.NotFound, "no function", 1},
		{"a lasting lack of service", says(503, `{"error":{"code":"unavailable","message":"disk full"}}`), errs.Unavailable, "disk full", 6},
		{"API Gateway's own 403", says(403, `{"message":"Forbidden"}`), errs.PermissionDenied, "Forbidden", 1},
		{"API Gateway's own 401", says(401, `{"message":"Unauthorized"}`), errs.Unauthenticated, "Unauthorized", 1},
		{"another server", says(418, "teapot"), errs.InvalidArgument, "418 I'm a teapot: teapot", 1},
		{"another server's 404", says(404, "404 page not found"), errs.NotFound, "page not found", 1},
		{"what is no JSON", says(200, "<html>"), errs.Internal, "not what was asked for", 1},
	} {
		server := application(t, c.answer)
		client, waits := client(t, remote.Options{URL: server.URL})
		var out any
		err := client.Invoke(t.Context(), "f", nil, &out)
		if errs.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.says) || len(*waits) != c.tries-1 {
			t.Errorf("%s: after %d waits %v", c.name, len(*waits), err)
		}
	}
}

func TestNobodyIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	server := application(t, breaks)
	server.Close()
	c, waits := client(t, remote.Options{URL: server.URL})
	if err := c.Invoke(t.Context(), "f", nil, nil); !remote.IsNobody(err) || len(*waits) != 0 {
		t.Errorf("after %d waits %v", len(*waits), err)
	}
}

func TestRequestsCarryTheTokenOrASignature(t *testing.T) {
	t.Parallel()
	var got *http.Request
	var body string
	server := application(t, func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		got, body = r, string(text)
		_, _ = io.WriteString(w, "{}")
	})
	var out struct{}
	plain, _ := client(t, remote.Options{URL: server.URL + "/", Token: "secret"})
	if err := plain.Invoke(t.Context(), "state::get", map[string]int{"n": 1}, &out); err != nil {
		t.Fatal(err)
	}
	if got.URL.EscapedPath() != "/_eddy/invoke/state::get" || body != `{"n":1}` || got.Header.Get("Authorization") != "Bearer secret" ||
		got.Header.Get("Content-Type") != "application/json" {
		t.Errorf("%s %s %v %s", got.Method, got.URL, got.Header, body)
	}
	signed, _ := client(t, remote.Options{URL: server.URL, Region: "eu-west-1"})
	if err := signed.Invoke(t.Context(), "state::get", map[string]int{"n": 1}, &out); err != nil {
		t.Fatal(err)
	}
	authorization := got.Header.Get("Authorization")
	if !strings.HasPrefix(authorization, "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260102/eu-west-1/execute-api/aws4_request") ||
		!strings.Contains(authorization, "content-type") || got.Header.Get("X-Amz-Security-Token") != "session" ||
		strings.Contains(fmt.Sprint(got.Header), "wJalr") {
		t.Errorf("the headers are %v", got.Header)
	}
}

func TestAURLOfAPIGatewaySaysItsRegion(t *testing.T) {
	t.Parallel()
	for url, region := range map[string]string{
		"https://abc123.execute-api.us-east-2.amazonaws.com":      "us-east-2",
		"https://abc123.execute-api.cn-north-1.amazonaws.com.cn/": "cn-north-1",
		"http://abc123.execute-api.us-east-2.amazonaws.com":       "",
		"https://example.org": "",
		"https://execute-api.us-east-2.amazonaws.com.example.org":   "",
		"https://abc123.execute-api.us-east-2.amazonaws.com:443/v1": "us-east-2",
	} {
		if c, _ := client(t, remote.Options{URL: url}); c.Region != region {
			t.Errorf("%s: the region is %q", url, c.Region)
		}
	}
	for _, url := range []string{"", "localhost:3111", "ftp://localhost", "http://", "://"} {
		if _, err := remote.New(remote.Options{URL: url}); err == nil || !strings.Contains(err.Error(), "-url") {
			t.Errorf("%q is taken for a URL: %v", url, err)
		}
	}
}

func TestWaitEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := remote.Wait(ctx, time.Hour); err == nil {
		t.Error("it waited for an hour")
	}
	if err := remote.Wait(t.Context(), time.Nanosecond); err != nil {
		t.Error(err)
	}
}
