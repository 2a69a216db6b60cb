package sockets

import (
	"bytes"
	"iter"
)

// outbox gathers the frames that a lane makes, for each connection in order. It is the lane's stream.Sink.
type outbox struct {
	deliveries []Delivery
	of         map[string]int // where the delivery of a connection is
	bytes      int
}

// Push implements stream.Sink. All connections share the bytes of a frame.
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
	i, found := o.of[connection]
	if !found {
		if o.of == nil {
			o.of = map[string]int{}
		}
		i = len(o.deliveries)
		o.of[connection] = i
		o.deliveries = append(o.deliveries, Delivery{Connection: connection})
	}
	o.deliveries[i].Frames = append(o.deliveries[i].Frames, frame)
}

// drop gives up what a connection that is no more was to be told.
func (o *outbox) drop(connection string) {
	if i, found := o.of[connection]; found {
		o.deliveries[i].Frames = nil
	}
}

// empty returns what was gathered, and begins anew.
func (o *outbox) empty() []Delivery {
	deliveries := o.deliveries
	*o = outbox{}
	return deliveries
}
