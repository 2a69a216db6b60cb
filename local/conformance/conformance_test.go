package conformance_test

import (
	"net/url"
	"os"
	"testing"

	"github.com/eddyhq/eddy/local/conformance"
)

// TestDeployment runs the suite against the deployment at EDDY_CONFORMANCE_URL.
func TestDeployment(t *testing.T) {
	t.Parallel()
	base := os.Getenv("EDDY_CONFORMANCE_URL")
	if base == "" {
		t.Skip("EDDY_CONFORMANCE_URL is not set: start `go run ./local` and set it to http://127.0.0.1:3111")
	}
	at, err := url.Parse(base)
	if err != nil {
		t.Fatalf("EDDY_CONFORMANCE_URL: %v", err)
	}
	conformance.Run(t, conformance.Target{HTTP: base, Local: at.Hostname() == "127.0.0.1" || at.Hostname() == "localhost"})
}
