package live

import (
	"net"
	"sync"
	"time"
)

const (
	piece = 64 << 10        // bytes written at a time at most; small messages are gathered up to it
	grace = 5 * time.Second // for a socket that is being closed to take what is queued, and to answer
)

// outbox is what waits to be written to a connection. A goroutine writes it, and exists only while there is something.
//
// It stands between gws and the connection: once the connection is upgraded, the goroutine is its only writer, so
// that messages never mix, and a close frame leaves after what was queued before it.
type outbox struct {
	net.Conn
	hub      *Hub
	upgraded bool   // set before anything is sent
	finish   func() // called once the outbox is sealed for good, empty, and nobody is writing

	mu      sync.Mutex
	queue   []entry
	spare   []entry // the memory of the queue before
	frames  int     // queued or being written, backlogs excepted
	bytes   int     // of those frames
	writing bool    // the goroutine exists
	stalled bool    // it has written nothing since the last check
	sealed  bool    // takes no more messages
	ended   bool    // takes no close frame either
}

// entry is one or more whole messages.
type entry struct {
	wire []byte
	left chan struct{} // of a backlog only: closed when it has left, or will not
}

// push queues a message. It reports false, and takes nothing more, when that would be too much.
func (o *outbox) push(wire []byte) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.sealed {
		return true
	}
	if o.frames >= o.hub.options.MaxQueuedFrames || o.bytes+len(wire) > o.hub.options.MaxQueuedBytes {
		o.discard()
		return false
	}
	o.frames++
	o.bytes += len(wire)
	o.add(entry{wire: wire})
	return true
}

// pushBacklog queues the messages of a large sync. They count towards no limit: whoever asked for it does not ask again
// before it has left, or will not, which is when the channel is closed.
func (o *outbox) pushBacklog(wire []byte) (left <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	done := make(chan struct{})
	if o.sealed {
		close(done)
	} else {
		o.add(entry{wire: wire, left: done})
	}
	return done
}

// Write queues a close frame, which is the only thing that gws writes after the handshake. It implements net.Conn.
func (o *outbox) Write(wire []byte) (int, error) {
	if !o.upgraded {
		return o.Conn.Write(wire)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ended {
		return 0, net.ErrClosed
	}
	o.sealed = true
	o.add(entry{wire: append([]byte(nil), wire...)})
	return len(wire), nil
}

// Close gives the peer a while to take what is queued and to answer the close frame. It implements net.Conn for gws, which
// calls it after it wrote the frame.
func (o *outbox) Close() error { return o.SetDeadline(time.Now().Add(grace)) }

// end says that nothing will be read from the connection any more.
func (o *outbox) end() {
	_ = o.SetWriteDeadline(time.Now().Add(grace))
	o.mu.Lock()
	o.sealed, o.ended = true, true
	writing := o.writing
	o.mu.Unlock()
	if !writing {
		o.finish()
	}
}

// check reports whether something is being written, and whether none of it could be since the last check.
func (o *outbox) check() (writing, stuck bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	stuck = o.writing && o.stalled
	o.stalled = o.writing
	return o.writing, stuck
}

func (o *outbox) add(e entry) {
	o.queue = append(o.queue, e)
	if !o.writing {
		o.writing = true
		go o.write()
	}
}

// discard drops what is queued and takes nothing more.
func (o *outbox) discard() {
	for _, e := range o.queue {
		e.leave()
	}
	o.queue, o.sealed = nil, true
}

func (e *entry) leave() {
	if e.left != nil {
		close(e.left)
	}
}

// write writes the queue until it is empty.
func (o *outbox) write() {
	for {
		batch := o.take()
		if len(batch) == 0 {
			break
		}
		o.written(batch, o.writeAll(batch))
	}
}

// take empties the queue. When there is nothing in it, the goroutine has to end.
func (o *outbox) take() []entry {
	o.mu.Lock()
	batch := o.queue
	o.queue, o.spare = o.spare, nil
	o.writing = len(batch) > 0
	over := !o.writing && o.ended
	o.mu.Unlock()
	if over {
		o.finish()
	}
	return batch
}

func (o *outbox) written(batch []entry, err error) {
	const kept = 8
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, e := range batch {
		e.leave()
		if e.left == nil {
			o.frames--
			o.bytes -= len(e.wire)
		}
	}
	if err != nil {
		o.discard()
		_ = o.Conn.Close()
	}
	clear(batch)
	if cap(batch) <= kept {
		o.spare = batch[:0]
	}
}

// writeAll writes whole messages, several small ones at once.
func (o *outbox) writeAll(batch []entry) error {
	if len(batch) == 1 {
		return o.writePieces(batch[0].wire)
	}
	buffer := o.hub.pieces.Get().(*[piece]byte)
	defer o.hub.pieces.Put(buffer)
	gathered := buffer[:0]
	for _, e := range batch {
		if len(gathered)+len(e.wire) > piece {
			if err := o.writePieces(gathered); err != nil {
				return err
			}
			gathered = buffer[:0]
		}
		if len(e.wire) <= piece {
			gathered = append(gathered, e.wire...)
		} else if err := o.writePieces(e.wire); err != nil {
			return err
		}
	}
	return o.writePieces(gathered)
}

// writePieces writes so much at a time that even a slow peer lets something be written between two checks.
func (o *outbox) writePieces(wire []byte) error {
	for len(wire) > 0 {
		n, err := o.Conn.Write(wire[:min(piece, len(wire))])
		if err != nil {
			return err
		}
		wire = wire[n:]
		o.mu.Lock()
		o.stalled = false
		o.mu.Unlock()
	}
	return nil
}
