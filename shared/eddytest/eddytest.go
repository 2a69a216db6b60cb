// Package eddytest runs an application in memory, for the tests of its functions and reactions.
//
//	app := eddytest.New(t, functions.App())
//	todo := eddytest.Call[Todo](app, "todos::create", map[string]any{"title": "water the plants"})
//	app.Settle()
//	if got := app.Get("todo-metrics", "global"); got != `{"completed":0,"total":1}` { … }
//
// It is the engine that `go run ./local` runs, on a store that lies in memory. Its clock goes as the machine's does, and further
// by Advance: what a delayed message, a schedule or a document that expires waits for need not be waited for.
//
//	app.Enqueue("emails", map[string]any{"to": "ada"}) // a queue with eddy.Delay(time.Minute)
//	app.Advance(time.Minute)
//	app.Settle()
package eddytest

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/eddyhq/eddy/local/gateway"
	"github.com/eddyhq/eddy/shared/eddy"
	"github.com/eddyhq/eddy/shared/operator"
	"github.com/eddyhq/eddy/shared/port"
)

// settleTime is how long Settle waits before it fails the test.
const settleTime = 30 * time.Second

// App is a running application. Its methods fail the test when they cannot do what they say.
type App struct {
	t       testing.TB
	gateway *gateway.Gateway
	logs    *logs
	ahead   atomic.Int64 // of the machine's clock, as a time.Duration
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
	config := gateway.Config{
		Data: "eddy", FS: vfs.NewMem(), Now: a.now, LogFormat: "text", Log: a.logs, Published: a.logs.published,
	}
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
	result, err := a.gateway.Engine().Invoke(a.t.Context(), operator.Call{Function: id, Payload: payload})
	if err != nil {
		return out, err
	}
	if err := json.Unmarshal(result.JSON, &out); err != nil {
		a.t.Fatalf("the result of %s is no %T: %v: %s", id, out, err, result.JSON)
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

// Enqueue puts a message into a queue, as eddy.Enqueue does.
func (a *App) Enqueue(queue string, in any) {
	a.t.Helper()
	e := a.gateway.Engine()
	payload, err := json.Marshal(in)
	if err != nil {
		a.t.Fatalf("the message for %s: %v", queue, err)
	}
	f, err := e.App().FindQueue(queue)
	if err == nil {
		_, err = e.Enqueue(a.t.Context(), queue, operator.Call{Function: f.ID, Payload: payload}, nil)
	}
	if err != nil {
		a.t.Fatalf("enqueue %s: %v", queue, err)
	}
}

// Advance moves the application's clock forward. What has come due by it happens by the end of the next Settle: delayed messages
// run, documents expire, and a schedule ticks, once, however many times were passed: see eddy.Tick.Missed. The waits between
// the attempts of a delivery are not shortened.
func (a *App) Advance(d time.Duration) {
	a.t.Helper()
	if d < 0 {
		a.t.Fatalf("the clock cannot go back by %s", -d)
	}
	a.ahead.Add(int64(d))
}

func (a *App) now() time.Time { return time.Now().Add(time.Duration(a.ahead.Load())) }

// Settle waits until every reaction, call and tick that is due has ended. It does not wait for messages that are held back.
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
