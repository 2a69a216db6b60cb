package document_test

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/eddyhq/eddy/shared/document"
	"github.com/eddyhq/eddy/shared/errs"
)

func TestApply(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("k", 256)
	deepPath := func(n int) string { return `["` + strings.Join(slices.Repeat([]string{"a"}, n), `","`) + `"]` }
	for _, c := range []struct {
		name, old, ops, want string
		faults               []string // "<op_index> <code>"
	}{
		{"set puts and replaces a first-level key", `{"a":1}`, `[{"type":"set","path":"a","value":{"x":1}},{"type":"set","path":"b","value":null}]`,
			`{"a":{"x":1},"b":null}`, nil},
		{"set takes dots and slashes literally", `{}`, `[{"type":"set","path":"a.b/c","value":1}]`, `{"a.b/c":1}`, nil},
		{"set with an empty path replaces the root", `{"a":1}`, `[{"type":"set","path":"","value":[1]}]`, `[1]`, nil},
		{"set begins a missing document", ``, `[{"type":"set","path":"a","value":1}]`, `{"a":1}`, nil},
		{"set in what is no object is skipped", `[1]`, `[{"type":"set","path":"a","value":1}]`, `[1]`, []string{"0 set.target_not_object"}},
		{"operations see those before them", `{"a":1}`, `[{"type":"set","path":"","value":{}},{"type":"set","path":"b","value":2},{"type":"remove","path":"b"}]`,
			`{}`, nil},

		{"merge is shallow", `{"a":{"x":1},"b":2}`, `[{"type":"merge","value":{"a":{"y":1},"c":3}}]`, `{"a":{"y":1},"b":2,"c":3}`, nil},
		{"merge at the root may be written in three ways", `{}`, `[{"type":"merge","path":"","value":{"a":1}},{"type":"merge","path":[],"value":{"b":1}},{"type":"merge","value":{"c":1}}]`,
			`{"a":1,"b":1,"c":1}`, nil},
		{"merge takes a string as one key", `{}`, `[{"type":"merge","path":"a.b","value":{"c":1}}]`, `{"a.b":{"c":1}}`, nil},
		{"merge makes the parents that are missing", `{"z":0}`, `[{"type":"merge","path":["a","b"],"value":{"c":1}}]`, `{"a":{"b":{"c":1}},"z":0}`, nil},
		{"merge makes objects of the parents that are none", `{"a":[1],"b":{"c":2}}`, `[{"type":"merge","path":["a","b"],"value":{"c":1}},{"type":"merge","path":["b","c"],"value":{}}]`,
			`{"a":{"b":{"c":1}},"b":{"c":{}}}`, nil},
		{"merge makes an object of the root", `"text"`, `[{"type":"merge","value":{"c":1}}]`, `{"c":1}`, nil},
		{"merge refuses what is no object", `{"a":1}`, `[{"type":"merge","value":[1]},{"type":"merge","value":null},{"type":"merge","path":"x","value":3}]`, `{"a":1}`,
			[]string{"0 merge.value.not_an_object", "1 merge.value.not_an_object", "2 merge.value.not_an_object"}},
		{"merge takes 1,024 keys", `{}`, `[{"type":"merge","path":"x","value":` + manyKeys(1024) + `}]`, `{"x":` + parse(t, manyKeys(1024)).String() + `}`, nil},
		{"merge refuses 1,025 keys", `{}`, `[{"type":"merge","path":"x","value":` + manyKeys(1025) + `}]`, `{}`, []string{"0 merge.value.too_many_keys"}},
		{"merge takes 16 levels", `{}`, `[{"type":"merge","value":{"a":` + nested(15) + `}}]`, `{"a":` + nested(15) + `}`, nil},
		{"merge refuses 17 levels", `{}`, `[{"type":"merge","value":{"a":` + nested(16) + `}}]`, `{}`, []string{"0 merge.value.too_deep"}},
		{"merge refuses more levels than a document has", `{}`, `[{"type":"merge","value":{"a":` + nested(40) + `}}]`, `{}`, []string{"0 merge.value.too_deep"}},
		{"merge refuses polluted names", `{}`, `[{"type":"merge","value":{"__proto__":1}},{"type":"merge","path":"a","value":{"prototype":1}}]`, `{}`,
			[]string{"0 merge.value.proto_polluted", "1 merge.value.proto_polluted"}},

		{"increment and decrement integers", `{"n":5}`, `[{"type":"increment","path":"n","by":3},{"type":"decrement","path":"n","by":-2},{"type":"decrement","path":"n","by":1}]`, `{"n":9}`, nil},
		{"a missing key counts as 0", ``, `[{"type":"increment","path":"n","by":2},{"type":"decrement","path":"m","by":2}]`, `{"m":-2,"n":2}`, nil},
		{"increment at the root", `5`, `[{"type":"increment","path":"","by":2}]`, `7`, nil},
		{"a missing root counts as 0", ``, `[{"type":"decrement","path":"","by":2},{"type":"decrement","path":"","by":2}]`, `-4`, nil},
		{"a missing root still counts as 0 after a skipped operation", ``, `[{"type":"remove","path":""},{"type":"increment","path":"","by":2}]`, `2`,
			[]string{"0 remove.path.empty_segment"}},
		{"a root that an operation made is no longer missing", ``, `[{"type":"remove","path":"a"},{"type":"increment","path":"","by":2}]`, `{}`, []string{"1 increment.not_number"}},
		{"a fraction stays exact", `{"n":0.1}`, `[{"type":"increment","path":"n","by":2},{"type":"decrement","path":"n","by":9007199254740993}]`, `{"n":-9007199254740990.9}`, nil},
		{"a fraction keeps all of its 38 digits", `{"n":0.1234567890123456789012345678901234567}`, `[{"type":"increment","path":"n","by":9}]`, `{"n":9.1234567890123456789012345678901234567}`, nil},
		{"a fraction that would need 39 digits is skipped", `{"n":0.12345678901234567890123456789012345678}`, `[{"type":"increment","path":"n","by":9}]`,
			`{"n":0.12345678901234567890123456789012345678}`, []string{"0 increment.not_number"}},
		{"a tiny fraction is skipped unless nothing is added", `{"n":1e-100}`, `[{"type":"increment","path":"n","by":0},{"type":"decrement","path":"n","by":1}]`, `{"n":1e-100}`,
			[]string{"1 decrement.not_number"}},
		{"null and strings are no numbers", `{"a":null,"b":"1","c":{"n":1}}`, `[{"type":"increment","path":"a","by":1},{"type":"decrement","path":"b","by":1},{"type":"increment","path":"c","by":1}]`,
			`{"a":null,"b":"1","c":{"n":1}}`, []string{"0 increment.not_number", "1 decrement.not_number", "2 increment.not_number"}},
		{"an integer does not leave int64", `{"n":9223372036854775807,"m":-9223372036854775808}`,
			`[{"type":"increment","path":"n","by":1},{"type":"decrement","path":"m","by":1},{"type":"increment","path":"n","by":-1},{"type":"decrement","path":"x","by":-9223372036854775808}]`,
			`{"m":-9223372036854775808,"n":9223372036854775806}`, []string{"0 increment.not_number", "1 decrement.not_number", "3 decrement.not_number"}},
		{"an integer beyond int64 is not changed", `{"n":9223372036854775808,"m":1e+30}`, `[{"type":"decrement","path":"n","by":1},{"type":"increment","path":"m","by":1}]`,
			`{"m":1e+30,"n":9223372036854775808}`, []string{"0 decrement.not_number", "1 increment.not_number"}},
		{"increment in what is no object is skipped", `3`, `[{"type":"increment","path":"n","by":1},{"type":"decrement","path":"n","by":1}]`, `3`,
			[]string{"0 increment.target_not_object", "1 decrement.target_not_object"}},

		{"append pushes to an array", `{"a":[1]}`, `[{"type":"append","path":"a","value":[2]},{"type":"append","path":["a"],"value":"x"}]`, `{"a":[1,[2],"x"]}`, nil},
		{"append concatenates strings", `{"a":"x\""}`, `[{"type":"append","path":"a","value":"\ny"},{"type":"append","path":"a","value":""},{"type":"append","path":"a","value":"z"}]`, `{"a":"x\"\nyz"}`, nil},
		{"append begins an array where there is nothing or null", `{"n":null}`, `[{"type":"append","path":"a","value":1},{"type":"append","path":"n","value":{}}]`, `{"a":[1],"n":[{}]}`, nil},
		{"a lone first-level string stays a string", `{"n":null}`, `[{"type":"append","path":"a","value":"x"},{"type":"append","path":["b"],"value":"y"},{"type":"append","path":"n","value":"z"}]`,
			`{"a":"x","b":"y","n":"z"}`, nil},
		{"a lone string below the first level begins an array", `{"o":{"n":null}}`, `[{"type":"append","path":["o","a"],"value":"x"},{"type":"append","path":["o","n"],"value":"y"}]`,
			`{"o":{"a":["x"],"n":["y"]}}`, nil},
		{"append makes and replaces parents", `{"a":3}`, `[{"type":"append","path":["a","b"],"value":1},{"type":"append","path":["x","y","z"],"value":2}]`, `{"a":{"b":[1]},"x":{"y":{"z":[2]}}}`, nil},
		{"append at the root", `[1]`, `[{"type":"append","value":2},{"type":"append","path":"","value":3},{"type":"append","path":[],"value":4}]`, `[1,2,3,4]`, nil},
		{"append begins a missing root", ``, `[{"type":"append","value":2}]`, `[2]`, nil},
		{"append begins a missing root with a string", ``, `[{"type":"append","value":"a"},{"type":"append","value":"b"}]`, `"ab"`, nil},
		{"append to anything else is skipped", `{"n":1,"o":{},"s":"x"}`, `[{"type":"append","path":"n","value":1},{"type":"append","path":"o","value":1},{"type":"append","path":"s","value":1},{"type":"append","value":1}]`,
			`{"n":1,"o":{},"s":"x"}`, []string{"0 append.type_mismatch", "1 append.type_mismatch", "2 append.type_mismatch", "3 append.type_mismatch"}},
		{"append below what is no object is skipped", `[1]`, `[{"type":"append","path":["a","b"],"value":1}]`, `[1]`, []string{"0 append.target_not_object"}},

		{"remove takes a key away", `{"a":1,"b":2}`, `[{"type":"remove","path":"a"}]`, `{"b":2}`, nil},
		{"remove of what is missing is fine", `{"a":1}`, `[{"type":"remove","path":"b"}]`, `{"a":1}`, nil},
		{"remove of the root is skipped", `{"a":1}`, `[{"type":"remove","path":""}]`, `{"a":1}`, []string{"0 remove.path.empty_segment"}},
		{"remove from what is no object is skipped", `"x"`, `[{"type":"remove","path":"a"}]`, `"x"`, []string{"0 remove.target_not_object"}},

		{"a path may have 32 keys, if the document is not too deep for it", `{}`, `[{"type":"merge","path":` + deepPath(30) + `,"value":{}}]`, strings.Repeat(`{"a":`, 30) + `{}` + strings.Repeat(`}`, 30), nil},
		{"a path may not have 33 keys", `{}`, `[{"type":"merge","path":` + deepPath(33) + `,"value":{}},{"type":"append","path":` + deepPath(33) + `,"value":1}]`, `{}`,
			[]string{"0 merge.path.too_deep", "1 append.path.too_deep"}},
		{"a key of a path may have 256 bytes", `{}`, `[{"type":"set","path":"` + long + `","value":1}]`, `{"` + long + `":1}`, nil},
		{"a key of a path may not have 257 bytes", `{}`, `[{"type":"set","path":"` + long + `k","value":1},{"type":"increment","path":"` + long + `é","by":1},{"type":"merge","path":["a","` + long + `k"],"value":{}}]`, `{}`,
			[]string{"0 set.path.segment_too_long", "1 increment.path.segment_too_long", "2 merge.path.segment_too_long"}},
		{"a key of a path may not be empty", `{}`, `[{"type":"merge","path":[""],"value":{}},{"type":"append","path":["a",""],"value":1}]`, `{}`,
			[]string{"0 merge.path.empty_segment", "1 append.path.empty_segment"}},
		{"a key of a path may not be polluted", `{}`,
			`[{"type":"set","path":"__proto__","value":1},{"type":"increment","path":"constructor","by":1},{"type":"decrement","path":"prototype","by":1},{"type":"remove","path":"__proto__"},{"type":"merge","path":["a","constructor"],"value":{}},{"type":"append","path":"prototype","value":1}]`,
			`{}`, []string{"0 set.path.proto_polluted", "1 increment.path.proto_polluted", "2 decrement.path.proto_polluted", "3 remove.path.proto_polluted", "4 merge.path.proto_polluted", "5 append.path.proto_polluted"}},

		{"the other operations apply around skipped ones", `{"s":"x"}`, `[{"type":"set","path":"a","value":1},{"type":"increment","path":"s","by":1},{"type":"set","path":"b","value":2}]`,
			`{"a":1,"b":2,"s":"x"}`, []string{"1 increment.not_number"}},
		{"a missing document stays missing when all is skipped", ``, `[{"type":"remove","path":""},{"type":"merge","value":1}]`, ``,
			[]string{"0 remove.path.empty_segment", "1 merge.value.not_an_object"}},
		{"a missing document stays missing without operations", ``, `[]`, ``, nil},
		{"a document stays without operations", `{"a":1}`, `[]`, `{"a":1}`, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var old document.Value
			if c.old != "" {
				old = parse(t, c.old)
			}
			before := old.String()
			got, faults, err := document.Apply(old, parseOps(t, c.ops))
			if err != nil {
				t.Fatal(err)
			}
			var codes []string
			for _, f := range faults {
				codes = append(codes, fmt.Sprintf("%d %s", f.OpIndex, f.Code))
				if f.Message == "" {
					t.Errorf("%s has no message", f.Code)
				}
			}
			if diff := cmp.Diff(c.faults, codes); diff != "" {
				t.Error(diff)
			}
			if got.String() != c.want || (got == nil) != (c.want == "") {
				t.Errorf("got %s, want %s", got, c.want)
			}
			if old.String() != before {
				t.Errorf("the old value became %s", old)
			}
		})
	}
}

