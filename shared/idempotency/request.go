package idempotency

import (
	"net/http"
	"strings"

	"github.com/eddyhq/eddy/shared/document"
	"github.com/eddyhq/eddy/shared/eddy"
	"github.com/eddyhq/eddy/shared/errs"
	"github.com/eddyhq/eddy/shared/port"
)

// The headers of HTTP: of a request that may be sent again, and of an answer that was given before.
const (
	Header         = "Idempotency-Key"
	ReplayedHeader = "Idempotent-Replayed"
)

const maxKey = 255

// Request names a request by the key that its client gave it. It is sent along when another process runs the function.
type Request struct {
	Function string `json:"function"` // that answers it
	Key      string `json:"key"`
	Caller   string `json:"caller"` // whoever sends it: no client gets an answer that was another's
	Digest   string `json:"digest"` // of what it asks for
}

// OfRoute returns the Request that a route is asked, nil when it has no key or is a GET. It fails with invalid_argument for
// what cannot be a key.
func OfRoute(route *eddy.Route, r *eddy.HTTPRequest) (*Request, error) {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return nil, nil
	}
	key, err := keyOf(r.Header)
	if key == "" {
		return nil, err
	}
	return &Request{
		Function: route.Function.ID, Key: key, Caller: callerOf(r.Header),
		Digest: port.Digest(r.Method, r.Path, r.Query.Encode(), string(r.Body)),
	}, nil
}

// OfCall returns the Request to call a function by its id, nil when it has no key. Action and delay say how it is called. It
// fails with invalid_argument for what cannot be a key.
func OfCall(header http.Header, function string, payload []byte, action, delay string) (*Request, error) {
	key, err := keyOf(header)
	if key == "" {
		return nil, err
	}
	return &Request{
		Function: function, Key: key, Caller: callerOf(header),
		Digest: port.Digest("call", action, delay, string(payload)),
	}, nil
}

// keyOf returns the key that a header carries, "" when it carries none or an invalid one.
func keyOf(header http.Header) (string, error) {
	values := header[Header]
	switch {
	case len(values) == 0:
		return "", nil
	case len(values) > 1:
		return "", errs.New(errs.InvalidArgument, "%s is given %d times", Header, len(values))
	}
	key := values[0]
	notPrintable := func(c rune) bool { return c < ' ' || c > '~' }
	if key == "" || len(key) > maxKey || strings.ContainsFunc(key, notPrintable) {
		return "", errs.New(errs.InvalidArgument, "%s must have 1 to %d printable ASCII characters", Header, maxKey)
	}
	return key, nil
}

// callerOf names whoever sends a request by its credential. A signature of AWS is another one each time: there it is the
// access key.
func callerOf(header http.Header) string {
	credential := header.Get("Authorization")
	if signed, ok := strings.CutPrefix(credential, "AWS4-HMAC-SHA256 Credential="); ok {
		credential, _, _ = strings.Cut(signed, "/")
	}
	return port.Digest(credential)
}

// IdempotencyKey is what eddy.IdempotencyKey gives to the function: the same for every repetition of the request.
func (r *Request) IdempotencyKey() string { return port.Digest(r.Function, r.Caller, r.Key) }

func (r *Request) collection() port.Collection { return port.Own("idempotency", r.Function) }

// name is the key of the record.
func (r *Request) name() string { return port.Digest(r.Caller, r.Key) }

// write returns the write of the record.
func (r *Request) write(kept document.Value, ifVersion *int64) port.Write {
	return port.Write{
		Op: port.Set, Collection: r.collection(), Key: r.name(), Value: kept, IfVersion: ifVersion, TTL: Retention,
	}
}
