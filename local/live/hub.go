// Package live keeps the live streams of this machine: WebSocket connections, and the lanes of the groups they joined.
//
//	log -> Hub.Publish -> mailbox of the group's lane -> stream.Lane -> outbox of each socket -> one write
//	socket's read loop -> join, leave, gone -> the same mailbox
//
// Nobody in this picture waits for somebody slower. Publish drops records into mailboxes, lanes drop frames into
// outboxes, and both are bounded: who does not keep up is disconnected with close code 4008 and begins again with a fresh
// sync. Only a socket's own read loop waits: for the lane to have handled its join or leave before it reads on.
//
// # Why a join misses nothing and sees nothing twice
//
// The store publishes a record after it is durable, in the order of the log. A join enters the mailbox of its lane, which
// exists from then on; when the lane gets to it, it takes a snapshot. A record published before the lane existed was
// durable before the snapshot was taken, so it is in it. A record published later is in the mailbox, before the join or
// behind it. Behind it, it is pushed exactly if its position is above that of the snapshot. Before it, it was durable when the
// snapshot was taken, so it is in it, and the lane is past it. A lane is given up only while its mailbox is empty and
// nobody is subscribed, in one step with respect to both Publish and joins.
package live

import (
	"context"
	"iter"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lxzan/gws"

	"github.com/eddyhq/eddy/shared/errs"
	"github.com/eddyhq/eddy/shared/port"
	"github.com/eddyhq/eddy/shared/stream"
)

// The close codes a Hub uses beside those of the WebSocket protocol itself.
const (
	CloseGoingAway = 1001 // reconnect
	CloseTooSlow   = 4008 // reconnect
)

// Options of a Hub. Snapshot is required; the zero value of every other field is its default.
type Options struct {
	Snapshot stream.Snapshot  // of the store whose records are published
	Epoch    func() string    // of that store's log, URL-safe and without a dot; default "0"
	Now      func() time.Time // default: time.Now
	Logger   *slog.Logger     // default: nothing is logged

	KeepAlive        time.Duration // a socket that is silent so long is pinged, and closed when that goes unanswered; default 30 s
	MaxSubscriptions int           // of one socket; default 1,000
	MaxQueuedFrames  int           // of one socket, not yet written; default 1,024
	MaxQueuedBytes   int           // of one socket, not yet written; default 4 MiB
	MaxPendingBytes  int           // of values in records that one lane has not got to; default 64 MiB
}

func (o *Options) setDefaults() {
	if o.Epoch == nil {
		o.Epoch = func() string { return "0" }
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	setDefault(&o.KeepAlive, 30*time.Second)
	setDefault(&o.MaxSubscriptions, stream.MaxSubscriptions)
	setDefault(&o.MaxQueuedFrames, 1024)
	setDefault(&o.MaxQueuedBytes, 4<<20)
	setDefault(&o.MaxPendingBytes, 64<<20)
}

func setDefault[T int | time.Duration](option *T, value T) {
	if *option == 0 {
		*option = value
	}
}

// Hub is the live streams of one machine.
type Hub struct {
	options  Options
	upgrader *gws.Upgrader
	stopping context.Context // ends when Close gives up or is done
	stop     context.CancelFunc

	mu      sync.RWMutex
	lanes   map[port.Collection]*lane
	sockets map[*socket]struct{}
	closing bool // no more sockets
	closed  bool // no more letters

	pieces  sync.Pool      // of *[piece]byte, to gather small messages in
	open    sync.WaitGroup // sockets
	running sync.WaitGroup // goroutines of lanes and of the keep-alive

	counts counts
	latest atomic.Int64 // microseconds: what now returned last
}

type counts struct {
	subscriptions, frames, slow atomic.Int64
}

// Stats are what a Hub tells about itself.
type Stats struct {
	Connections   int   // open now
	Subscriptions int   // of all of them
	Lanes         int   // groups that somebody is subscribed to
	Frames        int64 // handed to connections since New
	Slow          int64 // connections closed since New because they did not keep up
}

// New returns a running Hub. Close ends it.
func New(options Options) *Hub {
	options.setDefaults()
	h := &Hub{options: options, lanes: map[port.Collection]*lane{}, sockets: map[*socket]struct{}{}}
	h.pieces.New = func() any { return new([piece]byte) }
	h.stopping, h.stop = context.WithCancel(context.Background())
	h.upgrader = newUpgrader(nil)
	h.running.Go(h.keepAlive)
	return h
}

// Publish takes records to the lanes of their groups. It is called by one goroutine, in the order of the log, with records
// that are durable, as soon as they are; it returns without waiting for anyone. The records must not be modified afterwards.
func (h *Hub) Publish(records []port.Record) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if len(h.lanes) == 0 || h.closed {
		return
	}
	for i := range records {
		if l := h.lanes[groupOf(&records[i])]; l != nil {
			l.publish(&records[i])
		}
	}
}

