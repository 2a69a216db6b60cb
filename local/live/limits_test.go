package live_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/eddyhq/eddy/local/live"
	"github.com/eddyhq/eddy/shared/document"
	"github.com/eddyhq/eddy/shared/port"
	"github.com/eddyhq/eddy/shared/stream"
)

func TestALargeSyncIsSplit(t *testing.T) {
	t.Parallel()
	w := start(t, live.Options{MaxQueuedFrames: 10, MaxQueuedBytes: 1 << 20}) // less than the sync takes
	const items, size = 100, 40_000
	for n := range items {
		id := fmt.Sprintf("%03d", n)
		w.set(group, id, document.Value(fmt.Sprintf(`{"id":%q,"text":%q}`, id, strings.Repeat("x", size))))
	}
	c := w.dial("/stream/s/g")
	sync := c.next()
	if sync.Event.Type != "sync" || sync.size > stream.MaxMessage || sync.size < stream.MaxMessage-2*size {
		t.Fatalf("got a %s of %d bytes", sync.Event.Type, sync.size)
	}
	w.set(group, "000", item("000", 1))
	for n := sync.size / size; n < items; n++ {
		f := c.next()
		if f.Event.Type != "create" || f.ID != fmt.Sprintf("%03d", n) || f.Version == 0 || f.size > stream.MaxMessage {
			t.Fatalf("got a %s of %s (%d bytes) where item %d was due", f.Event.Type, f.ID, f.size, n)
		}
	}
	c.expect(`update 000 {"id":"000","n":1}`)
}

func TestASlowClientIsClosedWhileOthersGoOn(t *testing.T) {
	t.Parallel()
	w := start(t, live.Options{MaxQueuedFrames: 64})
	slow, quick := w.dial("/stream/s/g"), w.dial("/stream/s/g")
	quick.expect(`sync  []`)
	w.await(func(s live.Stats) bool { return s.Subscriptions == 2 })
	large := document.Value(`"` + strings.Repeat("x", 50_000) + `"`)
	for n := 0; w.hub.Stats().Slow == 0; n++ {
		w.send(port.Event{Group: group, Type: fmt.Sprint(n), Data: large})
		if f := quick.next(); f.Event.Event.Type != fmt.Sprint(n) {
			t.Fatalf("got event %s where %d was due", f.Event.Event.Type, n)
		}
	}
	if code := slow.closed(); code != live.CloseTooSlow {
		t.Errorf("got close code %d", code)
	}
	w.send(port.Event{Group: group, Type: "last", Data: document.Value(`1`)})
	quick.expect(`event  last 1`)
	w.await(func(s live.Stats) bool { return s.Connections == 1 && s.Subscriptions == 1 })
}

func TestALaneThatCannotKeepUpClosesItsSubscribers(t *testing.T) {
	t.Parallel()
	entered, release := make(chan struct{}), make(chan struct{})
	s := newStore()
	w := start(t, live.Options{
		MaxPendingBytes: 10_000,
		Snapshot: func(ctx context.Context, c port.Collection, item string) ([]port.Document, uint64, error) {
			docs, position, err := s.snapshot(ctx, c, item)
			if item == "slow" {
				close(entered)
				<-release
			}
			return docs, position, err
		},
	})
	early, late := w.dial("/stream/s/g"), w.dial("/stream")
	early.expect(`sync  []`)
	late.say(join("1", "g", "slow"))
	<-entered
	large := document.Value(`"` + strings.Repeat("x", 10_000) + `"`)
	w.hub.Publish([]port.Record{{Position: 1, Event: &port.Event{Group: group, Type: "t", Data: large}}})
	close(release)
	for _, c := range []*client{early, late} {
		if code := c.closed(); code != live.CloseTooSlow {
			t.Errorf("got close code %d", code)
		}
	}
	w.dial("/stream/s/g").expect(`sync  []`)
}

func TestAJoinThatFailsIsToldAndLeavesTheSocket(t *testing.T) {
	t.Parallel()
	w := start(t, live.Options{
		Snapshot: func(context.Context, port.Collection, string) ([]port.Document, uint64, error) {
			return nil, 0, errors.New("secret")
		},
	})
	c := w.dial("/stream")
	c.say(join("1", "g", "a"))
	f := c.next()
	if f.StreamName != "s" || f.GroupID != "g" || f.ID != "a" || f.Event.Type != "error" ||
		string(f.Event.Data) != `{"code":"internal","message":"internal error"}` {
		t.Errorf("got %+v %s", f, f.Event.Data)
	}
	w.await(func(s live.Stats) bool { return s.Lanes == 0 && s.Subscriptions == 0 && s.Connections == 1 })
}

