package state_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/eddyhq/eddy/shared/document"
	"github.com/eddyhq/eddy/shared/errs"
	"github.com/eddyhq/eddy/shared/port"
	"github.com/eddyhq/eddy/shared/state"
)

type step struct{ function, payload, want string }

// call runs a step. What it wants is the result, or the code of the error, a colon and how its message begins.
func call(t *testing.T, docs port.Documents, s step) {
	t.Helper()
	run, ok := state.Lookup("state::" + s.function)
	if !ok {
		t.Fatalf("there is no state::%s", s.function)
	}
	result, err := run(context.Background(), docs, []byte(s.payload))
	got := string(result)
	if err != nil {
		got = err.Error()
		if !strings.HasPrefix(got, s.want) || s.want == "" {
			t.Errorf("%s %s: got error %s, want %s", s.function, s.payload, got, s.want)
		}
		return
	}
	if diff := cmp.Diff(s.want, got); diff != "" {
		t.Errorf("%s %s: %s", s.function, s.payload, diff)
	}
	if !json.Valid(result) {
		t.Errorf("%s %s: %s is not JSON", s.function, s.payload, got)
	}
}

func TestFunctions(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		steps []step
	}{
		{"what was set is got", []step{
			{"get", `{"scope":"s","key":"k"}`, `null`},
			{"set", `{"scope":"s","key":"k","value":{"b":1.0,"a":"<é>"}}`, `{"old_value":null,"new_value":{"a":"<é>","b":1},"version":101}`},
			{"set", `{"scope":"s","key":"k","data":2}`, `{"old_value":{"a":"<é>","b":1},"new_value":2,"version":102}`},
			{"get", `{"scope":"s","key":"k"}`, `2`},
			{"get", `{"scope":"other","key":"k"}`, `null`},
			{"get", `{"scope":"s","key":"k","with_version":true}`, `{"value":2,"version":102}`},
			{"get", `{"scope":"s","key":"k","with_version":false}`, `2`},
			{"get", `{"scope":"s","key":"none","with_version":true}`, `null`},
		}},
		{"null is a value", []step{
			{"set", `{"scope":"s","key":"k","value":null}`, `{"old_value":null,"new_value":null,"version":101}`},
			{"get", `{"scope":"s","key":"k","with_version":true}`, `{"value":null,"version":101}`},
			{"list", `{"scope":"s"}`, `[null]`},
		}},
		{"delete gives what was there", []step{
			{"set", `{"scope":"s","key":"k","value":[1]}`, `{"old_value":null,"new_value":[1],"version":101}`},
			{"delete", `{"scope":"s","key":"k","if_version":7}`, `conflict: "k" is at version 101, not 7`},
			{"delete", `{"scope":"s","key":"k","if_version":101}`, `[1]`},
			{"delete", `{"scope":"s","key":"k"}`, `null`},
			{"delete", `{"scope":"s","key":"k","if_version":101}`, `conflict: "k" does not exist, so it is not at version 101`},
		}},
		{"if_version compares", []step{
			{"set", `{"scope":"s","key":"k","value":1,"if_version":5}`, `conflict: "k" does not exist`},
			{"set", `{"scope":"s","key":"k","value":1,"if_version":0}`, `{"old_value":null,"new_value":1,"version":101}`},
			{"set", `{"scope":"s","key":"k","value":2,"if_version":0}`, `conflict: "k" exists already, at version 101`},
			{"update", `{"scope":"s","key":"k","ops":[],"if_version":100}`, `conflict: "k" is at version 101, not 100`},
			{"set", `{"scope":"s","key":"k","value":2,"if_version":101}`, `{"old_value":1,"new_value":2,"version":102}`},
		}},
		{"update tells what it skipped", []step{
			{"update", `{"scope":"s","key":"k","ops":[{"type":"increment","path":"n","by":1}]}`, `{"old_value":null,"new_value":{"n":1},"version":101}`},
			{"update", `{"scope":"s","key":"k","ops":[{"type":"append","path":"n","value":1},{"type":"set","path":"m","value":"\n"}]}`,
				`{"old_value":{"n":1},"new_value":{"m":"\n","n":1},"version":102,"errors":[{"op_index":0,"code":"append.type_mismatch","message":"\"n\" is a number, to which a number cannot be appended"}]}`},
			{"update", `{"scope":"s","key":"k","ops":[]}`, `{"old_value":{"m":"\n","n":1},"new_value":{"m":"\n","n":1},"version":102}`},
			{"update", `{"scope":"s","key":"k","ops":[{"type":"set","path":"x","value":` + strings.Repeat("[", 31) + strings.Repeat("]", 31) + `}]}`, `invalid_argument: the update would make the document deeper`},
		}},
		{"groups are the scopes that hold something", []step{
			{"list_groups", `{}`, `{"groups":[]}`},
			{"set", `{"scope":"b/c","key":"k","value":1}`, `{"old_value":null,"new_value":1,"version":101}`},
			{"set", `{"scope":"b.","key":"k","value":1}`, `{"old_value":null,"new_value":1,"version":102}`},
			{"set", `{"scope":"gone","key":"k","value":1}`, `{"old_value":null,"new_value":1,"version":103}`},
			{"delete", `{"scope":"gone","key":"k"}`, `1`},
			{"list_groups", ``, `{"groups":["b.","b/c"]}`},
			{"list_groups", `{"scope":"b"}`, `invalid_argument: scope: is not known here`},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			docs := newMemory()
			for _, s := range c.steps {
				call(t, docs, s)
			}
		})
	}
}

