package stream

import (
	"context"
	"iter"
	"slices"
	"time"

	"github.com/eddyhq/eddy/shared/document"
	"github.com/eddyhq/eddy/shared/errs"
	"github.com/eddyhq/eddy/shared/port"
)

// Snapshot reads the items of a group as they are at one position of the log: all of them in the order of their ids, or, when
// item is not "", that one or none. Every record of the group at or below the position is in what it returns, and none
// above; and what it returns is durable.
type Snapshot func(ctx context.Context, group port.Collection, item string) (
	docs []port.Document, position uint64, err error)

// Sink takes frames to connections. Its methods never wait for a connection and do not call the lane. The bytes of a frame
// are theirs only during the call. A Sink that cannot keep a frame for a connection has to end the connection: to
// leave out a frame would break the order that its client relies on.
type Sink[C comparable] interface {
	// Push hands one frame to each of the connections, after every frame it was handed before.
	Push(frame []byte, to iter.Seq[C])

	// Sync hands the frames that answer a join to the connection that joined, after every frame it was handed before.
	Sync(to C, frames iter.Seq[[]byte])
}

// LaneOptions are what a Lane needs; all of them are required, but for Knows.
type LaneOptions[C comparable] struct {
	Epoch    string // of the positions in the log, see Position
	Snapshot Snapshot
	Sink     Sink[C]
	Now      func() time.Time

	// Knows reports whether the connection was told of a change already, by the snapshot of its join. It is for hosts
	// whose snapshots run ahead of the records they give to the lane, so that the position of a snapshot cannot tell.
	Knows func(c C, change *port.Change) bool
}

// Lane is the life of one stream group: it admits joins and leaves, and takes the records of the group to the connections
// that subscribed to them. C names a connection.
//
// Its methods are called by one goroutine at a time. It is given every record of the group that becomes durable after its first
// join began, in the order of the log. Records may come late, after joins whose snapshot has them already: a
// subscription is owed exactly the records above the position of the snapshot that it began with.
type Lane[C comparable] struct {
	options     LaneOptions[C]
	collection  port.Collection
	stream      string
	group       string
	lastStamp   int64
	connections map[C][]subscription
	whole       audience[C]            // of the group
	items       map[string]audience[C] // of single items
	text        []byte                 // of the frame being made; kept for the next
}

// subscription is one interest of a connection.
type subscription struct {
	id   string
	item string // "": the group
	from uint64 // the position of the snapshot it began with
}

// audience says from which position on each of its connections is owed the records that match.
type audience[C comparable] map[C]uint64

// NewLane returns the lane of a stream group that nobody has joined.
func NewLane[C comparable](group port.Collection, options LaneOptions[C]) *Lane[C] {
	stream, name, _ := group.Group()
	return &Lane[C]{
		options: options, collection: group, stream: stream, group: name,
		connections: map[C][]subscription{},
		whole:       audience[C]{},
		items:       map[string]audience[C]{},
	}
}

// Empty reports whether nobody is subscribed.
func (l *Lane[C]) Empty() bool { return len(l.connections) == 0 }

// Connections yields each connection that has a subscription.
func (l *Lane[C]) Connections() iter.Seq[C] {
	return func(yield func(C) bool) {
		for c := range l.connections {
			if !yield(c) {
				return
			}
		}
	}
}

// Join subscribes the connection: it takes a snapshot, hands over the sync frame, and from then on whatever happens after
// the snapshot. A join with the id of a subscription that the connection has replaces it. The names in join are known to be
// those of the lane's group, and within their limits.
//
// When Join fails, the connection was handed an error frame and has the subscriptions it had.
func (l *Lane[C]) Join(ctx context.Context, c C, join Join) error {
	docs, position, err := l.options.Snapshot(ctx, l.collection, join.Item)
	if err == nil && sizeOf(docs) > MaxSync {
		err = errs.New(errs.TooLarge, "the group has more than the %d bytes that can be sent at once: join its items", MaxSync)
	}
	if err != nil {
		l.refuse(c, join, err)
		return err
	}
	if join.Item == "" {
		l.options.Sink.Sync(c, l.syncGroup(docs, position))
	} else {
		l.options.Sink.Sync(c, l.syncItem(join.Item, docs, position))
	}
	l.release()
	l.subscribe(c, subscription{id: join.SubscriptionID, item: join.Item, from: position})
	return nil
}

