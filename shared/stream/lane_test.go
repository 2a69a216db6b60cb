package stream_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/eddyhq/eddy/shared/document"
	"github.com/eddyhq/eddy/shared/port"
	"github.com/eddyhq/eddy/shared/stream"
)

var lane = port.Group("s", "g")

// history is a group whose records the lane has not all been given yet.
type history struct {
	items    map[string]port.Document
	position uint64
	records  []port.Record
	failing  error
}

func (h *history) snapshot(_ context.Context, c port.Collection, item string) ([]port.Document, uint64, error) {
	if c != lane {
		panic("a snapshot of " + c)
	}
	docs := []port.Document{}
	for _, key := range slices.Sorted(maps.Keys(h.items)) {
		if item == "" || item == key {
			docs = append(docs, h.items[key])
		}
	}
	return docs, h.position, h.failing
}

// write makes a record; a nil value deletes the item.
func (h *history) write(key string, value document.Value) {
	old := h.items[key]
	if old.Value == nil && value == nil {
		return
	}
	h.position++
	version := int64(h.position)
	h.items[key] = port.Document{Key: key, Value: value, Version: version}
	if value == nil {
		delete(h.items, key)
	}
	h.records = append(h.records, port.Record{Position: h.position, Change: &port.Change{
		Collection: lane, Key: key, Old: old.Value, New: value, Version: version,
	}})
}

func (h *history) send(item string) {
	h.position++
	event := &port.Event{Group: lane, Item: item, Type: "t", Data: document.Value(`1`)}
	h.records = append(h.records, port.Record{Position: h.position, Event: event})
}

// delivered is one frame as a connection got it.
type delivered struct {
	To, Kind, Item, Data string
}

type recorder struct {
	frames []delivered
	stamps []float64
	sizes  []int
}

func (r *recorder) Push(text []byte, to iter.Seq[string]) {
	for c := range to {
		r.add(text, c)
	}
}

func (r *recorder) Sync(to string, frames iter.Seq[[]byte]) {
	for text := range frames {
		r.add(text, to)
	}
}

func (r *recorder) add(text []byte, to string) {
	var frame struct {
		Timestamp float64
		ID        string
		Event     struct {
			Type string
			Data json.RawMessage
		}
	}
	if err := json.Unmarshal(text, &frame); err != nil {
		panic(err)
	}
	r.frames = append(r.frames, delivered{to, frame.Event.Type, frame.ID, string(frame.Event.Data)})
	r.stamps = append(r.stamps, frame.Timestamp)
	r.sizes = append(r.sizes, len(text))
}

func (r *recorder) take() []delivered {
	frames := r.frames
	r.frames = nil
	return frames
}

func newLane(now func() time.Time) (*stream.Lane[string], *history, *recorder) {
	h, r := &history{items: map[string]port.Document{}}, &recorder{}
	return stream.NewLane(lane, stream.LaneOptions[string]{Epoch: "e", Snapshot: h.snapshot, Sink: r, Now: now}), h, r
}

// receivers returns who got the frames since the last take.
func (r *recorder) receivers() []string {
	receivers := []string{}
	for _, frame := range r.take() {
		receivers = append(receivers, frame.To)
	}
	slices.Sort(receivers)
	return receivers
}

type laneSubscription struct {
	connection, id, item string
	from                 uint64
}

// owed returns the connections that have to get one frame of the record.
func owed(subscriptions []laneSubscription, r *port.Record) []string {
	item := ""
	if r.Change != nil {
		item = r.Change.Key
	} else {
		item = r.Event.Item
	}
	connections := []string{}
	for _, s := range subscriptions {
		if r.Position > s.from && (s.item == "" || s.item == item) {
			connections = append(connections, s.connection)
		}
	}
	slices.Sort(connections)
	return slices.Compact(connections)
}

