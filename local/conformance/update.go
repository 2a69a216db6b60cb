package conformance

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// operation is one row of the update operations: a document, operations on it, and what comes of them.
type operation struct {
	name   string
	before string // "" is no document
	ops    string
	after  string
	faults []string // "<op_index> <code>"; what faults is skipped
}

// updates checks the operations of state::update, row by row.
func (s *suite) updates(t *testing.T) {
	for _, rows := range [][]operation{
		setRows, mergeRows, incrementRows, appendRows, removeRows, mixedRows, pathRows(), pollutedRows(),
	} {
		for _, row := range rows {
			t.Run(row.name, func(t *testing.T) {
				t.Parallel()
				s.apply(t, row)
			})
		}
	}
	for _, c := range malformed {
		t.Run("malformed: "+c.name, func(t *testing.T) {
			t.Parallel()
			s.refuse(t, c.ops)
		})
	}
	t.Run("an update whose operations all failed writes nothing", s.allFaulted)
}

func (s *suite) apply(t *testing.T, row operation) {
	at := `"scope":"` + unique("conformance") + `","key":"k"`
	old := "null"
	if row.before != "" {
		old = row.before
		s.must(t, "state::set", `{`+at+`,"value":`+row.before+`}`)
	}
	want := `{"old_value":` + old + `,"new_value":` + row.after + `,"version":"<count>"`
	if len(row.faults) > 0 {
		want += `,"errors":[`
		for i, fault := range row.faults {
			index, code, _ := strings.Cut(fault, " ")
			if i > 0 {
				want += ","
			}
			want += `{"op_index":` + index + `,"code":"` + code + `","message":"<string>"}`
		}
		want += `]`
	}
	s.invoke(t, "state::update", `{`+at+`,"ops":`+row.ops+`}`).wantJSON(t, 200, want+`}`)
	s.invoke(t, "state::get", `{`+at+`}`).wantJSON(t, 200, row.after)
}

// refuse wants a 400 for the operations and nothing applied, also not the well-formed operation before them.
func (s *suite) refuse(t *testing.T, ops string) {
	at := `"scope":"` + unique("conformance") + `","key":"k"`
	s.must(t, "state::set", `{`+at+`,"value":{"n":1}}`)
	s.invoke(t, "state::update", `{`+at+`,"ops":`+ops+`}`).wantError(t, "invalid_argument")
	if rest, ok := strings.CutPrefix(ops, "["); ok {
		s.invoke(t, "state::update", `{`+at+`,"ops":[{"type":"increment","path":"n","by":1},`+rest+`}`).
			wantError(t, "invalid_argument")
	}
	s.invoke(t, "state::get", `{`+at+`}`).wantJSON(t, 200, `{"n":1}`)
}

func (s *suite) allFaulted(t *testing.T) {
	t.Parallel()
	at := `"scope":"` + unique("conformance") + `","key":"k"`
	version := versionOf(s.must(t, "state::set", `{`+at+`,"value":{"a":"x"}}`))
	s.invoke(t, "state::update", `{`+at+`,"ops":[{"type":"increment","path":"a","by":1}]}`).wantJSON(t, 200,
		fmt.Sprintf(`{"old_value":{"a":"x"},"new_value":{"a":"x"},"version":%d,
			"errors":[{"op_index":0,"code":"increment.not_number","message":"<string>"}]}`, version))
	s.invoke(t, "state::get", `{`+at+`,"with_version":true}`).wantJSON(t, 200,
		fmt.Sprintf(`{"value":{"a":"x"},"version":%d}`, version))

	missing := `"scope":"` + unique("conformance") + `","key":"k"`
	s.must(t, "state::update", `{`+missing+`,"ops":[{"type":"set","path":"__proto__","value":1}]}`)
	s.invoke(t, "state::get", `{`+missing+`,"with_version":true}`).wantJSON(t, 200, `null`)
}

