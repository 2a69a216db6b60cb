package sockets

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/eddyhq/eddy/shared/aws/dynamo"
	"github.com/eddyhq/eddy/shared/aws/message"
	"github.com/eddyhq/eddy/shared/errs"
	"github.com/eddyhq/eddy/shared/port"
	"github.com/eddyhq/eddy/shared/stream"
)

const (
	maxSeen = 500              // items and events whose passing is remembered: 10 KB of a row
	transit = 15 * time.Minute // within which a record has passed, if nothing is known of it
	maxHeld = 8 << 20          // bytes of frames, after which they are pushed before the batch is at its end
)

// group is a live group in the hands of a run: a stream.Lane, and what has to be stored of what happens to it.
type group struct {
	options      *LanesOptions
	collection   port.Collection
	stream, name string
	epoch        string
	stored       dynamo.LaneState
	lane         *stream.Lane[string]
	outbox       outbox

	members       map[string]map[string]dynamo.Subscription // by connection and id
	subscriptions int                                       // of all of them
	handled       []byte                                    // the digests of the messages of this run
	sequence      uint64                                    // of the last record
	revision      uint64                                    // of the last join, or what is stored
	seen          versions
	ahead         ahead
	passing       []insight            // what joins knew of the item whose record passes
	read          []dynamo.Item        // by the last join
	whole         []dynamo.Item        // the group, when it was read in this run
	since         map[string]time.Time // when connections of this batch connected

	learned            bool // ahead has what is not stored yet
	joined, left, gone keys
}

// keys name subscriptions.
type keys map[dynamo.SubscriptionKey]struct{}

func newGroup(
	options *LanesOptions, collection port.Collection, state dynamo.LaneState, stored dynamo.Subscriptions,
) *group {
	g := &group{options: options, collection: collection, members: map[string]map[string]dynamo.Subscription{}}
	g.stream, g.name, _ = collection.Group()
	if g.epoch = state.Epoch; g.epoch == "" {
		g.epoch = options.NewEpoch()
	}
	g.lane = stream.NewLane(collection, stream.LaneOptions[string]{
		Epoch: g.epoch, Snapshot: g.snapshot, Sink: &g.outbox, Now: options.Now, Knows: g.knows,
	})
	g.goOn(state)
	g.ahead = decodeAhead(stored.Ahead)
	g.ahead.drop(&g.seen)
	for _, s := range stored.All {
		g.enter(s)
		g.lane.Resume(s.Connection, s.ID, s.Item, s.From)
	}
	return g
}

// continues reports whether the group, kept in memory, has the subscriptions of the stored state. If so, it goes on
// there.
func (g *group) continues(state dynamo.LaneState) bool {
	if state.Epoch != g.epoch || state.Revision != g.stored.Revision {
		return false
	}
	g.goOn(state)
	return true
}

func (g *group) goOn(state dynamo.LaneState) {
	g.stored = state
	g.sequence, g.revision = state.Sequence, state.Revision
	g.seen = decodeVersions(state.Seen)
	g.lane.StampAfter(state.Stamp)
	g.handled, g.whole = nil, nil
	g.begin()
}

// begin says that everything is stored.
func (g *group) begin() {
	g.learned = false
	g.since = map[string]time.Time{}
	g.joined, g.left, g.gone = keys{}, keys{}, keys{}
}

func (g *group) enter(s dynamo.Subscription) {
	if g.members[s.Connection] == nil {
		g.members[s.Connection] = map[string]dynamo.Subscription{}
	}
	if _, found := g.members[s.Connection][s.ID]; !found {
		g.subscriptions++
	}
	g.members[s.Connection][s.ID] = s
}

// remove takes a subscription out, and reports whether there was one.
func (g *group) remove(key dynamo.SubscriptionKey) bool {
	if _, found := g.members[key.Connection][key.ID]; !found {
		return false
	}
	delete(g.members[key.Connection], key.ID)
	if len(g.members[key.Connection]) == 0 {
		delete(g.members, key.Connection)
	}
	g.subscriptions--
	delete(g.joined, key)
	return true
}

