package sender_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/eddyhq/eddy/shared/aws/sender"
)

// body is one of the SDK's: closed, it fails a WriteTo.
type body struct{ *strings.Reader }

func (body) Close() error { return nil }

type client func(*http.Request) (*http.Response, error)

func (c client) Do(r *http.Request) (*http.Response, error) { return c(r) }

func TestABodyCanOnlyBeRead(t *testing.T) {
	t.Parallel()
	sent := func(r *http.Request) (*http.Response, error) {
		if _, writes := r.Body.(io.WriterTo); writes {
			t.Error("the body writes itself")
		}
		if text, err := io.ReadAll(r.Body); err != nil || string(text) != "text" {
			t.Errorf("the body is %q: %v", text, err)
		}
		return nil, nil
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://aws.example", body{strings.NewReader("text")})
	if err != nil {
		t.Fatal(err)
	}
	send(t, sent, r)
}

// send sends a request by a client that answers nothing.
func send(t *testing.T, by client, r *http.Request) {
	t.Helper()
	response, err := sender.Over(by).Do(r) //nolint:bodyclose // there is none
	if response != nil || err != nil {
		t.Error(response, err)
	}
}

func TestARequestWithoutBodyHasNone(t *testing.T) {
	t.Parallel()
	for _, none := range []io.Reader{nil, http.NoBody} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://aws.example", none)
		if err != nil {
			t.Fatal(err)
		}
		before := r.Body
		send(t, func(r *http.Request) (*http.Response, error) {
			if r.Body != before {
				t.Errorf("the body is %v", r.Body)
			}
			return nil, nil
		}, r)
	}
}