// The lane against a list of subscriptions that is searched from end to end for each record. The lane gets its records
// late, as it does wherever a join overtakes them.
func TestALaneFollowsItsSubscriptions(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		l, h, sent := newLane(func() time.Time { return time.UnixMicro(1000) })
		connections, ids, keys := []string{"A", "B", "C"}, []string{"1", "2", "3"}, []string{"x", "y"}
		var subscriptions []laneSubscription
		remove := func(gone func(s laneSubscription) bool) { subscriptions = slices.DeleteFunc(subscriptions, gone) }
		n := 0
		t.Repeat(map[string]func(*rapid.T){
			"write": func(t *rapid.T) {
				n++
				key := rapid.SampledFrom(keys).Draw(t, "key")
				h.write(key, document.Value(fmt.Sprintf(`{"id":%q,"n":%d}`, key, n)))
			},
			"delete": func(t *rapid.T) { h.write(rapid.SampledFrom(keys).Draw(t, "key"), nil) },
			"send":   func(t *rapid.T) { h.send(rapid.SampledFrom(append(keys, "")).Draw(t, "item")) },
			"join": func(t *rapid.T) {
				c, id := rapid.SampledFrom(connections).Draw(t, "connection"), rapid.SampledFrom(ids).Draw(t, "id")
				item := rapid.SampledFrom(append(keys, "")).Draw(t, "item")
				if err := l.Join(t.Context(), c, stream.Join{SubscriptionID: id, Stream: "s", Group: "g", Item: item}); err != nil {
					t.Fatal(err)
				}
				remove(func(s laneSubscription) bool { return s.connection == c && s.id == id })
				subscriptions = append(subscriptions, laneSubscription{c, id, item, h.position})
				if diff := cmp.Diff([]delivered{{c, "sync", item, h.sync(item)}}, sent.take()); diff != "" {
					t.Fatalf("sync (-want +got):\n%s", diff)
				}
			},
			"leave": func(t *rapid.T) {
				c, id := rapid.SampledFrom(connections).Draw(t, "connection"), rapid.SampledFrom(ids).Draw(t, "id")
				l.Leave(c, id)
				remove(func(s laneSubscription) bool { return s.connection == c && s.id == id })
			},
			"disconnect": func(t *rapid.T) {
				c := rapid.SampledFrom(connections).Draw(t, "connection")
				l.Disconnect(c)
				remove(func(s laneSubscription) bool { return s.connection == c })
			},
			"records": func(t *rapid.T) {
				given := rapid.IntRange(0, len(h.records)).Draw(t, "records")
				for _, record := range h.records[:given] {
					l.Record(&record)
					if diff := cmp.Diff(owed(subscriptions, &record), sent.receivers()); diff != "" {
						t.Fatalf("who got a frame of %+v (-want +got):\n%s", record, diff)
					}
				}
				h.records = h.records[given:]
			},
			"": func(t *rapid.T) {
				if l.Empty() != (len(subscriptions) == 0) {
					t.Fatalf("empty is %v with %d subscriptions", l.Empty(), len(subscriptions))
				}
				in := map[string]bool{}
				for _, s := range subscriptions {
					in[s.connection] = true
				}
				if diff := cmp.Diff(slices.Sorted(maps.Keys(in)), slices.Sorted(l.Connections())); diff != "" {
					t.Fatalf("connections (-want +got):\n%s", diff)
				}
			},
		})
	})
}

// sync is the data of the sync that a join gets now.
func (h *history) sync(item string) string {
	docs, _, _ := h.snapshot(context.Background(), lane, item)
	texts := []string{}
	for _, doc := range docs {
		texts = append(texts, string(doc.Value))
	}
	switch {
	case item == "":
		return "[" + strings.Join(texts, ",") + "]"
	case len(texts) == 0:
		return "null"
	default:
		return texts[0]
	}
}