// groupOf returns where the record happened: a group that can have a lane, or anything else.
func groupOf(r *port.Record) port.Collection {
	switch {
	case r.Change != nil:
		return r.Change.Collection
	case r.Event != nil:
		return r.Event.Group
	default:
		return ""
	}
}

// Stats returns the numbers of this moment.
func (h *Hub) Stats() Stats {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return Stats{
		Connections:   len(h.sockets),
		Subscriptions: int(h.counts.subscriptions.Load()),
		Lanes:         len(h.lanes),
		Frames:        h.counts.frames.Load(),
		Slow:          h.counts.slow.Load(),
	}
}

// Close tells every socket to reconnect elsewhere (close code 1001), after what is queued for it, and waits until all are
// gone. When ctx ends first, the rest is cut off and Close returns an unavailable error. From the call on, Serve refuses
// and Publish does nothing once the sockets are gone.
func (h *Hub) Close(ctx context.Context) error {
	for _, s := range h.refuseSockets() {
		s.close(CloseGoingAway, "server going away, reconnect")
	}
	gone := make(chan struct{})
	go func() {
		h.open.Wait()
		close(gone)
	}()
	var err error
	select {
	case <-gone:
	case <-ctx.Done():
		err = errs.New(errs.Unavailable, "live sockets were cut off: %w", context.Cause(ctx))
		h.stop() // a lane may be waiting for a snapshot, and a socket for the lane
		for _, s := range h.refuseSockets() {
			s.cut()
		}
		<-gone
	}
	h.stop()
	h.refuseLetters()
	h.running.Wait()
	return err
}

// now is the clock, except that it never goes back: a group that is joined again goes on behind the times that its
// clients have seen.
func (h *Hub) now() time.Time {
	at := h.options.Now().UnixMicro()
	for {
		latest := h.latest.Load()
		if at <= latest {
			return time.UnixMicro(latest)
		}
		if h.latest.CompareAndSwap(latest, at) {
			return time.UnixMicro(at)
		}
	}
}

// refuseSockets lets no more sockets in and returns those that are there.
func (h *Hub) refuseSockets() []*socket {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closing = true
	return slices.Collect(maps.Keys(h.sockets))
}

func (h *Hub) refuseLetters() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
}

// keepAlive looks after all sockets at a time, so that none needs a timer of its own.
func (h *Hub) keepAlive() {
	ticker := time.NewTicker(h.options.KeepAlive)
	defer ticker.Stop()
	for {
		select {
		case <-h.stopping.Done():
			return
		case <-ticker.C:
			for _, s := range h.all() {
				s.keepAlive()
			}
		}
	}
}

func (h *Hub) all() []*socket {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return slices.Collect(maps.Keys(h.sockets))
}

// sink takes the frames of lanes to sockets.
type sink struct{ hub *Hub }

// Push implements stream.Sink. The frame is made ready for the wire once, and all sockets write the same bytes.
func (k sink) Push(frame []byte, to iter.Seq[*socket]) {
	var wire []byte
	count := int64(0)
	for s := range to {
		if wire == nil {
			wire = appendMessage(make([]byte, 0, maxHeader+len(frame)), opText, frame)
		}
		s.send(wire)
		count++
	}
	k.hub.counts.frames.Add(count)
}

// Sync implements stream.Sink.
func (k sink) Sync(to *socket, frames iter.Seq[[]byte]) {
	var wire []byte
	count := int64(0)
	for frame := range frames {
		wire = appendMessage(slices.Grow(wire, maxHeader+len(frame)), opText, frame)
		count++
	}
	if count == 1 {
		to.send(wire)
	} else {
		to.backlog = to.pushBacklog(wire)
	}
	k.hub.counts.frames.Add(count)
}
