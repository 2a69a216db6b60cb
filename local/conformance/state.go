package conformance

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// state checks the functions state::set, get, delete, list and list_groups; updates has state::update.
func (s *suite) state(t *testing.T) {
	s.parallel(t, []area{
		{"shapes", func(t *testing.T) { s.tell(t, stateShapes) }},
		{"conditions", func(t *testing.T) { s.tell(t, stateConditions) }},
		{"payloads", s.statePayloads},
		{"names", s.names},
		{"values", s.values},
		{"numbers", s.numbers},
		{"sizes", s.sizes},
		{"lists", func(t *testing.T) { s.tell(t, stateLists) }},
		{"pages lead through every key once, in order", s.statePages},
		{"cursors that are not ours are refused", s.stateCursors},
		{"a list without a limit is the whole scope", s.wholeScope},
		{"list_groups names the scopes that hold something", s.scopes},
		{"versions strictly increase, also over a deletion", s.versions},
		{"one of many compare-and-sets at once succeeds", s.compareAndSet},
		{"increments at once all count", s.increments},
	})
}

var stateShapes = []story{
	{"set answers the old and the new value and the version", []step{
		{call: "state::set", payload: `{"scope":"$name","key":"k","value":{"a":1}}`,
			want: `{"old_value":null,"new_value":{"a":1},"version":"<version>"}`},
		{call: "state::set", payload: `{"scope":"$name","key":"k","value":[2]}`,
			want: `{"old_value":{"a":1},"new_value":[2],"version":"<version>"}`},
		{call: "state::set", payload: `{"scope":"$name","key":"k","value":[2]}`,
			want: `{"old_value":[2],"new_value":[2],"version":"<version>"}`},
	}},
	{"set takes data for value", []step{
		{call: "state::set", payload: `{"scope":"$name","key":"k","data":"v"}`,
			want: `{"old_value":null,"new_value":"v","version":"<version>"}`},
		{call: "state::set", payload: `{"scope":"$name","key":"k","data":1,"value":1}`, code: "invalid_argument"},
	}},
	{"get answers the value, or null", []step{
		{call: "state::get", payload: `{"scope":"$name","key":"k"}`, want: `null`},
		{call: "state::set", payload: `{"scope":"$name","key":"k","value":{"a":[true,null,"x"]}}`,
			want: `{"old_value":null,"new_value":{"a":[true,null,"x"]},"version":"<version>"}`},
		{call: "state::get", payload: `{"scope":"$name","key":"k"}`, want: `{"a":[true,null,"x"]}`},
		{call: "state::get", payload: `{"scope":"$name","key":"k","with_version":false}`, want: `{"a":[true,null,"x"]}`},
	}},
	{"get with the version answers both, or null", []step{
		{call: "state::get", payload: `{"scope":"$name","key":"k","with_version":true}`, want: `null`},
		{call: "state::set", payload: `{"scope":"$name","key":"k","value":1}`,
			want: `{"old_value":null,"new_value":1,"version":"<version>"}`},
		{call: "state::get", payload: `{"scope":"$name","key":"k","with_version":true}`,
			want: `{"value":1,"version":$version}`},
	}},
	{"a document that is null is a document", []step{
		{call: "state::set", payload: `{"scope":"$name","key":"k","value":null}`,
			want: `{"old_value":null,"new_value":null,"version":"<version>"}`},
		{call: "state::get", payload: `{"scope":"$name","key":"k","with_version":true}`,
			want: `{"value":null,"version":$version}`},
		{call: "state::list", payload: `{"scope":"$name"}`, want: `[null]`},
	}},
	{"delete answers the deleted value, or null", []step{
		{call: "state::delete", payload: `{"scope":"$name","key":"k"}`, want: `null`},
		{call: "state::set", payload: `{"scope":"$name","key":"k","value":"gone"}`,
			want: `{"old_value":null,"new_value":"gone","version":"<version>"}`},
		{call: "state::delete", payload: `{"scope":"$name","key":"k"}`, want: `"gone"`},
		{call: "state::delete", payload: `{"scope":"$name","key":"k"}`, want: `null`},
		{call: "state::get", payload: `{"scope":"$name","key":"k","with_version":true}`, want: `null`},
		{call: "state::list", payload: `{"scope":"$name"}`, want: `[]`},
	}},
	{"update answers the old and the new value and the version, and no errors when there are none", []step{
		{call: "state::update", payload: `{"scope":"$name","key":"k","ops":[{"type":"set","path":"a","value":1}]}`,
			want: `{"old_value":null,"new_value":{"a":1},"version":"<version>"}`},
		{call: "state::update", payload: `{"scope":"$name","key":"k","ops":[{"type":"increment","path":"a","by":2}]}`,
			want: `{"old_value":{"a":1},"new_value":{"a":3},"version":"<version>"}`},
		{call: "state::get", payload: `{"scope":"$name","key":"k","with_version":true}`,
			want: `{"value":{"a":3},"version":$version}`},
	}},
}

