package stream_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/eddyhq/eddy/shared/document"
	"github.com/eddyhq/eddy/shared/errs"
	"github.com/eddyhq/eddy/shared/port"
	"github.com/eddyhq/eddy/shared/stream"
)

// memory is the least that is port.Documents for the functions: pages hold two documents, versions count up.
type memory struct {
	mu      sync.Mutex
	groups  map[port.Collection]map[string]port.Document
	version int64
	events  []port.Event
}

func newMemory() *memory { return &memory{groups: map[port.Collection]map[string]port.Document{}} }

func (m *memory) Get(_ context.Context, c port.Collection, key string) (port.Document, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	doc := m.groups[c][key]
	doc.Key = key
	return doc, nil
}

func (m *memory) List(_ context.Context, c port.Collection, q port.Query) (port.Page, error) {
	const most = 2
	m.mu.Lock()
	defer m.mu.Unlock()
	var page port.Page
	for _, key := range slices.Sorted(maps.Keys(m.groups[c])) {
		if key <= q.After {
			continue
		}
		if len(page.Documents) == most {
			page.More = true
			return page, nil
		}
		page.Documents, page.Next = append(page.Documents, m.groups[c][key]), key
	}
	return page, nil
}

func (m *memory) Collections(_ context.Context, prefix string) ([]port.Collection, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var found []port.Collection
	for c, docs := range m.groups {
		if len(docs) > 0 && strings.HasPrefix(string(c), prefix) {
			found = append(found, c)
		}
	}
	slices.Sort(found)
	return found, nil
}

func (m *memory) Commit(_ context.Context, commit port.Commit) ([]port.Result, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.events = append(m.events, commit.Events...)
	var results []port.Result
	for i, w := range commit.Writes {
		old := m.groups[w.Collection][w.Key]
		if w.IfVersion != nil && *w.IfVersion != old.Version {
			return nil, &port.ConflictError{Index: i, Version: old.Version}
		}
		m.version++
		if m.groups[w.Collection] == nil {
			m.groups[w.Collection] = map[string]port.Document{}
		}
		m.groups[w.Collection][w.Key] = port.Document{Key: w.Key, Value: w.Value, Version: m.version}
		if w.Op == port.Delete {
			delete(m.groups[w.Collection], w.Key)
		}
		results = append(results, port.Result{Old: old.Value, New: w.Value, Version: m.version})
	}
	return results, nil
}

func call(t testing.TB, docs port.Documents, id, text string) (string, error) {
	t.Helper()
	function, ok := stream.Lookup(id)
	if !ok {
		t.Fatalf("there is no %s", id)
	}
	result, err := function(t.Context(), docs, []byte(text))
	return string(result), err
}

