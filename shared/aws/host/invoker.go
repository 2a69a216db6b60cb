package host

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/eddyhq/eddy/shared/deployed"
	"github.com/eddyhq/eddy/shared/errs"
)

// invoker runs Lambdas and waits for their answers. It makes the one request that takes, signed by the SDK: the SDK's whole
// client of Lambda is made anew in every cold start, of every function, and would be a tenth of it.
type invoker struct {
	config   aws.Config
	signer   *v4.Signer
	endpoint string // of Lambda, without a slash at its end
	stack    string
}

// How often a Lambda is asked for that cannot run now, and how long the waits in between are at most: they double.
const (
	invokeTries   = 5
	firstThrottle = 50 * time.Millisecond
)

// invoke sends an event to the Lambda of a function and returns what it answers. A request is sent again only after it was
// throttled: of any other that failed nobody knows whether the function ran.
func (i *invoker) invoke(ctx context.Context, id string, event []byte) ([]byte, error) {
	for try := 0; ; try++ {
		answer, err := i.post(ctx, id, event)
		if errs.CodeOf(err) != errs.RateLimited || try+1 == invokeTries {
			return answer, err
		}
		timer := time.NewTimer(rand.N(firstThrottle << try))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, ctx.Err()
		}
	}
}

// post makes the request; see Lambda's Invoke. That it is throttled is a rate_limited error.
func (i *invoker) post(ctx context.Context, id string, event []byte) ([]byte, error) {
	r, err := i.request(ctx, id, event)
	if err != nil {
		return nil, err
	}
	response, err := i.config.HTTPClient.Do(r)
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		return nil, fmt.Errorf("invoke the Lambda of %s: %w", id, err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	switch {
	case err != nil:
		return nil, fmt.Errorf("read the answer of the Lambda of %s: %w", id, err)
	case response.StatusCode == http.StatusTooManyRequests:
		return nil, errs.New(errs.RateLimited, "too many Lambdas are running: try again later")
	case response.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("invoke the Lambda of %s: %s: %s", id, response.Status, answer)
	case response.Header.Get("X-Amz-Function-Error") != "":
		return nil, crash(id, answer)
	}
	return answer, nil
}

func (i *invoker) request(ctx context.Context, id string, event []byte) (*http.Request, error) {
	url := i.endpoint + "/2015-03-31/functions/" + deployed.LambdaName(i.stack, id) + "/invocations"
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(event))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	credentials, err := i.config.Credentials.Retrieve(ctx)
	if err != nil {
		return nil, fmt.Errorf("sign a request to Lambda: %w", err)
	}
	sum := sha256.Sum256(event)
	err = i.signer.SignHTTP(ctx, credentials, r, hex.EncodeToString(sum[:]), "lambda", i.config.Region, time.Now())
	if err != nil {
		return nil, fmt.Errorf("sign a request to Lambda: %w", err)
	}
	return r, nil
}

// crash returns the error for a Lambda that ended without an answer.
func crash(id string, payload []byte) error {
	var told struct {
		Type    string `json:"errorType"`
		Message string `json:"errorMessage"`
	}
	if err := json.Unmarshal(payload, &told); err != nil {
		return fmt.Errorf("the Lambda of %s failed: %s", id, payload)
	}
	if told.Type == "Sandbox.Timedout" || strings.Contains(told.Message, "Task timed out") {
		return errs.New(errs.Timeout, "%s did not end in its time", id)
	}
	return fmt.Errorf("the Lambda of %s failed: %s: %s", id, told.Type, told.Message)
}
