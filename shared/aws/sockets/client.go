package sockets

import (
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/apigatewaymanagementapi"

	"github.com/eddyhq/eddy/shared/aws/sender"
)

// NewClient returns a client for the connections of one stage of a WebSocket API; endpoint is that of @connections,
// such as https://id.execute-api.region.amazonaws.com/stage. It sends nothing again by itself: what may be sent again
// is the Pusher's to decide. A config that brings an HTTP client keeps it, which should keep as many connections as a
// Pusher uses.
func NewClient(cfg aws.Config, endpoint string) *apigatewaymanagementapi.Client {
	return apigatewaymanagementapi.NewFromConfig(cfg, func(o *apigatewaymanagementapi.Options) {
		o.BaseEndpoint = aws.String(endpoint)
		o.Retryer = aws.NopRetryer{}
		if cfg.HTTPClient == nil {
			o.HTTPClient = sender.New()
		}
	})
}