var setRows = []operation{
	{"set writes a first-level key", `{"a":1}`, `[{"type":"set","path":"b","value":{"c":[2]}}]`, `{"a":1,"b":{"c":[2]}}`, nil},
	{"set replaces a first-level key", `{"a":1}`, `[{"type":"set","path":"a","value":null}]`, `{"a":null}`, nil},
	{"set on a missing document starts as {}", ``, `[{"type":"set","path":"a","value":1}]`, `{"a":1}`, nil},
	{"set with an empty path replaces the root", `{"a":1}`, `[{"type":"set","path":"","value":[5]}]`, `[5]`, nil},
	{"set with an empty path makes a missing root", ``, `[{"type":"set","path":"","value":5}]`, `5`, nil},
	{"set takes dots literally", `{"a":{"b":1}}`, `[{"type":"set","path":"a.b","value":2}]`, `{"a":{"b":1},"a.b":2}`, nil},
	{"set takes slashes literally", `{}`, `[{"type":"set","path":"/a/b","value":2}]`, `{"/a/b":2}`, nil},
	{"set in a root that is no object is skipped", `5`, `[{"type":"set","path":"a","value":1}]`, `5`,
		[]string{"0 set.target_not_object"}},
	{"set in an array is skipped", `[1]`, `[{"type":"set","path":"0","value":1}]`, `[1]`,
		[]string{"0 set.target_not_object"}},
}

var mergeRows = []operation{
	{"merge without a path merges into the root", `{"a":1,"b":2}`, `[{"type":"merge","value":{"b":3,"c":4}}]`,
		`{"a":1,"b":3,"c":4}`, nil},
	{"merge with an empty path merges into the root", `{"a":1}`, `[{"type":"merge","path":"","value":{"b":2}}]`,
		`{"a":1,"b":2}`, nil},
	{"merge with no segments merges into the root", `{"a":1}`, `[{"type":"merge","path":[],"value":{"b":2}}]`,
		`{"a":1,"b":2}`, nil},
	{"merge into a missing document starts as {}", ``, `[{"type":"merge","value":{"a":1}}]`, `{"a":1}`, nil},
	{"merge is shallow", `{"a":{"x":1}}`, `[{"type":"merge","value":{"a":{"y":2}}}]`, `{"a":{"y":2}}`, nil},
	{"merge at a key", `{"a":{"x":1}}`, `[{"type":"merge","path":"a","value":{"y":2}}]`, `{"a":{"x":1,"y":2}}`, nil},
	{"merge takes the dots of a key literally", `{"a":{"b":{}}}`, `[{"type":"merge","path":"a.b","value":{"y":2}}]`,
		`{"a":{"b":{}},"a.b":{"y":2}}`, nil},
	{"merge at an array of keys", `{"a":{"b":{"x":1}}}`, `[{"type":"merge","path":["a","b"],"value":{"y":2}}]`,
		`{"a":{"b":{"x":1,"y":2}}}`, nil},
	{"merge makes missing parents", `{}`, `[{"type":"merge","path":["a","b","c"],"value":{"y":2}}]`,
		`{"a":{"b":{"c":{"y":2}}}}`, nil},
	{"merge makes objects of parents that are none", `{"a":5}`, `[{"type":"merge","path":["a","b"],"value":{"y":2}}]`,
		`{"a":{"b":{"y":2}}}`, nil},
	{"merge makes an object of a target that is none", `{"a":5}`, `[{"type":"merge","path":"a","value":{"y":2}}]`,
		`{"a":{"y":2}}`, nil},
	{"merge takes literal dots in segments", `{}`, `[{"type":"merge","path":["a.b","c/d"],"value":{"y":2}}]`,
		`{"a.b":{"c/d":{"y":2}}}`, nil},
	{"merge of a string is skipped", `{}`, `[{"type":"merge","value":"text"}]`, `{}`,
		[]string{"0 merge.value.not_an_object"}},
	{"merge of an array is skipped", `{}`, `[{"type":"merge","path":"a","value":[1]}]`, `{}`,
		[]string{"0 merge.value.not_an_object"}},
	{"merge of null is skipped", `{}`, `[{"type":"merge","value":null}]`, `{}`,
		[]string{"0 merge.value.not_an_object"}},
	{"merge of 1,024 keys applies", `{}`, `[{"type":"merge","value":` + wide(1024) + `}]`, wide(1024), nil},
	{"merge of 1,025 keys is skipped", `{}`, `[{"type":"merge","value":` + wide(1025) + `}]`, `{}`,
		[]string{"0 merge.value.too_many_keys"}},
	{"merge of a value 15 deep applies", `{}`, `[{"type":"merge","value":` + deep(15) + `}]`, deep(15), nil},
	{"merge of a value 18 deep is skipped", `{}`, `[{"type":"merge","value":` + deep(18) + `}]`, `{}`,
		[]string{"0 merge.value.too_deep"}},
}

// wide is an object of n members, deep n objects in each other.
func wide(n int) string {
	members := make([]string, n)
	for i := range members {
		members[i] = fmt.Sprintf(`"k%d":%d`, i, i)
	}
	return "{" + strings.Join(members, ",") + "}"
}

