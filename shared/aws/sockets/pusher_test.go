package sockets_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/google/go-cmp/cmp"

	"github.com/eddyhq/eddy/shared/aws/sockets"
	"github.com/eddyhq/eddy/shared/errs"
)

// connections plays @connections: each connection has a script of what its requests are answered with, and then takes
// everything.
type connections struct {
	scripts map[string][]answer // by connection, or by request
	takes   time.Duration       // of each request

	mu       sync.Mutex
	requests []string // "POST a one": method, connection, frame
	busy     int      // requests under way
	busiest  int
}

// answer is a status (0: 200), an error in place of one, or nothing at all.
type answer struct {
	status int
	err    error
	hangs  bool
}

const endpoint = "https://ws.example/live"

// Do implements aws.HTTPClient.
func (c *connections) Do(r *http.Request) (*http.Response, error) {
	path, found := strings.CutPrefix(r.URL.EscapedPath(), "/live/@connections/")
	connection, err := url.PathUnescape(path)
	if !found || err != nil || r.URL.Host != "ws.example" {
		return nil, fmt.Errorf("a request to %s", r.URL)
	}
	var frame []byte
	if r.Body != nil {
		if frame, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
	}
	a := c.begin(strings.TrimSpace(r.Method+" "+connection+" "+string(frame)), connection)
	defer c.end()
	if a.hangs {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	<-time.After(c.takes)
	if a.err != nil {
		return nil, a.err
	}
	return &http.Response{StatusCode: a.status, Header: http.Header{}, Body: http.NoBody}, nil
}

func (c *connections) begin(request, connection string) answer {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.requests = append(c.requests, request)
	c.busy++
	c.busiest = max(c.busiest, c.busy)
	a := answer{status: http.StatusOK}
	script, found := c.scripts[request]
	if !found {
		request, script = connection, c.scripts[connection]
	}
	if len(script) > 0 {
		a, c.scripts[request] = script[0], script[1:]
		if a.status == 0 {
			a.status = http.StatusOK
		}
	}
	return a
}

func (c *connections) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.busy--
}

// of returns the requests about one connection.
func (c *connections) of(connection string) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	found := []string{}
	for _, request := range c.requests {
		if strings.Fields(request)[1] == connection {
			found = append(found, request)
		}
	}
	return found
}

func (c *connections) pusher(t *testing.T, options sockets.PusherOptions) *sockets.Pusher {
	options.Client = sockets.NewClient(aws.Config{
		Region: "us-east-1", HTTPClient: c, BaseEndpoint: aws.String("https://elsewhere.example"),
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "test", SecretAccessKey: "test"}, nil
		}),
	}, endpoint)
	options.Random = func() float64 { return 0.5 }
	options.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	return sockets.NewPusher(options)
}

func delivery(connection string, frames ...string) sockets.Delivery {
	d := sockets.Delivery{Connection: connection}
	for _, frame := range frames {
		d.Frames = append(d.Frames, []byte(frame))
	}
	return d
}

// young is a delivery to a connection that was made just now.
func young(connection string, frames ...string) sockets.Delivery {
	d := delivery(connection, frames...)
	d.ConnectedAt = time.Now()
	return d
}

func status(codes ...int) (answers []answer) {
	for _, code := range codes {
		answers = append(answers, answer{status: code})
	}
	return answers
}