// isHandled reports whether the stored state has what came of the message: the queue did not hear that it was handled.
func (g *group) isHandled(id string) bool {
	if id == "" {
		return false
	}
	d := digestOf("message", id)
	for handled := range slices.Chunk(g.stored.Handled, len(d)) {
		if digest(handled) == d {
			return true
		}
	}
	return false
}

// note says that a message is handled, once what came of it is stored.
func (g *group) note(id string) {
	d := digestOf("message", id)
	g.handled = append(g.handled, d[:]...)
}

// handle takes a message to the lane.
func (g *group) handle(ctx context.Context, m *message.Message) error {
	for i := range m.Records {
		g.record(&m.Records[i])
	}
	if m.Socket == nil {
		return nil
	}
	switch s := m.Socket; s.Kind {
	case message.Join:
		return g.join(ctx, s)
	case message.Leave:
		g.leave(dynamo.SubscriptionKey{Connection: s.Connection, ID: s.SubscriptionID})
	case message.Gone:
		g.disconnect(s.Connection)
		g.outbox.drop(s.Connection)
	}
	return nil
}

// record numbers a record and takes it to its subscribers, unless it passed already: the router gives some again. What
// nobody is interested in passes unnoticed. Who is told, and who knew, has no part in the numbers: when messages are
// handled again, in other batches and after other snapshots, records have to get the numbers that they had.
func (g *group) record(r *message.Record) {
	var item string
	var d digest
	version := int64(1)
	switch {
	case r.Target != "" || r.Call != nil: // not for subscribers
		return
	case r.Change != nil:
		item, d, version = r.Change.Key, itemDigest(r.Change.Key), r.Change.Version
	default:
		item, d = r.Event.Item, eventDigest(r.ID)
	}
	if !g.lane.Interested(item) || g.seen.covers(d, version) {
		return
	}
	g.seen.learn(d, version)
	g.sequence++
	g.passing = g.ahead.of[d]
	numbered := r.Record
	numbered.Position = g.sequence
	g.lane.Record(&numbered)
}

// knows reports whether the snapshots of all subscriptions of the connection that match had the change that passes: it
// implements stream.LaneOptions.Knows. One that did not is owed the change, whatever the others know.
func (g *group) knows(connection string, change *port.Change) bool {
	if len(g.passing) == 0 {
		return false
	}
	for _, s := range g.members[connection] {
		if (s.Item == "" || s.Item == change.Key) && knownTo(s.Revision, g.passing) < change.Version {
			return false
		}
	}
	return true
}

// join subscribes a connection. One that cannot be is told so, which is no failure of the message.
func (g *group) join(ctx context.Context, s *message.Socket) error {
	g.since[s.Connection] = time.UnixMilli(s.ConnectedAt)
	key := dynamo.SubscriptionKey{Connection: s.Connection, ID: s.SubscriptionID}
	join := stream.Join{SubscriptionID: s.SubscriptionID, Stream: g.stream, Group: g.name, Item: s.Item}
	err := g.lane.Join(ctx, s.Connection, join)
	if ctx.Err() != nil {
		return errs.From(ctx.Err())
	}
	if err != nil {
		g.options.Logger.ErrorContext(ctx, "a join failed",
			slog.String("group", string(g.collection)), slog.Any("error", err))
		return nil
	}
	g.revision++
	g.learn()
	g.enter(dynamo.Subscription{
		SubscriptionKey: key, ConnectedAt: g.since[s.Connection], Item: s.Item, From: g.sequence, Revision: g.revision,
	})
	g.joined[key] = struct{}{}
	delete(g.left, key)
	delete(g.gone, key)
	return nil
}