var stateConditions = []story{
	{"if_version 0 is a set of what does not exist", []step{
		{call: "state::set", payload: `{"scope":"$name","key":"k","value":1,"if_version":0}`,
			want: `{"old_value":null,"new_value":1,"version":"<version>"}`},
		{call: "state::set", payload: `{"scope":"$name","key":"k","value":2,"if_version":0}`, code: "conflict"},
		{call: "state::get", payload: `{"scope":"$name","key":"k"}`, want: `1`},
		{call: "state::delete", payload: `{"scope":"$name","key":"k"}`, want: `1`},
		{call: "state::set", payload: `{"scope":"$name","key":"k","value":3,"if_version":0}`,
			want: `{"old_value":null,"new_value":3,"version":"<version>"}`},
	}},
	{"a set at the version found succeeds, at another conflicts", []step{
		{call: "state::set", payload: `{"scope":"$name","key":"k","value":1}`,
			want: `{"old_value":null,"new_value":1,"version":"<version>"}`},
		{call: "state::set", payload: `{"scope":"$name","key":"k","value":2,"if_version":1}`, code: "conflict"},
		{call: "state::set", payload: `{"scope":"$name","key":"k","value":2,"if_version":$version}`,
			want: `{"old_value":1,"new_value":2,"version":"<version>"}`},
		{call: "state::get", payload: `{"scope":"$name","key":"k","with_version":true}`,
			want: `{"value":2,"version":$version}`},
	}},
	{"a set at a version of what does not exist conflicts", []step{
		{call: "state::set", payload: `{"scope":"$name","key":"k","value":2,"if_version":1}`, code: "conflict"},
		{call: "state::get", payload: `{"scope":"$name","key":"k"}`, want: `null`},
	}},
	{"a delete at the version found succeeds, at another conflicts", []step{
		{call: "state::set", payload: `{"scope":"$name","key":"k","value":1}`,
			want: `{"old_value":null,"new_value":1,"version":"<version>"}`},
		{call: "state::delete", payload: `{"scope":"$name","key":"k","if_version":1}`, code: "conflict"},
		{call: "state::get", payload: `{"scope":"$name","key":"k"}`, want: `1`},
		{call: "state::delete", payload: `{"scope":"$name","key":"k","if_version":$version}`, want: `1`},
	}},
	{"an update at the version found succeeds, at another conflicts", []step{
		{call: "state::set", payload: `{"scope":"$name","key":"k","value":{"n":1}}`,
			want: `{"old_value":null,"new_value":{"n":1},"version":"<version>"}`},
		{call: "state::update", code: "conflict",
			payload: `{"scope":"$name","key":"k","if_version":1,"ops":[{"type":"increment","path":"n","by":1}]}`},
		{call: "state::update",
			payload: `{"scope":"$name","key":"k","if_version":$version,"ops":[{"type":"increment","path":"n","by":1}]}`,
			want:    `{"old_value":{"n":1},"new_value":{"n":2},"version":"<version>"}`},
		{call: "state::update", code: "conflict",
			payload: `{"scope":"$name","key":"k","if_version":0,"ops":[{"type":"increment","path":"n","by":1}]}`},
		{call: "state::get", payload: `{"scope":"$name","key":"k"}`, want: `{"n":2}`},
	}},
}

