package crash_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// The load: so many clients at a time, each with documents of its own.
const (
	writers       = 16
	entriesEach   = 3
	liveTodosEach = 10
)

// writer is a client that writes what its journal then knows.
type writer struct {
	*journal
	client *client
	random *rand.Rand
	now    func() time.Time // by the clock of the gateway
}

// newJournals returns the journals of all writers.
func newJournals() []*journal {
	journals := make([]*journal, writers)
	for i := range journals {
		journals[i] = newJournal(fmt.Sprintf("c%d", i), entriesEach)
	}
	return journals
}

// load is what the writers do to a gateway during one of its lives.
type load struct {
	address     string
	seed, round uint64           // the choices follow from these
	now         func() time.Time // by the clock of the gateway

	deaf bool // the writers do not hear what is acknowledged

	limit   int64  // after so many writes
	reached func() // this is called, once, while the writers go on
	made    atomic.Int64
}

// write lets all writers write until the gateway is gone, and waits for them.
func (l *load) write(journals []*journal) {
	var all sync.WaitGroup
	for i, j := range journals {
		w := &writer{
			journal: j,
			client:  &client{address: l.address, deaf: l.deaf},
			random:  rand.New(rand.NewPCG(l.seed, l.round<<8|uint64(i))),
			now:     l.now,
		}
		all.Go(func() {
			defer w.client.close()
			for w.step() {
				if l.made.Add(1) == l.limit {
					l.reached()
				}
			}
		})
	}
	all.Wait()
}

// step makes one request and reports whether the gateway is still there. What is uncertain rests until it was looked at.
func (w *writer) step() bool {
	switch w.random.IntN(3) {
	case 0:
		if r := w.entries[w.random.IntN(len(w.entries))]; len(r.state) == 1 {
			return w.writeEntry(r)
		}
	case 1:
		return w.attend()
	}
	if r := w.pickTodo(); r != nil {
		return w.writeTodo(r)
	}
	return w.createTodo()
}

// pickTodo returns a todo to change, or nil: create one.
func (w *writer) pickTodo() *todoRecord {
	var live []*todoRecord
	for _, r := range w.todos {
		if state, certain := r.state.certain(); certain && state != gone {
			live = append(live, r)
		}
	}
	if n := w.random.IntN(liveTodosEach); n < len(live) {
		return live[n]
	}
	return nil
}

func (w *writer) createTodo() bool {
	record := w.newTodo()
	r := w.client.do(http.MethodPost, "/todos", map[string]string{"title": record.title})
	var created foundTodo
	unpack(r, &created)
	note(w.journal, "create "+record.title, &record.state, r, func(todoState) (todoState, bool) {
		return open, created.ID != "" && created.Title == record.title && !created.Completed
	})
	record.id = created.ID
	return r.err == nil
}

func (w *writer) writeTodo(record *todoRecord) bool {
	switch w.random.IntN(4) {
	case 0:
		return w.toggle(record)
	case 1:
		return w.edit(record)
	default:
		return w.remove(record)
	}
}

func (w *writer) toggle(record *todoRecord) bool {
	r := w.client.do(http.MethodPost, "/todos/toggle", map[string]string{"id": record.id})
	var toggled foundTodo
	unpack(r, &toggled)
	note(w.journal, "toggle "+record.title, &record.state, r, func(s todoState) (todoState, bool) {
		next := done
		if s == done {
			next = open
		}
		return next, toggled.state() == next
	})
	return r.err == nil
}

func (w *writer) edit(record *todoRecord) bool {
	wanted := foundTodo{Completed: w.random.IntN(2) == 0}
	r := w.client.do(http.MethodPatch, "/todos/"+record.id, map[string]bool{"completed": wanted.Completed})
	var edited foundTodo
	unpack(r, &edited)
	note(w.journal, "edit "+record.title, &record.state, r, func(todoState) (todoState, bool) {
		return wanted.state(), edited.state() == wanted.state() && edited.Title == record.title
	})
	return r.err == nil
}

func (w *writer) remove(record *todoRecord) bool {
	var r reply
	if w.random.IntN(2) == 0 {
		r = w.client.do(http.MethodDelete, "/todos/"+record.id, nil)
	} else {
		r = w.client.do(http.MethodPost, "/todos/delete", map[string]string{"id": record.id})
	}
	note(w.journal, "remove "+record.title, &record.state, r, func(todoState) (todoState, bool) { return gone, true })
	return r.err == nil
}

func (w *writer) writeEntry(record *entryRecord) bool {
	before, _ := record.state.certain()
	switch w.random.IntN(8) {
	case 0:
		return w.deleteEntry(record)
	case 1, 2:
		set := map[string]any{"scope": "ledger", "key": record.key, "value": entry{N: before.n + 10}}
		return w.changeEntry(record, "state::set", set, before.n+10)
	default:
		ops := []any{map[string]any{"type": "increment", "path": "n", "by": 1}}
		update := map[string]any{"scope": "ledger", "key": record.key, "ops": ops}
		return w.changeEntry(record, "state::update", update, before.n+1)
	}
}

// changeEntry sets or updates an entry, after which its number is to be n.
func (w *writer) changeEntry(record *entryRecord, function string, payload any, n int) bool {
	r := w.client.invoke(function, payload)
	var result struct {
		New     entry `json:"new_value"`
		Version int64 `json:"version"`
	}
	unpack(r, &result)
	note(w.journal, function+" "+record.key, &record.state, r, func(s entryState) (entryState, bool) {
		next := entryState{exists: true, n: n, changes: s.changes + 1}
		return next, result.New.N == n && result.Version > record.version
	})
	if r.outcome == acknowledged {
		record.version, record.current = result.Version, true
	}
	return r.err == nil
}

func (w *writer) deleteEntry(record *entryRecord) bool {
	r := w.client.invoke("state::delete", map[string]any{"scope": "ledger", "key": record.key})
	var deleted *entry
	unpack(r, &deleted)
	note(w.journal, "delete "+record.key, &record.state, r, func(s entryState) (entryState, bool) {
		fits := s.exists == (deleted != nil) && number(deleted) == s.n
		if s.exists {
			s = entryState{changes: s.changes + 1}
		}
		return s, fits
	})
	if r.outcome == acknowledged {
		record.current = false
	}
	return r.err == nil
}

// unpack decodes what was acknowledged. What does not decode leaves result as it is, which then fits no state.
func unpack(r reply, result any) {
	if r.outcome == acknowledged {
		_ = json.Unmarshal(r.body, result)
	}
}
