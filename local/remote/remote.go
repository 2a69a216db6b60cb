// Package remote is the client of a running application that the command line uses: of a gateway, or of a deployment on AWS,
// whose API Gateway asks for requests signed with AWS credentials.
//
//	Invoke -> POST /_eddy/invoke/{function}, signed or with a token -> result, or the error in the envelope
package remote

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/eddyhq/eddy/shared/errs"
)

// How often a request is made that fails for what passes, and how long the first wait in between is; waits double.
const (
	tries     = 6
	firstWait = 250 * time.Millisecond
)

// Options say which application and who asks.
type Options struct {
	URL    string // its base
	Token  string // the admin token of a gateway; "" for none
	Region string // sign for this region of AWS; "" when the URL says it, or it is a gateway

	Getenv func(string) string // where credentials of AWS are
	Now    func() time.Time
	Wait   func(ctx context.Context, d time.Duration) error // before a further try
}

// Client asks an application. It is safe for concurrent use.
type Client struct {
	Options
	base        *url.URL
	credentials aws.Credentials
	http        *http.Client
}

var apiGateway = regexp.MustCompile(`\.execute-api\.([a-z0-9-]+)\.amazonaws\.com(\.cn)?$`)

// New returns a Client. It fails when the URL is none, and when there are no credentials to sign with.
func New(o Options) (*Client, error) {
	base, err := url.Parse(strings.TrimSuffix(o.URL, "/"))
	if err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" {
		return nil, fmt.Errorf("-url %s: write it as http://host:port, or https://…", o.URL)
	}
	c := &Client{Options: o, base: base, http: &http.Client{Transport: &http.Transport{Proxy: http.ProxyFromEnvironment}}}
	if found := apiGateway.FindStringSubmatch(base.Hostname()); c.Region == "" && found != nil && base.Scheme == "https" {
		c.Region = found[1]
	}
	if c.Region == "" {
		return c, nil
	}
	c.credentials = aws.Credentials{
		AccessKeyID:     o.Getenv("AWS_ACCESS_KEY_ID"),
		SecretAccessKey: o.Getenv("AWS_SECRET_ACCESS_KEY"),
		SessionToken:    o.Getenv("AWS_SESSION_TOKEN"),
	}
	if !c.credentials.HasKeys() {
		return nil, fmt.Errorf("%s asks for signed requests: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "+
			"and AWS_SESSION_TOKEN where there is one (aws configure export-credentials --format env prints them)", base.Host)
	}
	return c, nil
}

// Close ends connections that are kept alive.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Wait waits for d or the end of ctx.
func Wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Invoke calls a function with in as its payload and reads its result into out. What fails and passes is tried again, so the
// function must be one that can be called again. An error of the application is an *errs.Error.
func (c *Client) Invoke(ctx context.Context, function string, in, out any) error {
	payload, err := json.Marshal(in)
	if err != nil {
		return err
	}
	for try := 1; ; try++ {
		err := c.invoke(ctx, function, payload, out)
		if err == nil || try == tries || ctx.Err() != nil || !passes(err) {
			return err
		}
		if err := c.Wait(ctx, firstWait<<(try-1)/2+rand.N(firstWait<<(try-1)/2)); err != nil {
			return err
		}
	}
}

// passes reports whether another try can help.
func passes(err error) bool {
	var told *errs.Error
	if errors.As(err, &told) {
		return told.Code == errs.RateLimited || told.Code == errs.Unavailable || told.Code == errs.Timeout
	}
	var broken *url.Error
	return errors.As(err, &broken) && !IsNobody(err) // where nobody listens nobody will
}

// IsNobody reports whether an error says that nobody listens at the URL.
func IsNobody(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }

func (c *Client) invoke(ctx context.Context, function string, payload []byte, out any) error {
	body, err := c.do(ctx, http.MethodPost, "/_eddy/invoke/"+url.PathEscape(function), payload)
	if err != nil {
		return err
	}
	defer body.Close()
	text, err := io.ReadAll(body)
	if err != nil {
		return fmt.Errorf("read the answer of %s: %w", function, err)
	}
	if err := json.Unmarshal(text, out); err != nil {
		return fmt.Errorf("the answer of %s is not what was asked for: %w", function, err)
	}
	return nil
}

// Get returns the body of a path, which the caller reads and closes. It is not tried again.
func (c *Client) Get(ctx context.Context, path string) (io.ReadCloser, error) {
	return c.do(ctx, http.MethodGet, path, nil)
}

func (c *Client) do(ctx context.Context, method, path string, payload []byte) (io.ReadCloser, error) {
	r, err := http.NewRequestWithContext(ctx, method, c.base.String()+path, bytes.NewReader(payload))
	if err != nil {
		return nil, err
	}
	if payload != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if c.Token != "" {
		r.Header.Set("Authorization", "Bearer "+c.Token)
	}
	if err := c.sign(r, payload); err != nil {
		return nil, err
	}
	response, err := c.http.Do(r)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", c.base.Host, err)
	}
	if response.StatusCode == http.StatusOK {
		return response.Body, nil
	}
	defer response.Body.Close()
	return nil, failure(response)
}

// sign signs a request where the application is behind API Gateway.
func (c *Client) sign(r *http.Request, payload []byte) error {
	if c.Region == "" {
		return nil
	}
	sum := sha256.Sum256(payload)
	err := v4.NewSigner().SignHTTP(r.Context(), c.credentials, r, hex.EncodeToString(sum[:]), "execute-api", c.Region, c.Now())
	if err != nil {
		return fmt.Errorf("sign the request: %w", err)
	}
	return nil
}

// maxTold is how much is read of an answer that is no success.
const maxTold = 64 << 10

// failure returns what an answer tells that is no success: its envelope, or what stands in for one.
func failure(response *http.Response) error {
	text, _ := io.ReadAll(io.LimitReader(response.Body, maxTold)) // what was read says what there is to say
	var envelope struct {
		Error errs.Error `json:"error"`
	}
	if err := json.Unmarshal(text, &envelope); err == nil && envelope.Error.Code != "" {
		return &envelope.Error
	}
	message := strings.TrimSpace(string(text))
	var foreign struct { // of API Gateway itself
		Message string `json:"message"`
	}
	if err := json.Unmarshal(text, &foreign); err == nil && foreign.Message != "" {
		message = foreign.Message
	}
	code := errs.InvalidArgument
	switch s := response.StatusCode; {
	case s == http.StatusUnauthorized:
		code = errs.Unauthenticated
	case s == http.StatusForbidden:
		code = errs.PermissionDenied
	case s == http.StatusNotFound:
		code = errs.NotFound
	case s == http.StatusTooManyRequests:
		code = errs.RateLimited
	case s >= http.StatusInternalServerError:
		code = errs.Unavailable
	}
	return errs.New(code, "%s says %s: %.200s", response.Request.URL.Host, response.Status, message)
}
