package queue_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"

	"github.com/eddyhq/eddy/shared/document"
	"github.com/eddyhq/eddy/shared/eddy"
	"github.com/eddyhq/eddy/shared/errs"
	"github.com/eddyhq/eddy/shared/pebblestore"
	"github.com/eddyhq/eddy/shared/port"
	"github.com/eddyhq/eddy/shared/queue"
)

// ledger is a store with dead letters of two functions, three each: changes of the one, calls of the other.
func ledger(t *testing.T) *pebblestore.Store {
	t.Helper()
	store, err := pebblestore.Open("data", pebblestore.Options{FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
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
