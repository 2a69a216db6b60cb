// Command bare is the baseline of the benchmark: a Lambda with aws-lambda-go and nothing else. It reads the same event as
// Eddy's bootstrap and answers what is written here.
package main

import (
	"context"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambda"
)

func main() {
	lambda.Start(func(_ context.Context, event events.APIGatewayV2HTTPRequest) (events.APIGatewayV2HTTPResponse, error) {
		return events.APIGatewayV2HTTPResponse{
			StatusCode: 400, Body: event.Body, Headers: map[string]string{"Content-Type": "application/json"},
		}, nil
	})
}
