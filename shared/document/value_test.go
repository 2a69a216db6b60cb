package document_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/big"
	"math/rand"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/eddyhq/eddy/shared/document"
	"github.com/eddyhq/eddy/shared/errs"
)

func TestParseReturnsTheCanonicalForm(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, text, want string }{
		{"whitespace goes", " { \"a\" : [ 1 ,\t2 ] }\r\n", `{"a":[1,2]}`},
		{"members are sorted at every level", `{"b":{"z":1,"y":2},"a":0}`, `{"a":0,"b":{"y":2,"z":1}}`},
		{"members are sorted by the bytes of what their names hold", `{"!":1,"A":2,"\n":3,"é":4,"\"":5}`, `{"\n":3,"!":1,"\"":5,"A":2,"é":4}`},
		{"a name that begins another comes first", `{"ab":1,"a!":2,"a":3}`, `{"a":3,"a!":2,"ab":1}`},
		{"escapes that JSON does not demand are undone", `"\u0041\/\u00e9\ud83d\ude00\u003c"`, `"A/é😀<"`},
		{"escapes that JSON demands take their short form", `"\u0022\u005C\u0008\u000C\u000a\u000D\u0009\u001f"`, `"\"\\\b\f\n\r\t\u001f"`},
		{"an integer stays", `9007199254740993`, `9007199254740993`},
		{"minus zero is zero", `[-0,-0.0,0e5,0.000]`, `[0,0,0,0]`},
		{"trailing zeros go", `[1.0,1.50,-2.500e0]`, `[1,1.5,-2.5]`},
		{"exponents become plain where ECMAScript writes them plain", `[1e2,1E+20,1e-6,12.5e1,123e-9]`,
			`[100,100000000000000000000,0.000001,125,1.23e-7]`},
		{"very large and very small numbers have exponents", `[1e21,1000000000000000000000,-1.5e-7,0.0000001]`, `[1e+21,1e+21,-1.5e-7,1e-7]`},
		{"all of 38 digits stay", `12345678901234567890123456789012345678`, `1.2345678901234567890123456789012345678e+37`},
		{"all of 38 digits of a fraction stay", `0.12345678901234567890123456789012345678`, `0.12345678901234567890123456789012345678`},
		{"zeros around the digits do not count", `0.00` + strings.Repeat("7", 38) + strings.Repeat("0", 50), `0.00` + strings.Repeat("7", 38)},
		{"the ends of the range are in it", `[1e-130,9.9999999999999999999999999999999999999e125]`, `[1e-130,9.9999999999999999999999999999999999999e+125]`},
		{"a scalar is a document", `true`, `true`},
		{"empty containers are documents", `[{},[]]`, `[{},[]]`},
		{"31 levels", nested(31), nested(31)},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got, err := document.Parse([]byte(c.text))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got.String()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func nested(depth int) string { return strings.Repeat("[", depth) + strings.Repeat("]", depth) }

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, text, field string
		code              errs.Code
	}{
		{"nothing", ``, "", errs.InvalidArgument},
		{"a word", `nul`, "", errs.InvalidArgument},
		{"two values", `1 2`, "", errs.InvalidArgument},
		{"a trailing comma", `{"a":[1,]}`, "a[1]", errs.InvalidArgument},
		{"a number with a leading zero", `[01]`, "[0]", errs.InvalidArgument},
		{"a number without digits after the point", `1.`, "", errs.InvalidArgument},
		{"a raw control character", "\"\n\"", "", errs.InvalidArgument},
		{"half a surrogate pair", `{"a":"\ud800"}`, "a", errs.InvalidArgument},
		{"a pair in the wrong order", `"\ude00\ud83d"`, "", errs.InvalidArgument},
		{"an unknown escape", `"\x41"`, "", errs.InvalidArgument},
		{"invalid UTF-8", "{\"a\":\"\xff\"}", "a", errs.InvalidArgument},
		{"a name given twice", `{"x":{"a":1,"a":2}}`, "x.a", errs.InvalidArgument},
		{"a name given twice among unsorted ones", `{"b":0,"a":1,"b":2}`, "b", errs.InvalidArgument},
		{"a name given twice in different escapes", `{"a":1,"\u0061":2}`, "a", errs.InvalidArgument},
		{"an empty name", `{"x":[{"":1}]}`, "x[0]", errs.InvalidArgument},
		{"32 levels", nested(32), strings.Repeat("[0]", 31), errs.InvalidArgument},
		{"39 digits", `{"n":123456789012345678901234567890123456789}`, "n", errs.InvalidArgument},
		{"a number above the range", `1e126`, "", errs.InvalidArgument},
		{"a number below the range", `[1e-131]`, "[0]", errs.InvalidArgument},
		{"an exponent beyond every integer", `1e99999999999999999999999999`, "", errs.InvalidArgument},
		{"too large a string", `"` + strings.Repeat("x", document.MaxSize+1) + `"`, "", errs.TooLarge},
		{"too many elements", `[` + strings.Repeat("1,", document.MaxSize/3) + `1]`, "", errs.TooLarge},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			value, err := document.Parse([]byte(c.text))
			if errs.CodeOf(err) != c.code {
				t.Fatalf("got %s, %v; want an error of code %s", value, err, c.code)
			}
			if e := errs.From(err); c.code == errs.InvalidArgument && e.Details[0].Field != c.field {
				t.Errorf("got field %q (%s), want %q", e.Details[0].Field, e.Message, c.field)
			}
		})
	}
}

