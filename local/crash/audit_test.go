package crash_test

import (
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
	now      func() time.Time // by the clock of the gateway
}

// writes checks every write: what was acknowledged is there, what was deleted is not, nothing is there that nobody
// wrote. From here on the journals are certain again.
func (a audit) writes() (found findings) {
	todos, err := list[foundTodo](a.client, "todos")
	if err != nil {
		found.found(writesLost, 1, "%v", err)
		return found
	}
	entries, err := list[entry](a.client, "ledger")
	if err != nil {
		found.found(writesLost, 1, "%v", err)
		return found
	}
	byTitle, byKey := make(map[string]stored[foundTodo]), make(map[string]stored[entry])
	for _, t := range todos {
		if twin, twice := byTitle[t.Value.Title]; twice {
			found.found(effectsDoubled, 1, "todo %q was created twice: %s and %s", t.Value.Title, twin.Key, t.Key)
		}
		byTitle[t.Value.Title] = t
	}
	for _, e := range entries {
		byKey[e.Key] = e
	}
	for _, j := range a.journals {
		j.checkTodos(byTitle)
		j.checkEntries(byKey)
		found.take(writesLost, j.faults)
		j.faults = nil
	}
	for _, t := range byTitle {
		found.found(effectsDoubled, 1, "todo %q is there; it was deleted, or never created", t.Value.Title)
	}
	for key := range byKey {
		found.found(effectsDoubled, 1, "entry %s is there; nobody wrote it", key)
	}
	found.add(a.requests())
	return found
}

// requests checks what requests have done at once: payments and moves.
func (a audit) requests() findings {
	return a.look(func(found *findings) error {
		accounts, err := byKey[entry](a.client, "payment")
		if err != nil {
			return err
		}
		purses, err := byKey[entry](a.client, "purse")
		for _, j := range a.journals {
			found.add(j.paid.check(j.name, accounts[j.name].N))
			found.add(checkMoves(j.name, &j.moves, purses[j.name+"-from"].N, purses[j.name+"-to"].N))
		}
		return err
	})
}

// look looks for what is broken. Where that cannot be done, whatever was to be found is lost.
func (a audit) look(at func(*findings) error) (found findings) {
	if err := at(&found); err != nil {
		found.found(writesLost, 1, "%v", err)
	}
	return found
}

// owed checks what is done once the reactions have settled: every change has run its reactions, once and in order, every
// message was handled, and so on. It needs certain journals.
func (a audit) owed() (found findings) {
	for _, check := range []func(*findings) error{
		a.metrics, a.tallies, a.mirror, a.messages, a.expiries, a.ticks,
	} {
		found.add(a.look(check))
	}
	return found
}

func (a audit) get(scope, key string) reply {
	return a.client.invoke("state::get", map[string]any{"scope": scope, "key": key})
}

// metrics compares the counters of the todo app with a recount through its own API.
func (a audit) metrics(found *findings) error {
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
	found.found(countersOff, counted.Total-recounted.Total, "%+v todos are counted, there are %+v", counted, recounted)
	found.found(countersOff, counted.Completed-recounted.Completed, "%+v todos are counted, there are %+v", counted, recounted)
	return nil
}

// tallies compares what crash::count and those behind it have kept with what the journals know.
func (a audit) tallies(found *findings) error {
	kept, err := byKey[tally](a.client, "tally")
	if err != nil {
		return err
	}
	followed, err := byKey[tally](a.client, "follower")
	if err != nil {
		return err
	}
	total := 0
	for _, j := range a.journals {
		for key, want := range j.changes() {
			got := kept[key]
			found.found(reactionsLost, max(0, want.changes-got.Changes), "to %s: %+v, its writer knows %+v", key, got, want)
			found.found(effectsDoubled, max(0, got.Changes-want.changes), "to %s: %+v, its writer knows %+v", key, got, want)
			found.found(countersOff, got.N-want.n, "of %s: %+v, its writer knows %+v", key, got, want)
			found.found(documentsUnordered, got.Disorder, "of %s: %+v", key, got)
			behind := followed[key]
			found.found(messagesLost, max(0, want.changes-behind.Changes), "of %s: %+v, of %d", key, behind, want.changes)
			found.found(messagesDoubled, max(0, behind.Changes-want.changes), "of %s: %+v, of %d", key, behind, want.changes)
			found.found(messagesUnordered, behind.Disorder, "of %s: %+v", key, behind)
			total += want.changes
		}
	}
	found.found(countersOff, kept[everything].Changes-total, "%d changes are counted, the writers know %d", kept[everything].Changes, total)
	var echoed entry
	if r := a.get("echo", everything); total > 0 || string(r.body) != "null" {
		if err := a.client.read(&echoed, r); err != nil {
			return err
		}
	}
	found.found(countersOff, echoed.N-2*total, "the reaction to reactions has run %d times, want %d", echoed.N, 2*total)
	return nil
}