func (s *suite) statePayloads(t *testing.T) {
	cases := []struct {
		name, call, payload string
		fields              []string
	}{
		{"set without a scope", "state::set", `{"key":"k","value":1}`, []string{"scope"}},
		{"set without a key", "state::set", `{"scope":"s","value":1}`, []string{"key"}},
		{"set without a value", "state::set", `{"scope":"s","key":"k"}`, []string{"value"}},
		{"set with an unknown field", "state::set", `{"scope":"s","key":"k","value":1,"vlaue":2}`, []string{"vlaue"}},
		{"set with two unknown fields and none known", "state::set", `{"a":1,"b":2}`,
			[]string{"a", "b", "scope", "key", "value"}},
		{"set with a scope that is no string", "state::set", `{"scope":1,"key":"k","value":1}`, []string{"scope"}},
		{"set with a key that is null", "state::set", `{"scope":"s","key":null,"value":1}`, []string{"key"}},
		{"set with a field twice", "state::set", `{"scope":"s","key":"k","key":"k","value":1}`, []string{"key"}},
		{"set with a negative if_version", "state::set", `{"scope":"s","key":"k","value":1,"if_version":-1}`,
			[]string{"if_version"}},
		{"set with a fraction for if_version", "state::set", `{"scope":"s","key":"k","value":1,"if_version":0.5}`,
			[]string{"if_version"}},
		{"set with a string for if_version", "state::set", `{"scope":"s","key":"k","value":1,"if_version":"1"}`,
			[]string{"if_version"}},
		{"get without a key", "state::get", `{"scope":"s"}`, []string{"key"}},
		{"get with an unknown field", "state::get", `{"scope":"s","key":"k","version":1}`, []string{"version"}},
		{"get with a number for with_version", "state::get", `{"scope":"s","key":"k","with_version":1}`,
			[]string{"with_version"}},
		{"delete without a scope", "state::delete", `{"key":"k"}`, []string{"scope"}},
		{"delete with a value", "state::delete", `{"scope":"s","key":"k","value":1}`, []string{"value"}},
		{"update without ops", "state::update", `{"scope":"s","key":"k"}`, []string{"ops"}},
		{"update with an unknown field", "state::update", `{"scope":"s","key":"k","ops":[],"op":1}`, []string{"op"}},
		{"list without a scope", "state::list", `{}`, []string{"scope"}},
		{"list with a key", "state::list", `{"scope":"s","key":"k"}`, []string{"key"}},
		{"list with a limit of 0", "state::list", `{"scope":"s","limit":0}`, []string{"limit"}},
		{"list with a limit of 1001", "state::list", `{"scope":"s","limit":1001}`, []string{"limit"}},
		{"list with a negative limit", "state::list", `{"scope":"s","limit":-1}`, []string{"limit"}},
		{"list with a fraction for a limit", "state::list", `{"scope":"s","limit":1.5}`, []string{"limit"}},
		{"list with a string for a limit", "state::list", `{"scope":"s","limit":"1"}`, []string{"limit"}},
		{"list with a number for a cursor", "state::list", `{"scope":"s","cursor":1}`, []string{"cursor"}},
		{"list with a number for a prefix", "state::list", `{"scope":"s","prefix":1}`, []string{"prefix"}},
		{"list_groups with a field", "state::list_groups", `{"scope":"s"}`, []string{"scope"}},
		{"an array for a payload", "state::get", `["s","k"]`, nil},
		{"a payload that is no JSON", "state::get", `{"scope":`, nil},
		{"something after the payload", "state::get", `{"scope":"s","key":"k"} {}`, nil},
		{"null for a payload", "state::get", `null`, nil},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s.invoke(t, c.call, c.payload).wantError(t, "invalid_argument", c.fields...)
		})
	}
}