func TestSizeCountsAsDynamoDBDoes(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int{
		`null`:                   1,
		`true`:                   1,
		`""`:                     0,
		`"é😀"`:                   6,
		`"\n\u0001\\"`:           3,
		`0`:                      1,
		`7`:                      2,
		`-123`:                   3,
		`1000000`:                2,
		`1.05e-9`:                3,
		`[]`:                     3,
		`{}`:                     3,
		`[true,"ab"]`:            3 + 2 + 1 + 2,
		`{"key":[1],"k\"":null}`: 3 + 2 + 3 + (3 + 1 + 2) + 2 + 1,
	} {
		value := parse(t, text)
		if got := value.Size(); got != want {
			t.Errorf("%s: got %d, want %d", text, got, want)
		}
	}
}

func TestADocumentOfExactlyMaxSizeIsAccepted(t *testing.T) {
	t.Parallel()
	text := `"` + strings.Repeat("x", document.MaxSize) + `"`
	if got := parse(t, text).Size(); got != document.MaxSize {
		t.Errorf("got %d", got)
	}
}

func TestFieldsOfAnObject(t *testing.T) {
	t.Parallel()
	v := parse(t, `{"b":{"x":"}"},"a":"\"]","a b":[1,{"c":2}],"\n":null}`)
	for name, want := range map[string]string{"b": `{"x":"}"}`, "a": `"\"]"`, "a b": `[1,{"c":2}]`, "\n": `null`, "x": "", "": ""} {
		if got := v.Field(name); got.String() != want || (want == "") != (got == nil) {
			t.Errorf("Field(%q) = %q, want %q", name, got, want)
		}
	}
	for _, text := range []string{`[1]`, `{}`, `3`, `"{"`} {
		if got := parse(t, text).Field("a"); got != nil {
			t.Errorf("a field of %s: %s", text, got)
		}
	}
	if got := document.Value(nil).Field("a"); got != nil {
		t.Errorf("a field of nothing: %s", got)
	}
}