func TestPusher(t *testing.T) {
	t.Parallel()
	reset := answer{err: &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}}
	never := func(context.Context, string) (bool, error) { return false, nil }
	for _, test := range []struct {
		name     string
		script   []answer
		young    bool
		closed   func(context.Context, string) (bool, error)
		requests []string
		gone     bool
		code     errs.Code
	}{
		{name: "frames are delivered in order", requests: []string{"POST c one", "POST c two"}},
		{name: "a bare 410 says that the connection is no more", script: status(410), requests: []string{"POST c one"}, gone: true},
		{name: "an id that no connection has is no more", script: status(400), requests: []string{"POST c one"}, gone: true},
		{name: "a connection that is opening is tried again", script: status(410, 410), young: true, closed: never,
			requests: []string{"POST c one", "POST c one", "POST c one", "POST c two"}},
		{name: "a connection that closed while it was young is no more", script: status(410, 410), young: true,
			closed: func(context.Context, string) (bool, error) { return true, nil }, requests: []string{"POST c one"}, gone: true},
		{name: "a connection of which nobody knows whether it closed is tried again", script: status(410), young: true,
			closed:   func(context.Context, string) (bool, error) { return false, errors.New("no table") },
			requests: []string{"POST c one", "POST c one", "POST c two"}},
		{name: "a connection that does not open for seconds is no more", young: true, closed: never,
			script: status(410, 410, 410, 410, 410, 410, 410), gone: true, requests: slices.Repeat([]string{"POST c one"}, 7)},
		{name: "a throttled frame is sent again, and the order stays", script: status(200, 429, 429),
			requests: []string{"POST c one", "POST c two", "POST c two", "POST c two"}},
		{name: "a frame that is too large ends the connection", script: status(413),
			requests: []string{"POST c one", "DELETE c"}, gone: true},
		{name: "a fault that passes is survived", script: []answer{{status: 500}, reset, {hangs: true}},
			requests: []string{"POST c one", "POST c one", "POST c one", "POST c one", "POST c two"}},
		{name: "a fault that stays ends the connection", script: status(500, 502, 503, 504),
			requests: append(slices.Repeat([]string{"POST c one"}, 4), "DELETE c"), gone: true},
		{name: "a connection that is no more when it is ended is no more", script: status(413, 410),
			requests: []string{"POST c one", "DELETE c"}, gone: true},
		{name: "ending is tried again", script: status(413, 429, 500),
			requests: []string{"POST c one", "DELETE c", "DELETE c", "DELETE c"}, gone: true},
		{name: "a connection that cannot be ended either is a failure", script: status(413, 500, 500, 500, 500),
			requests: append([]string{"POST c one"}, slices.Repeat([]string{"DELETE c"}, 4)...), code: errs.Unavailable},
		{name: "who may not push fails", script: status(403), requests: []string{"POST c one"}, code: errs.Unavailable},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := &connections{scripts: map[string][]answer{"c": test.script}}
				to := delivery("c", "one", "two")
				if test.young {
					to.ConnectedAt = time.Now()
				}
				gone, err := c.pusher(t, sockets.PusherOptions{Closed: test.closed}).Push(t.Context(), []sockets.Delivery{to})
				if errs.CodeOf(err) != test.code {
					t.Errorf("the error is %v, want %q", err, test.code)
				}
				if test.gone != slices.Contains(gone, "c") {
					t.Errorf("gone are %v", gone)
				}
				if diff := cmp.Diff(test.requests, c.of("c")); diff != "" {
					t.Errorf("requests (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestAThrottledConnectionIsEndedWhileThereIsTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		c := &connections{scripts: map[string][]answer{
			"c": status(slices.Repeat([]int{429}, 100)...), "DELETE c": status(429, 204), "d": status(429),
		}}
		began := time.Now()
		gone, err := c.pusher(t, sockets.PusherOptions{}).Push(ctx, []sockets.Delivery{delivery("c", "one"), delivery("d", "one")})
		if err != nil || !slices.Equal(gone, []string{"c"}) {
			t.Errorf("gone are %v, the error is %v", gone, err)
		}
		if took := time.Since(began); took < 7*time.Second || took > 9*time.Second {
			t.Errorf("gave up after %s", took)
		}
		if requests := c.of("c"); !slices.Equal(requests[len(requests)-2:], []string{"DELETE c", "DELETE c"}) {
			t.Errorf("the last requests are %q", requests)
		}
		if got := c.of("d"); len(got) != 2 {
			t.Errorf("the other connection had %q", got)
		}
	})
}

func TestAPushEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		c := &connections{scripts: map[string][]answer{"c": {{hangs: true}}}}
		_, err := c.pusher(t, sockets.PusherOptions{}).Push(ctx, []sockets.Delivery{delivery("c", "one")})
		if errs.CodeOf(err) != errs.Unavailable || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the error is %v", err)
		}
	})
}

func TestConnectionsArePushedToSideBySide(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &connections{takes: 10 * time.Millisecond, scripts: map[string][]answer{}}
		p := c.pusher(t, sockets.PusherOptions{})
		var deliveries []sockets.Delivery
		for i := range 200 {
			name := fmt.Sprint("c", i)
			c.scripts[name] = status(429, 200, 429)
			deliveries = append(deliveries, young(name, "one", "two", "three"))
		}
		var pushing sync.WaitGroup
		for half := range slices.Chunk(deliveries, 100) {
			pushing.Go(func() {
				if gone, err := p.Push(t.Context(), half); err != nil || len(gone) > 0 {
					t.Errorf("gone are %v, the error is %v", gone, err)
				}
			})
		}
		pushing.Wait()
		if c.busiest != 64 {
			t.Errorf("%d requests were under way at a time, want 64", c.busiest)
		}
		for _, d := range deliveries {
			want := []string{"one", "one", "two", "two", "three"}
			got := c.of(d.Connection)
			for i := range got {
				got[i] = strings.Fields(got[i])[2]
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("%s got (-want +got):\n%s", d.Connection, diff)
			}
		}
	})
}

func TestAConnectionIDIsEscaped(t *testing.T) {
	t.Parallel()
	c := &connections{}
	if _, err := c.pusher(t, sockets.PusherOptions{}).Push(t.Context(), []sockets.Delivery{delivery("a/b+c=", "one")}); err != nil {
		t.Fatal(err)
	}
	if got := c.of("a/b+c="); len(got) != 1 {
		t.Errorf("the requests are %q", c.requests)
	}
}