func (s *suite) names(t *testing.T) {
	cases := []struct {
		name, scope, key string
		field            string // refused because of it; "" is taken
	}{
		{"a scope of 1,024 bytes is taken", long("s", 1024), "k", ""},
		{"a scope of 1,025 bytes is refused", long("s", 1025), "k", "scope"},
		{"an empty scope is refused", "", "k", "scope"},
		{"a key of 512 bytes is taken", unique("s"), long("k", 512), ""},
		{"a key of 513 bytes is refused", unique("s"), long("k", 513), "key"},
		{"a key of 512 bytes in two-byte characters is taken", unique("s"), strings.Repeat("é", 256), ""},
		{"a key of 257 characters in 514 bytes is refused", unique("s"), strings.Repeat("é", 257), "key"},
		{"an empty key is refused", unique("s"), "", "key"},
		{"slashes are part of a name", unique("a/b/"), "/k/", ""},
		{"percents are part of a name", unique("%2F"), "%2F%", ""},
		{"blanks are part of a name", unique(" s "), " ", ""},
		{"names are Unicode", unique("日本"), "🌊ü", ""},
		{"dots are part of a name", unique(".."), "..", ""},
		{"quotes are part of a name", unique(`"s"`), `\"<&>`, ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			at := `"scope":` + encode(t, c.scope) + `,"key":` + encode(t, c.key)
			a := s.invoke(t, "state::set", `{`+at+`,"value":1}`)
			if c.field != "" {
				a.wantError(t, "invalid_argument", c.field)
				return
			}
			a.wantJSON(t, 200, `{"old_value":null,"new_value":1,"version":"<version>"}`)
			s.invoke(t, "state::list", `{"scope":`+encode(t, c.scope)+`,"with_keys":true}`).
				wantJSON(t, 200, `{"items":[{"key":`+encode(t, c.key)+`,"value":1,"version":"<version>"}]}`)
			s.invoke(t, "state::delete", `{`+at+`}`).wantJSON(t, 200, `1`)
		})
	}
	s.tell(t, []story{{"scopes that begin alike do not mix", []step{
		{call: "state::set", payload: `{"scope":"$name","key":"b/c","value":1}`, want: `"<any>"`},
		{call: "state::set", payload: `{"scope":"$name/b","key":"c","value":2}`, want: `"<any>"`},
		{call: "state::set", payload: `{"scope":"$name%2Fb","key":"c","value":3}`, want: `"<any>"`},
		{call: "state::set", payload: `{"scope":"$namex","key":"c","value":4}`, want: `"<any>"`},
		{call: "state::list", payload: `{"scope":"$name"}`, want: `[1]`},
		{call: "state::list", payload: `{"scope":"$name/b"}`, want: `[2]`},
		{call: "state::list", payload: `{"scope":"$name%2Fb"}`, want: `[3]`},
	}}})
}

// long is a name nobody uses, of so many bytes.
func long(prefix string, length int) string {
	name := unique(prefix)
	return name + strings.Repeat("x", length-len(name))
}

func (s *suite) values(t *testing.T) {
	nested := func(levels int) string { return strings.Repeat("[", levels) + strings.Repeat("]", levels) }
	nestedObject := func(levels int) string {
		return strings.Repeat(`{"a":`, levels) + "1" + strings.Repeat("}", levels)
	}
	cases := []struct{ name, value, code string }{
		{"a string", `"text"`, ""},
		{"an empty string", `""`, ""},
		{"escapes in a string", `"\u0000\u001f\"\\\/\u00fc\ud83c\udf0a<>&\u2028"`, ""},
		{"true", `true`, ""},
		{"empty containers", `{"a":{},"b":[]}`, ""},
		{"an object with odd keys", `{" ":1,"a.b":2,"a/b":3,"ü":4,"__proto__":5}`, ""},
		{"31 arrays in each other", nested(31), ""},
		{"32 arrays in each other", nested(32), "invalid_argument"},
		{"31 objects in each other", nestedObject(31), ""},
		{"32 objects in each other", nestedObject(32), "invalid_argument"},
		{"thousands of arrays in each other", nested(50_000), "invalid_argument"},
		{"an empty key", `{"":1}`, "invalid_argument"},
		{"an empty key far inside", `{"a":[{"b":{"":1}}]}`, "invalid_argument"},
		{"a key twice", `{"a":1,"a":1}`, "invalid_argument"},
	}
	if s.Local { // API Gateway hands a body of JSON over as text, in which such bytes have become U+FFFD
		cases = append(cases, struct{ name, value, code string }{"a string that is no UTF-8", "\"\xff\"", "invalid_argument"})
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s.keeps(t, c.value, c.code)
		})
	}
}

// keeps wants a value to read back as it was set, or to be refused with the code.
func (s *suite) keeps(t *testing.T, value, code string) {
	t.Helper()
	at := `"scope":"` + unique("conformance") + `","key":"k"`
	a := s.invoke(t, "state::set", `{`+at+`,"value":`+value+`}`)
	if code != "" {
		a.wantError(t, code)
		return
	}
	a.wantJSON(t, 200, `{"old_value":null,"new_value":`+value+`,"version":"<version>"}`)
	s.invoke(t, "state::get", `{`+at+`}`).wantJSON(t, 200, value)
	s.invoke(t, "state::delete", `{`+at+`}`).wantJSON(t, 200, value)
}

