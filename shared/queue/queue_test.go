package queue_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/eddyhq/eddy/shared/document"
	"github.com/eddyhq/eddy/shared/eddy"
	"github.com/eddyhq/eddy/shared/errs"
	"github.com/eddyhq/eddy/shared/pebblestore"
	"github.com/eddyhq/eddy/shared/pebblestore/pebbletest"
	"github.com/eddyhq/eddy/shared/port"
	"github.com/eddyhq/eddy/shared/queue"
)

// ledger is a store with dead letters of two functions, three each: changes of the one, calls of the other.
func ledger(t testing.TB) *pebblestore.Store {
	t.Helper()
	store := pebbletest.Open(t, pebblestore.Options{})
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	var letters []port.DeadLetter
	for i := range 3 {
		id := fmt.Sprint("id-", i)
		change := &port.Change{Collection: port.Scope("s"), Key: id, New: document.Value(`{"n":1}`), Version: 7}
		call := &port.Call{ID: id, Function: "b::call", Payload: document.Value(`{"n":2}`)}
		letters = append(letters,
			port.DeadLetter{ID: id, Function: "a::react", Record: port.Record{Change: change},
				Code: "internal", Message: "no", Attempts: 8, First: at, Last: at},
			port.DeadLetter{ID: id, Function: "b::call", Record: port.Record{Call: call, Target: "b::call"},
				Code: "timeout", Message: "slow", Attempts: 1, First: at, Last: at})
	}
	if _, err := store.Commit(t.Context(), port.Commit{Failed: letters}); err != nil {
		t.Fatal(err)
	}
	return store
}

// app has the function of the calls, which is that of a queue.
func app() *eddy.App {
	app := eddy.New()
	eddy.Register(app, "b::call", func(context.Context, eddy.None) (eddy.None, error) { return eddy.None{}, nil }, eddy.Queue("calls"))
	return app
}

func call(t *testing.T, store *pebblestore.Store, id, payload string) string {
	t.Helper()
	function, ok := queue.Lookup(id)
	if !ok {
		t.Fatalf("there is no function %s", id)
	}
	result, err := function(t.Context(), app(), store, []byte(payload))
	if err != nil {
		t.Fatalf("%s %s: %v", id, payload, err)
	}
	return string(result)
}

type page struct {
	Items []struct {
		ID       string          `json:"id"`
		Function string          `json:"function_id"`
		Payload  json.RawMessage `json:"payload"`
	} `json:"items"`
	Cursor string `json:"cursor"`
}

