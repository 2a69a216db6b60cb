package sockets_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/eddyhq/eddy/shared/aws/dynamo"
	"github.com/eddyhq/eddy/shared/aws/message"
	"github.com/eddyhq/eddy/shared/document"
	"github.com/eddyhq/eddy/shared/port"
)

// room is one live group of a world in memory: what is stored of it, and what is on its way to its lane.
type room struct {
	group   port.Collection
	history map[string][]dynamo.Item // of each item, all it ever was
	records []message.Record         // all that happened
	routed  int                      // of the records, how many came to the queue
	queue   []queued                 // what is not handled yet
	sent    int                      // messages

	everRouted int // as routed, whatever is routed again
	settled    int // of the records, how many are not routed again

	lane   dynamo.LaneState
	stored map[string]bool // the messages that came with the last step
	subs   map[dynamo.SubscriptionKey]dynamo.Subscription
	ahead  []byte
	told   map[string]*told // what each connection was told, and is owed
}

// queued is a message in the queue.
type queued struct {
	message.Message
	id string
}

func (r *room) enqueue(m message.Message) {
	r.sent++
	m.Lane = string(r.group)
	r.queue = append(r.queue, queued{m, fmt.Sprintf("%s %06d", r.group, r.sent)})
}

func newRoom(name string) *room {
	return &room{
		group: port.Group("s", name), history: map[string][]dynamo.Item{},
		subs: map[dynamo.SubscriptionKey]dynamo.Subscription{}, told: map[string]*told{},
	}
}

// write makes a change at a time; a nil value deletes.
func (r *room) write(at time.Time, key string, value document.Value) {
	var old dynamo.Item
	if past := r.history[key]; len(past) > 0 {
		old = past[len(past)-1]
	}
	if old.Value == nil && value == nil {
		return
	}
	version := old.Version + 1
	if old.Version == 0 {
		version = at.UnixMicro()
	}
	r.history[key] = append(r.history[key], dynamo.Item{Key: key, Value: value, Version: version, Updated: at})
	change := &port.Change{Collection: r.group, Key: key, Old: old.Value, New: value, Version: version}
	r.records = append(r.records, message.Record{ID: change.ID(), Record: port.Record{Change: change}})
}

// send makes an event.
func (r *room) send(item string) {
	id := fmt.Sprint("event-", len(r.records))
	r.records = append(r.records, message.Record{ID: id, Record: port.Record{Event: &port.Event{
		Group: r.group, Item: item, Type: "t", Data: document.Value(fmt.Sprint(len(r.records) + 1)),
	}}})
}

// snapshot returns the items as they are, and the version of each, of deleted ones too.
func (r *room) snapshot(item string) (items []dynamo.Item, versions map[string]int64) {
	versions = map[string]int64{}
	for _, key := range slices.Sorted(maps.Keys(r.history)) {
		if item == "" || item == key {
			now := r.history[key][len(r.history[key])-1]
			items, versions[key] = append(items, now), now.Version
		}
	}
	return items, versions
}

// next returns the version of an item that follows on another.
func (r *room) next(key string, version int64) int64 {
	for _, item := range r.history[key] {
		if item.Version > version {
			return item.Version
		}
	}
	return 0
}

// told is what a connection was told by one room. It knows what it may be told next.
type told struct {
	subscriptions map[string]*interest // from their syncs on
	leaving       map[string]bool      // those whose last wish was to leave
	asked         map[string]int       // how many records had come to the queue when it last wished to join
	heard         map[string]bool      // frames of records
	unsaved       map[string]uint64    // the sequences of those of which nothing is stored: they may come again
	time          float64
	event         int
}

// interest is a subscription as its client sees it.
type interest struct {
	item   string
	known  map[string]int64 // the version of each item
	events map[int]bool     // that are yet to come
	from   int              // events up to it are older than the join: the router may repeat them
}

func newTold() *told {
	return &told{
		subscriptions: map[string]*interest{}, leaving: map[string]bool{},
		heard: map[string]bool{}, unsaved: map[string]uint64{}, asked: map[string]int{},
	}
}

func (i *interest) matches(item string) bool { return i.item == "" || i.item == item }

// frame is one as a client reads it.
type frame struct {
	Timestamp float64
	Stream    string `json:"streamName"`
	Group     string `json:"groupId"`
	ID        string
	Version   int64
	Position  string
	Event     struct {
		Type  string
		Data  json.RawMessage
		Event struct{ Data int }
	}
}

// hear returns what is wrong with a frame, if anything.
func (t *told) hear(r *room, f *frame, joins []*joining) error {
	if f.Timestamp <= t.time {
		return fmt.Errorf("it comes after one of %f", t.time)
	}
	t.time = f.Timestamp
	if f.Event.Type == "sync" {
		return t.hearSync(r, f, joins)
	}
	_, position, _ := strings.Cut(f.Position, ".") // the epoch is another when the first state was not stored
	sequence, err := strconv.ParseUint(position, 36, 64)
	if err != nil {
		return err
	}
	name := fmt.Sprint(sequence, f.Event.Type, f.ID, f.Version, f.Event.Event.Data)
	if t.heard[name] {
		if t.unsaved[name] == 0 {
			return errors.New("it was told, and that was stored")
		}
		return nil
	}
	t.heard[name], t.unsaved[name] = true, sequence
	if f.Event.Type == "event" {
		return t.hearEvent(f)
	}
	return t.hearChange(r, f)
}