func (s *suite) numbers(t *testing.T) {
	digits := strings.Repeat("1234567890", 4)
	kept := []struct{ name, number, code string }{
		{"38 digits are kept", digits[:38], ""},
		{"39 digits are refused", digits[:39], "invalid_argument"},
		{"38 digits behind the point are kept", "0." + digits[:38], ""},
		{"39 digits about the point are refused", "1." + digits[:38], "invalid_argument"},
		{"zeros at the end are not significant", digits[:38] + "00000", ""},
		{"zeros at the start are not significant", "0.00000" + digits[:38], ""},
		{"the greatest exponent is kept", "9.9e125", ""},
		{"a greater one is refused", "1e126", "invalid_argument"},
		{"a negative number as great is refused", "-1e126", "invalid_argument"},
		{"the smallest exponent is kept", "1e-130", ""},
		{"a smaller one is refused", "1e-131", "invalid_argument"},
		{"an absurd exponent is refused", "1e999999999", "invalid_argument"},
		{"9007199254740993 is no float64", "9007199254740993", ""},
	}
	for _, c := range kept {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s.keeps(t, c.number, c.code)
			s.keeps(t, `{"a":[`+c.number+`]}`, c.code)
		})
	}
	normal := []struct{ number, text string }{
		{"1.0", "1"}, {"-0", "0"}, {"-0.0", "0"}, {"0e5", "0"}, {"1e2", "100"}, {"1E+2", "100"}, {"1.50", "1.5"},
		{"0.10e1", "1"}, {"-12.5e-1", "-1.25"}, {"100", "100"},
	}
	for _, c := range normal {
		t.Run(c.number+" reads back as "+c.text, func(t *testing.T) {
			t.Parallel()
			at := `"scope":"` + unique("conformance") + `","key":"k"`
			s.must(t, "state::set", `{`+at+`,"value":`+c.number+`}`)
			if got := strings.TrimSpace(string(s.must(t, "state::get", `{`+at+`}`))); got != c.text {
				t.Errorf("it reads back as %s", got)
			}
		})
	}
}

func (s *suite) sizes(t *testing.T) {
	text := func(length int) string { return `"` + strings.Repeat("x", length) + `"` }
	t.Run("a document just below 400 KB is kept", func(t *testing.T) {
		t.Parallel()
		s.keeps(t, text(399_000), "")
	})
	t.Run("a document over 400 KB is refused", func(t *testing.T) {
		t.Parallel()
		s.keeps(t, text(410_000), "too_large")
	})
	s.tell(t, []story{{"an update does not make a document larger than that", []step{
		{call: "state::set", payload: `{"scope":"$name","key":"k","value":{"a":` + text(250_000) + `}}`, want: `"<any>"`},
		{call: "state::update", code: "too_large",
			payload: `{"scope":"$name","key":"k","ops":[{"type":"set","path":"b","value":` + text(250_000) + `}]}`},
		{call: "state::get", payload: `{"scope":"$name","key":"k"}`, want: `{"a":` + text(250_000) + `}`},
	}}})
}

// inserted are keys in no order; in byte order they are "B", "a", "a/b", "ab", "b", "é", "日".
var inserted = []step{
	{call: "state::set", payload: `{"scope":"$name","key":"b","value":"b"}`, want: `"<any>"`},
	{call: "state::set", payload: `{"scope":"$name","key":"日","value":"日"}`, want: `"<any>"`},
	{call: "state::set", payload: `{"scope":"$name","key":"a/b","value":"a/b"}`, want: `"<any>"`},
	{call: "state::set", payload: `{"scope":"$name","key":"ab","value":"ab"}`, want: `"<any>"`},
	{call: "state::set", payload: `{"scope":"$name","key":"é","value":"é"}`, want: `"<any>"`},
	{call: "state::set", payload: `{"scope":"$name","key":"a","value":"a"}`, want: `"<any>"`},
	{call: "state::set", payload: `{"scope":"$name","key":"B","value":"B"}`, want: `"<any>"`},
}

func listing(steps ...step) []step { return slices.Concat(inserted, steps) }

