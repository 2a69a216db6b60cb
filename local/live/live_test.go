package live_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"go.uber.org/goleak"

	"github.com/eddyhq/eddy/local/live"
	"github.com/eddyhq/eddy/shared/document"
	"github.com/eddyhq/eddy/shared/errs"
	"github.com/eddyhq/eddy/shared/port"
	"github.com/eddyhq/eddy/shared/stream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what has to happen.
const patience = 20 * time.Second

// world is a hub behind an HTTP server, over a store in memory.
type world struct {
	*store
	t      testing.TB
	hub    *live.Hub
	server *httptest.Server
}

func start(t testing.TB, options live.Options) *world {
	t.Helper()
	w := &world{store: newStore(), t: t}
	if options.Snapshot == nil {
		options.Snapshot = w.snapshot
	}
	w.hub = live.New(options)
	w.server = httptest.NewServer(http.HandlerFunc(w.serve))
	go w.publishTo(w.hub)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := w.hub.Close(ctx); err != nil {
			t.Error(err)
		}
		w.server.Close()
		w.stop()
	})
	return w
}

// serve stands in for the gateway: it decodes the path and writes the envelope.
func (w *world) serve(rw http.ResponseWriter, r *http.Request) {
	var first *stream.Join
	if segments := strings.Split(strings.TrimPrefix(r.URL.EscapedPath(), "/stream"), "/"); len(segments) > 2 {
		for i := range segments {
			segments[i], _ = url.PathUnescape(segments[i])
		}
		first = &stream.Join{Stream: segments[1], Group: segments[2]}
		if len(segments) > 3 {
			first.Item = segments[3]
		}
	}
	if err := w.hub.Serve(rw, r, first); err != nil {
		http.Error(rw, err.Error(), errs.CodeOf(err).HTTPStatus())
	}
}

// store is the least that has the promises a hub relies on: records are published after their write is visible to
// snapshots, in order, by one goroutine.
type store struct {
	mu       sync.Mutex
	groups   map[port.Collection]map[string]port.Document
	position uint64
	version  int64
	log      []port.Record
	wake     chan struct{}
	stopped  chan struct{}
	done     chan struct{}
}

func newStore() *store {
	return &store{
		groups: map[port.Collection]map[string]port.Document{}, version: 1e15,
		wake: make(chan struct{}, 1), stopped: make(chan struct{}), done: make(chan struct{}),
	}
}

func (s *store) publishTo(hub *live.Hub) {
	defer close(s.done)
	for {
		s.mu.Lock()
		records := s.log
		s.log = nil
		s.mu.Unlock()
		hub.Publish(records)
		if len(records) > 0 {
			continue
		}
		select {
		case <-s.wake:
		case <-s.stopped:
			return
		}
	}
}

func (s *store) stop() {
	close(s.stopped)
	<-s.done
}

func (s *store) snapshot(_ context.Context, c port.Collection, item string) ([]port.Document, uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	docs := []port.Document{}
	for _, key := range slices.Sorted(maps.Keys(s.groups[c])) {
		if item == "" || item == key {
			docs = append(docs, s.groups[c][key])
		}
	}
	return docs, s.position, nil
}

// set stores an item and returns its version; a nil value deletes it.
func (s *store) set(c port.Collection, key string, value document.Value) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.groups[c][key].Value
	if old == nil && value == nil {
		return 0 // no change, no record
	}
	s.version++
	s.position += 2
	if s.groups[c] == nil {
		s.groups[c] = map[string]port.Document{}
	}
	s.groups[c][key] = port.Document{Key: key, Value: value, Version: s.version}
	if value == nil {
		delete(s.groups[c], key)
	}
	change := &port.Change{Collection: c, Key: key, Old: old, New: value, Version: s.version}
	s.append(port.Record{Position: s.position, Change: change})
	return s.version
}

func (s *store) send(event port.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.position++
	s.append(port.Record{Position: s.position, Event: &event})
}