func manyKeys(n int) string {
	var members []string
	for i := range n {
		members = append(members, fmt.Sprintf(`"k%d":%d`, i, i))
	}
	return "{" + strings.Join(members, ",") + "}"
}

func TestApplyFails(t *testing.T) {
	t.Parallel()
	half := document.Value(`"` + strings.Repeat("x", document.MaxSize/2) + `"`)
	for _, c := range []struct {
		name string
		ops  []document.Op
		want errs.Code
	}{
		{"when the result is too large",
			[]document.Op{{Type: document.OpAppend, Path: []string{"a"}, Value: half}, {Type: document.OpAppend, Path: []string{"a"}, Value: half}}, errs.TooLarge},
		{"when the result is too deep", []document.Op{{Type: document.OpSet, Path: []string{"a"}, Value: document.Value(nested(31))}}, errs.InvalidArgument},
		{"for an operation of no known type", []document.Op{{Type: "double"}}, errs.InvalidArgument},
		{"for a set without a value", []document.Op{{Type: document.OpSet}}, errs.InvalidArgument},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got, faults, err := document.Apply(nil, c.ops)
			if errs.CodeOf(err) != c.want || got != nil || faults != nil {
				t.Errorf("got %.20s, %v, %v; want code %s", got, faults, err, c.want)
			}
		})
	}
}

