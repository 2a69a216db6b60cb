package live

import (
	"io"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"time"

	"github.com/lxzan/gws"

	"github.com/eddyhq/eddy/shared/errs"
	"github.com/eddyhq/eddy/shared/port"
	"github.com/eddyhq/eddy/shared/stream"
)

// linger is how long a connection that is over is read on, so that what the peer still sends does not reset it before the
// peer has read the close frame.
const linger = time.Second

// socket is one WebSocket connection. An idle one is this struct, that of gws, a small read buffer and one goroutine.
type socket struct {
	outbox
	ws            *gws.Conn
	subscriptions []subscription  // touched by the read loop alone
	backlog       <-chan struct{} // of the join being answered: closed when its large sync has left
	silent        atomic.Uint32   // checks since the peer was last heard
}

// subscription is what a socket knows of one; the rest is in the lane.
type subscription struct {
	group port.Collection
	id    string
}

// serve is the life of the socket.
func (s *socket) serve(first *stream.Join) {
	defer s.end()
	defer s.leaveAll()
	defer s.recover()
	if first != nil {
		s.join(*first)
	}
	s.ws.ReadLoop()
}

// recover keeps a fault in the reading of what strangers send from ending the process: gws panics on a frame that claims
// a length of 2^63 bytes or more.
func (s *socket) recover() {
	if fault := recover(); fault != nil {
		s.hub.options.Logger.Error("a WebSocket connection failed",
			slog.Any("panic", fault), slog.String("stack", string(debug.Stack())))
		s.cut()
	}
}

// over is called when nothing is read or written any more.
func (s *socket) over() {
	if half, ok := s.Conn.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		_ = s.SetReadDeadline(time.Now().Add(linger))
		_, _ = io.Copy(io.Discard, s.Conn)
	}
	s.cut()
	s.hub.remove(s)
}

// cut ends the connection at once.
func (s *socket) cut() { _ = s.Conn.Close() }

// close ends the connection with a close frame behind what is queued, and reports whether it was open. It does not wait.
func (s *socket) close(code uint16, reason string) bool {
	return s.ws.WriteClose(code, []byte(reason)) == nil
}

// tooSlow ends a connection that does not take what it subscribed to.
func (s *socket) tooSlow() {
	if s.close(CloseTooSlow, "too slow, reconnect") {
		s.hub.counts.slow.Add(1)
	}
}

// send queues a message, or ends the connection when too many wait already.
func (s *socket) send(wire []byte) {
	if !s.push(wire) {
		s.tooSlow()
	}
}

// tell answers the peer.
func (s *socket) tell(opcode byte, payload []byte) { s.send(appendMessage(nil, opcode, payload)) }

func (s *socket) tellError(join stream.Join, err error) {
	s.tell(opText, stream.ErrorFrame(s.hub.now(), join, err).AppendTo(nil))
}

// keepAlive is called once every KeepAlive. A peer that takes what is written is there, whatever it says.
func (s *socket) keepAlive() {
	const asked = 2
	if writing, stuck := s.check(); stuck {
		s.tooSlow()
		return
	} else if writing {
		s.silent.Store(0)
	}
	switch silent := s.silent.Add(1); {
	case silent == asked:
		s.tell(opPing, nil)
	case silent > asked:
		s.cut()
	}
}

// join subscribes, and returns when the lane has answered and a large answer has left: so a peer cannot ask for more than
// it takes.
func (s *socket) join(join stream.Join) {
	group, err := join.Collection()
	if err != nil {
		s.tellError(join, err)
		return
	}
	subscribed := slices.Index(s.subscriptions, subscription{group, join.SubscriptionID}) >= 0
	if most := s.hub.options.MaxSubscriptions; !subscribed && len(s.subscriptions) >= most {
		s.tellError(join, stream.TooManySubscriptions(most))
		return
	}
	if answered, err := s.ask(group, requestJoin, join); !answered || err != nil {
		return
	}
	if !subscribed {
		s.subscriptions = append(s.subscriptions, subscription{group, join.SubscriptionID})
		s.hub.counts.subscriptions.Add(1)
	}
	if s.backlog != nil {
		<-s.backlog
		s.backlog = nil
	}
}

// leave ends a subscription, if there is such a one.
func (s *socket) leave(join stream.Join) {
	group, _ := join.Collection()
	i := slices.Index(s.subscriptions, subscription{group, join.SubscriptionID})
	if i < 0 {
		return
	}
	_, _ = s.ask(group, requestLeave, join) // a leave does not fail
	s.subscriptions = slices.Delete(s.subscriptions, i, i+1)
	s.hub.counts.subscriptions.Add(-1)
}

// ask waits for what the lane of the group answers. A hub that is closing may not.
func (s *socket) ask(group port.Collection, kind requestKind, join stream.Join) (answered bool, err error) {
	r := &request{kind: kind, socket: s, join: join, done: make(chan error, 1)}
	if !s.hub.post(group, r) {
		return false, nil
	}
	return true, <-r.done
}

// leaveAll ends all subscriptions, without waiting for their lanes.
func (s *socket) leaveAll() {
	told := map[port.Collection]bool{}
	for _, subscribed := range s.subscriptions {
		if !told[subscribed.group] {
			told[subscribed.group] = true
			s.hub.post(subscribed.group, &request{kind: requestGone, socket: s})
		}
	}
	s.hub.counts.subscriptions.Add(-int64(len(s.subscriptions)))
	s.subscriptions = nil
}

// events is what gws calls from a socket's read loop.
type events struct{ gws.BuiltinEventHandler }

// OnPing answers through the outbox.
func (events) OnPing(c *gws.Conn, payload []byte) {
	s := heard(c)
	s.tell(opPong, payload)
}

// OnPong notes that the peer is there.
func (events) OnPong(c *gws.Conn, _ []byte) { heard(c) }

// OnMessage follows a frame of the client.
func (events) OnMessage(c *gws.Conn, m *gws.Message) {
	defer func() { _ = m.Close() }()
	s := heard(c)
	if m.Opcode != gws.OpcodeText {
		s.tellError(stream.Join{}, errs.New(errs.InvalidArgument, "a frame must be a text message"))
		return
	}
	frame, err := stream.ParseClientFrame(m.Bytes())
	if err != nil {
		s.tellError(stream.Join{}, err)
		return
	}
	switch frame.Kind {
	case stream.ClientJoin:
		s.join(frame.Join)
	case stream.ClientLeave:
		s.leave(frame.Join)
	case stream.ClientPing:
		s.tell(opText, []byte(stream.Pong))
	case stream.ClientAuth: // nothing here expires
	}
}

func heard(c *gws.Conn) *socket {
	s := c.NetConn().(*socket)
	s.silent.Store(0)
	return s
}
