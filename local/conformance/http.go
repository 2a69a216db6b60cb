package conformance

import (
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
)

// http checks what is promised of every user route.
func (s *suite) http(t *testing.T) {
	areas := []area{
		{"faults of a request", s.requestFaults},
		{"methods a path does not have", s.methods},
		{"request ids differ", s.requestIDs},
		{"HEAD answers as GET without the body", s.head},
		{"path segments are percent-decoded one by one", s.segments},
		{"an unknown query parameter is ignored", func(t *testing.T) {
			s.create(t, "at least one")
			s.get(t, "/todos?limit=1&colour=red").wantJSON(t, 200, "["+anyTodo+"]")
		}},
		{"a body of 1 MiB is taken", func(t *testing.T) {
			a := s.post(t, "/todos", padded(1<<20))
			a.wantJSON(t, 201, newTodo("padded"))
			s.removeLater(t, a)
		}},
		{"a body of 1 MiB and a byte is refused", func(t *testing.T) {
			a, err := s.do(t.Context(), request{method: "POST", path: "/todos", body: padded(1<<20 + 1)})
			s.wantTooLarge(t, a, err)
		}},
		{"an invoke body over 1 MiB is refused", func(t *testing.T) {
			payload := `{"scope":"` + unique("conformance") + `","key":"k","value":1` + strings.Repeat(" ", 1<<20) + `}`
			status, body, err := s.Invoke(t.Context(), "state::set", []byte(payload), nil)
			s.wantTooLarge(t, answer{status: status, body: body}, err)
		}},
		{"a body is JSON whatever its Content-Type says", s.contentTypes},
	}
	if s.Local {
		areas = append(areas, []area{
			{"a long body is refused by its Content-Length", func(t *testing.T) { s.endless(t, 64<<20) }},
			{"a long body without a length is refused before its end", func(t *testing.T) { s.endless(t, -1) }},
			{"CORS", s.cors},
		}...)
	}
	s.parallel(t, areas)
}

// padded is a todo called "padded" in a body of the given length.
func padded(length int) string {
	text := `{"title":"padded"}`
	return text + strings.Repeat(" ", length-len(text))
}

func (s *suite) wantTooLarge(t *testing.T, a answer, err error) {
	t.Helper()
	switch {
	case err != nil:
		t.Fatal(err)
	case s.Local:
		a.wantError(t, "too_large")
	case a.status != http.StatusRequestEntityTooLarge: // the cloud's own 413 comes without the envelope
		t.Fatalf("status %d, want 413", a.status)
	}
}

func (s *suite) requestFaults(t *testing.T) {
	long := strings.Repeat("x", 501)
	cases := []struct {
		name, method, path, body string
		contentType              string
		code                     string
		fields                   []string
	}{
		{name: "an unknown path", method: "GET", path: "/" + unique("nowhere"), code: "not_found"},
		{name: "an unknown path below a known one", method: "GET", path: "/todos/a/b", code: "not_found"},
		{name: "an unknown path under /_eddy", method: "GET", path: "/_eddy/" + unique("nowhere"), code: "not_found"},

		{name: "no body", method: "POST", path: "/todos", code: "invalid_argument"},
		{name: "a body that is no JSON", method: "POST", path: "/todos", body: `{"title":`, code: "invalid_argument"},
		{name: "something after the body", method: "POST", path: "/todos", body: `{"title":"a"}{}`,
			code: "invalid_argument"},
		{name: "an array for a body", method: "POST", path: "/todos", body: `["title"]`, code: "invalid_argument"},
		{name: "null for a body", method: "POST", path: "/todos", body: `null`, code: "invalid_argument"},
		{name: "a body of a form", method: "POST", path: "/todos", body: `title=a`,
			contentType: "application/x-www-form-urlencoded", code: "invalid_argument"},

		{name: "a missing field", method: "POST", path: "/todos", body: `{}`,
			code: "invalid_argument", fields: []string{"title"}},
		{name: "an unknown field", method: "POST", path: "/todos", body: `{"title":"a","colour":"red"}`,
			code: "invalid_argument", fields: []string{"colour"}},
		{name: "a field of another type", method: "POST", path: "/todos", body: `{"title":5}`,
			code: "invalid_argument", fields: []string{"title"}},
		{name: "a field given twice", method: "POST", path: "/todos", body: `{"title":"a","title":"b"}`,
			code: "invalid_argument", fields: []string{"title"}},
		{name: "names in another case are other names", method: "POST", path: "/todos", body: `{"Title":"a"}`,
			code: "invalid_argument", fields: []string{"Title", "title"}},
		{name: "several faults are listed together", method: "PATCH", path: "/todos/none",
			body: `{"title":5,"completed":"yes","colour":"red"}`,
			code: "invalid_argument", fields: []string{"title", "completed", "colour"}},
		{name: "a name in the path and in the body", method: "PATCH", path: "/todos/none", body: `{"id":"other"}`,
			code: "invalid_argument", fields: []string{"id"}},
		{name: "a title that is too long", method: "POST", path: "/todos", body: `{"title":"` + long + `"}`,
			code: "invalid_argument", fields: []string{"title"}},

		{name: "a limit of 0", method: "GET", path: "/todos?limit=0", code: "invalid_argument", fields: []string{"limit"}},
		{name: "a limit of 1001", method: "GET", path: "/todos?limit=1001",
			code: "invalid_argument", fields: []string{"limit"}},
		{name: "a negative limit", method: "GET", path: "/todos?limit=-1",
			code: "invalid_argument", fields: []string{"limit"}},
		{name: "a limit that is no number", method: "GET", path: "/todos?limit=ten",
			code: "invalid_argument", fields: []string{"limit"}},
		{name: "a limit that is no integer", method: "GET", path: "/todos?limit=1.5",
			code: "invalid_argument", fields: []string{"limit"}},
		{name: "a limit that is empty", method: "GET", path: "/todos?limit=",
			code: "invalid_argument", fields: []string{"limit"}},
		{name: "a limit given twice", method: "GET", path: "/todos?limit=1&limit=2",
			code: "invalid_argument", fields: []string{"limit"}},
		{name: "a cursor that is not one of ours", method: "GET", path: "/todos?cursor=garbage",
			code: "invalid_argument"},
		{name: "a cursor that is no base64", method: "GET", path: "/todos?cursor=%25%00%F0",
			code: "invalid_argument"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := request{method: c.method, path: c.path, body: c.body}
			if c.contentType != "" {
				r.header = http.Header{"Content-Type": {c.contentType}}
			}
			a := s.send(t, r)
			a.wantError(t, c.code, c.fields...)
			if kind := a.header.Get("Content-Type"); !strings.HasPrefix(kind, "application/json") {
				t.Errorf("Content-Type is %q, want application/json", kind)
			}
		})
	}
}