func sizeOf(docs []port.Document) int {
	size := 0
	for _, doc := range docs {
		size += len(doc.Value)
	}
	return size
}

func (l *Lane[C]) refuse(c C, join Join, err error) {
	frame := ErrorFrame(l.options.Now(), join, err)
	frame.Time = l.stamp(0)
	l.text = frame.AppendTo(l.text[:0])
	l.options.Sink.Push(l.text, func(yield func(C) bool) { yield(c) })
}

// Resume enters a subscription that a Join made in an earlier life of the lane; item is "" for the whole group. The
// connection is told nothing, and is owed the records above the position.
func (l *Lane[C]) Resume(c C, subscriptionID, item string, from uint64) {
	l.subscribe(c, subscription{id: subscriptionID, item: item, from: from})
}

// LastStamp returns the time of the last frame, in microseconds of the Unix epoch.
func (l *Lane[C]) LastStamp() int64 { return l.lastStamp }

// StampAfter has the times of frames go on behind what LastStamp said in another life of the lane.
func (l *Lane[C]) StampAfter(stamp int64) { l.lastStamp = max(l.lastStamp, stamp) }

// Leave ends the subscription with the id, if the connection has it.
func (l *Lane[C]) Leave(c C, subscriptionID string) {
	l.keep(c, func(s subscription) bool { return s.id != subscriptionID })
}

// Disconnect ends every subscription of the connection.
func (l *Lane[C]) Disconnect(c C) {
	l.keep(c, func(subscription) bool { return false })
}

func (l *Lane[C]) subscribe(c C, s subscription) {
	l.Leave(c, s.id)
	l.connections[c] = append(l.connections[c], s)
	l.index(c, s)
}

// index enters a subscription where records look for it. A connection that has several which match is owed what any of
// them is owed.
func (l *Lane[C]) index(c C, s subscription) {
	matching := l.whole
	if s.item != "" {
		matching = l.items[s.item]
		if matching == nil {
			matching = audience[C]{}
			l.items[s.item] = matching
		}
	}
	if from, found := matching[c]; !found || s.from < from {
		matching[c] = s.from
	}
}

// keep removes the other subscriptions of a connection.
func (l *Lane[C]) keep(c C, kept func(subscription) bool) {
	before := l.connections[c]
	if !slices.ContainsFunc(before, func(s subscription) bool { return !kept(s) }) {
		return
	}
	for _, s := range before {
		l.unindex(c, s.item)
	}
	after := slices.DeleteFunc(before, func(s subscription) bool { return !kept(s) })
	if len(after) == 0 {
		delete(l.connections, c)
		return
	}
	l.connections[c] = after
	for _, s := range after {
		l.index(c, s)
	}
}

func (l *Lane[C]) unindex(c C, item string) {
	if item == "" {
		delete(l.whole, c)
		return
	}
	delete(l.items[item], c)
	if len(l.items[item]) == 0 {
		delete(l.items, item)
	}
}

// Record takes a record of the group to its subscribers: a change of an item to those of the item and of the group, an
// event likewise, or, when it names no item, to those of the group alone. A connection gets one frame, however many of its
// subscriptions match.
func (l *Lane[C]) Record(r *port.Record) {
	switch {
	case r.Target != "": // repeated for one function only
	case r.Change != nil:
		if l.Interested(r.Change.Key) {
			l.change(r)
		}
	case r.Event != nil:
		if l.Interested(r.Event.Item) {
			l.event(r)
		}
	}
}

// Interested reports whether anybody is subscribed to the item, or to the group; for "", to the group.
func (l *Lane[C]) Interested(item string) bool {
	return len(l.whole) > 0 || len(l.items[item]) > 0
}

func (l *Lane[C]) change(r *port.Record) {
	frame := Frame{Item: r.Change.Key, Version: r.Change.Version}
	value := r.Change.New
	switch r.Change.Kind() {
	case port.Created:
		frame.Kind = KindCreate
	case port.Updated:
		frame.Kind = KindUpdate
	case port.Deleted:
		frame.Kind, value = KindDelete, r.Change.Old
	}
	frame.Data = withID(r.Change.Key, value)
	to := l.owed(r.Change.Key, r.Position)
	if l.options.Knows != nil {
		to = without(to, func(c C) bool { return l.options.Knows(c, r.Change) })
	}
	l.push(&frame, r.Position, to)
}

