package live_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/eddyhq/eddy/local/live"
	"github.com/eddyhq/eddy/shared/document"
	"github.com/eddyhq/eddy/shared/pebblestore"
	"github.com/eddyhq/eddy/shared/port"
)

// replica is what a subscriber knows of its group or item. It refuses whatever does not follow from what it knows.
type replica struct {
	items map[string]string
	last  map[string]json.Number // the time of the last frame about an item
	sync  json.Number
}

func (r *replica) apply(f frame) error {
	if last, found := r.last[f.ID]; found && !before(last, f.Timestamp) || !before(r.sync, f.Timestamp) {
		return fmt.Errorf("the time %s of %s is not after %s and the sync's %s", f.Timestamp, f.ID, last, r.sync)
	}
	r.last[f.ID] = f.Timestamp
	known, exists := r.items[f.ID]
	switch {
	case f.Event.Type == "create" && !exists, f.Event.Type == "update" && exists && known != string(f.Event.Data):
		r.items[f.ID] = string(f.Event.Data)
	case f.Event.Type == "delete" && exists && known == string(f.Event.Data):
		delete(r.items, f.ID)
	default:
		return fmt.Errorf("got %s of %s with %s where it was %q", f.Event.Type, f.ID, f.Event.Data, known)
	}
	return nil
}

func before(a, b json.Number) bool {
	x, _ := a.Float64()
	y, _ := b.Float64()
	return x < y
}

// follow subscribes and applies all that comes until the item "end" exists, or some frames later when it gives up early.
func follow(c *client, only string, frames int) (*replica, error) {
	r := &replica{items: map[string]string{}, last: map[string]json.Number{}}
	f, err := c.read()
	if err != nil {
		return nil, err
	}
	if f.Event.Type != "sync" {
		return nil, fmt.Errorf("the first frame is a %s", f.Event.Type)
	}
	r.sync = f.Timestamp
	r.learn(only, f.Event.Data)
	for ; r.items["end"] == "" && frames > 0; frames-- {
		if f, err = c.read(); err != nil {
			return nil, err
		}
		if err := r.apply(f); err != nil {
			return nil, err
		}
	}
	return r, nil
}

func (r *replica) learn(only string, data json.RawMessage) {
	var items []json.RawMessage
	if only != "" {
		items = []json.RawMessage{data}
	} else if err := json.Unmarshal(data, &items); err != nil {
		panic(err)
	}
	for _, item := range items {
		var known *struct{ ID string }
		if err := json.Unmarshal(item, &known); err != nil {
			panic(err)
		}
		if known != nil {
			r.items[known.ID] = string(item)
		}
	}
}

// storage is where a storm writes to, and what is there in the end.
type storage struct {
	write func(key string, value document.Value)
	items func() map[string]string
}

func TestNoSubscriberMissesOrRepeatsAChange(t *testing.T) {
	t.Parallel()
	quick := live.Options{MaxQueuedFrames: 1 << 20, MaxQueuedBytes: 1 << 30} // no client is slow here
	t.Run("of a store in memory", func(t *testing.T) {
		t.Parallel()
		w := start(t, quick)
		storm(t, w, storage{write: func(key string, value document.Value) { w.set(group, key, value) }, items: w.items})
	})
	t.Run("of the durable store", func(t *testing.T) {
		t.Parallel()
		var w *world
		durable, err := pebblestore.Open(t.TempDir(), pebblestore.Options{
			Published: func(records []port.Record) { w.hub.Publish(records) },
		})
		if err != nil {
			t.Fatal(err)
		}
		options := quick
		options.Snapshot = durable.Snapshot
		w = start(t, options)
		t.Cleanup(func() {
			if err := durable.Close(); err != nil {
				t.Error(err)
			}
		})
		storm(t, w, onDurable(t, durable))
	})
}

func onDurable(t *testing.T, store *pebblestore.Store) storage {
	write := func(key string, value document.Value) {
		w := port.Write{Op: port.Set, Collection: group, Key: key, Value: value}
		if value == nil {
			w.Op = port.Delete
		}
		if _, err := store.Commit(context.Background(), port.Commit{Writes: []port.Write{w}}); err != nil {
			t.Error(err)
		}
	}
	items := func() map[string]string {
		docs, _, err := store.Snapshot(context.Background(), group, "")
		if err != nil {
			t.Error(err)
		}
		items := map[string]string{}
		for _, doc := range docs {
			items[doc.Key] = doc.Value.String()
		}
		return items
	}
	return storage{write, items}
}

// storm writes from several sides while clients join and leave all the time: each ends with exactly what the store has,
// and never sees a frame that does not follow from those before.
func storm(t *testing.T, w *world, to storage) {
	const writers, joiners, staying = 3, 8, 4
	var active, ending sync.WaitGroup
	for n := range writers {
		active.Go(func() { writeAtRandom(n, to) })
	}
	for n := range joiners {
		active.Go(func() { joinAtRandom(t, w, n) })
	}
	for range staying {
		ending.Go(func() { stay(t, w, to) })
	}
	calm := make(chan struct{})
	go func() {
		active.Wait()
		close(calm)
	}()
	trickle(to, calm)
	to.write("end", item("end", 0))
	ending.Wait()
}

// trickle keeps an item changing, so that nobody waits for the next frame in vain. Its values are below those of
// writeAtRandom: no write repeats the one before.
func trickle(to storage, until <-chan struct{}) {
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for n := 0; ; n++ {
		select {
		case <-ticker.C:
			to.write("k0", item("k0", -1-n))
		case <-until:
			return
		}
	}
}

// writeAtRandom writes in bursts, so that it goes on while clients join.
func writeAtRandom(seed int, to storage) {
	const bursts, longest, keys = 200, 6, 6
	random := rand.New(rand.NewPCG(1, uint64(seed)))
	ticker := time.NewTicker(2 * time.Millisecond)
	defer ticker.Stop()
	for burst := range bursts {
		for n := range random.IntN(longest) {
			key := fmt.Sprint("k", random.IntN(keys))
			value := item(key, (seed*bursts+burst)*longest+n)
			if random.IntN(4) == 0 {
				value = nil
			}
			to.write(key, value)
		}
		<-ticker.C
	}
}

// joinAtRandom subscribes to the group or to one item of it again and again.
func joinAtRandom(t *testing.T, w *world, seed int) {
	random := rand.New(rand.NewPCG(2, uint64(seed)))
	for range 15 {
		path, only := "/stream/s/g", ""
		if random.IntN(3) == 0 {
			path, only = "/stream/s/g/k0", "k0"
		}
		c, _, err := w.tryDial(path, nil)
		if err != nil {
			t.Error(err)
			return
		}
		if _, err := follow(c, only, random.IntN(30)); err != nil {
			t.Error(err)
		}
		_ = c.conn.CloseNow()
	}
}

// stay subscribes to the group until the end, and compares.
func stay(t *testing.T, w *world, to storage) {
	c, _, err := w.tryDial("/stream/s/g", nil)
	if err != nil {
		t.Error(err)
		return
	}
	r, err := follow(c, "", math.MaxInt)
	if err != nil {
		t.Error(err)
	} else if diff := cmp.Diff(to.items(), r.items); diff != "" {
		t.Errorf("the subscriber ended with (-want +got):\n%s", diff)
	}
}

func (s *store) items() map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	items := map[string]string{}
	for key, doc := range s.groups[group] {
		items[key] = doc.Value.String()
	}
	return items
}