func TestSubscriptionsOfASocketAreBounded(t *testing.T) {
	t.Parallel()
	w := start(t, live.Options{MaxSubscriptions: 2})
	c := w.dial("/stream/s/g")
	c.say(join("1", "g", ""))
	c.say(join("2", "g", ""))
	c.say(join("1", "g", ""))
	c.expect(`sync  []`, `sync  []`,
		`error  {"code":"condition_not_met","message":"a connection has at most 2 subscriptions: use another"}`, `sync  []`)
}

func TestHandshakes(t *testing.T) {
	t.Parallel()
	w := start(t, live.Options{})
	t.Run("a request that is no handshake is refused before the upgrade", func(t *testing.T) {
		t.Parallel()
		request, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, w.server.URL+"/stream/s/g", nil)
		response, err := http.DefaultTransport.RoundTrip(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		body, _ := io.ReadAll(response.Body)
		if response.StatusCode != 400 || !strings.Contains(string(body), "speaks WebSocket") {
			t.Errorf("got %d %s", response.StatusCode, body)
		}
	})
	t.Run("a name that is too long is refused before the upgrade", func(t *testing.T) {
		t.Parallel()
		_, response, err := w.tryDial("/stream/"+strings.Repeat("x", 300)+"/g", nil)
		if err == nil || response.StatusCode != 400 {
			t.Errorf("got %v, %v", response, err)
		}
	})
	t.Run("a subprotocol with a token is accepted", func(t *testing.T) {
		t.Parallel()
		c, _, err := w.tryDial("/stream/s/g", &websocket.DialOptions{Subprotocols: []string{"other", "eddy.token.abc-_1"}})
		if err != nil {
			t.Fatal(err)
		}
		if got := c.conn.Subprotocol(); got != "eddy.token.abc-_1" {
			t.Errorf("got %q", got)
		}
		c.expect(`sync  []`)
	})
	t.Run("other subprotocols and compression are not", func(t *testing.T) {
		t.Parallel()
		c, response, err := w.tryDial("/stream/s/g", &websocket.DialOptions{
			Subprotocols: []string{"other"}, CompressionMode: websocket.CompressionContextTakeover,
		})
		if err != nil {
			t.Fatal(err)
		}
		if c.conn.Subprotocol() != "" || response.Header.Get("Sec-Websocket-Extensions") != "" {
			t.Errorf("got %v", response.Header)
		}
		c.expect(`sync  []`)
	})
	t.Run("frames that follow the handshake without waiting for it are read", func(t *testing.T) {
		t.Parallel()
		_, reader := w.dialRaw(t, masked(0x1, `{"type":"ping"}`))
		if got := readMessage(t, reader); got != "\x81\x0f"+stream.Pong {
			t.Errorf("got %q", got)
		}
	})
}