func TestParseOpsListsWhatIsMalformed(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, text string
		fields     []string
	}{
		{"no array", `{}`, []string{""}},
		{"no JSON", `[{"type":"remove","path":"a"}`, []string{""}},
		{"an operation that is no object", `[1,null]`, []string{"[0]", "[1]"}},
		{"no type", `[{"path":"a"}]`, []string{"[0].type"}},
		{"an unknown type", `[{"type":"double","path":"a","of":1}]`, []string{"[0].type"}},
		{"a type that is no string", `[{"type":1}]`, []string{"[0].type"}},
		{"an empty type", `[{"type":""}]`, []string{"[0].type"}},
		{"missing fields", `[{"type":"set"},{"type":"merge"},{"type":"increment"},{"type":"append"},{"type":"remove"}]`,
			[]string{"[0].path", "[0].value", "[1].value", "[2].path", "[2].by", "[3].value", "[4].path"}},
		{"unknown fields", `[{"type":"set","path":"a","value":1,"by":1,"x":2},{"type":"remove","path":"a","value":1}]`, []string{"[0].by", "[0].x", "[1].value"}},
		{"a field given twice", `[{"type":"remove","path":"a","path":"b"}]`, []string{"[0].path"}},
		{"an array path where one key belongs",
			`[{"type":"set","path":["a"],"value":1},{"type":"increment","path":["a"],"by":1},{"type":"decrement","path":[],"by":1},{"type":"remove","path":["a"]}]`,
			[]string{"[0].path", "[1].path", "[2].path", "[3].path"}},
		{"a path of another type", `[{"type":"merge","path":1,"value":{}},{"type":"append","path":null,"value":1},{"type":"set","path":{},"value":1}]`,
			[]string{"[0].path", "[1].path", "[2].path"}},
		{"a path of other things than strings", `[{"type":"merge","path":["a",1,null],"value":{}}]`, []string{"[0].path[1]", "[0].path[2]"}},
		{"a by that is no integer", `[{"type":"increment","path":"a","by":1.5},{"type":"increment","path":"a","by":"1"},{"type":"decrement","path":"a","by":null},{"type":"decrement","path":"a","by":9223372036854775808}]`,
			[]string{"[0].by", "[1].by", "[2].by", "[3].by"}},
		{"a value that cannot be stored", `[{"type":"set","path":"a","value":{"x":[1e400]}},{"type":"append","value":tru}]`, []string{"[0].value.x[0]", "[1].value"}},
		{"a path that is not UTF-8", "[{\"type\":\"remove\",\"path\":\"\xff\"}]", []string{"[0].path"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := document.ParseOps([]byte(c.text))
			if errs.CodeOf(err) != errs.InvalidArgument {
				t.Fatalf("got %v", err)
			}
			var fields []string
			for _, d := range errs.From(err).Details {
				fields = append(fields, d.Field)
			}
			if diff := cmp.Diff(c.fields, fields); diff != "" {
				t.Errorf("%s\n%v", diff, err)
			}
		})
	}
}

