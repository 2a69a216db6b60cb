package payload_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/eddyhq/eddy/shared/errs"
	"github.com/eddyhq/eddy/shared/payload"
)

// order is what the tests read: each kind of field once.
type order struct {
	Scope, Note string
	Express     bool
	Count       int64
	Item        string
}

func readOrder(text string) (o order, err error) {
	f := payload.Read([]byte(text))
	o.Scope = f.Name("scope", 8)
	o.Note = f.OptionalText("note")
	o.Express = f.Flag("express")
	if n := f.Integer("count", -5, 1000); n != nil {
		o.Count = *n
	}
	o.Item = string(f.Raw("item"))
	return o, f.Err()
}

func TestReadTakesFieldsByName(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, text string
		want       order
	}{
		{"only those that are required", `{"scope":"a","item":null}`, order{Scope: "a", Item: "null"}},
		{"all of them, in any order and with whitespace", " {\n\"item\" : [1, {\"x\":\"]}\"}] , \"count\":-5, \"express\":true,\t\"note\":\"\\u00e9\\n\",\"scope\":\"é\"} ",
			order{Scope: "é", Note: "é\n", Express: true, Count: -5, Item: `[1, {"x":"]}"}]`}},
		{"names in escapes", `{"sc\u006fpe":"a","item":"\\"}`, order{Scope: "a", Item: `"\\"`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got, err := readOrder(c.text)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestReadReportsEveryFault(t *testing.T) {
	t.Parallel()
	many := make([]string, 65)
	for i := range many {
		many[i] = fmt.Sprintf(`"f%d":0`, i)
	}
	for _, c := range []struct {
		name, text string
		fields     []string
	}{
		{"missing fields", `{}`, []string{"scope", "item"}},
		{"no text at all counts as an object without fields", " ", []string{"scope", "item"}},
		{"unknown fields", `{"scope":"a","item":1,"x":1,"y":tru}`, []string{"x", "y"}},
		{"a field given twice", `{"scope":"a","item":1,"\u0069tem":2}`, []string{"item"}},
		{"wrong types", `{"scope":1,"note":null,"express":"true","count":"1","item":1}`, []string{"scope", "note", "express", "count"}},
		{"names that are empty", `{"scope":"","item":1}`, []string{"scope"}},
		{"names that are too long", `{"scope":"ééééé","item":1}`, []string{"scope"}},
		{"text that is not UTF-8", "{\"scope\":\"\xff\",\"note\":\"\\ud800\",\"item\":1}", []string{"scope", "note"}},
		{"integers out of range", `{"scope":"a","item":1,"count":1001}`, []string{"count"}},
		{"integers beyond int64", `{"scope":"a","item":1,"count":99999999999999999999}`, []string{"count"}},
		{"numbers that are no integers", `{"scope":"a","item":1,"count":1.0}`, []string{"count"}},
		{"integers with a leading zero", `{"scope":"a","item":1,"count":01}`, []string{"count"}},
		{"an array", `["scope"]`, []string{""}},
		{"a text that ends too early", `{"scope":"a"`, []string{""}},
		{"a value that ends too early", `{"scope":"a`, []string{""}},
		{"a lonely comma", `{,}`, []string{""}},
		{"a comma at the end", `{"scope":"a","item":1,}`, []string{""}},
		{"a missing comma", `{"scope":"a" "item":1}`, []string{""}},
		{"a missing colon", `{"scope" "a"}`, []string{""}},
		{"a missing value", `{"scope":,"item":1}`, []string{""}},
		{"a name that is no string", `{scope:"a"}`, []string{""}},
		{"something after the end", `{"scope":"a","item":1}{}`, []string{""}},
		{"far too many fields", `{` + strings.Join(many, ",") + `}`, []string{""}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := readOrder(c.text)
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

func TestFailListsTheFaultsOfAField(t *testing.T) {
	t.Parallel()
	tooLarge := errs.New(errs.TooLarge, "too large")
	for _, c := range []struct {
		name   string
		errors map[string]error
		want   error
	}{
		{"nil is none", map[string]error{"a": nil}, nil},
		{"faults lie below the field", map[string]error{"a": errs.Invalid(errs.Detail{Field: "b", Problem: "p"}, errs.Detail{Field: "[1]", Problem: "q"}, errs.Detail{Problem: "r"})},
			errs.Invalid(errs.Detail{Field: "a.b", Problem: "p"}, errs.Detail{Field: "a[1]", Problem: "q"}, errs.Detail{Field: "a", Problem: "r"})},
		{"an error without details is a fault of the field", map[string]error{"a": errs.New(errs.InvalidArgument, "p")}, errs.Invalid(errs.Detail{Field: "a", Problem: "p"})},
		{"an error of another code stays itself", map[string]error{"a": tooLarge}, tooLarge},
		{"faults come before other errors", map[string]error{"a": tooLarge, "b": errs.New(errs.InvalidArgument, "p")}, errs.Invalid(errs.Detail{Field: "b", Problem: "p"})},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var f payload.Fields
			for field, err := range c.errors {
				f.Fail(field, err)
			}
			got, want := errs.From(f.Err()), errs.From(c.want)
			if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b *errs.Error) bool {
				return (a == nil) == (b == nil) && (a == nil || a.Code == b.Code && a.Message == b.Message && cmp.Equal(a.Details, b.Details))
			})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestElements(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, text string
		want       []string
		wrong      bool
	}{
		{"none", ` [ ] `, nil, false},
		{"some", `[1, "a,]" ,[2,{}] ]`, []string{`1`, `"a,]"`, `[2,{}]`}, false},
		{"an object", `{}`, nil, true},
		{"no end", `[1,`, nil, true},
		{"a lonely comma", `[,]`, nil, true},
		{"something after the end", `[1]]`, nil, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			elements, problem := payload.Elements([]byte(c.text))
			if (problem != "") != c.wrong {
				t.Fatalf("got problem %q", problem)
			}
			var got []string
			for _, e := range elements {
				got = append(got, string(e))
			}
			if !c.wrong && !cmp.Equal(c.want, got) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func FuzzRead(f *testing.F) {
	for _, seed := range []string{`{"scope":"a","item":{"x":[1,"}"]},"count":3,"express":false,"note":"\u0041"}`, `{"scope":"a","scope":"b"}`, `[`, `{"item":]}`, "{\"\xff\":1}"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := readOrder(text)
		if err != nil {
			if errs.CodeOf(err) != errs.InvalidArgument {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		if !json.Valid([]byte(got.Item)) {
			return // Raw leaves the judgement to whoever takes it
		}
		var want struct {
			Scope, Note string
			Express     bool
			Count       int64
			Item        json.RawMessage
		}
		if err := json.Unmarshal([]byte(text), &want); err != nil {
			t.Fatalf("%q was accepted: %v", text, errors.Unwrap(err))
		}
		if diff := cmp.Diff(order{want.Scope, want.Note, want.Express, want.Count, string(want.Item)}, got); diff != "" && got.Item != "null" {
			t.Fatalf("%q: %s", text, diff)
		}
	})
}