// dialRaw connects with nothing but TCP, and writes more right behind the handshake.
func (w *world) dialRaw(t *testing.T, more string) (net.Conn, *bufio.Reader) {
	t.Helper()
	conn, err := net.Dial("tcp", w.server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, handshake+more); err != nil {
		t.Fatal(err)
	}
	reader := bufio.NewReader(conn)
	for line := ""; line != "\r\n"; {
		if line, err = reader.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	return conn, reader
}

const handshake = "GET /stream HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

// masked returns a short message as a client writes it, masked with zeros.
func masked(opcode byte, payload string) string {
	return string([]byte{0x80 | opcode, 0x80 | byte(len(payload)), 0, 0, 0, 0}) + payload
}

// readMessage returns a short message of the server, header included.
func readMessage(t *testing.T, reader *bufio.Reader) string {
	t.Helper()
	header := make([]byte, 2)
	if _, err := io.ReadFull(reader, header); err != nil {
		t.Fatal(err)
	}
	payload := make([]byte, header[1])
	if _, err := io.ReadFull(reader, payload); err != nil {
		t.Fatal(err)
	}
	return string(header) + string(payload)
}

func TestASilentPeerIsPingedAndThenCut(t *testing.T) {
	t.Parallel()
	w := start(t, live.Options{KeepAlive: 50 * time.Millisecond})
	_, reader := w.dialRaw(t, "")
	heard, err := io.ReadAll(reader)
	if err != nil {
		t.Errorf("the connection went on: %v", err)
	}
	if pings := strings.ReplaceAll(string(heard), "\x89\x00", "ping "); strings.Trim(pings, "ping ") != "" || pings == "" {
		t.Errorf("got %q where pings were due", heard)
	}
	w.await(func(s live.Stats) bool { return s.Connections == 0 })
}

func TestAPeerThatAnswersPingsStays(t *testing.T) {
	t.Parallel()
	w := start(t, live.Options{KeepAlive: 300 * time.Millisecond})
	conn, reader := w.dialRaw(t, "")
	for range 4 {
		if got := readMessage(t, reader); got != "\x89\x00" {
			t.Fatalf("got %q where a ping was due", got)
		}
		if _, err := io.WriteString(conn, masked(0xA, "")); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAPeerThatTakesNothingIsCut(t *testing.T) {
	t.Parallel()
	w := start(t, live.Options{KeepAlive: 30 * time.Millisecond, MaxQueuedBytes: 1 << 30})
	conn, _ := w.dialRaw(t, masked(0x1, join("1", "g", "")))
	w.await(func(s live.Stats) bool { return s.Subscriptions == 1 })
	large := document.Value(`"` + strings.Repeat("x", 90_000) + `"`)
	for range 200 {
		w.send(port.Event{Group: group, Type: "t", Data: large})
	}
	for w.hub.Stats().Slow == 0 { // it speaks all the time, and reads nothing
		if _, err := io.WriteString(conn, masked(0xA, "")); err != nil {
			break
		}
		time.Sleep(time.Millisecond)
	}
	w.await(func(s live.Stats) bool { return s.Connections == 0 && s.Slow == 1 })
}

func TestAMalignLengthEndsTheConnectionAlone(t *testing.T) {
	t.Parallel()
	w := start(t, live.Options{})
	other := w.dial("/stream/s/g")
	other.expect(`sync  []`)
	_, reader := w.dialRaw(t, "\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00")
	if _, err := io.ReadAll(reader); err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Logf("the connection ended with %v", err)
	}
	w.await(func(s live.Stats) bool { return s.Connections == 1 })
	other.say(`{"type":"ping"}`)
	other.expect(`pong`)
}

func TestClose(t *testing.T) {
	t.Parallel()
	t.Run("sockets get what is queued and are told to reconnect", func(t *testing.T) {
		t.Parallel()
		w := start(t, live.Options{})
		c, idle := w.dial("/stream/s/g"), w.dial("/stream")
		c.expect(`sync  []`)
		w.hub.Publish([]port.Record{{Position: 1, Event: &port.Event{Group: group, Type: "t", Data: document.Value(`1`)}}})
		w.await(func(s live.Stats) bool { return s.Frames == 2 })
		codes := make(chan websocket.StatusCode)
		go func() { codes <- idle.closed() }()
		done := make(chan error)
		go func() { done <- w.hub.Close(context.Background()) }()
		c.expect(`event  t 1`)
		for _, code := range []websocket.StatusCode{c.closed(), <-codes} {
			if code != live.CloseGoingAway {
				t.Errorf("got close code %d", code)
			}
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		if got := w.hub.Stats(); got.Connections != 0 || got.Lanes != 0 || got.Subscriptions != 0 {
			t.Errorf("got %+v", got)
		}
		if _, response, err := w.tryDial("/stream", nil); err == nil || response.StatusCode != 503 {
			t.Errorf("a closed hub let a socket in: %v", err)
		}
		w.hub.Publish([]port.Record{{Position: 2, Event: &port.Event{Group: group}}})
	})
	t.Run("a peer that does not answer is cut off in time", func(t *testing.T) {
		t.Parallel()
		w := start(t, live.Options{})
		w.dialRaw(t, "")
		w.await(func(s live.Stats) bool { return s.Connections == 1 })
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if err := w.hub.Close(ctx); err == nil {
			t.Error("Close did not say that it cut a socket off")
		}
		if got := w.hub.Stats().Connections; got != 0 {
			t.Errorf("%d connections are left", got)
		}
	})
	t.Run("a snapshot that hangs does not keep the hub from closing", func(t *testing.T) {
		t.Parallel()
		entered := make(chan struct{})
		w := start(t, live.Options{
			Snapshot: func(ctx context.Context, _ port.Collection, _ string) ([]port.Document, uint64, error) {
				close(entered)
				<-ctx.Done()
				return nil, 0, ctx.Err()
			},
		})
		w.dial("/stream/s/g")
		<-entered
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		defer cancel()
		if err := w.hub.Close(ctx); err == nil {
			t.Error("Close did not say that it cut a socket off")
		}
	})
}
