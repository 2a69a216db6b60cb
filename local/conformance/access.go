package conformance

import (
	"context"
	"net/http"
	"net/url"
	"testing"

	"github.com/coder/websocket"
)

// access checks who may reach /_eddy/* of a process without an admin token: callers of the same machine that no
// browser of a foreign page and no proxy stands behind.
func (s *suite) access(t *testing.T) {
	if !s.Local {
		t.Skip("only of a process on this machine")
	}
	base, err := url.Parse(s.HTTP)
	if err != nil {
		t.Fatal(err)
	}
	refused := []struct {
		name   string
		header http.Header
	}{
		{"a foreign Origin", http.Header{"Origin": {"https://evil.example"}}},
		{"an Origin that begins like ours", http.Header{"Origin": {"http://localhost.evil.example"}}},
		{"an opaque Origin", http.Header{"Origin": {"null"}}},
		{"Forwarded", http.Header{"Forwarded": {"for=192.0.2.1"}}},
		{"X-Forwarded-For", http.Header{"X-Forwarded-For": {"192.0.2.1"}}},
		{"X-Forwarded-For of this machine", http.Header{"X-Forwarded-For": {"127.0.0.1"}}},
		{"X-Forwarded-Host", http.Header{"X-Forwarded-Host": {"todos.example"}}},
		{"X-Forwarded-Proto", http.Header{"X-Forwarded-Proto": {"https"}}},
		{"a foreign Host", http.Header{"Host": {"evil.example"}}},
		{"a Host that begins like ours", http.Header{"Host": {"localhost.evil.example:" + base.Port()}}},
		{"a Host that is another address", http.Header{"Host": {"192.0.2.1:" + base.Port()}}},
	}
	for _, c := range refused {
		t.Run(c.name+" is refused", func(t *testing.T) {
			t.Parallel()
			for _, r := range guarded() {
				r.header = c.header
				wantRefusal(t, s.send(t, r))
			}
			s.send(t, request{method: "GET", path: "/_eddy/health", header: c.header}).
				wantJSON(t, 200, `{"status":"ok","version":"<string>"}`)
		})
	}
	s.parallel(t, []area{
		{"a loopback Origin or Host is let in", s.letIn(base.Port())},
		{"a body that is not application/json is refused", s.otherBodies},
		{"user routes are open to foreign headers", func(t *testing.T) {
			for _, name := range []string{"Origin", "X-Forwarded-For", "Forwarded", "Host"} {
				r := request{method: "GET", path: "/metrics", header: http.Header{name: {"https://evil.example"}}}
				if name == "Host" {
					r.header.Set(name, "todos.example")
				}
				s.send(t, r).wantJSON(t, 200, `{"total":"<count>","completed":"<count>"}`)
			}
		}},
		{"a loopback page may open a socket", func(t *testing.T) {
			if status := s.upgrade(t, http.Header{"Origin": {"http://localhost:5173"}}); status != 101 {
				t.Errorf("status %d, want 101", status)
			}
		}},
		{"a foreign page may not", func(t *testing.T) {
			for _, origin := range []string{"https://evil.example", "http://localhost.evil.example", "null"} {
				if status := s.upgrade(t, http.Header{"Origin": {origin}}); status != 401 && status != 403 {
					t.Errorf("%s: status %d, want 401 or 403", origin, status)
				}
			}
		}},
	})
}

// guarded are requests that local access stands before.
func guarded() []request {
	return []request{
		{method: "POST", path: "/_eddy/invoke/state::get", body: `{"scope":"conformance","key":"k"}`},
		{method: "GET", path: "/_eddy/functions"},
		{method: "GET", path: "/_eddy/openapi.json"},
		{method: "GET", path: "/_eddy/metrics"},
	}
}

func wantRefusal(t *testing.T, a answer) {
	t.Helper()
	if a.status == http.StatusUnauthorized {
		a.wantError(t, "unauthenticated")
		return
	}
	a.wantError(t, "permission_denied")
}

func (s *suite) letIn(port string) func(t *testing.T) {
	return func(t *testing.T) {
		for _, header := range []http.Header{
			{"Origin": {"http://localhost:5173"}},
			{"Origin": {"http://127.0.0.1:3000"}},
			{"Origin": {"http://[::1]:3000"}},
			{"Host": {"localhost:" + port}},
			{"Host": {"127.0.0.1:" + port}},
			{"Host": {"[::1]:" + port}},
		} {
			for _, r := range guarded() {
				r.header = header
				if a := s.send(t, r); a.status != 200 {
					t.Errorf("%s %s with %v: status %d: %s", r.method, r.path, header, a.status, clip(string(a.body)))
				}
			}
		}
	}
}

func (s *suite) otherBodies(t *testing.T) {
	scope := unique("conformance")
	for _, kind := range [][]string{
		{"text/plain"}, {"application/x-www-form-urlencoded"}, {"multipart/form-data; boundary=x"}, {"text/json"}, nil,
	} {
		a := s.send(t, request{
			method: "POST", path: "/_eddy/invoke/state::set", body: `{"scope":"` + scope + `","key":"k","value":1}`,
			header: http.Header{"Content-Type": kind},
		})
		if a.status == http.StatusBadRequest {
			a.wantError(t, "invalid_argument")
		} else {
			wantRefusal(t, a)
		}
	}
	s.invoke(t, "state::list", `{"scope":"`+scope+`"}`).wantJSON(t, 200, `[]`)
	s.send(t, request{
		method: "POST", path: "/_eddy/invoke/state::list", body: `{"scope":"` + scope + `"}`,
		header: http.Header{"Content-Type": {"application/json; charset=utf-8"}},
	}).wantJSON(t, 200, `[]`)
}

// upgrade dials a socket with the header and returns the status of the answer: 101 where it is let in.
func (s *suite) upgrade(t *testing.T, header http.Header) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn, res, err := websocket.Dial(ctx, s.WebSocket(unique("live"), "g", ""), &websocket.DialOptions{HTTPHeader: header})
	if err == nil {
		_ = conn.CloseNow() // only the status of the upgrade matters
	}
	if res == nil {
		t.Fatalf("dial: %v", err)
	}
	return res.StatusCode
}