func TestPayloadsAreStrict(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 1025)
	for _, s := range []step{
		{"set", `{}`, `invalid_argument: scope: is required; key: is required; value: is required`},
		{"set", `[]`, `invalid_argument: must be a JSON object`},
		{"set", `{"scope":"","key":1,"value":tru}`, `invalid_argument: scope: must have from 1 to 1024 bytes, not 0; key: must be a string; value: is not valid JSON`},
		{"get", `{"scope":"` + strings.Repeat("%", 342) + `","key":"k"}`, `invalid_argument: scope: must have at most 1024 bytes, of which '/', '%' and control characters count three`},
		{"set", `{"scope":"` + long + `","key":"` + long[:513] + `","value":1}`, `invalid_argument: scope: must have from 1 to 1024 bytes, not 1025; key: must have from 1 to 512 bytes, not 513`},
		{"set", `{"scope":"s","key":"k","value":1,"data":1}`, `invalid_argument: data: is another name of value`},
		{"set", `{"scope":"s","key":"k","data":{"a":{"":1}}}`, `invalid_argument: data.a: has a member without a name`},
		{"set", `{"scope":"s","key":"k","value":1,"if_version":-1}`, `invalid_argument: if_version: must be an integer from 0`},
		{"set", `{"scope":"s","key":"k","value":1,"if_version":1.5}`, `invalid_argument: if_version: must be an integer from 0`},
		{"set", `{"scope":"s","key":"k","value":"` + strings.Repeat("x", document.MaxSize+1) + `"}`, `too_large: the document is larger than 400000 bytes`},
		{"get", `{"scope":"s","key":"k","with_version":1,"value":2}`, `invalid_argument: with_version: must be true or false; value: is not known here`},
		{"delete", `{"scope":"s"}`, `invalid_argument: key: is required`},
		{"update", `{"scope":"s","key":"k"}`, `invalid_argument: ops: is required`},
		{"update", `{"scope":"s","key":"k","ops":{}}`, `invalid_argument: ops: must be an array`},
		{"update", `{"scope":"s","ops":[{"type":"remove","path":"a"},{"type":"increment","path":"a","by":0.5}]}`, `invalid_argument: key: is required; ops[1].by: must be an integer`},
		{"list", `{}`, `invalid_argument: scope: is required`},
		{"list", `{"scope":"s","limit":0}`, `invalid_argument: limit: must be an integer from 1 to 1000`},
		{"list", `{"scope":"s","limit":1001}`, `invalid_argument: limit: must be an integer from 1 to 1000`},
		{"list", `{"scope":"s","limit":"10"}`, `invalid_argument: limit: must be an integer from 1 to 1000`},
		{"list", `{"scope":"s","limit":null}`, `invalid_argument: limit: must be an integer from 1 to 1000`},
		{"list", `{"scope":"s","cursor":"nope"}`, `invalid_argument: cursor: is not a cursor of this list`},
		{"list", `{"scope":"s","cursor":1,"prefix":2,"with_keys":3}`, `invalid_argument: prefix: must be a string; cursor: must be a string; with_keys: must be true or false`},
	} {
		t.Run(s.want, func(t *testing.T) {
			t.Parallel()
			call(t, newMemory(), s)
		})
	}
}

