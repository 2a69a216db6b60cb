package crash_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// todoState is what a todo can be.
type todoState string

const (
	gone todoState = "gone"
	open todoState = "open"
	done todoState = "done"
)

// todoRecord is what a client knows of a todo it created. Its title never changes and is no other todo's.
type todoRecord struct {
	title   string
	id      string // "" while no answer has told
	state   belief[todoState]
	version int64 // the highest that was seen
}

// entryState is what an entry of the ledger can be, and how many writes have changed it so far.
type entryState struct {
	exists  bool
	n       int
	changes int
}

// entryRecord is what a client knows of its entry.
type entryRecord struct {
	key     string
	state   belief[entryState]
	version int64 // the highest that was seen
	current bool  // the version is that of the last change
}

// journal is what one client knows of the documents that it alone writes.
type journal struct {
	name    string
	todos   []*todoRecord
	entries []*entryRecord
	created int
	duties

	acknowledged, uncertain int
	faults
}

func newJournal(name string, entries int) *journal {
	j := &journal{name: name}
	j.moves = belief[int]{0}
	for i := range entries {
		j.entries = append(j.entries, &entryRecord{key: fmt.Sprintf("%s-%d", name, i), state: belief[entryState]{{}}})
	}
	return j
}

// newTodo begins the record of a todo that is about to be created.
func (j *journal) newTodo() *todoRecord {
	j.created++
	r := &todoRecord{title: fmt.Sprintf("%s todo %d", j.name, j.created), state: belief[todoState]{gone}}
	j.todos = append(j.todos, r)
	return r
}

// note takes the end of a write into a belief: what it makes of a state, and whether its answer fits that.
func note[S comparable](j *journal, what string, b *belief[S], r reply, step func(S) (S, bool)) {
	before := slices.Clone(*b)
	switch r.outcome {
	case refused:
		j.fault("%s was refused: %v; it was %v before", what, r, before)
	case uncertain:
		j.uncertain++
		b.mayHaveDone(func(s S) S { s, _ = step(s); return s })
	case acknowledged:
		j.acknowledged++
		if !b.did(step) {
			j.fault("%s was answered %v, which cannot be: it was %v before", what, r, before)
		}
	}
}

// foundTodo is a todo as it lies in the store.
type foundTodo struct {
	ID        string `json:"id"`
	Title     string `json:"title"`
	Completed bool   `json:"completed"`
}

func (f foundTodo) state() todoState {
	if f.Completed {
		return done
	}
	return open
}

// checkTodos compares the records of todos with what is there, takes over what had been open, and removes from the map,
// which is by title, what it accounts for.
func (j *journal) checkTodos(found map[string]stored[foundTodo]) {
	for _, r := range j.todos {
		f, exists := found[r.title]
		delete(found, r.title)
		state := gone
		if exists {
			state = f.Value.state()
		}
		possible := slices.Clone(r.state)
		switch {
		case !r.state.saw(func(s todoState) bool { return s == state }):
			j.fault("todo %q is %s; it can only be %v", r.title, state, possible)
			r.state = belief[todoState]{state}
		case exists && f.Version < r.version:
			j.fault("todo %q is at version %d; it was at %d already", r.title, f.Version, r.version)
		case exists && r.id != "" && f.Key != r.id:
			j.fault("todo %q has the id %s; it had %s", r.title, f.Key, r.id)
		}
		if exists {
			r.id, r.version = f.Key, f.Version
		}
	}
	j.todos = slices.DeleteFunc(j.todos, func(r *todoRecord) bool {
		state, certain := r.state.certain()
		return certain && state == gone // should it come back, it is nobody's
	})
}