func (t *told) hearSync(r *room, f *frame, joins []*joining) error {
	i := slices.IndexFunc(joins, func(j *joining) bool { return !j.heard && j.knows != nil && r.told[j.Connection] == t })
	if i < 0 {
		return errors.New("nobody joined")
	}
	j := joins[i]
	j.heard = true
	if j.Item != f.ID {
		return fmt.Errorf("the join was of %q", j.Item)
	}
	var got []json.RawMessage
	if j.Item != "" {
		got = []json.RawMessage{f.Event.Data}
	} else if err := json.Unmarshal(f.Event.Data, &got); err != nil {
		return err
	}
	want := []json.RawMessage{}
	for _, item := range j.items {
		if item.Value != nil {
			want = append(want, json.RawMessage(item.Value))
		}
	}
	if j.Item != "" && len(want) == 0 {
		want = append(want, json.RawMessage("null"))
	}
	if !slices.EqualFunc(want, got, func(a, b json.RawMessage) bool { return string(a) == string(b) }) {
		return fmt.Errorf("the snapshot was %s", want)
	}
	t.subscriptions[j.SubscriptionID] = &interest{
		item: j.Item, known: j.knows, events: map[int]bool{}, from: t.asked[j.SubscriptionID],
	}
	return nil
}

func (t *told) hearChange(r *room, f *frame) error {
	at := slices.IndexFunc(r.history[f.ID], func(i dynamo.Item) bool { return i.Version == f.Version })
	if at < 0 {
		return errors.New("the item never had that version")
	}
	is, was := r.history[f.ID][at].Value, document.Value(nil)
	if at > 0 {
		was = r.history[f.ID][at-1].Value
	}
	kind, data := "update", is
	switch {
	case was == nil:
		kind = "create"
	case is == nil:
		kind, data = "delete", was
	}
	if f.Event.Type != kind || string(f.Event.Data) != string(data) {
		return fmt.Errorf("it was a %s of %s", kind, data)
	}
	owed := false
	for id, s := range t.subscriptions {
		known := s.known[f.ID]
		if !s.matches(f.ID) || known >= f.Version {
			continue
		}
		if missed := r.next(f.ID, known); missed != f.Version && !t.leaving[id] {
			return fmt.Errorf("subscription %s was not told of version %d before", id, missed)
		}
		s.known[f.ID], owed = f.Version, true
	}
	if !owed {
		return errors.New("it was known")
	}
	return nil
}

func (t *told) hearEvent(f *frame) error {
	n := f.Event.Event.Data
	owed, old := false, true
	for _, s := range t.subscriptions {
		if s.matches(f.ID) {
			delete(s.events, n)
			owed, old = true, old && n <= s.from
		}
	}
	switch {
	case !owed:
		return errors.New("nobody subscribed to it")
	case !old && n <= t.event:
		return fmt.Errorf("it comes after event %d", t.event)
	case !old:
		t.event = n
	}
	return nil
}

// missing returns what the connection should have been told by now.
func (t *told) missing(r *room) error {
	for id, s := range t.subscriptions {
		for key := range r.history {
			if missed := r.next(key, s.known[key]); s.matches(key) && missed != 0 {
				return fmt.Errorf("subscription %s was not told of version %d of %s", id, missed, key)
			}
		}
		if len(s.events) > 0 {
			return fmt.Errorf("subscription %s was not told of the events %v", id, s.events)
		}
	}
	return nil
}

// of returns what a connection was told.
func (r *room) of(connection string) *told {
	if r.told[connection] == nil {
		r.told[connection] = newTold()
	}
	return r.told[connection]
}

// store takes a step of the lane. What was told before it may not be told again.
func (r *room) store(save dynamo.LaneSave) {
	r.lane = save.Is
	for _, s := range save.Joined {
		r.subs[s.SubscriptionKey] = s
	}
	for _, key := range append(slices.Clone(save.Left), save.Gone...) {
		delete(r.subs, key)
	}
	if save.Ahead != nil {
		r.ahead = save.Ahead
	}
	for _, t := range r.told {
		maps.DeleteFunc(t.unsaved, func(_ string, sequence uint64) bool { return sequence <= save.Is.Sequence })
	}
}

// route puts records into the queue, so many into a message.
func (r *room) route(records, fold int) {
	last := min(r.routed+records, len(r.records))
	for chunk := range slices.Chunk(r.records[r.routed:last], fold) {
		r.enqueue(message.Message{Records: chunk})
	}
	for n := max(r.routed, r.everRouted); n < last; n++ {
		r.expect(n)
	}
	r.routed = last
	r.everRouted = max(r.everRouted, last)
}

// expect notes who has to be told of an event that comes to the queue behind their joins.
func (r *room) expect(n int) {
	e := r.records[n].Event
	if e == nil {
		return
	}
	for _, t := range r.told {
		for id, s := range t.subscriptions {
			if s.matches(e.Item) && !t.leaving[id] {
				s.events[n+1] = true
			}
		}
	}
}

// ask puts a wish of a connection into the queue.
func (r *room) ask(s message.Socket) {
	r.enqueue(message.Message{Socket: &s})
	if s.Kind != message.Gone {
		r.of(s.Connection).leaving[s.SubscriptionID] = s.Kind == message.Leave
		r.of(s.Connection).asked[s.SubscriptionID] = r.everRouted
	}
}

// handled takes messages from the head of the queue.
func (r *room) handled(n int) {
	for i, m := range r.queue[:n] {
		later := func(m queued) bool {
			return m.Socket != nil && m.Socket.Connection == r.queue[i].Socket.Connection &&
				m.Socket.SubscriptionID == r.queue[i].Socket.SubscriptionID
		}
		if s := m.Socket; s != nil && s.Kind == message.Leave && !slices.ContainsFunc(r.queue[i+1:], later) {
			delete(r.of(s.Connection).subscriptions, s.SubscriptionID)
		}
	}
	r.queue = slices.Clone(r.queue[n:])
}
