package crash_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// news is what the todo app told its subscribers. They miss what happens while they are not connected, but what they
// are told is told once and in order.
type news struct {
	last map[string]string // the last action told, by todo
	told int
	faults
}

func newNews() *news { return &news{last: make(map[string]string)} }

// take takes in a frame and notes what is wrong with it.
func (n *news) take(f frame) {
	if f.Event.Type == "sync" {
		return
	}
	n.told++
	told := f.Event.Event.Data
	before := n.last[told.Key]
	switch {
	case f.Event.Type != "event" || f.Event.Event.Type != "todo_changed" || told.Key == "":
		n.fault("a frame that tells nothing: %+v", f)
	case before == "deleted", before != "" && told.Action == "created":
		n.fault("todo %s is %s after it was %s", told.Key, told.Action, before)
	}
	n.last[told.Key] = told.Action
}

func TestNews(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		actions []string
		want    faults
	}{
		{"a life in order is fine", []string{"created", "updated", "updated", "deleted"}, nil},
		{"a life with a gap is fine", []string{"updated", "deleted"}, nil},
		{"what is told twice is found", []string{"created", "created"}, faults{"todo a is created after it was created"}},
		{"what is told too late is found", []string{"created", "deleted", "updated"},
			faults{"todo a is updated after it was deleted"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			n := newNews()
			for _, action := range test.actions {
				var f frame
				f.Event.Type, f.Event.Event.Type = "event", "todo_changed"
				f.Event.Event.Data.Key, f.Event.Event.Data.Action = "a", action
				n.take(f)
			}
			if diff := cmp.Diff(test.want, n.faults); diff != "" {
				t.Errorf("faults (-want +got):\n%s", diff)
			}
		})
	}
}
