package conformance_test

import (
	"context"
	"net/url"
	"os"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/eddyhq/eddy/functions/testdata/proof"
	"github.com/eddyhq/eddy/local/conformance"
	"github.com/eddyhq/eddy/local/gateway"
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

// TestProof runs the suite against the proof app in this process.
func TestProof(t *testing.T) {
	t.Parallel()
	conformance.Run(t, conformance.Target{HTTP: serve(t, false), Local: true})
}

// TestProofWithDuplicateDeliveries runs it with every delivery made twice: nothing observable changes.
func TestProofWithDuplicateDeliveries(t *testing.T) {
	t.Parallel()
	conformance.Run(t, conformance.Target{HTTP: serve(t, true), Local: true})
}

// serve serves the proof app until the test ends, and returns its URL.
func serve(t *testing.T, twice bool) string {
	t.Helper()
	g, err := gateway.Run(proof.App(), gateway.Config{
		HTTP: "127.0.0.1:0", Data: "data", FS: vfs.NewMem(), LogFormat: "text",
		Now: shortlyBefore(time.Minute), DuplicateDeliveries: twice,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := g.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return g.URL()
}

// shortlyBefore is a clock that is ahead of the machine's by so much that a full period begins in some seconds: the case
// that waits for it does not wait long.
func shortlyBefore(period time.Duration) func() time.Time {
	const soon = 3 * time.Second
	now := time.Now()
	ahead := now.Truncate(period).Add(period - soon).Sub(now)
	return func() time.Time { return time.Now().Add(ahead) }
}