func TestLists(t *testing.T) {
	t.Parallel()
	docs := newMemory()
	for i, key := range []string{"b1", "a", "b3", "b2", "c\""} {
		value, _ := json.Marshal(map[string]any{"scope": "s", "key": key, "value": i})
		if _, err := mustLookup(t, "state::set")(context.Background(), docs, value); err != nil {
			t.Fatal(err)
		}
	}
	item := func(key string, value, version int) string {
		return fmt.Sprintf(`{"key":"%s","value":%d,"version":%d}`, key, value, version)
	}
	after := func(prefix, key string) string { return state.EncodeCursor(port.Scope("s"), prefix, key) }
	for _, s := range []step{
		{"list", `{"scope":"s"}`, `[1,0,3,2,4]`},
		{"list", `{"scope":"none"}`, `[]`},
		{"list", `{"scope":"s","prefix":"b"}`, `[0,3,2]`},
		{"list", `{"scope":"s","prefix":"","with_keys":false}`, `[1,0,3,2,4]`},
		{"list", `{"scope":"none","limit":5}`, `{"items":[]}`},
		{"list", `{"scope":"s","with_keys":true}`, `{"items":[` + strings.Join([]string{item("a", 1, 102), item("b1", 0, 101), item("b2", 3, 104), item("b3", 2, 103), item(`c\"`, 4, 105)}, ",") + `]}`},
		{"list", `{"scope":"s","limit":3}`, `{"items":[` + item("a", 1, 102) + `,` + item("b1", 0, 101) + `,` + item("b2", 3, 104) + `],"cursor":"` + after("", "b2") + `"}`},
		{"list", `{"scope":"s","limit":3,"cursor":"` + after("", "b2") + `"}`, `{"items":[` + item("b3", 2, 103) + `,` + item(`c\"`, 4, 105) + `]}`},
		{"list", `{"scope":"s","prefix":"b","cursor":""}`, `{"items":[` + item("b1", 0, 101) + `,` + item("b2", 3, 104) + `,` + item("b3", 2, 103) + `]}`},
		{"list", `{"scope":"s","prefix":"b","limit":1}`, `{"items":[` + item("b1", 0, 101) + `],"cursor":"` + after("b", "b1") + `"}`},
		{"list", `{"scope":"s","cursor":"` + after("b", "b1") + `"}`, `invalid_argument: cursor: is not a cursor of this list`},
		{"list", `{"scope":"t","cursor":"` + after("", "b1") + `"}`, `invalid_argument: cursor: is not a cursor of this list`},
	} {
		call(t, docs, s)
	}
}

func mustLookup(t *testing.T, id string) state.Function {
	t.Helper()
	run, ok := state.Lookup(id)
	if !ok {
		t.Fatalf("there is no %s", id)
	}
	return run
}

func TestLookupKnowsOnlyStateFunctions(t *testing.T) {
	t.Parallel()
	for _, id := range []string{"", "state::", "state::commit", "stream::set", "set"} {
		if _, ok := state.Lookup(id); ok {
			t.Errorf("there is a %q", id)
		}
	}
}

// broken fails at everything.
type broken struct{}

var errBroken = errs.New(errs.Unavailable, "the store is closed")

func (broken) Get(context.Context, port.Collection, string) (port.Document, error) {
	return port.Document{}, errBroken
}