func deep(n int) string { return strings.Repeat(`{"a":`, n) + "1" + strings.Repeat("}", n) }

var incrementRows = []operation{
	{"increment adds", `{"n":1}`, `[{"type":"increment","path":"n","by":2}]`, `{"n":3}`, nil},
	{"increment by a negative number takes", `{"n":1}`, `[{"type":"increment","path":"n","by":-2}]`, `{"n":-1}`, nil},
	{"decrement takes", `{"n":1}`, `[{"type":"decrement","path":"n","by":2}]`, `{"n":-1}`, nil},
	{"increment counts a missing key as 0", `{}`, `[{"type":"increment","path":"n","by":2}]`, `{"n":2}`, nil},
	{"decrement counts a missing document as {}", ``, `[{"type":"decrement","path":"n","by":2}]`, `{"n":-2}`, nil},
	{"increment with an empty path is of the root", `40`, `[{"type":"increment","path":"","by":2}]`, `42`, nil},
	{"increment keeps a float a float", `{"n":1.5}`, `[{"type":"increment","path":"n","by":1}]`, `{"n":2.5}`, nil},
	{"decrement keeps a float a float", `{"n":0.1}`, `[{"type":"decrement","path":"n","by":1}]`, `{"n":-0.9}`, nil},
	{"increment takes dots literally", `{"a":{"n":1}}`, `[{"type":"increment","path":"a.n","by":1}]`,
		`{"a":{"n":1},"a.n":1}`, nil},
	{"increment of a string is skipped", `{"n":"1"}`, `[{"type":"increment","path":"n","by":1}]`, `{"n":"1"}`,
		[]string{"0 increment.not_number"}},
	{"decrement of an object is skipped", `{"n":{}}`, `[{"type":"decrement","path":"n","by":1}]`, `{"n":{}}`,
		[]string{"0 decrement.not_number"}},
	{"increment of a boolean is skipped", `{"n":true}`, `[{"type":"increment","path":"n","by":1}]`, `{"n":true}`,
		[]string{"0 increment.not_number"}},
	{"increment of a root that is no number is skipped", `{"n":1}`, `[{"type":"increment","path":"","by":1}]`,
		`{"n":1}`, []string{"0 increment.not_number"}},
	{"increment to the largest int64 applies", `{"n":9223372036854775806}`,
		`[{"type":"increment","path":"n","by":1}]`, `{"n":9223372036854775807}`, nil},
	{"increment beyond int64 is skipped", `{"n":9223372036854775807}`,
		`[{"type":"increment","path":"n","by":1}]`, `{"n":9223372036854775807}`, []string{"0 increment.not_number"}},
	{"decrement beyond int64 is skipped", `{"n":-9223372036854775808}`,
		`[{"type":"decrement","path":"n","by":1}]`, `{"n":-9223372036854775808}`, []string{"0 decrement.not_number"}},
	{"increment in a root that is no object is skipped", `[1]`, `[{"type":"increment","path":"n","by":1}]`, `[1]`,
		[]string{"0 increment.target_not_object"}},
	{"decrement in a root that is no object is skipped", `"x"`, `[{"type":"decrement","path":"n","by":1}]`, `"x"`,
		[]string{"0 decrement.target_not_object"}},
}

