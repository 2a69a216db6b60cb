package gateway

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/eddyhq/eddy/functions"
	"github.com/eddyhq/eddy/shared/eddy"
)

// dial connects to a gateway from an address of this machine, and sends text.
func dial(t *testing.T, g *Gateway, from, text string) net.Conn {
	t.Helper()
	conn := tryDial(t, g, from)
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	return conn
}

func tryDial(t *testing.T, g *Gateway, from string) net.Conn {
	t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	conn, err := dialer.DialContext(t.Context(), "tcp", g.http.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// reply is an answer that was read whole.
type reply struct {
	status int
	header http.Header
	body   string
}

// answer reads one answer from a connection.
func answer(t *testing.T, conn net.Conn) reply {
	t.Helper()
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply{response.StatusCode, response.Header, string(body)}
}

const get = "GET /todos HTTP/1.1\r\nHost: localhost\r\n"

func TestAFloodOfHalfOpenRequestsLeavesOthersServed(t *testing.T) {
	t.Parallel()
	g := serve(t, functions.App(), func(c *Config) { c.MaxConnections = 200 })
	flood := func() {
		for range 250 {
			conn := tryDial(t, g, "127.0.0.66")
			_, _ = io.WriteString(conn, get) // it may have been refused by now
		}
	}
	flood()
	for i := range 150 {
		conn := dial(t, g, fmt.Sprintf("127.0.1.%d", i+1), get+"\r\n")
		if got := answer(t, conn); got.status != 200 {
			t.Fatalf("request %d: %d %s", i, got.status, got.body)
		}
		if i == 75 {
			flood()
		}
	}
	got := g.connections.Stats()
	if got.Open > 200 || got.Refused < 300 || got.Evicted == 0 {
		t.Errorf("it counts %+v", got)
	}
	metrics := request(t, g, "GET", "/_eddy/metrics", "").Body.String()
	for _, want := range []string{"eddy_connections_refused_total", "eddy_connections_evicted_total", "eddy_connections "} {
		if !strings.Contains(metrics, want) {
			t.Errorf("the metrics lack %s", want)
		}
	}
}

func TestPromisedBodiesTakeNoMemoryAndOneClientNotAllRequests(t *testing.T) {
	t.Parallel()
	g := serve(t, functions.App(), func(c *Config) { c.MaxRequests = 200 })
	const slow = "POST /todos HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1048576\r\n\r\n{"
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 99 {
		dial(t, g, "127.0.0.66", slow)
	}
	limit := dial(t, g, "127.0.0.66", "")
	for g.connections.Stats().InFlight < 99 {
		runtime.Gosched()
	}
	runtime.ReadMemStats(&after)
	if grown := int64(after.Sys) - int64(before.Sys); grown > 64<<20 {
		t.Errorf("99 bodies that did not come took %d MB", grown>>20)
	}
	dial(t, g, "127.0.0.66", slow)
	for g.connections.Stats().InFlight < 100 {
		runtime.Gosched()
	}
	_, _ = io.WriteString(limit, get+"\r\n")
	got := answer(t, limit)
	if got.status != 503 || got.header.Get("Retry-After") != "1" || !strings.Contains(got.body, `"unavailable"`) {
		t.Errorf("beyond its half the client gets %d %v %s", got.status, got.header, got.body)
	}
	if got := answer(t, dial(t, g, "127.0.0.2", get+"\r\n")); got.status != 200 {
		t.Errorf("another client gets %d %s", got.status, got.body)
	}
	if got := answer(t, dial(t, g, "127.0.0.66", "GET /_eddy/health HTTP/1.1\r\nHost: localhost\r\n\r\n")); got.status != 200 {
		t.Errorf("health is limited: %d %s", got.status, got.body)
	}
}

func TestWhatIsNoProperRequestIsRefusedAndOthersAreServed(t *testing.T) {
	t.Parallel()
	g := serve(t, functions.App(), nil)
	for _, c := range []struct{ name, text, want string }{
		{"garbage behind a request", get + "\r\n\x00\x01garbage\r\n\r\n", "HTTP/1.1 200"},
		{"garbage", "\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", "HTTP/1.1 400"},
		{"headers beyond 64 KiB", get + strings.Repeat("X-Fill: "+strings.Repeat("y", 1000)+"\r\n", 80), "HTTP/1.1 431"},
		{"a length that is none", "POST /todos HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n", "HTTP/1.1 400"},
		{"two lengths", "POST /todos HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "HTTP/1.1 400"},
		{"a body that is announced too large, before it is sent",
			"POST /todos HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 2000000\r\n\r\n", "HTTP/1.1 413"},
		{"a body that is asked for", "POST /todos HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 13\r\n\r\n",
			"HTTP/1.1 100"},
	} {
		conn := tryDial(t, g, "127.0.0.1")
		_, _ = io.WriteString(conn, c.text) // it may be refused before its end
		head := make([]byte, len(c.want))
		if _, err := io.ReadFull(conn, head); err != nil || string(head) != c.want {
			t.Errorf("%s: %q, %v", c.name, head, err)
		}
	}
	if w := request(t, g, "GET", "/todos", ""); w.Code != 200 {
		t.Errorf("after all that: %d %s", w.Code, w.Body)
	}
}

func TestAChunkedBodyWithoutEndIsRefusedAtItsLimit(t *testing.T) {
	t.Parallel()
	g := serve(t, functions.App(), nil)
	conn := dial(t, g, "127.0.0.1", "POST /todos HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
	sent := make(chan int, 1)
	go func() {
		chunk := "10000\r\n" + strings.Repeat(" ", 0x10000) + "\r\n"
		n := 0
		for ; n < 1000; n++ {
			if _, err := io.WriteString(conn, chunk); err != nil {
				break
			}
		}
		sent <- n
	}()
	if got := answer(t, conn); got.status != 413 || !strings.Contains(got.body, `"too_large"`) {
		t.Errorf("%d %s", got.status, got.body)
	}
	conn.Close()
	if n := <-sent; n == 1000 {
		t.Error("the gateway read 64 MB of it")
	}
}

func TestARouteLetsItsRateThrough(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	runs := 0
	app := eddy.New()
	eddy.Register(app, "test::limited", func(context.Context, eddy.None) (eddy.None, error) {
		runs++
		return eddy.None{}, nil
	}, eddy.HTTP("GET /limited", eddy.Rate(1, 2)), eddy.HTTP("GET /free"))
	g := open(t, app, func(c *Config) { c.Now = func() time.Time { return now } })
	for _, step := range []struct {
		path   string
		status int
	}{{"/limited", 200}, {"/limited", 200}, {"/limited", 429}, {"/free", 200}, {"/limited", 429}} {
		w := request(t, g, "GET", step.path, "")
		if w.Code != step.status {
			t.Errorf("%s: %d %s", step.path, w.Code, w.Body)
		}
		if w.Code == 429 && (code(t, w) != "rate_limited" || w.Header().Get("Retry-After") != "1") {
			t.Errorf("%s: %v %s", step.path, w.Header(), w.Body)
		}
	}
	if runs != 3 {
		t.Errorf("the function ran %d times", runs)
	}
	if metrics := request(t, g, "GET", "/_eddy/metrics", "").Body.String(); !strings.Contains(metrics, `eddy_http_rate_limited_total{of="route"} 2`) {
		t.Error("the metrics do not count what was limited")
	}
}

func TestAClientIsHeldToItsRate(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	g := serve(t, functions.App(), func(c *Config) {
		c.ClientRate = 2
		c.Now = func() time.Time { return now }
	})
	status := func(from, path string) int {
		return answer(t, dial(t, g, from, "GET "+path+" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")).status
	}
	for i := range 6 {
		if got, want := status("127.0.0.2", "/todos"), 200; i < 4 && got != want || i >= 4 && got != 429 {
			t.Errorf("request %d: %d", i, got)
		}
	}
	if got := status("127.0.0.2", "/_eddy/health"); got != 200 {
		t.Errorf("health: %d", got)
	}
	if got := status("127.0.0.3", "/todos"); got != 200 {
		t.Errorf("another client: %d", got)
	}
	if got := status("127.0.0.2", "/stream/todos-live/all"); got != 429 {
		t.Errorf("a WebSocket: %d", got)
	}
}

func TestASocketIsAConnectionAndNoRequestInFlight(t *testing.T) {
	t.Parallel()
	g := serve(t, functions.App(), func(c *Config) { c.MaxConnections = 8 })
	var sockets []*websocket.Conn
	for range 4 {
		socket, _, err := websocket.Dial(t.Context(), g.WebSocketURL()+"/todos-live/all", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer socket.CloseNow()
		sockets = append(sockets, socket)
		if _, _, err := socket.Read(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for g.connections.Stats().InFlight > 0 { // the handshakes end after their answers
		runtime.Gosched()
	}
	if got := g.connections.Stats(); got.Open != 4 {
		t.Errorf("it counts %+v", got)
	}
	if _, _, err := websocket.Dial(t.Context(), g.WebSocketURL()+"/todos-live/all", nil); err == nil {
		t.Error("a socket beyond half of the connections is let in")
	}
	for i := range 8 { // half open, each takes the place of one before it
		dial(t, g, fmt.Sprintf("127.0.0.%d", 10+i), get)
	}
	if got := answer(t, dial(t, g, "127.0.0.9", get+"\r\n")); got.status != 200 {
		t.Errorf("another client gets %d", got.status)
	}
	for _, socket := range sockets {
		if err := socket.Write(t.Context(), websocket.MessageText, []byte(`{"type":"ping"}`)); err != nil {
			t.Fatal(err)
		}
		if _, frame, err := socket.Read(t.Context()); err != nil || string(frame) != `{"type":"pong"}` {
			t.Errorf("a socket lost its place: %s, %v", frame, err)
		}
	}
}
