package dynamo

import (
	"io"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
)

// idleTime is how long a connection that is not used is kept. A reply is lost on one that the other side has closed in the
// meantime, which happens most to Lambdas that slept: the time counts while they do.
const idleTime = 20 * time.Second

// NewClient returns a client that sends every request once, and loses as few replies as it can.
func NewClient(cfg aws.Config) *dynamodb.Client {
	return dynamodb.NewFromConfig(cfg, func(o *dynamodb.Options) {
		o.Retryer = aws.NopRetryer{}
		client := o.HTTPClient
		if client == nil {
			client = awshttp.NewBuildableClient()
		}
		if buildable, ok := client.(*awshttp.BuildableClient); ok {
			client = buildable.WithTransportOptions(func(t *http.Transport) { t.IdleConnTimeout = idleTime })
		}
		o.HTTPClient = sender{client}
	})
}

// sender hides of the body of a request that it can do more than be read. The SDK closes a body as soon as the answer begins.
// At that moment net/http may not have asked yet whether the body ends where it should. A closed body of the SDK answers a
// Read with its end, but fails a WriteTo, which net/http prefers: it would then close the connection under the answer.
type sender struct{ client aws.HTTPClient }

// Do implements aws.HTTPClient.
func (s sender) Do(r *http.Request) (*http.Response, error) {
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = struct{ io.ReadCloser }{r.Body}
	}
	return s.client.Do(r)
}
