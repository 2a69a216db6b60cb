package localstack_test

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
)

// connections stands before a server's @connections and holds what is pushed to API Gateway's limits, which
// ministack has not: a message over 128 KB is refused with 413, and with 429 as many pushes as a test says.
type connections struct {
	url      string
	refusing atomic.Int64 // how many pushes are still to be refused with 429
	refused  atomic.Int64 // how many were
	large    atomic.Int64 // how many were refused with 413
}

// largestPush is the most bytes that API Gateway pushes in one message.
const largestPush = 128 << 10

// newConnections starts a front of the @connections under the URL, which ends with the test.
func newConnections(t *testing.T, behind string) *connections {
	t.Helper()
	target, err := url.Parse(behind)
	if err != nil {
		t.Fatal(err)
	}
	c := &connections{}
	onward := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodPost && r.ContentLength > largestPush:
			c.large.Add(1)
			refuse(w, http.StatusRequestEntityTooLarge, "PayloadTooLargeException")
		case r.Method == http.MethodPost && c.refusing.Add(-1) >= 0:
			c.refused.Add(1)
			refuse(w, http.StatusTooManyRequests, "LimitExceededException")
		default:
			onward.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(server.Close)
	c.url = strings.TrimSuffix(server.URL, "/")
	return c
}

func refuse(w http.ResponseWriter, status int, exception string) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Amzn-Errortype", exception)
	w.WriteHeader(status)
	_, _ = w.Write([]byte(`{"message":"` + exception + `"}`)) // nobody is waiting who went away
}
