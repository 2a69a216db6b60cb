package conformance

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// stream checks the engine functions stream::*; what subscribers see of them is websocket's.
func (s *suite) stream(t *testing.T) {
	s.parallel(t, []area{
		{"shapes", func(t *testing.T) { s.tell(t, streamStories) }},
		{"payloads", s.streamPayloads},
		{"an item keeps its id whatever an update does", s.itemKeepsID},
		{"list_all names streams and their groups", s.listAll},
		{"items at once are all listed", func(t *testing.T) {
			name := unique("conformance")
			atOnce(t, 20, func(i int) error {
				_, err := s.try(t.Context(), "stream::set",
					fmt.Sprintf(`{"stream_name":%q,"group_id":"g","item_id":"i%02d","data":{"n":%d}}`, name, i, i))
				return err
			})
			var items []struct{ ID string }
			decode(t, s.must(t, "stream::list", `{"stream_name":"`+name+`","group_id":"g"}`), &items)
			seen := map[string]bool{}
			for _, item := range items {
				seen[item.ID] = true
			}
			if len(items) != 20 || len(seen) != 20 {
				t.Errorf("the list has %d items with %d ids, want 20", len(items), len(seen))
			}
		}},
	})
}

const item = `"stream_name":"$name","group_id":"g","item_id":"i"`