var stateLists = []story{
	{"a scope that holds nothing lists nothing", []step{
		{call: "state::list", payload: `{"scope":"$name"}`, want: `[]`},
		{call: "state::list", payload: `{"scope":"$name","limit":1}`, want: `{"items":[]}`},
		{call: "state::list", payload: `{"scope":"$name","with_keys":true}`, want: `{"items":[]}`},
	}},
	{"values list in the byte order of their keys", listing(
		step{call: "state::list", payload: `{"scope":"$name"}`, want: `["B","a","a/b","ab","b","é","日"]`},
		step{call: "state::list", payload: `{"scope":"$name","with_keys":false}`,
			want: `["B","a","a/b","ab","b","é","日"]`},
	)},
	{"a prefix selects keys", listing(
		step{call: "state::list", payload: `{"scope":"$name","prefix":"a"}`, want: `["a","a/b","ab"]`},
		step{call: "state::list", payload: `{"scope":"$name","prefix":"a/"}`, want: `["a/b"]`},
		step{call: "state::list", payload: `{"scope":"$name","prefix":"é"}`, want: `["é"]`},
		step{call: "state::list", payload: `{"scope":"$name","prefix":"zz"}`, want: `[]`},
		step{call: "state::list", payload: `{"scope":"$name","prefix":""}`, want: `["B","a","a/b","ab","b","é","日"]`},
		step{call: "state::list", payload: `{"scope":"$name","prefix":"a","with_keys":true}`, want: `{"items":[
			{"key":"a","value":"a","version":"<version>"},
			{"key":"a/b","value":"a/b","version":"<version>"},
			{"key":"ab","value":"ab","version":"<version>"}]}`},
	)},
	{"a limit, a cursor or with_keys answer items", listing(
		step{call: "state::list", payload: `{"scope":"$name","limit":1}`,
			want: `{"items":[{"key":"B","value":"B","version":"<version>"}],"cursor":"<string>"}`},
		step{call: "state::list", payload: `{"scope":"$name","limit":2,"cursor":""}`, want: `{"items":[
			{"key":"B","value":"B","version":"<version>"},
			{"key":"a","value":"a","version":"<version>"}],"cursor":"<string>"}`},
		step{call: "state::list", payload: `{"scope":"$name","cursor":"","prefix":"b"}`,
			want: `{"items":[{"key":"b","value":"b","version":"<version>"}]}`},
		step{call: "state::list", payload: `{"scope":"$name","with_keys":true,"prefix":"日"}`,
			want: `{"items":[{"key":"日","value":"日","version":"<version>"}]}`},
	)},
	{"the version of an item is that of its document", []step{
		{call: "state::set", payload: `{"scope":"$name","key":"k","value":1}`, want: `"<any>"`},
		{call: "state::list", payload: `{"scope":"$name","with_keys":true}`,
			want: `{"items":[{"key":"k","value":1,"version":$version}]}`},
	}},
}

type listed struct {
	Items []struct {
		Key     string
		Value   json.RawMessage
		Version int64
	}
	Cursor string
}

// fill sets n keys k000, k001, … of a new scope, each to its number.
func (s *suite) fill(t *testing.T, n int) (scope string) {
	t.Helper()
	scope = unique("conformance")
	atOnce(t, n, func(i int) error {
		_, err := s.try(t.Context(), "state::set", fmt.Sprintf(`{"scope":%q,"key":"k%03d","value":%d}`, scope, i, i))
		return err
	})
	return scope
}

var urlSafe = regexp.MustCompile(`^[A-Za-z0-9._~-]+$`)

func (s *suite) statePages(t *testing.T) {
	scope := s.fill(t, 25)
	for _, limit := range []int{1, 7, 25, 1000} {
		var keys []string
		for cursor, more := "", true; more; {
			var page listed
			decode(t, s.must(t, "state::list", fmt.Sprintf(
				`{"scope":%q,"prefix":"k","limit":%d,"cursor":%q}`, scope, limit, cursor)), &page)
			if len(page.Items) > limit || page.Cursor != "" && len(page.Items) != limit {
				t.Fatalf("a page of %d has %d items and the cursor %q", limit, len(page.Items), page.Cursor)
			}
			for _, item := range page.Items {
				keys = append(keys, item.Key)
			}
			cursor, more = page.Cursor, page.Cursor != ""
			if more && !urlSafe.MatchString(cursor) {
				t.Fatalf("the cursor %q is not URL-safe", cursor)
			}
		}
		if len(keys) != 25 || !sorted(keys) {
			t.Errorf("pages of %d led through %q", limit, keys)
		}
	}
}