// checkEntries compares the records of entries with what is there, by key, and takes over what had been open.
func (j *journal) checkEntries(found map[string]stored[entry]) {
	for _, r := range j.entries {
		f, exists := found[r.key]
		delete(found, r.key)
		possible := slices.Clone(r.state)
		if !r.state.saw(func(s entryState) bool { return s.exists == exists && s.n == f.Value.N }) {
			j.fault("entry %s is %+v (there: %t); it can only be %+v", r.key, f.Value, exists, possible)
			r.state = belief[entryState]{{exists: exists, n: f.Value.N}}
		}
		if exists {
			j.checkVersion(r, possible, f.Version)
		}
	}
}

// checkVersion holds the version found to the one that was acknowledged: higher if a write without an answer has had
// its effect, otherwise the same.
func (j *journal) checkVersion(r *entryRecord, possible belief[entryState], version int64) {
	state, _ := r.state.certain()
	untouched := r.current && state == possible[0]
	if untouched && version != r.version || !untouched && version <= r.version {
		j.fault("entry %s is at version %d; the last one acknowledged is %d, of %+v", r.key, version, r.version, possible[0])
	}
	r.version, r.current = version, true
}

// changes is how often the entries of the journal have changed, by key.
func (j *journal) changes() map[string]entryState {
	all := make(map[string]entryState)
	for _, r := range j.entries {
		if state, certain := r.state.certain(); certain && state.changes > 0 {
			all[r.key] = state
		}
	}
	return all
}

func TestJournalOfTodos(t *testing.T) {
	t.Parallel()
	lying := func(id, title string, completed bool, version int64) stored[foundTodo] {
		return stored[foundTodo]{Key: id, Value: foundTodo{ID: id, Title: title, Completed: completed}, Version: version}
	}
	tests := []struct {
		name  string
		knows todoRecord
		found []stored[foundTodo]
		fault string // "" for none
		owner bool   // whether what was found is accounted for
	}{
		{"a todo that is as it was acknowledged is fine",
			todoRecord{title: "a", id: "1", state: belief[todoState]{open}, version: 5},
			[]stored[foundTodo]{lying("1", "a", false, 5)}, "", true},
		{"an acknowledged todo that is gone is lost",
			todoRecord{title: "a", id: "1", state: belief[todoState]{open}},
			nil, `todo "a" is gone; it can only be [open]`, true},
		{"an acknowledged toggle that is undone is lost",
			todoRecord{title: "a", id: "1", state: belief[todoState]{done}},
			[]stored[foundTodo]{lying("1", "a", false, 5)}, `todo "a" is open; it can only be [done]`, true},
		{"a todo whose creation was not answered may be there",
			todoRecord{title: "a", state: belief[todoState]{gone, open}},
			[]stored[foundTodo]{lying("1", "a", false, 5)}, "", true},
		{"or not be there",
			todoRecord{title: "a", state: belief[todoState]{gone, open}}, nil, "", true},
		{"but cannot be completed",
			todoRecord{title: "a", state: belief[todoState]{gone, open}},
			[]stored[foundTodo]{lying("1", "a", true, 5)}, `todo "a" is done; it can only be [gone open]`, true},
		{"a version that went back is found",
			todoRecord{title: "a", id: "1", state: belief[todoState]{open}, version: 5},
			[]stored[foundTodo]{lying("1", "a", false, 4)}, `todo "a" is at version 4; it was at 5 already`, true},
		{"a todo that nobody created stays unaccounted for",
			todoRecord{title: "a", state: belief[todoState]{gone}},
			[]stored[foundTodo]{lying("1", "b", false, 5)}, "", false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			j := &journal{todos: []*todoRecord{&test.knows}}
			found := make(map[string]stored[foundTodo])
			for _, f := range test.found {
				found[f.Value.Title] = f
			}
			j.checkTodos(found)
			checkFaults(t, j, test.fault)
			if accounted := len(found) == 0; accounted != test.owner {
				t.Errorf("left over: %v", found)
			}
		})
	}
}