func TestWithField(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, object, field, value, want string }{
		{"puts a member in its place", `{"a":1,"c":3}`, "b", `2`, `{"a":1,"b":2,"c":3}`},
		{"puts a member first", `{"b":1}`, "a", `{}`, `{"a":{},"b":1}`},
		{"puts a member last", `{"a":1}`, "id", `"x"`, `{"a":1,"id":"x"}`},
		{"replaces a member", `{"a":1,"b":[2],"c":3}`, "b", `null`, `{"a":1,"b":null,"c":3}`},
		{"removes a member", `{"a":1,"b":2}`, "b", ``, `{"a":1}`},
		{"removes the only member", `{"a":1}`, "a", ``, `{}`},
		{"removes nothing where there is nothing", `{"a":1}`, "b", ``, `{"a":1}`},
		{"begins an object", ``, "a", `1`, `{"a":1}`},
		{"replaces what is no object", `[1]`, "a", `1`, `{"a":1}`},
		{"escapes the name", `{}`, "\"\n", `1`, `{"\"\n":1}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var object, value document.Value
			if c.object != "" {
				object = parse(t, c.object)
			}
			if c.value != "" {
				value = parse(t, c.value)
			}
			got := object.WithField(c.field, value)
			if want := strings.ReplaceAll(c.want, "\n", `\n`); got.String() != want && got.String() != c.want {
				t.Errorf("got %s, want %s", got, want)
			}
			if again := parse(t, got.String()); !bytes.Equal(again, got) {
				t.Errorf("%s is not canonical: %s", got, again)
			}
		})
	}
}

func TestValuesNestInGoStructs(t *testing.T) {
	t.Parallel()
	type wire struct {
		V document.Value `json:"v"`
		W document.Value `json:"w"`
	}
	var in wire
	if err := json.Unmarshal([]byte(`{"v":{"b":1.0,"a":"<"}}`), &in); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(wire{V: document.Value(`{"a":"<","b":1}`)}, in); diff != "" {
		t.Error(diff)
	}
	out, err := document.From(in)
	if err != nil || out.String() != `{"v":{"a":"<","b":1},"w":null}` {
		t.Errorf("got %s, %v", out, err)
	}
}

func TestFromAndDecode(t *testing.T) {
	t.Parallel()
	type todo struct {
		Title string `json:"title"`
		Done  *bool  `json:"done,omitempty"`
	}
	v, err := document.From(todo{Title: "<b>"})
	if err != nil || v.String() != `{"title":"<b>"}` {
		t.Fatalf("got %s, %v", v, err)
	}
	var back todo
	if err := parse(t, `{"title":"<b>","of_yesterday":1}`).Decode(&back); err != nil || back.Title != "<b>" {
		t.Errorf("got %+v, %v", back, err)
	}
	if err := parse(t, `{"title":1}`).Decode(&back); err == nil {
		t.Error("a number decoded into a string")
	}
	if err := document.Value(nil).Decode(&back); err != nil {
		t.Error(err)
	}
	if _, err := document.From(func() {}); errs.CodeOf(err) != errs.InvalidArgument {
		t.Errorf("got %v", err)
	}
	if text, ok := parse(t, `"a\nb"`).Text(); !ok || text != "a\nb" {
		t.Errorf("got %q, %v", text, ok)
	}
	if _, ok := parse(t, `1`).Text(); ok {
		t.Error("a number is a text")
	}
}

func TestEqualValuesAreEqualBytesAndOthersAreNot(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		v := drawJSON(3).Draw(t, "value")
		seed := rapid.Int64().Draw(t, "seed")
		one := parse(t, write(v, rand.New(rand.NewSource(seed))))
		two := parse(t, write(v, rand.New(rand.NewSource(seed+1))))
		if !bytes.Equal(one, two) {
			t.Fatalf("two ways to write one value:\n%s\n%s", one, two)
		}
		if again := parse(t, one.String()); !bytes.Equal(one, again) {
			t.Fatalf("canonical text changed:\n%s\n%s", one, again)
		}
		if diff := cmp.Diff(v, read(t, one), compareRats); diff != "" {
			t.Fatalf("the value changed: %s", diff)
		}
	})
}

func TestNumbersKeepTheirExactValue(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`-?(0|[1-9][0-9]{0,45})(\.[0-9]{1,45})?([eE][+-]?[0-9]{1,3})?`).Draw(t, "number")
		exact, ok := new(big.Rat).SetString(text)
		if !ok {
			t.Fatalf("not a number: %s", text)
		}
		got, err := document.Parse([]byte(text))
		if err != nil {
			if fits(exact) {
				t.Fatalf("%s: %v", text, err)
			}
			return
		}
		if !fits(exact) {
			t.Fatalf("%s was accepted as %s", text, got)
		}
		back, _ := new(big.Rat).SetString(got.String())
		if back.Cmp(exact) != 0 {
			t.Fatalf("%s became %s", text, got)
		}
	})
}

// fits says whether a number can be stored, by its definition.
func fits(n *big.Rat) bool {
	if n.Sign() == 0 {
		return true
	}
	ten := new(big.Rat).SetInt64(10)
	abs := new(big.Rat).Abs(n)
	lowest, _ := new(big.Rat).SetString("1e-130")
	beyond, _ := new(big.Rat).SetString("1e126")
	if abs.Cmp(lowest) < 0 || abs.Cmp(beyond) >= 0 {
		return false
	}
	for !abs.IsInt() {
		abs.Mul(abs, ten)
	}
	return len(strings.TrimRight(abs.Num().String(), "0")) <= document.MaxDigits
}

var compareRats = cmp.Comparer(func(a, b *big.Rat) bool { return a.Cmp(b) == 0 })

// drawJSON draws a value as Go sees it, with numbers as *big.Rat.
func drawJSON(depth int) *rapid.Generator[any] {
	return rapid.Custom(func(t *rapid.T) any {
		kinds := 5
		if depth == 0 {
			kinds = 3
		}
		switch rapid.IntRange(0, kinds).Draw(t, "kind") {
		case 0:
			return rapid.SampledFrom([]any{nil, true, false}).Draw(t, "literal")
		case 1, 2:
			digits := rapid.Int64().Draw(t, "digits")
			scale := rapid.SampledFrom([]string{"e0", "e-1", "e-3", "e-30", "e20"}).Draw(t, "scale")
			n, _ := new(big.Rat).SetString(fmt.Sprint(digits) + scale)
			return n
		case 3:
			return drawText().Draw(t, "text")
		case 4:
			list := rapid.SliceOfN(drawJSON(depth-1), 0, 4).Draw(t, "list")
			return append([]any{}, list...)
		default:
			return rapid.MapOfN(drawName(), drawJSON(depth-1), 0, 4).Draw(t, "object")
		}
	})
}

func drawText() *rapid.Generator[string] {
	return rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"", "a", "b", "\n", "\"", "\\", "\u0001", "é", "😀", "</"}))
}

func drawName() *rapid.Generator[string] {
	return drawText().Filter(func(s string) bool { return s != "" })
}

// write writes a value as JSON in one of many ways.
func write(v any, random *rand.Rand) string {
	space := []string{"", "", " ", "\n\t"}[random.Intn(4)]
	switch v := v.(type) {
	case *big.Rat:
		return space + writeNumber(v, random)
	case string:
		return space + writeText(v, random)
	case []any:
		parts := []string{}
		for _, e := range v {
			parts = append(parts, write(e, random))
		}
		return space + "[" + strings.Join(parts, ",") + space + "]"
	case map[string]any:
		parts := []string{}
		for name, e := range v {
			parts = append(parts, writeText(name, random)+space+":"+write(e, random))
		}
		slices.Sort(parts)
		random.Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
		return "{" + strings.Join(parts, space+",") + "}" + space
	default:
		text, _ := json.Marshal(v)
		return string(text) + space
	}
}

func writeNumber(n *big.Rat, random *rand.Rand) string {
	if n.Sign() == 0 {
		return []string{"0", "-0", "0.0", "0E-3"}[random.Intn(4)]
	}
	shift := random.Intn(9) - 4
	scaled := new(big.Rat).Mul(n, new(big.Rat).SetFrac(pow10(max(shift, 0)), pow10(max(-shift, 0))))
	return fmt.Sprintf("%s%s%+d", scaled.FloatString(60), []string{"e", "E"}[random.Intn(2)], -shift)
}

func pow10(n int) *big.Int { return new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(n)), nil) }

func writeText(s string, random *rand.Rand) string {
	if random.Intn(2) == 0 {
		text, _ := json.Marshal(s)
		return string(text)
	}
	var b strings.Builder
	for _, r := range s {
		switch {
		case r > 0xffff:
			r -= 0x10000
			fmt.Fprintf(&b, `\u%04X\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return `"` + b.String() + `"`
}

// read reads a value with encoding/json, numbers as *big.Rat.
func read(t fataler, v document.Value) any {
	d := json.NewDecoder(bytes.NewReader(v))
	d.UseNumber()
	var plain any
	if err := d.Decode(&plain); err != nil {
		t.Fatalf("%s: %v", v, err)
	}
	return rats(plain)
}

func rats(v any) any {
	switch v := v.(type) {
	case json.Number:
		return exactly(v.String())
	case []any:
		for i := range v {
			v[i] = rats(v[i])
		}
	case map[string]any:
		for name := range v {
			v[name] = rats(v[name])
		}
	}
	return v
}

// exactly reads a number. big.Rat gives up on exponents of many digits, which do not matter to zero.
func exactly(number string) *big.Rat {
	if mantissa, _, _ := strings.Cut(strings.ToLower(number), "e"); strings.Trim(mantissa, "-0.") == "" {
		return new(big.Rat)
	}
	n, _ := new(big.Rat).SetString(number)
	return n
}

type fataler interface {
	Fatalf(format string, args ...any)
}

func parse(t fataler, text string) document.Value {
	v, err := document.Parse([]byte(text))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return v
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{`{"b":[1.0,-0,1e-7],"a":{"\n":"é\ud83d\ude00"}}`, `[[],{},null,true]`, `"\u0000"`, `{"a":1,"a":2}`, "\xff", `1e400`,
		`-0.0e10000000000000000000`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		v, err := document.Parse(text)
		if err != nil {
			if code := errs.CodeOf(err); code != errs.InvalidArgument && code != errs.TooLarge {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		if !json.Valid(text) {
			t.Fatalf("%q is not JSON", text)
		}
		again, err := document.Parse(v)
		if err != nil || !bytes.Equal(v, again) {
			t.Fatalf("%q became %s, then %s, %v", text, v, again, err)
		}
		// Strings that are not Unicode are refused, so encoding/json sees the same value before and after.
		if diff := cmp.Diff(read(t, text), read(t, v), compareRats); diff != "" {
			t.Fatalf("%q: %s", text, diff)
		}
		if v.Size() > document.MaxSize {
			t.Fatalf("%q has size %d", text, v.Size())
		}
	})
}

const todo = `{"id":"todo-0199f0c2b7c07d4e8a1b2c3d4e5f6071","title":"Buy milk and bread","completed":false,"created_at":"2026-11-23T16:34:00Z"}`

func BenchmarkParse(b *testing.B) {
	large := `[` + strings.TrimSuffix(strings.Repeat(todo+",", 2500), ",") + `]`
	for _, c := range []struct{ name, text string }{
		{"120 bytes", todo},
		{"120 bytes, canonical", parse(b, todo).String()},
		{"350 KB", large},
	} {
		b.Run(c.name, func(b *testing.B) {
			text := []byte(c.text)
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := document.Parse(text); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkApply(b *testing.B) {
	metrics := parse(b, `{"completed":12,"total":345}`)
	b.ReportAllocs()
	for b.Loop() {
		_, _, err := document.Apply(metrics, []document.Op{{Type: document.OpIncrement, Path: []string{"total"}, By: 1}})
		if err != nil {
			b.Fatal(err)
		}
	}
}
