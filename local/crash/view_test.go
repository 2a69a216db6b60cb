package crash_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// view is what the frames of the mirror say: the items as they are now. It outlives connections.
type view struct {
	items      map[string]int
	versions   map[string]int64   // the highest seen, by item
	timestamps map[string]float64 // the highest seen, by item
	synced     bool               // this connection had its sync
	frames     int
	faults
}

func newView() *view {
	return &view{items: make(map[string]int), versions: make(map[string]int64), timestamps: make(map[string]float64)}
}

// take takes in a frame and notes what is wrong with it.
func (v *view) take(f frame) {
	v.frames++
	if f.Type != "stream" {
		v.fault("a frame of type %q", f.Type)
		return
	}
	if f.Event.Type == "sync" {
		v.sync(f)
		return
	}
	if !v.synced {
		v.fault("a %s of %s came before the sync", f.Event.Type, f.ID)
	}
	v.live(f)
}

func (v *view) sync(f frame) {
	var items []item
	if err := json.Unmarshal(f.Event.Data, &items); err != nil {
		v.fault("a sync of %s: %v", f.Event.Data, err)
	}
	v.items, v.synced = make(map[string]int), true
	for _, i := range items {
		v.items[i.ID] = i.N
	}
}

func (v *view) live(f frame) {
	if f.Version <= v.versions[f.ID] {
		v.fault("a %s of %s at version %d came after version %d", f.Event.Type, f.ID, f.Version, v.versions[f.ID])
	}
	if f.Timestamp <= v.timestamps[f.ID] {
		v.fault("a %s of %s at timestamp %f came after %f", f.Event.Type, f.ID, f.Timestamp, v.timestamps[f.ID])
	}
	v.versions[f.ID], v.timestamps[f.ID] = f.Version, f.Timestamp
	var i item
	if err := json.Unmarshal(f.Event.Data, &i); err != nil || i.ID != f.ID {
		v.fault("a %s of %s with data %s", f.Event.Type, f.ID, f.Event.Data)
	}
	_, exists := v.items[f.ID]
	switch kind := f.Event.Type; {
	case kind == "create" && !exists, kind == "update" && exists:
		v.items[f.ID] = i.N
	case kind == "delete" && exists:
		delete(v.items, f.ID)
	default:
		v.fault("a %s of %s (there: %t)", kind, f.ID, exists)
	}
}

// watch subscribes the view to the mirror; the frames begin with a sync again.
func (v *view) watch(t *testing.T, address string) *watcher {
	t.Helper()
	v.synced = false
	return watch(t, address, "ledger-live", v.take)
}

// shows returns what is wrong with the view, if these are the items.
func (v *view) shows(items map[string]int) error {
	if !v.synced || !maps.Equal(v.items, items) {
		return fmt.Errorf("the subscriber sees (-items +seen):\n%s", cmp.Diff(items, v.items))
	}
	return nil
}

func TestView(t *testing.T) {
	t.Parallel()
	sync := `{"type":"stream","timestamp":5,"event":{"type":"sync","data":[{"id":"a","n":1}]}}`
	live := func(kind, id string, n int, version int64, timestamp float64) string {
		return fmt.Sprintf(`{"type":"stream","timestamp":%f,"id":%q,"version":%d,"event":{"type":%q,"data":{"id":%q,"n":%d}}}`,
			timestamp, id, version, kind, id, n)
	}
	tests := []struct {
		name   string
		frames []string
		items  map[string]int
		faults int
	}{
		{"a sync gives the items", []string{sync}, map[string]int{"a": 1}, 0},
		{"frames after it change them", []string{
			sync, live("update", "a", 2, 10, 10), live("create", "b", 1, 11, 11), live("delete", "a", 2, 12, 12),
		}, map[string]int{"b": 1}, 0},
		{"a frame before the sync is found", []string{live("create", "a", 1, 10, 10), sync}, map[string]int{"a": 1}, 1},
		{"a frame that comes twice is found", []string{sync, live("update", "a", 2, 10, 10), live("update", "a", 2, 10, 11)},
			map[string]int{"a": 2}, 1},
		{"a frame that is missing is found", []string{sync, live("update", "b", 2, 10, 10)}, map[string]int{"a": 1}, 1},
		{"timestamps that do not rise are found", []string{sync, live("update", "a", 2, 10, 10), live("update", "a", 3, 11, 10)},
			map[string]int{"a": 3}, 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			v := newView()
			for _, text := range test.frames {
				var f frame
				if err := json.Unmarshal([]byte(text), &f); err != nil {
					t.Fatal(err)
				}
				v.take(f)
			}
			if diff := cmp.Diff(test.items, v.items); diff != "" {
				t.Errorf("items (-want +got):\n%s", diff)
			}
			if len(v.faults) != test.faults {
				t.Errorf("faults = %q, want %d", v.faults, test.faults)
			}
		})
	}
}