// snapshot implements stream.Snapshot: at the position that the lane has come to, or ahead of it. The joins of a run
// share that of the group: it was taken after they were asked for, and after all records beside them were written.
func (g *group) snapshot(ctx context.Context, _ port.Collection, item string) ([]port.Document, uint64, error) {
	read := g.whole
	if item != "" || read == nil {
		var err error
		if read, err = g.options.Store.Snapshot(ctx, g.collection, item, stream.MaxSync); err != nil {
			return nil, 0, err
		}
	}
	if item == "" {
		g.whole = append([]dynamo.Item{}, read...) // not nil, though there be none
	}
	docs := make([]port.Document, 0, len(read))
	for _, one := range read {
		if one.Value != nil {
			docs = append(docs, port.Document{Key: one.Key, Value: one.Value, Version: one.Version})
		}
	}
	g.read = read
	return docs, g.sequence, nil
}

// learn notes what the last snapshot had of what did not pass yet, deletions included. Where nobody remembers whether
// an item passed, the time of its last write tells.
func (g *group) learn() {
	g.ahead.drop(&g.seen)
	oldest := func(a, b dynamo.Item) int { return a.Updated.Compare(b.Updated) }
	old := g.options.Now().Add(-transit)
	for _, one := range slices.SortedFunc(slices.Values(g.read), oldest) {
		d := itemDigest(one.Key)
		passed, remembered := g.seen.version(d)
		if remembered && one.Version <= passed || !remembered && one.Updated.Before(old) {
			continue
		}
		if g.ahead.learn(d, g.revision, one.Version) {
			g.learned = true
		}
	}
	g.read = nil
}

func (g *group) leave(key dynamo.SubscriptionKey) {
	if g.remove(key) {
		g.lane.Leave(key.Connection, key.ID)
		g.left[key] = struct{}{}
	}
}

// disconnect ends all subscriptions of a connection that is no more.
func (g *group) disconnect(connection string) {
	g.lane.Disconnect(connection)
	for id := range g.members[connection] {
		key := dynamo.SubscriptionKey{Connection: connection, ID: id}
		g.remove(key)
		g.gone[key] = struct{}{}
	}
}

// full reports whether what happened should be put down before more does.
func (g *group) full() bool {
	return g.outbox.bytes > maxHeld || len(g.joined)+len(g.left) >= dynamo.MaxLaneSteps
}

// put pushes the frames of everything that happened, and then stores that it did.
func (g *group) put(ctx context.Context) error {
	gone, err := g.push(ctx)
	if err != nil {
		return err
	}
	for _, connection := range gone {
		g.disconnect(connection)
	}
	changed := len(g.joined)+len(g.left)+len(g.gone) > 0 || (g.subscriptions == 0) != (g.stored.Subscriptions == 0)
	if !changed && g.sequence == g.stored.Sequence {
		return nil
	}
	if changed {
		g.revision++
	}
	save := g.step()
	if err := g.options.Store.Save(ctx, g.collection, save); err != nil {
		return err
	}
	g.stored = save.Is
	g.begin()
	return nil
}

// push empties the outbox and returns the connections that are no more.
func (g *group) push(ctx context.Context) (gone []string, err error) {
	deliveries := g.outbox.empty()
	if len(deliveries) == 0 {
		return nil, nil
	}
	for i := range deliveries {
		to := &deliveries[i]
		to.ConnectedAt = g.since[to.Connection]
		for _, s := range g.members[to.Connection] {
			to.ConnectedAt = s.ConnectedAt
		}
	}
	return g.options.Push(ctx, deliveries)
}

// step returns what is to be stored.
func (g *group) step() dynamo.LaneSave {
	g.seen.keep(maxSeen)
	save := dynamo.LaneSave{Was: g.stored, Is: dynamo.LaneState{
		Epoch: g.epoch, Sequence: g.sequence, Stamp: g.lane.LastStamp(),
		Revision: g.revision, Subscriptions: g.subscriptions, Seen: g.seen.encode(), Handled: slices.Clone(g.handled),
	}}
	for key := range g.joined {
		save.Joined = append(save.Joined, g.members[key.Connection][key.ID])
	}
	save.Left, save.Gone = slices.Collect(maps.Keys(g.left)), slices.Collect(maps.Keys(g.gone))
	if g.learned {
		save.Ahead = g.ahead.encode()
	}
	return save
}
