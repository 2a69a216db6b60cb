// Package sender is the HTTP client under the AWS clients of a Lambda: one that loses as few replies as it can. A reply that
// is lost leaves a write of which nobody knows whether it was done.
package sender

import (
	"io"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
)

const (
	// idleTime is how long a connection that is not used is kept. A reply is lost on one that the other side has closed in
	// the meantime, which happens most to Lambdas that slept: the time counts while they do.
	idleTime = 20 * time.Second

	// connections are kept to one host: as many as a Lambda uses at a time.
	connections = 64
)

// New returns an HTTP client. It opens nothing before it is used.
func New() aws.HTTPClient {
	return Over(awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) {
		t.IdleConnTimeout = idleTime
		t.MaxIdleConnsPerHost = connections
	}))
}

// Over returns client as it has to be used under the SDK, which closes the body of a request as soon as the answer begins.
// At that moment net/http may not have asked yet whether the body ends where it should. A closed body of the SDK answers a
// Read with its end, but fails a WriteTo, which net/http prefers: it would then close the connection under the answer. So
// the body is one that can only be read.
func Over(client aws.HTTPClient) aws.HTTPClient { return sender{client} }

type sender struct{ client aws.HTTPClient }

// Do implements aws.HTTPClient.
func (s sender) Do(r *http.Request) (*http.Response, error) {
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = struct{ io.ReadCloser }{r.Body}
	}
	return s.client.Do(r)
}
