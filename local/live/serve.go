package live

import (
	"bufio"
	"bytes"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"

	"github.com/lxzan/gws"

	"github.com/eddyhq/eddy/shared/errs"
	"github.com/eddyhq/eddy/shared/stream"
)

const readBuffer = 512 // bytes; client frames are small, and larger ones are read past it

// Serve makes a WebSocket connection of the request, which joins at once when first is not nil, and returns: the
// connection lives on. Whether the caller may connect and join is decided before.
//
// When Serve returns an error nothing has been written to w: invalid_argument when the request is no WebSocket handshake or
// first breaks a limit, unavailable when the hub is closing. A subprotocol eddy.token.* is accepted when it is offered.
func (h *Hub) Serve(w http.ResponseWriter, r *http.Request, first *stream.Join) error {
	if err := checkHandshake(r); err != nil {
		return err
	}
	if first != nil {
		if _, err := first.Collection(); err != nil {
			return err
		}
	}
	if h.isClosing() {
		return errs.New(errs.Unavailable, "the server is going away: reconnect")
	}
	conn, ahead, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return errs.New(errs.Internal, "take the connection over: %w", err)
	}
	if s := h.upgrade(r, conn, ahead.Reader); s != nil && h.add(s) {
		go s.serve(first)
	}
	return nil
}

// checkHandshake looks at what gws would refuse in its own words, after the connection was taken from net/http.
func checkHandshake(r *http.Request) error {
	switch {
	case r.Method != http.MethodGet, !hasToken(r.Header["Upgrade"], "websocket"), !hasToken(r.Header["Connection"], "upgrade"):
		return errs.New(errs.InvalidArgument, "this address speaks WebSocket: connect to it with a WebSocket client")
	case r.Header.Get("Sec-Websocket-Version") != "13":
		return errs.New(errs.InvalidArgument, "Sec-WebSocket-Version must be 13")
	case r.Header.Get("Sec-Websocket-Key") == "":
		return errs.New(errs.InvalidArgument, "Sec-WebSocket-Key is required")
	}
	return nil
}

func hasToken(values []string, token string) bool {
	for _, value := range values {
		for _, found := range strings.Split(value, ",") {
			if strings.EqualFold(strings.TrimSpace(found), token) {
				return true
			}
		}
	}
	return false
}

// upgrade makes a socket of a connection that was taken from net/http, whose buffers and goroutine are gone when the
// handler returns. It returns nil when the handshake fails, which is over by then.
func (h *Hub) upgrade(r *http.Request, conn net.Conn, ahead *bufio.Reader) *socket {
	s := &socket{outbox: outbox{Conn: conn, hub: h}}
	s.finish = s.over
	upgrader := h.upgrader
	if protocol := stream.OfferedToken(r.Header.Get("Sec-Websocket-Protocol")); protocol != "" {
		upgrader = newUpgrader([]string{protocol})
	}
	var err error
	if s.ws, err = upgrader.UpgradeFromConn(s, reader(conn, ahead), r); err != nil {
		h.options.Logger.Debug("a WebSocket handshake failed", slog.Any("error", err))
		s.cut()
		return nil
	}
	s.upgraded = true
	return s
}

// reader reads what net/http has read ahead, and then the connection.
func reader(conn io.Reader, ahead *bufio.Reader) *bufio.Reader {
	if n := ahead.Buffered(); n > 0 {
		text, _ := ahead.Peek(n)
		conn = io.MultiReader(bytes.NewReader(bytes.Clone(text)), conn)
	}
	return bufio.NewReaderSize(conn, readBuffer)
}

func newUpgrader(protocols []string) *gws.Upgrader {
	return gws.NewUpgrader(events{}, &gws.ServerOption{
		ReadMaxPayloadSize: stream.MaxClientFrame,
		SubProtocols:       protocols,
		ParallelGolimit:    1,                                        // it makes a channel of that size for each socket
		NewSession:         func() gws.SessionStorage { return nil }, // nobody asks for it
	})
}

func (h *Hub) isClosing() bool {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.closing
}

// add lets a socket in, unless the hub has begun to close in the meantime.
func (h *Hub) add(s *socket) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closing {
		s.cut()
		return false
	}
	h.sockets[s] = struct{}{}
	h.open.Add(1)
	return true
}

func (h *Hub) remove(s *socket) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.sockets, s)
	h.open.Done()
}