// without yields those of which drop says no.
func without[C comparable](all iter.Seq[C], drop func(C) bool) iter.Seq[C] {
	return func(yield func(C) bool) {
		for c := range all {
			if !drop(c) && !yield(c) {
				return
			}
		}
	}
}

func (l *Lane[C]) event(r *port.Record) {
	frame := Frame{Item: r.Event.Item, Kind: KindEvent, Type: r.Event.Type, Data: r.Event.Data}
	l.push(&frame, r.Position, l.owed(frame.Item, r.Position))
}

func (l *Lane[C]) push(frame *Frame, position uint64, to iter.Seq[C]) {
	l.address(frame, position)
	l.text = frame.AppendTo(l.text[:0])
	l.options.Sink.Push(l.text, to)
	l.release()
}

// release gives up a large buffer, so that a lane which is idle holds little.
func (l *Lane[C]) release() {
	const kept = 8 << 10
	if cap(l.text) > kept {
		l.text = nil
	}
}

// address fills in what all frames of the lane have.
func (l *Lane[C]) address(frame *Frame, position uint64) {
	frame.Time = l.stamp(frame.Version)
	frame.Stream, frame.Group = l.stream, l.group
	frame.Position = Position{Epoch: l.options.Epoch, Sequence: position}
}

// owed yields the connections that are owed a record about the item ("" is none) at the position.
func (l *Lane[C]) owed(item string, position uint64) iter.Seq[C] {
	return func(yield func(C) bool) {
		for c, from := range l.whole {
			if position > from && !yield(c) {
				return
			}
		}
		for c, from := range l.items[item] {
			whole, both := l.whole[c]
			if position > from && !(both && position > whole) && !yield(c) {
				return
			}
		}
	}
}

// stamp returns the time of the next frame: after every one of this lane, and not before the version it is about. So the
// times of an item's frames rise even where the lane begins anew behind a clock that was set back.
func (l *Lane[C]) stamp(version int64) int64 {
	l.lastStamp = max(l.options.Now().UnixMicro(), l.lastStamp+1, version)
	return l.lastStamp
}

// syncItem yields the one frame that answers the join of an item.
func (l *Lane[C]) syncItem(item string, docs []port.Document, position uint64) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		frame := Frame{Item: item, Kind: KindSync}
		if len(docs) > 0 {
			frame.Data, frame.Version = withID(item, docs[0].Value), docs[0].Version
		}
		l.address(&frame, position)
		l.text = frame.AppendTo(l.text[:0])
		yield(l.text)
	}
}

// syncGroup yields the frames that answer the join of the group: a sync of as many items as fit into a message, and a
// create for each of the rest.
func (l *Lane[C]) syncGroup(docs []port.Document, position uint64) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		rest := l.makeSync(docs, position)
		if !yield(l.text) {
			return
		}
		for _, doc := range rest {
			frame := Frame{Item: doc.Key, Kind: KindCreate, Data: withID(doc.Key, doc.Value), Version: doc.Version}
			l.address(&frame, position)
			l.text = frame.AppendTo(l.text[:0])
			if !yield(l.text) {
				return
			}
		}
	}
}

// makeSync makes the text of a sync frame and returns the items that did not fit.
func (l *Lane[C]) makeSync(docs []port.Document, position uint64) (rest []port.Document) {
	frame := Frame{Kind: KindSync}
	l.address(&frame, position)
	tail := frame.appendTail([]byte{']'})
	text := append(frame.appendHead(l.text[:0]), '[')
	for i, doc := range docs {
		item := withID(doc.Key, doc.Value)
		if len(text)+len(",")+len(item)+len(tail) > MaxMessage {
			rest = docs[i:]
			break
		}
		if i > 0 {
			text = append(text, ',')
		}
		text = append(text, item...)
	}
	l.text = append(text, tail...)
	return rest
}

// withID returns an item that carries its id. One that was stored by Item does.
func withID(id string, item document.Value) document.Value {
	if item.Field("id") != nil {
		return item
	}
	return item.WithField("id", appendString(nil, id))
}