func (s *suite) stateCursors(t *testing.T) {
	scope := s.fill(t, 3)
	var page listed
	decode(t, s.must(t, "state::list", `{"scope":"`+scope+`","limit":1}`), &page)
	changed := []byte(page.Cursor)
	changed[0] ^= 1 // another character of the URL-safe ones, or none of them
	for _, cursor := range []string{
		"garbage", "%", " ", "k001", "AAAA", strings.Repeat("A", 2000), page.Cursor[1:], string(changed), page.Cursor + "A",
	} {
		s.invoke(t, "state::list", `{"scope":"`+scope+`","cursor":`+encode(t, cursor)+`}`).
			wantError(t, "invalid_argument", "cursor")
	}
}

func (s *suite) wholeScope(t *testing.T) {
	scope := s.fill(t, 120)
	var all []int
	decode(t, s.must(t, "state::list", `{"scope":"`+scope+`"}`), &all)
	if len(all) != 120 || !slices.IsSorted(all) {
		t.Errorf("the list has %d values: %v", len(all), all)
	}
	var page listed
	decode(t, s.must(t, "state::list", `{"scope":"`+scope+`","with_keys":true}`), &page)
	if len(page.Items) != 100 || page.Cursor == "" {
		t.Errorf("a page without a limit has %d items and the cursor %q, want 100 and one", len(page.Items), page.Cursor)
	}
}

func (s *suite) scopes(t *testing.T) {
	name := unique("conformance")
	mine := []string{name + "/b", name + "a", name + "ü"}
	groups := func() (list []string, err error) {
		var result struct{ Groups []string }
		a := s.invoke(t, "state::list_groups", `{}`)
		a.wantJSON(t, 200, `{"groups":"<any>"}`)
		decode(t, a.body, &result)
		if !sorted(result.Groups) {
			err = fmt.Errorf("not sorted: %q", result.Groups)
		}
		for _, group := range result.Groups {
			if strings.HasPrefix(group, name) {
				list = append(list, group)
			}
		}
		return list, err
	}
	want := func(what string, expected []string) {
		eventually(t, what, func() error {
			got, err := groups()
			if err == nil && !slices.Equal(got, expected) {
				err = fmt.Errorf("got %q, want %q", got, expected)
			}
			return err
		})
	}
	want("no scope before the first document", nil)
	for _, scope := range mine {
		s.must(t, "state::set", `{"scope":"`+scope+`","key":"k","value":1}`)
	}
	want("every scope with a document", mine)
	s.must(t, "state::delete", `{"scope":"`+mine[1]+`","key":"k"}`)
	want("no scope after the last document", []string{mine[0], mine[2]})
}

func (s *suite) versions(t *testing.T) {
	at := `"scope":"` + unique("conformance") + `","key":"k"`
	var last int64
	for range 5 {
		for _, call := range []string{
			`state::set {` + at + `,"value":{"n":1}}`,
			`state::update {` + at + `,"ops":[{"type":"increment","path":"n","by":1}]}`,
		} {
			function, payload, _ := strings.Cut(call, " ")
			version := versionOf(s.must(t, function, payload))
			if version <= last {
				t.Errorf("%s made version %d after %d", function, version, last)
			}
			last = version
		}
		s.must(t, "state::delete", `{`+at+`}`)
	}
}

func (s *suite) compareAndSet(t *testing.T) {
	at := `"scope":"` + unique("conformance") + `","key":"k"`
	version := int64(0)
	for range 5 {
		statuses := make([]int, 8)
		atOnce(t, len(statuses), func(i int) (err error) {
			payload := fmt.Sprintf(`{%s,"value":%d,"if_version":%d}`, at, i, version)
			statuses[i], _, err = s.Invoke(t.Context(), "state::set", []byte(payload), nil)
			return err
		})
		slices.Sort(statuses)
		if want := []int{200, 409, 409, 409, 409, 409, 409, 409}; !slices.Equal(statuses, want) {
			t.Fatalf("the answers are %v, want %v", statuses, want)
		}
		version = versionOf(s.must(t, "state::get", `{`+at+`,"with_version":true}`))
	}
}

func (s *suite) increments(t *testing.T) {
	at := `"scope":"` + unique("conformance") + `","key":"k"`
	atOnce(t, 50, func(int) error {
		_, err := s.try(t.Context(), "state::update", `{`+at+`,"ops":[{"type":"increment","path":"n","by":2}]}`)
		return err
	})
	s.invoke(t, "state::get", `{`+at+`}`).wantJSON(t, 200, `{"n":100}`)
}
