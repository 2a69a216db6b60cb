package localstack_test

import (
	"context"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
)

// kind is whose endpoint it is.
type kind int

const (
	genuine   kind = iota // AWS itself
	ministack             // runs Lambdas as processes of this machine
	container             // LocalStack: runs Lambdas in containers of this machine's architecture
)

// endpointVariable says where to deploy: the URL of a server, or everywhere for AWS itself.
const (
	endpointVariable = "EDDY_AWS_ENDPOINT"
	everywhere       = "aws"
)

// endpoint is where the stack is deployed.
type endpoint struct {
	kind   kind
	url    string // without a slash at its end; "" is AWS itself
	config aws.Config
}

// theEndpoint is the one that the environment names. Without one the test is skipped.
func theEndpoint(t *testing.T) endpoint {
	t.Helper()
	named := strings.TrimSuffix(os.Getenv(endpointVariable), "/")
	var options []func(*config.LoadOptions) error
	e := endpoint{}
	switch {
	case named == "":
		t.Skip(endpointVariable + ` is not set: "make test-aws" starts a server and sets it; "aws" deploys to your account`)
	case named != everywhere:
		e.url, e.kind = named, kindOf(t, named)
		options = append(options, config.WithBaseEndpoint(named))
	}
	loaded, err := config.LoadDefaultConfig(t.Context(), options...)
	if err != nil {
		t.Fatal(err)
	}
	if loaded.Region == "" {
		t.Fatal("no region: set AWS_REGION")
	}
	e.config = loaded
	return e
}

// kindOf asks the server what it is. One that does not say is taken for as good as AWS.
func kindOf(t *testing.T, url string) kind {
	t.Helper()
	for _, server := range []struct {
		health string
		kind   kind
	}{
		{"/_ministack/health", ministack},
		{"/_localstack/health", container},
	} {
		if answers(t.Context(), url+server.health) {
			return server.kind
		}
	}
	return genuine
}

func answers(ctx context.Context, url string) bool {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return false
	}
	defer response.Body.Close()
	return response.StatusCode == http.StatusOK
}

// architecture is what the binary is built for. The stack says arm64; servers on this machine run it as it is.
func (e endpoint) architecture() string {
	if e.kind == genuine && e.url == "" {
		return "arm64"
	}
	return ""
}