// mirror compares the items of the live stream with the entries they show.
func (a audit) mirror(found *findings) error {
	items, err := a.items()
	if err != nil {
		return err
	}
	for _, j := range a.journals {
		for key, want := range j.changes() {
			got, exists := items[key]
			delete(items, key)
			if exists != want.exists || got != want.n {
				found.found(liveBroken, 1, "the item %s is %d (there: %t), its entry is %+v", key, got, exists, want)
			}
		}
	}
	found.found(liveBroken, len(items), "there are items of no entry: %v", items)
	return nil
}

// messages compares what the queues have handed out with what was put into them.
func (a audit) messages(found *findings) error {
	did, err := byKey[doneTimes](a.client, "job")
	if err != nil {
		return err
	}
	took, err := byKey[queued](a.client, "order")
	for _, j := range a.journals {
		found.add(j.jobs.check("job of "+j.name, did[j.name].byNumber(), always, messagesLost, messagesDoubled))
		found.add(j.orders.checkOrder("order of "+j.name, took[j.name].Seen))
	}
	return err
}

// expiries compares the leases that have ended with those that were given.
func (a audit) expiries(found *findings) error {
	now := a.now()
	ended, err := byKey[doneTimes](a.client, "expiry")
	for _, j := range a.journals {
		found.add(j.leases.check("lease of "+j.name, ended[j.name].byNumber(), now))
	}
	return err
}

// ticks checks that the schedule has run, or told of, every time it was due.
func (a audit) ticks(found *findings) error {
	kept, err := byKey[ticked](a.client, "tick")
	found.add(checkTicks(kept[everything]))
	return err
}

// goesOn returns an error while what is due by the clock lags behind it, which began with the first life of the gateway.
func (a audit) goesOn(began time.Time) error {
	kept, err := byKey[ticked](a.client, "tick")
	if err != nil {
		return err
	}
	t, now := kept[everything], a.now().Unix()/60
	if began := began.Unix() / 60; t.First <= began || t.First > began+2*int64(startLimit.Seconds()) {
		return fmt.Errorf("the first tick was at minute %d, the clock began in minute %d", t.First, began)
	}
	if t.Last < now-3 {
		return fmt.Errorf("the last tick was at minute %d, it is minute %d", t.Last, now)
	}
	for _, j := range a.journals {
		if n := len(j.leases.due); n > 0 && a.now().Before(j.leases.due[n-1]) {
			return fmt.Errorf("the last lease of %s has not ended", j.name)
		}
	}
	return nil
}

// byKey returns the values of everything in a scope, by their keys.
func byKey[T any](c *client, scope string) (map[string]T, error) {
	found, err := list[T](c, scope)
	values := make(map[string]T)
	for _, f := range found {
		values[f.Key] = f.Value
	}
	return values, err
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

	jobs, orders, payments, leases, moves int
}

func (t *totals) add(journals []*journal) {
	*t = totals{kills: t.kills}
	for _, j := range journals {
		t.acknowledged += j.acknowledged
		t.uncertain += j.uncertain
		for _, state := range j.changes() {
			t.changes += state.changes
		}
		moves, _ := j.moves.certain()
		t.moves += moves
		t.jobs += j.jobs.last
		t.orders += j.orders.last
		t.payments += j.paid.n
		t.leases += j.leases.last
	}
}

func (t totals) String() string {
	return fmt.Sprintf("kills %d, acknowledged requests %d, without an answer %d; changes counted %d, jobs %d, orders %d, "+
		"requests with a key %d, transactions %d, leases %d",
		t.kills, t.acknowledged, t.uncertain, t.changes, t.jobs, t.orders, t.payments, t.moves, t.leases)
}
