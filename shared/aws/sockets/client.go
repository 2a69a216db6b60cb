package sockets

import (
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/apigatewaymanagementapi"
)

// NewClient returns a client for the connections of one stage of a WebSocket API; endpoint is that of @connections,
// such as https://id.execute-api.region.amazonaws.com/stage. It has as many connections as a Pusher uses, and sends
// nothing again by itself: what may be sent again is the Pusher's to decide. A config that brings an HTTP client keeps
// it.
func NewClient(cfg aws.Config, endpoint string) *apigatewaymanagementapi.Client {
	return apigatewaymanagementapi.NewFromConfig(cfg, func(o *apigatewaymanagementapi.Options) {
		o.BaseEndpoint = aws.String(endpoint)
		o.Retryer = aws.NopRetryer{}
		if cfg.HTTPClient == nil {
			o.HTTPClient = awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) {
				t.MaxIdleConnsPerHost = maxPosts
				t.IdleConnTimeout = time.Minute
			})
		}
	})
}