func TestParseOpsRefusesAValueThatIsTooLarge(t *testing.T) {
	t.Parallel()
	_, err := document.ParseOps([]byte(`[{"type":"set","path":"a","value":"` + strings.Repeat("x", document.MaxSize+1) + `"}]`))
	if errs.CodeOf(err) != errs.TooLarge {
		t.Errorf("got %v", err)
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	one := document.Value("1")
	for _, c := range []struct {
		name   string
		op     document.Op
		fields []string
	}{
		{"a set", document.Op{Type: document.OpSet, Path: []string{"a"}, Value: one}, nil},
		{"an increment by nothing", document.Op{Type: document.OpIncrement, Path: []string{"a"}}, nil},
		{"a merge that will be skipped", document.Op{Type: document.OpMerge, Path: []string{"", "__proto__"}, Value: one}, nil},
		{"no type", document.Op{}, []string{"type"}},
		{"two keys in a set", document.Op{Type: document.OpSet, Path: []string{"a", "b"}, Value: one}, []string{"path"}},
		{"an empty key where the root is meant", document.Op{Type: document.OpIncrement, Path: []string{""}}, []string{"path"}},
		{"a key that is not UTF-8", document.Op{Type: document.OpMerge, Path: []string{"\xff"}, Value: one}, []string{"path"}},
		{"no value", document.Op{Type: document.OpAppend}, []string{"value"}},
		{"a value and an amount where there is none", document.Op{Type: document.OpRemove, Path: []string{"a"}, Value: one, By: 1}, []string{"value", "by"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var fields []string
			if err := document.Validate(c.op); err != nil {
				for _, d := range errs.From(err).Details {
					fields = append(fields, d.Field)
				}
			}
			if diff := cmp.Diff(c.fields, fields); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestOpsGoOverTheWireUnchanged(t *testing.T) {
	t.Parallel()
	ops := []document.Op{
		{Type: document.OpSet, Value: document.Value(`{"a":1}`)},
		{Type: document.OpSet, Path: []string{"a\"\n"}, Value: document.Value(`null`)},
		{Type: document.OpMerge, Path: []string{}, Value: document.Value(`{}`)},
		{Type: document.OpAppend, Path: []string{"a.b", "c"}, Value: document.Value(`"x"`)},
		{Type: document.OpIncrement, Path: []string{"n"}, By: math.MinInt64},
		{Type: document.OpDecrement, By: 1},
		{Type: document.OpRemove, Path: []string{"n"}},
	}
	text, err := json.Marshal(ops)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(ops, parseOps(t, string(text))); diff != "" {
		t.Error(diff)
	}
	var back []document.Op
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(ops, back); diff != "" {
		t.Error(diff)
	}
	if _, err := json.Marshal(document.Op{Type: "double"}); err == nil {
		t.Error("a malformed operation was written")
	}
}

func parseOps(t fataler, text string) []document.Op {
	ops, err := document.ParseOps([]byte(text))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return ops
}

func FuzzParseOps(f *testing.F) {
	f.Add([]byte(`{"a":[1],"n":0.5}`), []byte(`[{"type":"append","path":["a"],"value":2},{"type":"increment","path":"n","by":1},{"type":"merge","path":["n","x"],"value":{"y":1}}]`))
	f.Add([]byte(``), []byte(`[{"type":"set","path":"","value":"x"},{"type":"append","value":"y\n"},{"type":"decrement","path":"","by":-1},{"type":"remove","path":"a"}]`))
	f.Add([]byte(`1e-100`), []byte(`[{"type":"increment","path":"","by":1}]`))
	f.Fuzz(func(t *testing.T, before, text []byte) {
		ops, err := document.ParseOps(text)
		if err != nil {
			if code := errs.CodeOf(err); code != errs.InvalidArgument && code != errs.TooLarge {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		for i, op := range ops {
			if err := document.Validate(op); err != nil {
				t.Fatalf("operation %d of %q: %v", i, text, err)
			}
		}
		old, err := document.Parse(before)
		if err != nil {
			old = nil
		}
		got, faults, err := document.Apply(old, ops)
		switch {
		case err != nil:
			if code := errs.CodeOf(err); code != errs.InvalidArgument && code != errs.TooLarge {
				t.Fatalf("%q: %v", text, err)
			}
		case len(faults) == len(ops):
			if got.String() != old.String() {
				t.Fatalf("%s became %s though everything was skipped", old, got)
			}
		default:
			if again := parse(t, got.String()); again.String() != got.String() {
				t.Fatalf("%s is not canonical: %s", got, again)
			}
		}
	})
}