func TestLane(t *testing.T) {
	t.Parallel()
	join := stream.Join{SubscriptionID: "1", Stream: "s", Group: "g"}
	frozen := func() time.Time { return time.UnixMicro(1000) }

	t.Run("timestamps rise although the clock stands still, and are not below the version", func(t *testing.T) {
		t.Parallel()
		l, h, sent := newLane(frozen)
		_ = l.Join(t.Context(), "A", join)
		h.send("x")
		h.send("x")
		h.position = 5000
		h.write("x", document.Value(`{"id":"x"}`))
		h.send("x")
		for i := range h.records {
			l.Record(&h.records[i])
		}
		_ = l.Join(t.Context(), "A", join)
		if diff := cmp.Diff([]float64{1, 1.001, 1.002, 5.001, 5.002, 5.003}, sent.stamps); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
	t.Run("an item stored without its id carries it, also when it is deleted", func(t *testing.T) {
		t.Parallel()
		l, h, sent := newLane(frozen)
		h.write("x", document.Value(`{"n":1}`))
		h.write("y", document.Value(`{"n":1}`))
		_ = l.Join(t.Context(), "A", join)
		h.records = nil
		h.write("x", document.Value(`{"n":2}`))
		h.write("x", nil)
		for i := range h.records {
			l.Record(&h.records[i])
		}
		want := []delivered{
			{"A", "sync", "", `[{"id":"x","n":1},{"id":"y","n":1}]`},
			{"A", "update", "x", `{"id":"x","n":2}`},
			{"A", "delete", "x", `{"id":"x","n":2}`},
		}
		if diff := cmp.Diff(want, sent.take()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
	t.Run("a record for one function only is not for subscribers", func(t *testing.T) {
		t.Parallel()
		l, h, sent := newLane(frozen)
		_ = l.Join(t.Context(), "A", join)
		h.write("x", document.Value(`{"id":"x"}`))
		h.records[0].Target = "f"
		l.Record(&h.records[0])
		if got := sent.take()[1:]; len(got) > 0 {
			t.Errorf("got %+v", got)
		}
	})
	t.Run("a join that fails leaves what there was", func(t *testing.T) {
		t.Parallel()
		l, h, sent := newLane(frozen)
		_ = l.Join(t.Context(), "A", join)
		h.failing = errors.New("secret")
		if err := l.Join(t.Context(), "A", join); !errors.Is(err, h.failing) {
			t.Errorf("got %v", err)
		}
		if err := l.Join(t.Context(), "B", join); !errors.Is(err, h.failing) {
			t.Errorf("got %v", err)
		}
		h.write("x", document.Value(`{"id":"x"}`))
		l.Record(&h.records[0])
		failure := `{"code":"internal","message":"internal error"}`
		want := []delivered{{"A", "error", "", failure}, {"B", "error", "", failure}, {"A", "create", "x", `{"id":"x"}`}}
		if diff := cmp.Diff(want, sent.take()[1:]); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
	t.Run("a life that is resumed goes on where another was put down", func(t *testing.T) {
		t.Parallel()
		first, h, sent := newLane(frozen)
		_ = first.Join(t.Context(), "A", join)
		_ = first.Join(t.Context(), "B", stream.Join{SubscriptionID: "1", Stream: "s", Group: "g", Item: "y"})
		h.write("x", document.Value(`{"id":"x"}`))
		h.write("y", document.Value(`{"id":"y"}`))
		first.Record(&h.records[0])
		sent.take()

		second := stream.NewLane(lane, stream.LaneOptions[string]{Epoch: "e", Snapshot: h.snapshot, Sink: sent, Now: frozen})
		second.StampAfter(first.LastStamp())
		second.Resume("A", "1", "", 0)
		second.Resume("B", "1", "y", 0)
		second.Resume("C", "1", "", 2) // a snapshot at that position has both
		second.Record(&h.records[1])
		got := sent.take()
		slices.SortFunc(got, func(a, b delivered) int { return strings.Compare(a.To, b.To) })
		want := []delivered{{"A", "create", "y", `{"id":"y"}`}, {"B", "create", "y", `{"id":"y"}`}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if last := sent.stamps[len(sent.stamps)-1]; last <= sent.stamps[len(sent.stamps)-3] {
			t.Errorf("the times are %v", sent.stamps)
		}
		second.StampAfter(0)
		if second.LastStamp() <= first.LastStamp() {
			t.Errorf("the time went back to %d", second.LastStamp())
		}
	})
	t.Run("a change that a connection knows is told to the others only", func(t *testing.T) {
		t.Parallel()
		h, sent := &history{items: map[string]port.Document{}}, &recorder{}
		l := stream.NewLane(lane, stream.LaneOptions[string]{
			Epoch: "e", Snapshot: h.snapshot, Sink: sent, Now: frozen,
			Knows: func(c string, change *port.Change) bool { return c == "A" && change.Key == "x" && change.Version == 1 },
		})
		_ = l.Join(t.Context(), "A", join)
		_ = l.Join(t.Context(), "B", join)
		sent.take()
		h.write("x", document.Value(`{"id":"x","n":1}`))
		h.write("x", document.Value(`{"id":"x","n":2}`))
		h.send("x")
		var got [][]string
		for i := range h.records {
			l.Record(&h.records[i])
			got = append(got, sent.receivers())
		}
		if diff := cmp.Diff([][]string{{"B"}, {"A", "B"}, {"A", "B"}}, got); diff != "" {
			t.Errorf("who got a frame (-want +got):\n%s", diff)
		}
	})
	t.Run("what does not fit into the sync follows as creates", func(t *testing.T) {
		t.Parallel()
		l, h, sent := newLane(frozen)
		longest := strings.Repeat("x", stream.MaxItem-len(`{"id":"","text":""}`)-1)
		for _, key := range []string{"a", "b", "c"} {
			h.write(key, document.Value(`{"id":"`+key+`","text":"`+longest+`"}`))
		}
		h.write("d", document.Value(`{"id":"d"}`))
		_ = l.Join(t.Context(), "A", join)
		var got []string
		for i, frame := range sent.take() {
			got = append(got, frame.Kind+frame.Item)
			if sent.sizes[i] > stream.MaxMessage {
				t.Errorf("frame %d has %d bytes", i, sent.sizes[i])
			}
		}
		if diff := cmp.Diff([]string{"sync", "createb", "createc", "created"}, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if !slices.IsSorted(sent.stamps) {
			t.Errorf("got %v", sent.stamps)
		}
	})
	t.Run("a group beyond all measure is refused", func(t *testing.T) {
		t.Parallel()
		l, h, sent := newLane(frozen)
		text := document.Value(`{"id":"x","text":"` + strings.Repeat("x", 100_000) + `"}`)
		for n := range stream.MaxSync/100_000 + 1 {
			h.write(fmt.Sprint(n), text)
		}
		if err := l.Join(t.Context(), "A", join); err == nil || !l.Empty() {
			t.Error("the join was let in")
		}
		if got := sent.take(); len(got) != 1 || got[0].Kind != "error" {
			t.Errorf("got %+v", got)
		}
	})
}
