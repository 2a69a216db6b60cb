package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"time"

	"github.com/eddyhq/eddy/shared/deployed"
)

// requestEvent is a request as API Gateway sends it. The function refuses it by the rules of its input, so that nothing of
// what is measured is a store's.
const requestEvent = `{"version":"2.0","routeKey":"POST /todos","rawPath":"/todos","rawQueryString":"",` +
	`"headers":{"content-type":"application/json","host":"api.example","user-agent":"bench"},` +
	`"requestContext":{"accountId":"123456789012","apiId":"api","domainName":"api.example","domainPrefix":"api",` +
	`"http":{"method":"POST","path":"/todos","protocol":"HTTP/1.1","sourceIp":"192.0.2.1","userAgent":"bench"},` +
	`"requestId":"JKJaXmPLvHcESHA=","routeKey":"POST /todos","stage":"$default","timeEpoch":1583348638390},` +
	`"body":"{\"title\":\"\"}","isBase64Encoded":false}`

// life is what one process of a Lambda was seen to do.
type life struct {
	start   time.Duration   // from its start to its first poll
	invokes []time.Duration // from each event to its answer
}

// runtimeAPI is Lambda's Runtime API for one process: it hands out the same event a number of times.
type runtimeAPI struct {
	left  int
	polls chan time.Time // the first poll
	sent  time.Time
	life  life
	done  chan struct{}
}

// ServeHTTP answers the two calls that a runtime makes.
func (a *runtimeAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPost {
		a.life.invokes = append(a.life.invokes, time.Since(a.sent))
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusAccepted)
		return
	}
	select {
	case a.polls <- time.Now():
	default:
	}
	if a.left == 0 {
		close(a.done)
		<-r.Context().Done() // the process is about to be ended
		return
	}
	a.left--
	header := w.Header()
	header.Set("Lambda-Runtime-Aws-Request-Id", strconv.Itoa(a.left))
	header.Set("Lambda-Runtime-Deadline-Ms", strconv.FormatInt(time.Now().Add(time.Minute).UnixMilli(), 10))
	header.Set("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:us-east-1:123456789012:function:bench")
	a.sent = time.Now()
	_, _ = io.WriteString(w, requestEvent)
}

// live runs a process until it has answered a number of events.
func live(ctx context.Context, program string, invokes int) (life, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return life{}, err
	}
	api := &runtimeAPI{left: invokes, polls: make(chan time.Time, 1), done: make(chan struct{})}
	server := &http.Server{Handler: api, ReadHeaderTimeout: time.Minute}
	go func() { _ = server.Serve(listener) }()
	defer func() { _ = server.Close() }()

	cmd := exec.CommandContext(ctx, program)
	cmd.Stderr = os.Stderr
	cmd.Env = []string{
		"AWS_LAMBDA_RUNTIME_API=" + listener.Addr().String(), "AWS_REGION=us-east-1",
		"AWS_ACCESS_KEY_ID=bench", "AWS_SECRET_ACCESS_KEY=bench", "AWS_SESSION_TOKEN=bench",
		deployed.EnvFunction + "=todos::create", deployed.EnvStack + "=bench",
		deployed.EnvDocuments + "=documents", deployed.EnvSystem + "=system",
		deployed.EnvQueues + "=https://sqs.us-east-1.amazonaws.com/123456789012/",
		deployed.EnvLambdas + "=https://lambda.us-east-1.amazonaws.com",
	}
	started := time.Now()
	if err := cmd.Start(); err != nil {
		return life{}, err
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	select {
	case polled := <-api.polls:
		api.life.start = polled.Sub(started)
	case <-ctx.Done():
		return life{}, fmt.Errorf("%s did not poll in time", program)
	}
	select {
	case <-api.done:
		return api.life, nil
	case <-ctx.Done():
		return life{}, fmt.Errorf("%s did not answer %d events in time", program, invokes)
	}
}
