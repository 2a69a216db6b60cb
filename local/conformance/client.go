package conformance

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"crypto/rand"
)

// request is one HTTP request. A body is application/json unless the header says otherwise.
type request struct {
	method, path, body string
	header             http.Header
}

type answer struct {
	status int
	header http.Header
	body   []byte
}

// statusOf is the closed list of codes, each with the status that carries it.
var statusOf = map[string]int{
	"invalid_argument":   400,
	"unauthenticated":    401,
	"permission_denied":  403,
	"not_found":          404,
	"method_not_allowed": 405,
	"conflict":           409,
	"too_large":          413,
	"condition_not_met":  422,
	"rate_limited":       429,
	"internal":           500,
	"unavailable":        503,
	"timeout":            504,
}

// do sends the request and reads the whole answer. It is for goroutines; cases use send.
func (s *suite) do(ctx context.Context, r request) (answer, error) {
	var body io.Reader
	if r.body != "" {
		body = strings.NewReader(r.body)
	}
	req, err := http.NewRequestWithContext(ctx, r.method, s.HTTP+r.path, body)
	if err != nil {
		return answer{}, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for name, values := range r.header {
		req.Header[name] = values
	}
	req.Host = r.header.Get("Host")
	if s.Sign != nil && strings.HasPrefix(r.path, "/_eddy/") {
		if err := s.Sign(req); err != nil {
			return answer{}, err
		}
	}
	return s.roundTrip(req)
}

func (s *suite) roundTrip(req *http.Request) (answer, error) {
	res, err := s.client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return answer{}, fmt.Errorf("%s %s: read the answer: %w", req.Method, req.URL.Path, err)
	}
	return answer{res.StatusCode, res.Header, text}, nil
}

// send sends the request and holds the answer to what every answer promises: a request id.
func (s *suite) send(t *testing.T, r request) answer {
	t.Helper()
	a, err := s.do(t.Context(), r)
	if err != nil {
		t.Fatalf("%s %s: %v", r.method, r.path, err)
	}
	if a.header.Get("X-Request-Id") == "" {
		t.Errorf("%s %s: the answer has no X-Request-Id", r.method, r.path)
	}
	return a
}

func (s *suite) get(t *testing.T, path string) answer {
	t.Helper()
	return s.send(t, request{method: "GET", path: path})
}

func (s *suite) post(t *testing.T, path, body string) answer {
	t.Helper()
	return s.send(t, request{method: "POST", path: path, body: body})
}

// invoke calls a function by its id. The answer has no header.
func (s *suite) invoke(t *testing.T, function, payload string) answer {
	t.Helper()
	return s.invokeWith(t, function, payload, nil)
}

func (s *suite) invokeWith(t *testing.T, function, payload string, header http.Header) answer {
	t.Helper()
	status, body, err := s.Invoke(t.Context(), function, []byte(payload), header)
	if err != nil {
		t.Fatalf("invoke %s: %v", function, err)
	}
	return answer{status: status, body: body}
}

// must calls a function, wants a 200 and returns the result.
func (s *suite) must(t *testing.T, function, payload string) []byte {
	t.Helper()
	a := s.invoke(t, function, payload)
	if a.status != http.StatusOK {
		t.Fatalf("invoke %s %s: status %d, want 200: %s", function, clip(payload), a.status, clip(string(a.body)))
	}
	return a.body
}

// try is must for goroutines.
func (s *suite) try(ctx context.Context, function, payload string) ([]byte, error) {
	status, body, err := s.Invoke(ctx, function, []byte(payload), nil)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("invoke %s: status %d, want 200: %s", function, status, clip(string(body)))
	}
	return body, err
}

// wantJSON wants the status and a body that matches want, as match understands it.
func (a answer) wantJSON(t *testing.T, status int, want string) {
	t.Helper()
	if a.status != status {
		t.Fatalf("status %d, want %d: %s", a.status, status, clip(string(a.body)))
	}
	if err := match(a.body, want); err != nil {
		t.Fatalf("%v\n got: %s\nwant: %s", err, clip(string(a.body)), clip(want))
	}
}

// wantError wants the error envelope with the code, its status, and details that name the fields.
func (a answer) wantError(t *testing.T, code string, fields ...string) {
	t.Helper()
	if a.status != statusOf[code] {
		t.Fatalf("status %d, want %d (%s): %s", a.status, statusOf[code], code, clip(string(a.body)))
	}
	envelope := `{"error":{"code":"` + code + `","message":"<string>","details?":"<any>","request_id":"<string>"}}`
	if err := match(a.body, envelope); err != nil {
		t.Fatalf("the error envelope: %v: %s", err, clip(string(a.body)))
	}
	named, id := a.faults(t)
	for _, field := range fields {
		if !slices.Contains(named, field) {
			t.Errorf("the details name %q, want %q among them: %s", named, field, clip(string(a.body)))
		}
	}
	if a.header != nil && id != a.header.Get("X-Request-Id") {
		t.Errorf("request_id is %q, X-Request-Id is %q", id, a.header.Get("X-Request-Id"))
	}
}

// faults returns the fields that an error's details name, and its request id.
func (a answer) faults(t *testing.T) (fields []string, requestID string) {
	t.Helper()
	var envelope struct {
		Error struct {
			Details   []json.RawMessage
			RequestID string `json:"request_id"`
		}
	}
	decode(t, a.body, &envelope)
	for _, detail := range envelope.Error.Details {
		if err := match(detail, `{"field":"<any>","problem":"<string>"}`); err != nil {
			t.Errorf("a detail of the error: %v: %s", err, detail)
		}
		var d struct{ Field string }
		decode(t, detail, &d)
		fields = append(fields, d.Field)
	}
	return fields, envelope.Error.RequestID
}

func decode(t *testing.T, text []byte, into any) {
	t.Helper()
	if err := json.Unmarshal(text, into); err != nil {
		t.Fatalf("decode %s: %v", clip(string(text)), err)
	}
}

// encode returns a Go value as JSON text.
func encode(t *testing.T, v any) string {
	t.Helper()
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(b.String())
}

// clip shortens a text for a message.
func clip(text string) string {
	if len(text) <= 600 {
		return text
	}
	return fmt.Sprintf("%s… (%d bytes)", strings.ToValidUTF8(text[:600], ""), len(text))
}

// unique returns a name that nobody uses.
func unique(prefix string) string { return prefix + "-" + strings.ToLower(rand.Text()[:12]) }

// atOnce runs n calls concurrently, and fails the case when one of them does.
func atOnce(t *testing.T, n int, call func(i int) error) {
	t.Helper()
	var group sync.WaitGroup
	failed := make([]error, n)
	for i := range n {
		group.Go(func() { failed[i] = call(i) })
	}
	group.Wait()
	if err := errors.Join(failed...); err != nil {
		t.Fatal(err)
	}
}

// eventually checks again and again until the check finds nothing wrong, and fails the case when that takes too long.
func eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	within(t, patience, what, check)
}

// within is eventually for what may take longer.
func within(t *testing.T, limit time.Duration, what string, check func() error) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for pause := 5 * time.Millisecond; ; pause = min(2*pause, 250*time.Millisecond) {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v: %v", what, limit, err)
		}
		select {
		case <-t.Context().Done():
			t.Fatalf("%s: the case ended: %v", what, err)
		case <-time.After(pause):
		}
	}
}
