package localstack_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"time"

	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// sign signs a request to the HTTP API with the endpoint's credentials, as routes that IAM authorises want it.
func (e endpoint) sign(r *http.Request) error {
	sum := sha256.New()
	if r.GetBody != nil {
		body, err := r.GetBody()
		if err != nil {
			return fmt.Errorf("sign: %w", err)
		}
		if _, err := io.Copy(sum, body); err != nil {
			return fmt.Errorf("sign: %w", err)
		}
	}
	credentials, err := e.config.Credentials.Retrieve(r.Context())
	if err != nil {
		return fmt.Errorf("sign: %w", err)
	}
	digest := hex.EncodeToString(sum.Sum(nil))
	return v4.NewSigner().SignHTTP(r.Context(), credentials, r, digest, "execute-api", e.config.Region, time.Now())
}