var streamStories = []story{
	{"set answers as state does, with the id in the item", []step{
		{call: "stream::set", payload: `{` + item + `,"data":{"a":1}}`,
			want: `{"old_value":null,"new_value":{"id":"i","a":1},"version":"<version>"}`},
		{call: "stream::set", payload: `{` + item + `,"data":{"id":"i","a":2}}`,
			want: `{"old_value":{"id":"i","a":1},"new_value":{"id":"i","a":2},"version":"<version>"}`},
		{call: "stream::set", payload: `{` + item + `,"data":{}}`,
			want: `{"old_value":{"id":"i","a":2},"new_value":{"id":"i"},"version":"<version>"}`},
		{call: "stream::set", payload: `{` + item + `,"data":{"id":"other"}}`, code: "invalid_argument"},
		{call: "stream::set", payload: `{` + item + `,"data":{"id":1}}`, code: "invalid_argument"},
		{call: "stream::get", payload: `{` + item + `}`, want: `{"id":"i"}`},
	}},
	{"get answers the item, or null", []step{
		{call: "stream::get", payload: `{` + item + `}`, want: `null`},
		{call: "stream::set", payload: `{` + item + `,"data":{"a":1}}`, want: `"<any>"`},
		{call: "stream::get", payload: `{` + item + `}`, want: `{"id":"i","a":1}`},
		{call: "stream::get", payload: `{"stream_name":"$name","group_id":"h","item_id":"i"}`, want: `null`},
	}},
	{"delete answers the old value, or null", []step{
		{call: "stream::delete", payload: `{` + item + `}`, want: `{"old_value":null}`},
		{call: "stream::set", payload: `{` + item + `,"data":{"a":1}}`, want: `"<any>"`},
		{call: "stream::delete", payload: `{` + item + `}`, want: `{"old_value":{"id":"i","a":1}}`},
		{call: "stream::get", payload: `{` + item + `}`, want: `null`},
		{call: "stream::list", payload: `{"stream_name":"$name","group_id":"g"}`, want: `[]`},
	}},
	{"update answers as state does", []step{
		{call: "stream::set", payload: `{` + item + `,"data":{"n":1,"s":"x"}}`, want: `"<any>"`},
		{call: "stream::update", payload: `{` + item + `,"ops":[{"type":"increment","path":"n","by":2}]}`,
			want: `{"old_value":{"id":"i","n":1,"s":"x"},"new_value":{"id":"i","n":3,"s":"x"},"version":"<version>"}`},
		{call: "stream::update", payload: `{` + item + `,"ops":[{"type":"increment","path":"s","by":2}]}`,
			want: `{"old_value":{"id":"i","n":3,"s":"x"},"new_value":{"id":"i","n":3,"s":"x"},"version":$version,
				"errors":[{"op_index":0,"code":"increment.not_number","message":"<string>"}]}`},
		{call: "stream::update", payload: `{` + item + `,"ops":[{"type":"multiply","path":"n","by":2}]}`,
			code: "invalid_argument"},
	}},
	{"update of a missing item makes it, with its id", []step{
		{call: "stream::update", payload: `{` + item + `,"ops":[{"type":"set","path":"a","value":1}]}`,
			want: `{"old_value":null,"new_value":{"id":"i","a":1},"version":"<version>"}`},
		{call: "stream::get", payload: `{` + item + `}`, want: `{"id":"i","a":1}`},
	}},
	{"list answers the items of one group", []step{
		{call: "stream::list", payload: `{"stream_name":"$name","group_id":"g"}`, want: `[]`},
		{call: "stream::set", payload: `{"stream_name":"$name","group_id":"g","item_id":"b","data":{}}`, want: `"<any>"`},
		{call: "stream::set", payload: `{"stream_name":"$name","group_id":"g","item_id":"a","data":{}}`, want: `"<any>"`},
		{call: "stream::set", payload: `{"stream_name":"$name","group_id":"g/h","item_id":"c","data":{}}`, want: `"<any>"`},
		{call: "stream::list", payload: `{"stream_name":"$name","group_id":"g"}`, want: `[{"id":"a"},{"id":"b"}]`},
		{call: "stream::list", payload: `{"stream_name":"$name","group_id":"g/h"}`, want: `[{"id":"c"}]`},
	}},
	{"list_groups answers the groups that hold something", []step{
		{call: "stream::list_groups", payload: `{"stream_name":"$name"}`, want: `[]`},
		{call: "stream::set", payload: `{"stream_name":"$name","group_id":"h/1","item_id":"b","data":{}}`, want: `"<any>"`},
		{call: "stream::set", payload: `{"stream_name":"$name","group_id":"g","item_id":"a","data":{}}`, want: `"<any>"`},
		{call: "stream::set", payload: `{"stream_name":"$namex","group_id":"other","item_id":"a","data":{}}`,
			want: `"<any>"`},
		{call: "stream::list_groups", payload: `{"stream_name":"$name"}`, want: `["g","h/1"]`},
	}},
	{"send answers null and stores nothing", []step{
		{call: "stream::send", payload: `{"stream_name":"$name","group_id":"g","type":"ping","data":{"a":1}}`, want: `null`},
		{call: "stream::send", payload: `{"stream_name":"$name","group_id":"g","id":"i","type":"ping","data":null}`,
			want: `null`},
		{call: "stream::send", payload: `{"stream_name":"$name","group_id":"g","event_type":"ping","data":[1]}`,
			want: `null`},
		{call: "stream::list", payload: `{"stream_name":"$name","group_id":"g"}`, want: `[]`},
		{call: "stream::list_groups", payload: `{"stream_name":"$name"}`, want: `[]`},
	}},
	{"an item of 90 KB is kept, one over 100 KB is refused", []step{
		{call: "stream::set", payload: `{` + item + `,"data":{"s":"` + strings.Repeat("x", 90_000) + `"}}`, want: `"<any>"`},
		{call: "stream::set", payload: `{` + item + `,"data":{"s":"` + strings.Repeat("x", 105_000) + `"}}`,
			code: "too_large"},
		{call: "stream::update", code: "too_large", payload: `{` + item +
			`,"ops":[{"type":"set","path":"t","value":"` + strings.Repeat("x", 20_000) + `"}]}`},
		{call: "stream::get", payload: `{` + item + `}`, want: `{"id":"i","s":"` + strings.Repeat("x", 90_000) + `"}`},
	}},
}