func TestFunctions(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", stream.MaxItem)
	type step struct{ id, payload, want string } // want is the result, or "code: message"
	const a = `"stream_name":"s","group_id":"g","item_id":"a"`
	for name, steps := range map[string][]step{
		"set, get and delete": {
			{"stream::get", `{` + a + `}`, `null`},
			{"stream::set", `{` + a + `,"data":{"n":1}}`, `{"old_value":null,"new_value":{"id":"a","n":1},"version":1}`},
			{"stream::set", `{` + a + `,"data":{"id":"a"}}`, `{"old_value":{"id":"a","n":1},"new_value":{"id":"a"},"version":2}`},
			{"stream::get", `{` + a + `}`, `{"id":"a"}`},
			{"stream::delete", `{` + a + `}`, `{"old_value":{"id":"a"}}`},
			{"stream::delete", `{` + a + `}`, `{"old_value":null}`},
			{"stream::get", `{` + a + `}`, `null`},
		},
		"an item that is none": {
			{"stream::set", `{` + a + `,"data":[]}`, `invalid_argument: data: must be an object: the items of a stream are objects`},
			{"stream::set", `{` + a + `,"data":{"id":"b"}}`, `invalid_argument: data.id: must be "a", the id of the item, or absent`},
			{"stream::set", `{` + a + `,"data":{"id":7}}`, `invalid_argument: data.id: must be "a", the id of the item, or absent`},
			{"stream::set", `{` + a + `,"data":{"t":"` + long + `"}}`,
				`too_large: the item has 102417 bytes of JSON, more than the 102400 an item may have`},
		},
		"payloads with faults": {
			{"stream::set", `{}`, `invalid_argument: stream_name: is required; group_id: is required; item_id: is required; data: is required`},
			{"stream::set", `[]`, `invalid_argument: must be a JSON object`},
			{"stream::set", `{` + a + `,"data":{},"if_version":1,"x":2}`,
				`invalid_argument: if_version: is not known here; x: is not known here`},
			{"stream::get", `{"stream_name":"","group_id":7,"item_id":"` + strings.Repeat("x", 513) + `"}`,
				`invalid_argument: stream_name: must not be empty; group_id: must be a string; item_id: must not be longer than 512 bytes`},
			{"stream::list", `{"stream_name":"` + strings.Repeat("/", 256) + `","group_id":"` + strings.Repeat("/", 256) + `"}`,
				`invalid_argument: group_id: is too long together with the name of the stream`},
			{"stream::list_groups", `{"group_id":"g"}`, `invalid_argument: stream_name: is required; group_id: is not known here`},
			{"stream::list_all", `{"x":1}`, `invalid_argument: x: is not known here`},
		},
		"update": {
			{"stream::update", `{` + a + `,"ops":[{"type":"increment","path":"n","by":2}]}`,
				`{"old_value":null,"new_value":{"id":"a","n":2},"version":1}`},
			{"stream::update", `{` + a + `,"ops":[{"type":"remove","path":"id"},{"type":"set","path":"t","value":"x"}]}`,
				`{"old_value":{"id":"a","n":2},"new_value":{"id":"a","n":2,"t":"x"},"version":2}`},
			{"stream::update", `{` + a + `,"ops":[{"type":"set","path":"","value":{"n":3}}]}`,
				`{"old_value":{"id":"a","n":2,"t":"x"},"new_value":{"id":"a","n":3},"version":3}`},
			{"stream::update", `{` + a + `,"ops":[{"type":"set","path":"id","value":"b"}]}`,
				`invalid_argument: ops: would leave an item that is refused: id: must be "a", the id of the item, or absent`},
			{"stream::update", `{` + a + `,"ops":[{"type":"set","path":"","value":1}]}`,
				`invalid_argument: ops: would leave an item that is refused: must be an object: the items of a stream are objects`},
			{"stream::update", `{` + a + `,"ops":[{"type":"append","path":"t","value":"` + long + `"}]}`,
				`too_large: the item has 102423 bytes of JSON, more than the 102400 an item may have`},
			{"stream::get", `{` + a + `}`, `{"id":"a","n":3}`},
			{"stream::update", `{` + a + `,"ops":[]}`, `{"old_value":{"id":"a","n":3},"new_value":{"id":"a","n":3},"version":3}`},
		},
		"list": {
			{"stream::list", `{"stream_name":"s","group_id":"g"}`, `[]`},
			{"stream::set", `{"stream_name":"s","group_id":"g","item_id":"b","data":{}}`,
				`{"old_value":null,"new_value":{"id":"b"},"version":1}`},
			{"stream::set", `{"stream_name":"s","group_id":"g","item_id":"a","data":{}}`,
				`{"old_value":null,"new_value":{"id":"a"},"version":2}`},
			{"stream::set", `{"stream_name":"s","group_id":"g","item_id":"c/d","data":{}}`,
				`{"old_value":null,"new_value":{"id":"c/d"},"version":3}`},
			{"stream::list", `{"stream_name":"s","group_id":"g"}`, `[{"id":"a"},{"id":"b"},{"id":"c/d"}]`},
		},
		"list_groups and list_all": {
			{"stream::list_all", ``, `{"stream":[],"count":0}`},
			{"stream::list_groups", `{"stream_name":"s"}`, `[]`},
			{"stream::set", `{"stream_name":"s","group_id":"g/1","item_id":"a","data":{}}`,
				`{"old_value":null,"new_value":{"id":"a"},"version":1}`},
			{"stream::set", `{"stream_name":"s","group_id":"g","item_id":"a","data":{}}`,
				`{"old_value":null,"new_value":{"id":"a"},"version":2}`},
			{"stream::set", `{"stream_name":"r","group_id":"g","item_id":"a","data":{}}`,
				`{"old_value":null,"new_value":{"id":"a"},"version":3}`},
			{"stream::list_groups", `{"stream_name":"s"}`, `["g","g/1"]`},
			{"stream::list_all", `{}`, `{"stream":[{"id":"r","groups":["g"]},{"id":"s","groups":["g","g/1"]}],"count":2}`},
		},
		"send": {
			{"stream::send", `{"stream_name":"s","group_id":"g","type":"t","data":null}`, `null`},
			{"stream::send", `{"stream_name":"s","group_id":"g","id":"a","event_type":"t","data":[1]}`, `null`},
			{"stream::send", `{"stream_name":"s","group_id":"g"}`, `invalid_argument: type: is required; data: is required`},
			{"stream::send", `{"stream_name":"s","group_id":"g","id":"","type":"","data":1}`,
				`invalid_argument: id: must not be empty; type: must not be empty`},
			{"stream::send", `{"stream_name":"s","group_id":"g","type":"t","event_type":"t","data":1}`,
				`invalid_argument: event_type: is another name of type: give one of them`},
			{"stream::send", `{"stream_name":"s","group_id":"g","type":"t","data":"` + long + `"}`,
				`too_large: the event has 102402 bytes of JSON data, more than the 102400 it may have`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			docs := newMemory()
			for _, step := range steps {
				got, err := call(t, docs, step.id, step.payload)
				if err != nil {
					e := errs.From(err)
					got = fmt.Sprintf("%s: %s", e.Code, e.Message)
				}
				if diff := cmp.Diff(step.want, got); diff != "" {
					t.Errorf("%s %.200s (-want +got):\n%s", step.id, step.payload, diff)
				}
			}
		})
	}
}

