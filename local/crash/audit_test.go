package crash_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// settleLimit is how long reactions may take to catch up with what a short load has left them.
const settleLimit = 60 * time.Second

// audit looks at everything that a gateway serves and holds it to the journals.
type audit struct {
	client   *client
	journals []*journal
}

// writes checks every write: what was acknowledged is there, what was deleted is not, nothing is there that nobody
// wrote. From here on the journals are certain again.
func (a audit) writes() (found faults) {
	todos, err := list[foundTodo](a.client, "todos")
	if err != nil {
		return faults{err.Error()}
	}
	entries, err := list[entry](a.client, "ledger")
	if err != nil {
		return faults{err.Error()}
	}
	byTitle, byKey := make(map[string]stored[foundTodo]), make(map[string]stored[entry])
	for _, t := range todos {
		if twin, twice := byTitle[t.Value.Title]; twice {
			found.fault("todo %q was created twice: %s and %s", t.Value.Title, twin.Key, t.Key)
		}
		byTitle[t.Value.Title] = t
	}
	for _, e := range entries {
		byKey[e.Key] = e
	}
	for _, j := range a.journals {
		j.checkTodos(byTitle)
		j.checkEntries(byKey)
		found = append(found, j.faults...)
		j.faults = nil
	}
	for _, t := range byTitle {
		found.fault("todo %q is there; it was deleted, or never created", t.Value.Title)
	}
	for key := range byKey {
		found.fault("entry %s is there; nobody wrote it", key)
	}
	return found
}

// reactions checks that every change has run its reactions, once and in order. It needs certain journals.
func (a audit) reactions() error {
	if err := a.metrics(); err != nil {
		return err
	}
	total, err := a.tallies()
	if err != nil {
		return err
	}
	var echoed entry
	if err := a.client.read(&echoed, a.get("echo", everything)); err != nil {
		return err
	}
	if want := 2 * total; echoed.N != want {
		return fmt.Errorf("the reaction to reactions has run %d times, want %d", echoed.N, want)
	}
	return a.mirror()
}

func (a audit) get(scope, key string) reply {
	return a.client.invoke("state::get", map[string]any{"scope": scope, "key": key})
}

// metrics compares the counters of the todo app with a recount through its own API.
func (a audit) metrics() error {
	var counted, recounted struct{ Total, Completed int }
	if err := a.client.read(&counted, a.client.do(http.MethodGet, "/todos/metrics", nil)); err != nil {
		return err
	}
	var todos []foundTodo
	if err := a.client.read(&todos, a.client.do(http.MethodGet, "/todos?limit=1000", nil)); err != nil {
		return err
	}
	for _, t := range todos {
		recounted.Total++
		if t.Completed {
			recounted.Completed++
		}
	}
	if counted != recounted {
		return fmt.Errorf("the metrics are %+v, a recount is %+v", counted, recounted)
	}
	return nil
}

// tallies compares what crash::count has kept with what the journals know, and returns the number of all changes.
func (a audit) tallies() (total int, err error) {
	kept, err := list[tally](a.client, "tally")
	if err != nil {
		return 0, err
	}
	byKey := make(map[string]tally)
	for _, k := range kept {
		byKey[k.Key] = k.Value
	}
	for _, j := range a.journals {
		for key, want := range j.changes() {
			got := byKey[key]
			if got.Changes != want.changes || got.N != want.n || got.Disorder != 0 {
				return 0, fmt.Errorf("the reactions to %s say %+v, its writer knows %+v", key, got, want)
			}
			total += want.changes
		}
	}
	if got := byKey[everything].Changes; got != total {
		return 0, fmt.Errorf("the reactions have counted %d changes in all, the writers know %d", got, total)
	}
	return total, nil
}

// mirror compares the items of the live stream with the entries they show.
func (a audit) mirror() error {
	items, err := a.items()
	if err != nil {
		return err
	}
	for _, j := range a.journals {
		for key, want := range j.changes() {
			got, exists := items[key]
			delete(items, key)
			if exists != want.exists || got != want.n {
				return fmt.Errorf("the live item %s is %d (there: %t), its entry is %+v", key, got, exists, want)
			}
		}
	}
	if len(items) > 0 {
		return fmt.Errorf("there are live items of no entry: %v", items)
	}
	return nil
}

// items returns the numbers of the live items, by id.
func (a audit) items() (map[string]int, error) {
	payload := map[string]any{"stream_name": "ledger-live", "group_id": everything}
	var items []item
	if err := a.client.read(&items, a.client.invoke("stream::list", payload)); err != nil {
		return nil, err
	}
	byID := make(map[string]int)
	for _, i := range items {
		byID[i.ID] = i.N
	}
	return byID, nil
}

// totals are the figures of a run.
type totals struct {
	kills, acknowledged, uncertain, changes int
}

func (t *totals) add(journals []*journal) {
	t.acknowledged, t.uncertain, t.changes = 0, 0, 0
	for _, j := range journals {
		t.acknowledged += j.acknowledged
		t.uncertain += j.uncertain
		for _, state := range j.changes() {
			t.changes += state.changes
		}
	}
}

func (t totals) String() string {
	text, _ := json.Marshal(map[string]int{
		"kills": t.kills, "acknowledged writes": t.acknowledged, "writes without an answer": t.uncertain,
		"changes counted": t.changes,
	})
	return string(text)
}
