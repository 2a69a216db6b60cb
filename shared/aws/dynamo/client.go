package dynamo

import (
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/eddyhq/eddy/shared/aws/sender"
)

// NewClient returns a client that sends every request once. A config that brings an HTTP client keeps it, see package
// sender.
func NewClient(cfg aws.Config) *dynamodb.Client {
	return dynamodb.NewFromConfig(cfg, func(o *dynamodb.Options) {
		o.Retryer = aws.NopRetryer{}
		if cfg.HTTPClient == nil {
			o.HTTPClient = sender.New()
		}
	})
}
