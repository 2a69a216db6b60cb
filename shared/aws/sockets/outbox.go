package sockets

import (
	"bytes"
	"iter"
)

// outbox gathers the frames that a lane makes, for each connection in order. It is the lane's stream.Sink.
type outbox struct {
	frames map[string][][]byte // by connection
	order  []string            // of the connections
	bytes  int
}

// Push implements stream.Sink.
func (o *outbox) Push(frame []byte, to iter.Seq[string]) {
	var kept []byte
	for connection := range to {
		if kept == nil {
			kept = o.keep(frame)
		}
		o.add(connection, kept)
	}
}

// Sync implements stream.Sink.
func (o *outbox) Sync(to string, frames iter.Seq[[]byte]) {
	for frame := range frames {
		o.add(to, o.keep(frame))
	}
}

func (o *outbox) keep(frame []byte) []byte {
	o.bytes += len(frame)
	return bytes.Clone(frame)
}

func (o *outbox) add(connection string, frame []byte) {
	if o.frames == nil {
		o.frames = map[string][][]byte{}
	}
	before := o.frames[connection]
	if before == nil {
		o.order = append(o.order, connection)
	}
	o.frames[connection] = append(before, frame)
}

// empty returns what was gathered, and begins anew.
func (o *outbox) empty() (order []string, frames map[string][][]byte) {
	order, frames = o.order, o.frames
	*o = outbox{}
	return order, frames
}
