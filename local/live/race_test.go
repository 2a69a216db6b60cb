package live_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/eddyhq/eddy/local/live"
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
	case f.Event.Type == "create" && !exists, f.Event.Type == "update" && exists:
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
	for r.items["end"] == "" && frames > 0 {
		if f, err = c.read(); err != nil {
			return nil, err
		}
		if err := r.apply(f); err != nil {
			return nil, err
		}
		frames--
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

// A storm of writes while clients join and leave all the time: each ends with exactly what the store has, and never saw a
// frame that does not follow from those before.
func TestNoSubscriberMissesOrRepeatsAChange(t *testing.T) {
	t.Parallel()
	const writers, writes, joiners, keys = 3, 4000, 12, 6
	w := start(t, live.Options{MaxQueuedFrames: 1 << 20, MaxQueuedBytes: 1 << 30})
	var writing, joining sync.WaitGroup
	for n := range writers {
		random := rand.New(rand.NewPCG(1, uint64(n)))
		writing.Go(func() {
			for i := range writes {
				key := fmt.Sprint("k", random.IntN(keys))
				value := item(key, n*writes+i)
				if random.IntN(4) == 0 {
					value = nil
				}
				w.set(group, key, value)
			}
		})
	}
	for n := range joiners {
		random := rand.New(rand.NewPCG(2, uint64(n)))
		joining.Go(func() {
			for range 20 {
				c, _, err := w.tryDial("/stream/s/g", nil)
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := follow(c, "", random.IntN(200)); err != nil {
					t.Error(err)
				}
				_ = c.conn.CloseNow()
			}
			c, _, err := w.tryDial("/stream/s/g", nil)
			if err != nil {
				t.Error(err)
				return
			}
			r, err := follow(c, "", 1<<40)
			if err != nil {
				t.Error(err)
				return
			}
			if diff := cmp.Diff(w.items(), r.items); diff != "" {
				t.Errorf("the subscriber ended with (-want +got):\n%s", diff)
			}
		})
	}
	writing.Wait()
	w.set(group, "end", item("end", 0))
	joining.Wait()
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
