package dynamo_test

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eddyhq/eddy/shared/aws/dynamo"
	"github.com/eddyhq/eddy/shared/document"
	"github.com/eddyhq/eddy/shared/port"
)

// exchange is one request that is expected, and what is answered.
type exchange struct {
	operation string   // the end of X-Amz-Target
	asks      []string // what the body has to contain

	status int    // 0: 200
	body   string // "": {}
	err    error  // in place of an answer
	hangs  bool   // there is no answer
	during func() // what happens meanwhile
}

// script plays DynamoDB: it takes exchanges in their order, and nothing else.
type script struct {
	t *testing.T

	mu        sync.Mutex
	exchanges []exchange
	bodies    []string // of the requests so far
}

// Do implements aws.HTTPClient.
func (s *script) Do(r *http.Request) (*http.Response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	n := len(s.bodies)
	s.bodies = append(s.bodies, string(text))
	if n >= len(s.exchanges) {
		s.t.Errorf("request %d, %s, is not in the script: %s", n, operation, text)
		return nil, errors.New("the script has ended")
	}
	e := s.exchanges[n]
	if operation != e.operation {
		s.t.Errorf("request %d is %s, want %s: %s", n, operation, e.operation, text)
	}
	for _, part := range e.asks {
		if !strings.Contains(string(text), part) {
			s.t.Errorf("request %d, %s, does not say %s: %s", n, operation, part, text)
		}
	}
	if e.during != nil {
		e.during()
	}
	switch {
	case e.hangs:
		<-r.Context().Done()
		return nil, r.Context().Err()
	case e.err != nil:
		return nil, e.err
	}
	return answer(e.status, e.body), nil
}

func answer(status int, body string) *http.Response {
	if status == 0 {
		status = http.StatusOK
	}
	if body == "" {
		body = "{}"
	}
	return &http.Response{
		StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)),
	}
}

// play runs what a test does to a store on which DynamoDB follows the script, all of which has to be played. Waits take no
// time.
func play(t *testing.T, exchanges []exchange, do func(t *testing.T, s *dynamo.Store)) {
	t.Helper()
	played(t, exchanges, do)
}

// played is play that returns the bodies of the requests.
func played(t *testing.T, exchanges []exchange, do func(t *testing.T, s *dynamo.Store)) (bodies []string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &script{t: t, exchanges: exchanges}
		do(t, storeOver(t, s))
		if len(s.bodies) < len(exchanges) {
			t.Errorf("%d requests were made, want %d", len(s.bodies), len(exchanges))
		}
		bodies = s.bodies
	})
	return bodies
}

// clock is when it is in scripts: its microseconds are the versions of what begins.
const (
	clock   = 1_700_000_000_000_000
	started = clock + 1 // the version of what begins
)

// storeOver returns a store whose requests go to a client, with ids "id-1", "id-2" and so on.
func storeOver(t *testing.T, client interface {
	Do(*http.Request) (*http.Response, error)
}) *dynamo.Store {
	var mu sync.Mutex
	ids := 0
	return dynamo.New(dynamo.NewClient(configFor(client)), dynamo.Options{
		Documents: "docs", System: "sys", Owner: "a::b",
		Now: func() time.Time { return time.UnixMicro(clock) },
		NewID: func() string {
			mu.Lock()
			defer mu.Unlock()
			ids++
			return fmt.Sprintf("id-%d", ids)
		},
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
}

// What DynamoDB answers when it fails.
func refusal(status int, code, more string) exchange {
	return exchange{status: status, body: `{"__type":"com.amazonaws.dynamodb.v20120810#` + code + `"` + more + `}`}
}

func throttled() exchange {
	return refusal(http.StatusBadRequest, "ProvisionedThroughputExceededException", `,"message":"slow down"`)
}

func conditionFails(item string) exchange {
	if item != "" {
		item = `,"Item":` + item
	}
	return refusal(http.StatusBadRequest, "ConditionalCheckFailedException", item)
}

func invalid(message string) exchange {
	return refusal(http.StatusBadRequest, "ValidationException", `,"message":"`+message+`"`)
}

func cancelled(reasons ...string) exchange {
	return refusal(http.StatusBadRequest, "TransactionCanceledException", `,"CancellationReasons":[`+strings.Join(reasons, ",")+`]`)
}

const none = `{"Code":"None"}`

func because(code, item string) string {
	if item != "" {
		item = `,"Item":` + item
	}
	return `{"Code":"` + code + `"` + item + `}`
}

var (
	replyLost   = exchange{err: &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}}
	serverError = exchange{status: http.StatusInternalServerError, body: `{"__type":"InternalServerError"}`}
	noContact   = exchange{err: &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}}
)

// of returns the answer as one to an operation whose body contains what it is to ask.
func (e exchange) of(operation string, asks ...string) exchange {
	e.operation, e.asks = operation, asks
	return e
}

// says returns an exchange that ends well.
func says(operation, body string, asks ...string) exchange {
	return exchange{operation: operation, body: body, asks: asks}
}

// stored is the item of a document with the write id "other".
func stored(version int64, value string) string { return storedBy("other", version, value) }

func storedBy(writeID string, version int64, value string) string {
	return fmt.Sprintf(`{"pk":{"S":"state/s"},"sk":{"S":"k"},"value":%s,"version":{"N":"%d"},"write_id":{"S":%q},"size":{"N":"50"}}`,
		value, version, writeID)
}

// tombstone is the item of a deleted document.
func tombstone(writeID string, version int64) string {
	return fmt.Sprintf(`{"pk":{"S":"state/s"},"sk":{"S":"k"},"version":{"N":"%d"},"write_id":{"S":%q}}`, version, writeID)
}

func found(item string) string    { return `{"Item":` + item + `}` }
func replaced(item string) string { return `{"Attributes":` + item + `}` }

// The directory knows of the collection; this is asked before the first set.
var knownCollection = says("GetItem", `{"Item":{"pk":{"S":"directory/state"}}}`, `"sys"`, `directory/state`)

var scope = port.Scope("s")

func set(value string) port.Write {
	return port.Write{Op: port.Set, Collection: scope, Key: "k", Value: document.Value(value)}
}

func remove() port.Write { return port.Write{Op: port.Delete, Collection: scope, Key: "k"} }

func increment(field string, by int64) port.Write {
	return port.Write{Op: port.Update, Collection: scope, Key: "k",
		Ops: []document.Op{{Type: document.OpIncrement, Path: []string{field}, By: by}}}
}

func merge(value string) port.Write {
	return port.Write{Op: port.Update, Collection: scope, Key: "k",
		Ops: []document.Op{{Type: document.OpMerge, Value: document.Value(value)}}}
}

func ifVersion(w port.Write, version int64) port.Write {
	w.IfVersion = &version
	return w
}

func noResult(w port.Write) port.Write {
	w.NoResult = true
	return w
}

// alone is a commit of one write, together one of several parts.
func alone(w port.Write) port.Commit { return port.Commit{Writes: []port.Write{w}} }

func together(w ...port.Write) port.Commit {
	return port.Commit{Writes: w, Cursors: []port.Cursor{{Name: "a::b/c", Version: 5}}}
}