func (s *suite) contentTypes(t *testing.T) {
	for _, kinds := range [][]string{
		{"application/json; charset=utf-8"}, {"application/x-www-form-urlencoded"}, {"text/plain"}, nil,
	} {
		a := s.send(t, request{
			method: "POST", path: "/todos", body: `{"title":"typed"}`, header: http.Header{"Content-Type": kinds},
		})
		a.wantJSON(t, 201, newTodo("typed"))
		s.removeLater(t, a)
	}
}

func (s *suite) methods(t *testing.T) {
	cases := []struct {
		method, path string
		allow        []string
	}{
		{"PUT", "/todos", []string{"GET", "POST"}},
		{"DELETE", "/todos", []string{"GET", "POST"}},
		{"PUT", "/todos/some", []string{"DELETE", "GET", "PATCH"}},
		{"POST", "/todos/some", []string{"DELETE", "GET", "PATCH"}},
		{"PUT", "/todos/toggle", []string{"DELETE", "GET", "PATCH", "POST"}},
		{"POST", "/metrics", []string{"GET"}},
		{"POST", "/_eddy/health", []string{"GET"}},
	}
	for _, c := range cases {
		t.Run(c.method+" "+c.path, func(t *testing.T) {
			t.Parallel()
			a := s.send(t, request{method: c.method, path: c.path})
			a.wantError(t, "method_not_allowed")
			if got := allowed(a); !slices.Equal(got, c.allow) {
				t.Errorf("Allow is %q, want %q (HEAD and OPTIONS may be there)", a.header.Values("Allow"), c.allow)
			}
		})
	}
}

// allowed returns the methods of the Allow header in order, without those that are implied.
func allowed(a answer) []string {
	var methods []string
	for _, line := range a.header.Values("Allow") {
		for method := range strings.SplitSeq(line, ",") {
			if m := strings.TrimSpace(method); m != "HEAD" && m != "OPTIONS" {
				methods = append(methods, m)
			}
		}
	}
	slices.Sort(methods)
	return methods
}

func (s *suite) requestIDs(t *testing.T) {
	seen := map[string]bool{}
	for range 5 {
		seen[s.get(t, "/metrics").header.Get("X-Request-Id")] = true
	}
	if len(seen) != 5 {
		t.Errorf("5 requests had %d different ids", len(seen))
	}
}

func (s *suite) head(t *testing.T) {
	todo := s.create(t, "HEAD me")
	cases := []struct {
		path   string
		status int
	}{
		{"/todos/" + todo.ID, 200},
		{"/todos/none", 404},
		{"/todos/metrics", 200},
		{"/_eddy/health", 200},
	}
	for _, c := range cases {
		got, head := s.get(t, c.path), s.send(t, request{method: "HEAD", path: c.path})
		if head.status != c.status || got.status != c.status {
			t.Errorf("HEAD %s is %d and GET is %d, want %d", c.path, head.status, got.status, c.status)
		}
		if len(head.body) != 0 {
			t.Errorf("HEAD %s has a body: %s", c.path, head.body)
		}
		if h, g := head.header.Get("Content-Type"), got.header.Get("Content-Type"); h != g {
			t.Errorf("HEAD %s has Content-Type %q, GET %q", c.path, h, g)
		}
	}
}