func TestJournalOfEntries(t *testing.T) {
	t.Parallel()
	three := entryState{exists: true, n: 3, changes: 3}
	four := entryState{exists: true, n: 4, changes: 4}
	none := entryState{changes: 4}
	at := func(n int, version int64) map[string]stored[entry] {
		return map[string]stored[entry]{"k": {Key: "k", Value: entry{N: n}, Version: version}}
	}
	tests := []struct {
		name    string
		state   belief[entryState]
		found   map[string]stored[entry]
		fault   string
		changes int
	}{
		{"what was acknowledged is there", belief[entryState]{three}, at(3, 10), "", 3},
		{"an increment without an answer took effect", belief[entryState]{three, four}, at(4, 11), "", 4},
		{"an increment without an answer did not", belief[entryState]{three, four}, at(3, 10), "", 3},
		{"an increment that took effect twice is found", belief[entryState]{three, four}, at(5, 12),
			"entry k is {N:5} (there: true); it can only be [{exists:true n:3 changes:3} {exists:true n:4 changes:4}]", 0},
		{"a lost increment is found", belief[entryState]{four}, at(3, 10),
			"entry k is {N:3} (there: true); it can only be [{exists:true n:4 changes:4}]", 0},
		{"a deletion without an answer took effect", belief[entryState]{three, none}, nil, "", 4},
		{"a deletion that came undone is found", belief[entryState]{none}, at(3, 10),
			"entry k is {N:3} (there: true); it can only be [{exists:false n:0 changes:4}]", 0},
		{"a version that moved without a write is found", belief[entryState]{three}, at(3, 11),
			"entry k is at version 11; the last one acknowledged is 10, of {exists:true n:3 changes:3}", 3},
		{"a version that did not move with a write is found", belief[entryState]{three, four}, at(4, 10),
			"entry k is at version 10; the last one acknowledged is 10, of {exists:true n:3 changes:3}", 4},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := &entryRecord{key: "k", state: test.state, version: 10, current: true}
			j := &journal{entries: []*entryRecord{r}}
			j.checkEntries(test.found)
			if test.fault == "" || test.changes != 0 {
				checkFaults(t, j, test.fault)
			} else if len(j.faults) == 0 || j.faults[0] != test.fault {
				t.Errorf("faults %q, want first %q", j.faults, test.fault)
			}
			if got := j.changes()["k"].changes; got != test.changes {
				t.Errorf("changes = %d, want %d", got, test.changes)
			}
		})
	}
}

func TestNote(t *testing.T) {
	t.Parallel()
	increment := func(n int) (int, bool) { return n + 1, n+1 == 1 }
	tests := []struct {
		name  string
		from  int
		reply reply
		want  belief[int]
		fault string
	}{
		{"what was acknowledged is so", 0, reply{outcome: acknowledged, status: 200}, belief[int]{1}, ""},
		{"what was never sent changes nothing", 0, reply{outcome: unsent}, belief[int]{0}, ""},
		{"what was not answered may be so", 0, reply{outcome: uncertain}, belief[int]{0, 1}, ""},
		{"what was not answered may be so whatever the answer would have been", 4, reply{outcome: uncertain},
			belief[int]{4, 5}, ""},
		{"a refusal is a fault: nobody else writes here", 0, reply{outcome: refused, status: 404}, belief[int]{0},
			"add was refused: 404 ; it was [0] before"},
		{"an answer that cannot be is a fault", 4, reply{outcome: acknowledged, status: 200}, nil,
			"add was answered 200 , which cannot be: it was [4] before"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			j, b := &journal{}, belief[int]{test.from}
			note(j, "add", &b, test.reply, increment)
			if diff := cmp.Diff(test.want, b); diff != "" {
				t.Errorf("states (-want +got):\n%s", diff)
			}
			checkFaults(t, j, test.fault)
		})
	}
}

func checkFaults(t *testing.T, j *journal, want string) {
	t.Helper()
	var wants faults
	if want != "" {
		wants = faults{want}
	}
	if diff := cmp.Diff(wants, j.faults); diff != "" {
		t.Errorf("faults (-want +got):\n%s", diff)
	}
}
