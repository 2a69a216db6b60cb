// Package eddytest runs an application in memory, for the tests of its functions and reactions.
//
//	app := eddytest.New(t, functions.App())
//	todo := eddytest.Call[Todo](app, "todos::create", map[string]any{"title": "water the plants"})
//	app.Settle()
//	if got := app.Get("todo-metrics", "global"); got != `{"completed":0,"total":1}` { … }
//
// It is the engine that `go run ./local` runs, on a store that lies in memory.
package eddytest

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/eddyhq/eddy/local/gateway"
	"github.com/eddyhq/eddy/shared/eddy"
	"github.com/eddyhq/eddy/shared/port"
)

// settleTime is how long Settle waits before it fails the test.
const settleTime = 30 * time.Second

// App is a running application. Its methods fail the test when they cannot do what they say.
type App struct {
	t       testing.TB
	gateway *gateway.Gateway
	logs    *logs
}

// Event is what a function sent to a stream group.
type Event struct {
	Type string
	Data json.RawMessage
}

// New runs the application until the test ends. What it logs is shown when the test fails.
func New(t testing.TB, app *eddy.App) *App {
	t.Helper()
	a := &App{t: t, logs: &logs{}}
	config := gateway.Config{Data: "eddy", FS: vfs.NewMem(), LogFormat: "text", Log: a.logs, Published: a.logs.published}
	g, err := gateway.Open(app, config)
	if err != nil {
		t.Fatalf("the application does not start: %v", err)
	}
	a.gateway = g
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), settleTime)
		defer cancel()
		if err := g.Close(ctx); err != nil {
			t.Errorf("the application does not close: %v", err)
		}
		if t.Failed() {
			t.Logf("the application logged:\n%s", a.logs.String())
		}
	})
	return a
}

// Call runs a function by id with input in, engine functions included, and returns its result.
func Call[Out any](a *App, id string, in any) Out {
	a.t.Helper()
	out, err := Try[Out](a, id, in)
	if err != nil {
		a.t.Fatalf("%s: %v", id, err)
	}
	return out
}

// Try is Call that returns the function's error, whose code eddy.CodeOf tells.
func Try[Out any](a *App, id string, in any) (Out, error) {
	a.t.Helper()
	var out Out
	payload, err := json.Marshal(in)
	if err != nil {
		a.t.Fatalf("the input of %s: %v", id, err)
	}
	result, err := a.gateway.Engine().Invoke(a.t.Context(), id, payload, "")
	if err != nil {
		return out, err
	}
	if err := json.Unmarshal(result, &out); err != nil {
		a.t.Fatalf("the result of %s is no %T: %v: %s", id, out, err, result)
	}
	return out, nil
}

// Request makes an HTTP request, with a JSON body unless body is "".
func (a *App) Request(method, path, body string) *httptest.ResponseRecorder {
	a.t.Helper()
	request := httptest.NewRequestWithContext(a.t.Context(), method, path, strings.NewReader(body))
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	recorder := httptest.NewRecorder()
	a.gateway.ServeHTTP(recorder, request)
	return recorder
}

// ServeHTTP answers a request, so that a test can give the application to an httptest.Server.
func (a *App) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.gateway.ServeHTTP(w, r) }

// Settle waits until every reaction and call has ended.
func (a *App) Settle() {
	a.t.Helper()
	ctx, cancel := context.WithTimeout(a.t.Context(), settleTime)
	defer cancel()
	if err := a.gateway.Engine().Settle(ctx); err != nil {
		a.t.Fatal(err)
	}
}

// Get returns the JSON text of a document, "" when there is none. Its members are in the order of their names.
func (a *App) Get(scope, key string) string {
	a.t.Helper()
	found, err := a.gateway.Engine().Get(a.t.Context(), port.Scope(scope), key)
	if err != nil {
		a.t.Fatalf("get %s of %s: %v", key, scope, err)
	}
	return string(found.Value)
}

// Events returns what was sent to a stream group, in order.
func (a *App) Events(stream, group string) []Event { return a.logs.sent(port.Group(stream, group)) }

// DeadLetters returns the deliveries that failed for the last time.
func (a *App) DeadLetters() []port.DeadLetter {
	a.t.Helper()
	letters, _, err := a.gateway.Engine().DeadLetters(a.t.Context(), "", port.LetterID{}, 1000)
	if err != nil {
		a.t.Fatalf("dead letters: %v", err)
	}
	return letters
}

// logs keeps what the application logged and sent.
type logs struct {
	mu     sync.Mutex
	text   bytes.Buffer
	events map[port.Collection][]Event
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *logs) published(records []port.Record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range records {
		if r.Event == nil {
			continue
		}
		if l.events == nil {
			l.events = make(map[port.Collection][]Event)
		}
		l.events[r.Event.Group] = append(l.events[r.Event.Group], Event{r.Event.Type, json.RawMessage(r.Event.Data)})
	}
}

func (l *logs) sent(group port.Collection) []Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]Event(nil), l.events[group]...)
}