func (broken) List(context.Context, port.Collection, port.Query) (port.Page, error) {
	return port.Page{}, errBroken
}

func (broken) Collections(context.Context, string) ([]port.Collection, error) { return nil, errBroken }

func (broken) Commit(context.Context, port.Commit) ([]port.Result, error) { return nil, errBroken }

func TestErrorsOfTheStorePass(t *testing.T) {
	t.Parallel()
	for id, text := range map[string]string{
		"state::set":         `{"scope":"s","key":"k","value":1}`,
		"state::get":         `{"scope":"s","key":"k"}`,
		"state::delete":      `{"scope":"s","key":"k"}`,
		"state::update":      `{"scope":"s","key":"k","ops":[]}`,
		"state::list":        `{"scope":"s"}`,
		"state::list_groups": `{}`,
	} {
		if result, err := mustLookup(t, id)(context.Background(), broken{}, []byte(text)); !errors.Is(err, errBroken) {
			t.Errorf("%s: got %s, %v", id, result, err)
		}
	}
	if _, err := mustLookup(t, "state::list")(context.Background(), broken{}, []byte(`{"scope":"s","limit":1}`)); !errors.Is(err, errBroken) {
		t.Errorf("got %v", err)
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		err  error
		ok   bool
	}{
		{"a scope", state.ValidScope("todos/é"), true},
		{"the longest scope", state.ValidScope(strings.Repeat("x", 1024)), true},
		{"too long a scope", state.ValidScope(strings.Repeat("x", 1025)), false},
		{"the most slashes a scope holds", state.ValidScope(strings.Repeat("/", 341)), true},
		{"too many slashes", state.ValidScope(strings.Repeat("/", 342)), false},
		{"an empty scope", state.ValidScope(""), false},
		{"the longest key", state.ValidKey(strings.Repeat("x", 512)), true},
		{"too long a key", state.ValidKey(strings.Repeat("x", 513)), false},
		{"a key that is not UTF-8", state.ValidKey("\xff"), false},
	} {
		if (c.err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, c.err)
		}
	}
}

// FuzzPayload holds every function to answering any payload with JSON or a caller's error.
func FuzzPayload(f *testing.F) {
	f.Add("set", []byte(`{"scope":"s","key":"k","value":{"a":[1e2,"\u00e9"]},"if_version":0}`))
	f.Add("update", []byte(`{"scope":"s","key":"k","ops":[{"type":"append","path":["a","b"],"value":1},{"type":"remove","path":""}]}`))
	f.Add("list", []byte(`{"scope":"s","prefix":"","limit":1,"cursor":"","with_keys":true}`))
	f.Add("get", []byte(`{"scope":"s","key":"k","with_version":true}`))
	f.Add("list_groups", []byte(`{}`))
	f.Fuzz(func(t *testing.T, name string, text []byte) {
		run, ok := state.Lookup("state::" + name)
		if !ok || name == "transact" { // it has a target of its own
			return
		}
		docs := newMemory()
		if _, err := mustLookup(t, "state::set")(context.Background(), docs, []byte(`{"scope":"s","key":"k","value":{"a":1}}`)); err != nil {
			t.Fatal(err)
		}
		result, err := run(context.Background(), docs, text)
		switch errs.CodeOf(err) {
		case "":
			if !json.Valid(result) {
				t.Fatalf("%s %q: %s", name, text, result)
			}
		case errs.InvalidArgument, errs.Conflict, errs.TooLarge:
		default:
			t.Fatalf("%s %q: %v", name, text, err)
		}
	})
}

func BenchmarkSet(b *testing.B) {
	run, _ := state.Lookup("state::set")
	text := []byte(`{"scope":"todos","key":"todo-0199f0c2b7c07d4e8a1b2c3d4e5f6071","value":{"completed":false,"created_at":"2026-11-23T16:34:00Z","id":"todo-0199f0c2b7c07d4e8a1b2c3d4e5f6071","title":"Buy milk and bread"}}`)
	docs := newMemory()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := run(context.Background(), docs, text); err != nil {
			b.Fatal(err)
		}
	}
}
