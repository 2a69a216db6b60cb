// Package conformance is the black-box suite: a base URL in, every promise of the wire out.
//
// It speaks to a deployment of the todo app as any client does, over HTTP and WebSocket, and knows nothing of the
// engine: it imports none of its packages and spells out the JSON it expects. It is an independent reading of the
// protocol, and runs unchanged against one process on a laptop and against a deployment in the cloud. What the todo app
// has not, such as queues and schedules, is checked where the proof app of functions/testdata/proof is deployed, and
// skipped elsewhere:
//
//	conformance.Run(t, conformance.Target{HTTP: "http://127.0.0.1:3111", Local: true})
//
// The deployment may be shared and need not be empty. Names are random, todos made are removed again, and whatever
// happens later than its request (reactions, frames, counters) is waited for. Only the counters of the app want that
// nobody else writes todos; they are checked last and alone.
package conformance

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// Target is the deployment that is held to the protocol.
type Target struct {
	// HTTP is the base URL without a slash at its end, such as "http://127.0.0.1:3111".
	HTTP string

	// WebSocket returns the URL that subscribes to an item, to a group (item is ""), or to nothing yet (all are "").
	// nil: /stream/{stream}/{group}/{item}, /stream/{stream}/{group} and /stream, on the host of HTTP.
	WebSocket func(stream, group, item string) string

	// Invoke calls a function by its id and returns the status and body as HTTP would; header may be nil.
	// nil: POST /_eddy/invoke/{id} as application/json.
	Invoke func(ctx context.Context, functionID string, payload []byte, header http.Header) (
		status int, body []byte, err error)

	// Sign signs a request to /_eddy/*, where a deployment asks for that; nil: they are sent as they are.
	Sign func(*http.Request) error

	// Local adds what only one process on a laptop promises: /_eddy/metrics, the rules of local access, CORS for
	// loopback origins, WebSocket close codes.
	Local bool
}

// Run checks every promise against the target, as subtests of t. The cases run in parallel, except those of the
// counters, which follow when all others have ended.
func Run(t *testing.T, target Target) {
	s := newSuite(target)
	t.Cleanup(s.client.CloseIdleConnections)
	t.Run("at once", func(t *testing.T) {
		s.parallel(t, []area{
			{"http", s.http},
			{"todos", s.todos},
			{"state", s.state},
			{"update operations", s.updates},
			{"transactions", s.transactions},
			{"expiry", s.expiries},
			{"stream", s.stream},
			{"websocket", s.websocket},
			{"reactions", s.reactions},
			{"chains", s.chains},
			{"queues", s.queues},
			{"a schedule ticks for every full minute", s.ticks},
			{"requests sent again", s.repeats},
			{"a route lets through what its rate says", s.rate},
			{"export and import", s.moves},
			{"access", s.access},
			{"meta", s.meta},
		})
	})
	t.Run("alone", s.counters)
}

// patience is how long anything that is not immediate may take: a request, a frame, a reaction.
const patience = 30 * time.Second

type suite struct {
	Target
	client *http.Client
}

// area is a named part of the suite, or one case of a part.
type area struct {
	name string
	run  func(t *testing.T)
}

func newSuite(target Target) *suite {
	target.HTTP = strings.TrimSuffix(target.HTTP, "/")
	s := &suite{Target: target, client: &http.Client{
		Timeout:       patience,
		Transport:     &http.Transport{MaxIdleConnsPerHost: 64, IdleConnTimeout: patience},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	if s.WebSocket == nil {
		s.WebSocket = s.streamURL
	}
	if s.Invoke == nil {
		s.Invoke = s.postInvoke
	}
	return s
}

func (s *suite) parallel(t *testing.T, areas []area) {
	for _, a := range areas {
		t.Run(a.name, func(t *testing.T) {
			t.Parallel()
			a.run(t)
		})
	}
}

func (s *suite) streamURL(stream, group, item string) string {
	address := "ws" + strings.TrimPrefix(s.HTTP, "http") + "/stream"
	for _, segment := range []string{stream, group, item} {
		if segment != "" {
			address += "/" + url.PathEscape(segment)
		}
	}
	return address
}

func (s *suite) postInvoke(ctx context.Context, functionID string, payload []byte, header http.Header) (
	int, []byte, error,
) {
	a, err := s.do(ctx, request{
		method: "POST", path: "/_eddy/invoke/" + functionID, body: string(payload), header: header,
	})
	return a.status, a.body, err
}