func TestDeadLettersOfAllFunctionsAreListedPageByPage(t *testing.T) {
	t.Parallel()
	store := ledger(t)
	var got []string
	for cursor := ""; ; {
		var p page
		if err := json.Unmarshal([]byte(call(t, store, "queue::dead_letters", fmt.Sprintf(`{"limit":2,"cursor":%q}`, cursor))), &p); err != nil {
			t.Fatal(err)
		}
		for _, item := range p.Items {
			got = append(got, item.Function+" "+item.ID)
		}
		if cursor = p.Cursor; cursor == "" {
			break
		}
	}
	want := []string{"a::react id-0", "a::react id-1", "a::react id-2", "b::call id-0", "b::call id-1", "b::call id-2"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestADeadLetterShowsWhatTheFunctionWasGivenAndWhyItFailed(t *testing.T) {
	t.Parallel()
	store := ledger(t)
	shown := call(t, store, "queue::dead_letters", `{"function_id":"a::react","limit":1}`)
	for _, want := range []string{
		`"code":"internal","message":"no","attempts":8,"first_at":"2026-01-02T03:04:05Z","last_at":"2026-01-02T03:04:05Z"`,
		`"event_type":"state:created","scope":"s","key":"id-0"`,
	} {
		if !strings.Contains(shown, want) {
			t.Errorf("%s lacks %s", shown, want)
		}
	}
	if shown := call(t, store, "queue::dead_letters", `{"function_id":"b::call"}`); !strings.Contains(shown, `"payload":{"n":2}`) {
		t.Errorf("%s lacks the payload", shown)
	}
}

func TestADeadLetterIsSettledOnce(t *testing.T) {
	t.Parallel()
	store := ledger(t)
	const first, second = `{"function_id":"a::react","id":"id-0"}`, `{"function_id":"a::react","id":"id-1"}`
	for _, step := range []struct{ function, payload, want string }{
		{"queue::redrive", first, `{"redriven":1}`},
		{"queue::redrive", first, `{"redriven":0}`},
		{"queue::discard", second, `{"discarded":1}`},
		{"queue::discard", second, `{"discarded":0}`},
		{"queue::redrive", second, `{"redriven":0}`},
		{"queue::redrive", `{"queue":"calls","ids":["id-0","none"]}`, `{"redriven":1}`},
		{"queue::discard", `{"queue":"calls","all":true}`, `{"discarded":2}`},
		{"queue::redrive", `{"function_id":"b::call","all":true}`, `{"redriven":0}`},
	} {
		if got := call(t, store, step.function, step.payload); got != step.want {
			t.Errorf("%s %s says %s, want %s", step.function, step.payload, got, step.want)
		}
	}
	record, err := store.Record(1)
	if err != nil || record.Target != "a::react" || record.Change.Key != "id-0" {
		t.Errorf("the redriven record is %+v, %v", record, err)
	}
}

func TestADeadLetterShowsItsQueueAndWhatLedToIt(t *testing.T) {
	t.Parallel()
	store := ledger(t)
	message := port.Record{
		Cause: port.Cause{Root: "r", Chain: []string{"a::react"}}, Target: "b::call",
		Call: &port.Call{ID: "id-9", Function: "b::call", Payload: document.Value(`{"n":9}`)},
	}
	bury(t, store, port.DeadLetter{ID: "id-9", Function: "b::call", Record: message, Code: "internal", Attempts: 1})
	shown := call(t, store, "queue::dead_letters", `{"queue":"calls"}`)
	for want, times := range map[string]int{`"queue":"calls"`: 4, `"chain":["a::react"]`: 1, `"function_id":"b::call"`: 4} {
		if got := strings.Count(shown, want); got != times {
			t.Errorf("%s has %s %d times, want %d", shown, want, got, times)
		}
	}
	if shown := call(t, store, "queue::dead_letters", `{"function_id":"a::react"}`); strings.Contains(shown, `"queue"`) {
		t.Errorf("%s has a queue", shown)
	}
}

func bury(t *testing.T, store *pebblestore.Store, letters ...port.DeadLetter) {
	t.Helper()
	if _, err := store.Commit(t.Context(), port.Commit{Failed: letters}); err != nil {
		t.Fatal(err)
	}
}

// stubborn is a ledger whose letters come back at once when they are redriven.
type stubborn struct {
	*pebblestore.Store
	redriven map[string]int
}

func (s *stubborn) Redrive(ctx context.Context, function, id string) (bool, error) {
	found, err := s.Store.Redrive(ctx, function, id)
	if !found || err != nil {
		return found, err
	}
	s.redriven[id]++
	_, err = s.Commit(ctx, port.Commit{Failed: []port.DeadLetter{lost(id)}})
	return true, err
}

// lost is a dead letter of b::call.
func lost(id string) port.DeadLetter {
	call := &port.Call{ID: id, Function: "b::call", Payload: document.Value(`{}`)}
	return port.DeadLetter{ID: id, Function: "b::call", Record: port.Record{Call: call, Target: "b::call"}, Attempts: 1}
}

func TestALetterThatComesBackIsRedrivenOnce(t *testing.T) {
	t.Parallel()
	const letters, perCall = 2_001, 1_000
	store := &stubborn{ledger(t), make(map[string]int)}
	var buried []port.DeadLetter
	for i := range letters - 3 { // three are there already
		buried = append(buried, lost(fmt.Sprintf("letter-%04d", i)))
	}
	bury(t, store.Store, buried...)
	redrive, _ := queue.Lookup("queue::redrive")
	var sizes []int
	for payload := `{"queue":"calls","all":true}`; payload != ""; {
		text, err := redrive(t.Context(), app(), store, []byte(payload))
		if err != nil {
			t.Fatal(err)
		}
		var answer struct {
			Redriven int
			Cursor   string
		}
		if err := json.Unmarshal(text, &answer); err != nil {
			t.Fatal(err)
		}
		sizes = append(sizes, answer.Redriven)
		if payload = ""; answer.Cursor != "" {
			payload = fmt.Sprintf(`{"queue":"calls","all":true,"cursor":%q}`, answer.Cursor)
		}
	}
	if diff := cmp.Diff([]int{perCall, perCall, 1}, sizes); diff != "" || len(store.redriven) != letters {
		t.Errorf("%d letters were redriven, by so many a call (-want +got):\n%s", len(store.redriven), diff)
	}
	text, err := redrive(t.Context(), app(), store, []byte(`{"queue":"calls","ids":["id-0","id-1","id-0"]}`))
	if err != nil || string(text) != `{"redriven":2}` {
		t.Errorf("%s, %v", text, err)
	}
	for id, times := range store.redriven {
		if want := map[string]int{"id-0": 2, "id-1": 2}[id]; times != max(want, 1) {
			t.Errorf("%s was redriven %d times", id, times)
		}
	}
}

func TestMalformedPayloadsAreRefused(t *testing.T) {
	t.Parallel()
	store := ledger(t)
	for name, c := range map[string]struct{ function, payload string }{
		"an unknown field":                {"queue::dead_letters", `{"queue_id":"x"}`},
		"a limit of nothing":              {"queue::dead_letters", `{"limit":0}`},
		"a cursor that is not ours":       {"queue::dead_letters", `{"cursor":"garbage"}`},
		"a cursor of ours that is cut":    {"queue::dead_letters", `{"cursor":"dl.YQ"}`},
		"a redrive without a function":    {"queue::redrive", `{"id":"x"}`},
		"a discard without a dead letter": {"queue::discard", `{"function_id":"a::react"}`},
		"one letter and all of them":      {"queue::discard", `{"function_id":"a::react","id":"x","all":true}`},
		"ids that are none":               {"queue::redrive", `{"function_id":"a::react","ids":"x"}`},
		"too many ids":                    {"queue::redrive", `{"function_id":"a::react","ids":["x"` + strings.Repeat(`,"x"`, 100) + `]}`},
		"a letter and a list of them":     {"queue::redrive", `{"function_id":"a::react","id":"x","ids":["y"]}`},
		"no ids":                          {"queue::redrive", `{"function_id":"a::react","ids":[]}`},
		"a queue that there is not":       {"queue::redrive", `{"queue":"none","all":true}`},
		"a function and a queue":          {"queue::redrive", `{"function_id":"b::call","queue":"calls","all":true}`},
	} {
		function, _ := queue.Lookup(c.function)
		if _, err := function(t.Context(), app(), store, []byte(c.payload)); errs.CodeOf(err) != errs.InvalidArgument {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzPayload holds every function to answering any payload with JSON or an error of whoever sent it.
func FuzzPayload(f *testing.F) {
	store := ledger(f)
	f.Add("redrive", []byte(`{"queue":"calls","ids":["id-0","\u00e9"]}`))
	f.Add("discard", []byte(`{"function_id":"a::react","all":true,"cursor":"dl.YQBi"}`))
	f.Add("dead_letters", []byte(`{"function_id":"a::react","limit":1,"cursor":""}`))
	f.Fuzz(func(t *testing.T, name string, text []byte) {
		run, ok := queue.Lookup("queue::" + name)
		if !ok {
			return
		}
		switch result, err := run(t.Context(), app(), store, text); {
		case err == nil && !json.Valid(result):
			t.Errorf("%s %q: %s", name, text, result)
		case err != nil && errs.CodeOf(err) != errs.InvalidArgument:
			t.Errorf("%s %q: %v", name, text, err)
		}
	})
}