func TestAnUpdateReportsWhatItSkipped(t *testing.T) {
	t.Parallel()
	docs := newMemory()
	const target = `"stream_name":"s","group_id":"g","item_id":"a"`
	if _, err := call(t, docs, "stream::set", `{`+target+`,"data":{"t":"x"}}`); err != nil {
		t.Fatal(err)
	}
	got, err := call(t, docs, "stream::update", `{`+target+`,"ops":[{"type":"increment","path":"t","by":1}]}`)
	if err != nil {
		t.Fatal(err)
	}
	const same = `{"id":"a","t":"x"}`
	want := `{"old_value":` + same + `,"new_value":` + same + `,"version":1,"errors":[{"op_index":0,"code":"increment.not_number",`
	if !strings.HasPrefix(got, want) || docs.version != 1 {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestSendHandsTheEventToTheStore(t *testing.T) {
	t.Parallel()
	docs := newMemory()
	if _, err := call(t, docs, "stream::send", `{"stream_name":"s","group_id":"g","id":"a","type":"t","data":{ "b":1 }}`); err != nil {
		t.Fatal(err)
	}
	want := []port.Event{{Group: port.Group("s", "g"), Item: "a", Type: "t", Data: document.Value(`{"b":1}`)}}
	if diff := cmp.Diff(want, docs.events); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestUpdatesAtOnceAllCount(t *testing.T) {
	t.Parallel()
	docs := newMemory()
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			for range 25 {
				if _, err := call(t, docs, "stream::update",
					`{"stream_name":"s","group_id":"g","item_id":"a","ops":[{"type":"increment","path":"n","by":1}]}`); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if got, _ := call(t, docs, "stream::get", `{"stream_name":"s","group_id":"g","item_id":"a"}`); got != `{"id":"a","n":400}` {
		t.Errorf("got %s", got)
	}
}

func TestLookupKnowsNothingElse(t *testing.T) {
	t.Parallel()
	for _, id := range []string{"", "stream::", "stream::Set", "state::set"} {
		if _, ok := stream.Lookup(id); ok {
			t.Errorf("%q is a function", id)
		}
	}
}

func FuzzPayload(f *testing.F) {
	ids := []string{"stream::set", "stream::update", "stream::send", "stream::list"}
	f.Add(0, []byte(`{"stream_name":"s","group_id":"g","item_id":"a","data":{"id":"a"}}`))
	f.Add(1, []byte(`{"stream_name":"s","group_id":"g","item_id":"a","ops":[{"type":"merge","value":{"id":"b"}}]}`))
	f.Add(2, []byte(`{"stream_name":"s","group_id":"g","event_type":"t","data":[]}`))
	f.Add(3, []byte(`{"stream_name":"/%","group_id":"\u0000"}`))
	f.Fuzz(func(t *testing.T, which int, text []byte) {
		docs := newMemory()
		result, err := call(t, docs, ids[uint(which)%uint(len(ids))], string(text))
		if code := errs.CodeOf(err); err != nil && code != errs.InvalidArgument && code != errs.TooLarge {
			t.Fatalf("got %v", err)
		}
		if err == nil {
			if !json.Valid([]byte(result)) {
				t.Fatalf("the result %s is not JSON", result)
			}
		}
	})
}