func (s *suite) segments(t *testing.T) {
	suffixes := []string{"%2F", " space", "ü", "..", "+plus", "a%b"}
	if s.Local { // API Gateway decodes a path before it looks for the route, and cuts it off at a decoded question mark
		suffixes = append(suffixes, "/slash", "?query")
	}
	for _, suffix := range suffixes {
		id := unique("todo") + suffix
		document := `{"id":` + encode(t, id) + `,"title":"odd","completed":false,"created_at":"2026-01-02T03:04:05Z"}`
		s.must(t, "state::set", `{"scope":"todos","key":`+encode(t, id)+`,"value":`+document+`}`)
		path := "/todos/" + url.PathEscape(id)
		s.get(t, path).wantJSON(t, 200, document)
		if a := s.send(t, request{method: "DELETE", path: path}); a.status != 204 {
			t.Errorf("DELETE %s: status %d, want 204", path, a.status)
		}
	}
	s.get(t, "/todos/%2E%2E").wantError(t, "not_found")
	s.get(t, "/todos/a%2Fb").wantError(t, "not_found")
}

// endless sends a body that has 64 MiB and wants the refusal long before the end of it.
func (s *suite) endless(t *testing.T, length int64) {
	body := &blanks{left: 64 << 20}
	req, err := http.NewRequestWithContext(t.Context(), "POST", s.HTTP+"/todos", body)
	if err != nil {
		t.Fatal(err)
	}
	req.ContentLength = length
	req.Header.Set("Content-Type", "application/json")
	a, err := s.roundTrip(req)
	s.wantTooLarge(t, a, err)
	if sent := body.sent.Load(); sent > 32<<20 {
		t.Errorf("%d bytes were taken before the refusal", sent)
	}
}

// blanks is a body of spaces that counts what was taken of it.
type blanks struct {
	left int64
	sent atomic.Int64
}

// Read gives spaces until none are left.
func (b *blanks) Read(p []byte) (int, error) {
	n := min(int64(len(p)), b.left-b.sent.Load())
	if n == 0 {
		return 0, io.EOF
	}
	for i := range p[:n] {
		p[i] = ' '
	}
	b.sent.Add(n)
	return int(n), nil
}

func (s *suite) cors(t *testing.T) {
	for _, origin := range []string{"http://localhost:5173", "http://127.0.0.1:8080", "http://[::1]:3000"} {
		a := s.preflight(t, origin, "/todos", "POST")
		if a.status/100 != 2 || !admits(a, origin) {
			t.Errorf("preflight of %s: status %d, headers %v", origin, a.status, a.header)
		}
		if methods := a.header.Get("Access-Control-Allow-Methods"); !strings.Contains(methods, "POST") {
			t.Errorf("preflight of %s allows %q, want POST among them", origin, methods)
		}
		if names := strings.ToLower(a.header.Get("Access-Control-Allow-Headers")); !strings.Contains(names, "content-type") {
			t.Errorf("preflight of %s allows the headers %q, want content-type among them", origin, names)
		}
		if a = s.from(t, origin, "/todos?limit=1"); a.status != 200 || !admits(a, origin) {
			t.Errorf("GET from %s: status %d, headers %v", origin, a.status, a.header)
		}
		if a = s.from(t, origin, "/todos/none"); a.status != 404 || !admits(a, origin) {
			t.Errorf("an error answered to %s: status %d, headers %v", origin, a.status, a.header)
		}
	}
	for _, origin := range []string{"https://evil.example", "http://localhost.evil.example", "null"} {
		if a := s.preflight(t, origin, "/todos", "POST"); admits(a, origin) {
			t.Errorf("preflight of %s is admitted: %v", origin, a.header)
		}
		if a := s.from(t, origin, "/todos?limit=1"); admits(a, origin) {
			t.Errorf("GET from %s is admitted: %v", origin, a.header)
		}
	}
}

func (s *suite) preflight(t *testing.T, origin, path, method string) answer {
	t.Helper()
	return s.send(t, request{method: "OPTIONS", path: path, header: http.Header{
		"Origin":                         {origin},
		"Access-Control-Request-Method":  {method},
		"Access-Control-Request-Headers": {"content-type"},
	}})
}

func (s *suite) from(t *testing.T, origin, path string) answer {
	t.Helper()
	return s.send(t, request{method: "GET", path: path, header: http.Header{"Origin": {origin}}})
}

func admits(a answer, origin string) bool {
	allowed := a.header.Get("Access-Control-Allow-Origin")
	return allowed == origin || allowed == "*"
}