func (s *store) append(r port.Record) {
	s.log = append(s.log, r)
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func item(id string, n int) document.Value {
	return document.Value(fmt.Sprintf(`{"id":%q,"n":%d}`, id, n))
}

// client is a WebSocket client of another make than the server.
type client struct {
	t    testing.TB
	conn *websocket.Conn
}

func (w *world) dial(path string) *client {
	w.t.Helper()
	c, _, err := w.tryDial(path, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

func (w *world) tryDial(path string, options *websocket.DialOptions) (*client, *http.Response, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, response, err := websocket.Dial(ctx, w.server.URL+path, options)
	if err != nil {
		return nil, response, err
	}
	conn.SetReadLimit(1 << 20)
	w.t.Cleanup(func() { _ = conn.CloseNow() })
	return &client{w.t, conn}, response, nil
}

// frame is what a client reads, as it is on the wire.
type frame struct {
	Type       string      `json:"type"`
	Timestamp  json.Number `json:"timestamp"`
	StreamName string      `json:"streamName"`
	GroupID    string      `json:"groupId"`
	ID         string      `json:"id"`
	Event      struct {
		Type  string          `json:"type"`
		Data  json.RawMessage `json:"data"`
		Event struct {
			Type string          `json:"type"`
			Data json.RawMessage `json:"data"`
		} `json:"event"`
	} `json:"event"`
	Version  int64  `json:"version"`
	Position string `json:"position"`
	size     int
}

func (c *client) say(text string) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := c.conn.Write(ctx, websocket.MessageText, []byte(text)); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) read() (frame, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, text, err := c.conn.Read(ctx)
	if err != nil {
		return frame{}, err
	}
	f := frame{size: len(text)}
	if err := json.Unmarshal(text, &f); err != nil {
		return frame{}, fmt.Errorf("%w: %s", err, text)
	}
	return f, nil
}

func (c *client) next() frame {
	c.t.Helper()
	f, err := c.read()
	if err != nil {
		c.t.Fatal(err)
	}
	return f
}

// expect reads frames and compares each with "type id data".
func (c *client) expect(frames ...string) {
	c.t.Helper()
	for _, want := range frames {
		f := c.next()
		data := f.Event.Data
		if f.Event.Type == "event" {
			data = append([]byte(f.Event.Event.Type+" "), f.Event.Event.Data...)
		}
		if f.Type == "pong" {
			f.Event.Type = "pong"
		}
		if got := strings.TrimSpace(fmt.Sprintf("%s %s %s", f.Event.Type, f.ID, data)); got != want {
			c.t.Fatalf("got  %s\nwant %s", got, want)
		}
	}
}

// closed reads on until the connection ends, and returns the close code.
func (c *client) closed() websocket.StatusCode {
	c.t.Helper()
	for {
		if _, err := c.read(); err != nil {
			var ended websocket.CloseError
			if !errors.As(err, &ended) {
				c.t.Fatalf("ended without a close frame: %v", err)
			}
			return ended.Code
		}
	}
}

func join(id, group, item string) string {
	return fmt.Sprintf(`{"type":"join","data":{"subscriptionId":%q,"streamName":"s","groupId":%q,"id":%q}}`, id, group, item)
}

func leave(id, group string) string {
	return fmt.Sprintf(`{"type":"leave","data":{"subscriptionId":%q,"streamName":"s","groupId":%q}}`, id, group)
}

var group = port.Group("s", "g")

func TestSubscribers(t *testing.T) {
	t.Parallel()
	for name, run := range map[string]func(t *testing.T, w *world){
		"a URL subscribes to a group": func(t *testing.T, w *world) {
			w.set(group, "a", item("a", 1))
			c := w.dial("/stream/s/g")
			c.expect(`sync  [{"id":"a","n":1}]`)
			w.set(group, "a", item("a", 2))
			w.set(group, "b", item("b", 1))
			w.set(group, "a", nil)
			w.send(port.Event{Group: group, Type: "hello", Data: document.Value(`[1]`)})
			c.expect(`update a {"id":"a","n":2}`, `create b {"id":"b","n":1}`, `delete a {"id":"a","n":2}`, `event  hello [1]`)
		},
		"a URL subscribes to an item": func(t *testing.T, w *world) {
			w.set(group, "a", item("a", 1))
			c := w.dial("/stream/s/g/a")
			c.expect(`sync a {"id":"a","n":1}`)
			w.set(group, "b", item("b", 1))
			w.send(port.Event{Group: group, Type: "to all", Data: document.Value(`1`)})
			w.send(port.Event{Group: group, Item: "b", Type: "to b", Data: document.Value(`1`)})
			w.send(port.Event{Group: group, Item: "a", Type: "to a", Data: document.Value(`1`)})
			w.set(group, "a", nil)
			c.expect(`event a to a 1`, `delete a {"id":"a","n":1}`)
		},
		"an item that does not exist is null": func(t *testing.T, w *world) {
			c := w.dial("/stream/s/g/a")
			c.expect(`sync a null`)
			w.set(group, "a", item("a", 1))
			c.expect(`create a {"id":"a","n":1}`)
		},
		"a group without items is an empty array": func(t *testing.T, w *world) {
			w.dial("/stream/s/nothing").expect(`sync  []`)
		},
		"names in a URL are percent-decoded": func(t *testing.T, w *world) {
			w.set(port.Group("a/b", "ü %"), "x", item("x", 1))
			f := w.dial("/stream/a%2Fb/%C3%BC%20%25").next()
			if f.StreamName != "a/b" || f.GroupID != "ü %" || string(f.Event.Data) != `[{"id":"x","n":1}]` {
				t.Errorf("got %+v", f)
			}
		},
		"frames join and leave": func(t *testing.T, w *world) {
			c := w.dial("/stream")
			c.say(join("1", "g", ""))
			c.expect(`sync  []`)
			c.say(join("2", "h", ""))
			c.expect(`sync  []`)
			c.say(leave("1", "g"))
			c.say(`{"type":"ping"}`)
			c.expect(`pong`)
			w.set(group, "a", item("a", 1))
			w.set(port.Group("s", "h"), "b", item("b", 1))
			c.expect(`create b {"id":"b","n":1}`)
		},
		"leaving what was not joined is nothing": func(t *testing.T, w *world) {
			c := w.dial("/stream/s/g")
			c.expect(`sync  []`)
			c.say(leave("1", "g"))
			c.say(leave("1", "unknown"))
			w.set(group, "a", item("a", 1))
			c.expect(`create a {"id":"a","n":1}`)
		},
		"one frame however many subscriptions match": func(t *testing.T, w *world) {
			c := w.dial("/stream/s/g")
			c.expect(`sync  []`)
			c.say(join("1", "g", ""))
			c.say(join("2", "g", "a"))
			c.say(join("3", "g", "a"))
			c.expect(`sync  []`, `sync a null`, `sync a null`)
			w.set(group, "a", item("a", 1))
			w.set(group, "b", item("b", 1))
			c.expect(`create a {"id":"a","n":1}`, `create b {"id":"b","n":1}`)
			c.say(leave("1", "g"))
			c.say(leave("2", "g"))
			c.say(`{"type":"ping"}`)
			c.expect(`pong`)
			w.set(group, "a", item("a", 2))
			w.set(group, "b", item("b", 2))
			c.expect(`update a {"id":"a","n":2}`, `update b {"id":"b","n":2}`)
		},
		"a join with the same id is a fresh sync without doubles": func(t *testing.T, w *world) {
			c := w.dial("/stream")
			c.say(join("1", "g", ""))
			c.expect(`sync  []`)
			w.set(group, "a", item("a", 1))
			c.expect(`create a {"id":"a","n":1}`)
			c.say(join("1", "g", ""))
			c.expect(`sync  [{"id":"a","n":1}]`)
			c.say(join("1", "g", "a"))
			c.expect(`sync a {"id":"a","n":1}`)
			w.set(group, "b", item("b", 1))
			w.set(group, "a", item("a", 2))
			c.expect(`update a {"id":"a","n":2}`)
			c.say(leave("1", "g"))
			c.say(`{"type":"ping"}`)
			c.expect(`pong`)
			if got := w.hub.Stats().Subscriptions; got != 0 {
				t.Errorf("%d subscriptions are left", got)
			}
		},
		"a frame that is not understood is answered and the socket stays": func(t *testing.T, w *world) {
			c := w.dial("/stream")
			for _, text := range []string{``, `x`, `[]`, `{}`, `{"type":"dance"}`, `{"type":"join"}`, `{"type":"join","data":{}}`} {
				c.say(text)
				f := c.next()
				var data struct{ Code, Message string }
				if err := json.Unmarshal(f.Event.Data, &data); err != nil || f.Type != "stream" || f.Event.Type != "error" ||
					data.Code != "invalid_argument" || data.Message == "" {
					t.Errorf("%s: got %+v %s", text, f, f.Event.Data)
				}
			}
			c.say(`{"type":"ping"}`)
			c.expect(`pong`)
		},
		"a binary message is answered and the socket stays": func(t *testing.T, w *world) {
			c := w.dial("/stream")
			if err := c.conn.Write(t.Context(), websocket.MessageBinary, []byte(`{"type":"ping"}`)); err != nil {
				t.Fatal(err)
			}
			c.expect(`error  {"code":"invalid_argument","message":"a frame must be a text message"}`)
			c.say(`{"type":"ping"}`)
			c.expect(`pong`)
		},
		"a fresh token is taken silently": func(t *testing.T, w *world) {
			c := w.dial("/stream")
			c.say(`{"type":"auth","data":{"token":"x"}}`)
			c.say(`{"type":"ping"}`)
			c.expect(`pong`)
		},
		"a protocol ping is answered": func(t *testing.T, w *world) {
			c := w.dial("/stream")
			go func() { _, _ = c.read() }()
			if err := c.conn.Ping(t.Context()); err != nil {
				t.Error(err)
			}
		},
		"a client that closes is answered": func(t *testing.T, w *world) {
			c := w.dial("/stream/s/g")
			c.expect(`sync  []`)
			if err := c.conn.Close(websocket.StatusNormalClosure, ""); err != nil {
				t.Error(err)
			}
			w.await(func(s live.Stats) bool { return s.Connections == 0 && s.Lanes == 0 && s.Subscriptions == 0 })
		},
		"a client that vanishes is forgotten": func(t *testing.T, w *world) {
			c := w.dial("/stream/s/g")
			c.expect(`sync  []`)
			_ = c.conn.CloseNow()
			w.await(func(s live.Stats) bool { return s.Connections == 0 && s.Lanes == 0 && s.Subscriptions == 0 })
		},
		"a frame above 32 KB ends the connection with 1009": func(t *testing.T, w *world) {
			c := w.dial("/stream")
			c.say(`{"type":"ping","data":"` + strings.Repeat("x", 32*1024-25) + `"}`)
			c.expect(`pong`)
			c.say(strings.Repeat("x", 32*1024+1))
			if code := c.closed(); code != websocket.StatusMessageTooBig {
				t.Errorf("got close code %d", code)
			}
		},
		"a huge frame ends the connection with 1009 although the rest is on its way": func(t *testing.T, w *world) {
			c := w.dial("/stream")
			go func() { _ = c.conn.Write(t.Context(), websocket.MessageText, make([]byte, 1<<20)) }()
			if code := c.closed(); code != websocket.StatusMessageTooBig {
				t.Errorf("got close code %d", code)
			}
		},
		"timestamps and versions rise, positions are there": func(t *testing.T, w *world) {
			c := w.dial("/stream/s/g")
			last, version := 0.0, int64(0)
			for n := range 50 {
				f := c.next()
				if n > 0 && f.Version <= version || f.Position == "" {
					t.Fatalf("got version %d and position %q after %d", f.Version, f.Position, version)
				}
				stamp, err := f.Timestamp.Float64()
				if err != nil || stamp <= last {
					t.Fatalf("got %v after %v: %v", stamp, last, err)
				}
				last, version = stamp, f.Version
				w.set(group, "a", item("a", n))
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run(t, start(t, live.Options{}))
		})
	}
}

// await waits until the numbers of the hub are as they have to be.
func (w *world) await(reached func(live.Stats) bool) {
	w.t.Helper()
	for deadline := time.Now().Add(patience); !reached(w.hub.Stats()); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			w.t.Fatalf("waited in vain: %+v", w.hub.Stats())
		}
	}
}