func (s *suite) streamPayloads(t *testing.T) {
	const of = `"stream_name":"s","group_id":"g","item_id":"i"`
	cases := []struct {
		name, call, payload string
		fields              []string
	}{
		{"set without names", "stream::set", `{"data":{}}`, []string{"stream_name", "group_id", "item_id"}},
		{"set without data", "stream::set", `{` + of + `}`, []string{"data"}},
		{"set of a string", "stream::set", `{` + of + `,"data":"text"}`, []string{"data"}},
		{"set of an array", "stream::set", `{` + of + `,"data":[]}`, []string{"data"}},
		{"set of null", "stream::set", `{` + of + `,"data":null}`, []string{"data"}},
		{"set with an unknown field", "stream::set", `{` + of + `,"data":{},"scope":"s"}`, []string{"scope"}},
		{"set with an empty stream name", "stream::set", `{"stream_name":"","group_id":"g","item_id":"i","data":{}}`,
			[]string{"stream_name"}},
		{"set with an empty group", "stream::set", `{"stream_name":"s","group_id":"","item_id":"i","data":{}}`,
			[]string{"group_id"}},
		{"set with an empty item", "stream::set", `{"stream_name":"s","group_id":"g","item_id":"","data":{}}`,
			[]string{"item_id"}},
		{"get without an item", "stream::get", `{"stream_name":"s","group_id":"g"}`, []string{"item_id"}},
		{"delete without a group", "stream::delete", `{"stream_name":"s","item_id":"i"}`, []string{"group_id"}},
		{"update without ops", "stream::update", `{` + of + `}`, []string{"ops"}},
		{"list without a group", "stream::list", `{"stream_name":"s"}`, []string{"group_id"}},
		{"list_groups without a stream", "stream::list_groups", `{}`, []string{"stream_name"}},
		{"list_all with a field", "stream::list_all", `{"stream_name":"s"}`, []string{"stream_name"}},
		{"send without a type", "stream::send", `{"stream_name":"s","group_id":"g","data":1}`, []string{"type"}},
		{"send without data", "stream::send", `{"stream_name":"s","group_id":"g","type":"t"}`, []string{"data"}},
		{"send with an item_id", "stream::send", `{` + of + `,"type":"t","data":1}`, []string{"item_id"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s.invoke(t, c.call, c.payload).wantError(t, "invalid_argument", c.fields...)
		})
	}
}

func (s *suite) itemKeepsID(t *testing.T) {
	for _, op := range []string{
		`{"type":"remove","path":"id"}`,
		`{"type":"set","path":"id","value":"other"}`,
		`{"type":"set","path":"","value":{"a":2}}`,
		`{"type":"set","path":"","value":5}`,
		`{"type":"merge","value":{"id":"other"}}`,
		`{"type":"append","path":"id","value":"x"}`,
	} {
		at := `"stream_name":"` + unique("conformance") + `","group_id":"g","item_id":"i"`
		s.must(t, "stream::set", `{`+at+`,"data":{"a":1}}`)
		if a := s.invoke(t, "stream::update", `{`+at+`,"ops":[`+op+`]}`); a.status != 200 {
			a.wantError(t, "invalid_argument")
		}
		s.invoke(t, "stream::get", `{`+at+`}`).wantJSON(t, 200, `{"id":"i","a?":"<count>"}`)
	}
}

func (s *suite) listAll(t *testing.T) {
	name := unique("conformance")
	for _, group := range []string{"g", "h"} {
		s.must(t, "stream::set", `{"stream_name":"`+name+`","group_id":"`+group+`","item_id":"i","data":{}}`)
	}
	eventually(t, "the stream and its groups are listed", func() error {
		a := s.invoke(t, "stream::list_all", `{}`)
		a.wantJSON(t, 200, `{"stream":"<any>","count":"<count>"}`)
		var all struct {
			Stream []struct {
				ID     string
				Groups []string
			}
			Count int
		}
		decode(t, a.body, &all)
		if all.Count != len(all.Stream) {
			t.Fatalf("count is %d for %d streams", all.Count, len(all.Stream))
		}
		for _, one := range all.Stream {
			if one.ID == name && slices.Equal(one.Groups, []string{"g", "h"}) {
				return nil
			}
		}
		return fmt.Errorf("%s with g and h is not among %s", name, clip(string(a.body)))
	})
}