var appendRows = []operation{
	{"append pushes to an array", `{"l":[1]}`, `[{"type":"append","path":"l","value":2}]`, `{"l":[1,2]}`, nil},
	{"append pushes an array as one element", `{"l":[1]}`, `[{"type":"append","path":"l","value":[2,3]}]`,
		`{"l":[1,[2,3]]}`, nil},
	{"append without a path is of the root", `[1]`, `[{"type":"append","value":2}]`, `[1,2]`, nil},
	{"append with an empty path is of the root", `[1]`, `[{"type":"append","path":"","value":2}]`, `[1,2]`, nil},
	{"append with no segments is of the root", `[1]`, `[{"type":"append","path":[],"value":2}]`, `[1,2]`, nil},
	{"append concatenates strings", `{"s":"ab"}`, `[{"type":"append","path":"s","value":"cd"}]`, `{"s":"abcd"}`, nil},
	{"append concatenates a root string", `"ab"`, `[{"type":"append","value":"cd"}]`, `"abcd"`, nil},
	{"append to a missing key makes an array", `{}`, `[{"type":"append","path":"l","value":1}]`, `{"l":[1]}`, nil},
	{"append to null makes an array", `{"l":null}`, `[{"type":"append","path":"l","value":1}]`, `{"l":[1]}`, nil},
	{"append to a missing document makes both", ``, `[{"type":"append","path":"l","value":{"a":1}}]`,
		`{"l":[{"a":1}]}`, nil},
	{"append of a lone first-level string stays a string", `{}`, `[{"type":"append","path":"s","value":"ab"}]`,
		`{"s":"ab"}`, nil},
	{"append of a string further down makes an array", `{"a":{}}`,
		`[{"type":"append","path":["a","s"],"value":"ab"}]`, `{"a":{"s":["ab"]}}`, nil},
	{"append at an array of keys", `{"a":{"l":[1]}}`, `[{"type":"append","path":["a","l"],"value":2}]`,
		`{"a":{"l":[1,2]}}`, nil},
	{"append makes missing parents", `{}`, `[{"type":"append","path":["a","b","l"],"value":2}]`,
		`{"a":{"b":{"l":[2]}}}`, nil},
	{"append to a number is skipped", `{"l":1}`, `[{"type":"append","path":"l","value":2}]`, `{"l":1}`,
		[]string{"0 append.type_mismatch"}},
	{"append to an object is skipped", `{"l":{}}`, `[{"type":"append","path":"l","value":2}]`, `{"l":{}}`,
		[]string{"0 append.type_mismatch"}},
	{"append of a number to a string is skipped", `{"s":"a"}`, `[{"type":"append","path":"s","value":2}]`,
		`{"s":"a"}`, []string{"0 append.type_mismatch"}},
}

var removeRows = []operation{
	{"remove takes a first-level key", `{"a":1,"b":2}`, `[{"type":"remove","path":"a"}]`, `{"b":2}`, nil},
	{"remove of a missing key is fine", `{"b":2}`, `[{"type":"remove","path":"a"}]`, `{"b":2}`, nil},
	{"remove takes dots literally", `{"a":{"b":1},"a.b":2}`, `[{"type":"remove","path":"a.b"}]`, `{"a":{"b":1}}`, nil},
	{"remove in a root that is no object is skipped", `[1]`, `[{"type":"remove","path":"a"}]`, `[1]`,
		[]string{"0 remove.target_not_object"}},
}

var mixedRows = []operation{
	{"operations apply in their order", `{"n":1}`, `[{"type":"increment","path":"n","by":1},
		{"type":"set","path":"m","value":1},{"type":"increment","path":"m","by":5},{"type":"remove","path":"n"}]`,
		`{"m":6}`, nil},
	{"what faults is skipped and the others apply", `{"s":"x","n":1}`, `[{"type":"increment","path":"s","by":1},
		{"type":"increment","path":"n","by":1},{"type":"append","path":"n","value":1},
		{"type":"set","path":"t","value":true}]`,
		`{"s":"x","n":2,"t":true}`, []string{"0 increment.not_number", "2 append.type_mismatch"}},
	{"an operation sees what those before it did", `{}`, `[{"type":"set","path":"","value":5},
		{"type":"set","path":"a","value":1},{"type":"increment","path":"","by":1}]`,
		`6`, []string{"1 set.target_not_object"}},
}

// complete is a whole operation of the type with the path, as JSON text.
func complete(kind, path string) string {
	rest := map[string]string{
		"set": `,"value":1`, "merge": `,"value":{"x":1}`, "append": `,"value":1`,
		"increment": `,"by":1`, "decrement": `,"by":1`, "remove": ``,
	}
	return `{"type":"` + kind + `","path":` + path + rest[kind] + `}`
}

var everyOperation = []string{"set", "merge", "increment", "decrement", "append", "remove"}

// pathRows are the limits of paths: 32 segments, 256 bytes each, none of them empty.
func pathRows() []operation {
	segments := func(n int) string { return `["s"` + strings.Repeat(`,"s"`, n-1) + `]` }
	var rows []operation
	for _, kind := range everyOperation {
		rows = append(rows,
			operation{kind + " takes a key of 257 bytes for too long", `{}`,
				`[` + complete(kind, `"`+strings.Repeat("k", 257)+`"`) + `]`, `{}`, []string{"0 " + kind + ".path.segment_too_long"}},
			operation{kind + " counts the bytes of a key", `{}`,
				`[` + complete(kind, `"`+strings.Repeat("é", 129)+`"`) + `]`, `{}`, []string{"0 " + kind + ".path.segment_too_long"}},
		)
	}
	for _, kind := range []string{"merge", "append"} {
		rows = append(rows,
			operation{kind + " takes 33 segments for too deep", `{}`,
				`[` + complete(kind, segments(33)) + `]`, `{}`, []string{"0 " + kind + ".path.too_deep"}},
			operation{kind + " takes no empty segment", `{}`,
				`[` + complete(kind, `["a","","b"]`) + `]`, `{}`, []string{"0 " + kind + ".path.empty_segment"}},
			operation{kind + " takes no segment of 257 bytes", `{}`,
				`[` + complete(kind, `["a","`+strings.Repeat("k", 257)+`"]`) + `]`, `{}`,
				[]string{"0 " + kind + ".path.segment_too_long"}},
		)
	}
	key := strings.Repeat("k", 256)
	return append(rows,
		operation{"set takes a key of 256 bytes", `{}`, `[` + complete("set", `"`+key+`"`) + `]`, `{"` + key + `":1}`, nil},
		operation{"merge takes 29 segments", `{}`, `[` + complete("merge", segments(29)) + `]`,
			strings.Repeat(`{"s":`, 29) + `{"x":1}` + strings.Repeat("}", 29), nil},
	)
}

// pollutedRows are the names that no path and no merged key may have.
func pollutedRows() []operation {
	var rows []operation
	for _, name := range []string{"__proto__", "constructor", "prototype"} {
		for _, kind := range everyOperation {
			rows = append(rows, operation{kind + " takes no path " + name, `{"a":1}`, `[` + complete(kind, `"`+name+`"`) + `]`,
				`{"a":1}`, []string{"0 " + kind + ".path.proto_polluted"}})
		}
		for _, kind := range []string{"merge", "append"} {
			rows = append(rows, operation{kind + " takes no segment " + name, `{"a":1}`,
				`[` + complete(kind, `["a","`+name+`"]`) + `]`, `{"a":1}`, []string{"0 " + kind + ".path.proto_polluted"}})
		}
		rows = append(rows, operation{"merge takes no key " + name, `{"a":1}`,
			`[{"type":"merge","value":{"b":1,"` + name + `":{}}}]`, `{"a":1}`, []string{"0 merge.value.proto_polluted"}})
	}
	return slices.Clip(rows)
}

// malformed operations are a 400 for the whole call.
var malformed = []struct{ name, ops string }{
	{"an unknown type", `[{"type":"multiply","path":"n","by":2}]`},
	{"no type", `[{"path":"n","by":2}]`},
	{"a type that is no string", `[{"type":1,"path":"n","by":2}]`},
	{"an unknown field", `[{"type":"set","path":"n","value":1,"vlaue":2}]`},
	{"a field of another operation", `[{"type":"set","path":"n","value":1,"by":2}]`},
	{"set without a path", `[{"type":"set","value":1}]`},
	{"set without a value", `[{"type":"set","path":"n"}]`},
	{"set with an array for a path", `[{"type":"set","path":["n"],"value":1}]`},
	{"set with a number for a path", `[{"type":"set","path":1,"value":1}]`},
	{"merge without a value", `[{"type":"merge","path":"n"}]`},
	{"merge with a number for a path", `[{"type":"merge","path":1,"value":{}}]`},
	{"merge with a number in its path", `[{"type":"merge","path":["a",1],"value":{}}]`},
	{"increment without a path", `[{"type":"increment","by":1}]`},
	{"increment without by", `[{"type":"increment","path":"n"}]`},
	{"increment by a fraction", `[{"type":"increment","path":"n","by":1.5}]`},
	{"increment by a string", `[{"type":"increment","path":"n","by":"1"}]`},
	{"increment by null", `[{"type":"increment","path":"n","by":null}]`},
	{"increment with an array for a path", `[{"type":"increment","path":["n"],"by":1}]`},
	{"decrement without by", `[{"type":"decrement","path":"n"}]`},
	{"decrement with an array for a path", `[{"type":"decrement","path":["n"],"by":1}]`},
	{"append without a value", `[{"type":"append","path":"n"}]`},
	{"append with an object for a path", `[{"type":"append","path":{},"value":1}]`},
	{"remove without a path", `[{"type":"remove"}]`},
	{"remove with an array for a path", `[{"type":"remove","path":["n"]}]`},
	{"remove with a value", `[{"type":"remove","path":"n","value":1}]`},
	{"an operation that is no object", `["increment"]`},
	{"an operation that is null", `[null]`},
	{"ops that are no array", `{"type":"increment","path":"n","by":1}`},
	{"ops that are null", `null`},
}
