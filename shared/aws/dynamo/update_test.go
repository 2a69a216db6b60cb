package dynamo_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/eddyhq/eddy/shared/document"
	"github.com/eddyhq/eddy/shared/errs"
	"github.com/eddyhq/eddy/shared/port"
)

// drawOps draws operations on few members, so that they meet.
func drawOps(t *rapid.T) []document.Op {
	member := rapid.SampledFrom([]string{"a", "b", "a.b", "#f3", "ä", "__proto__"})
	by := rapid.SampledFrom([]int64{1, -1, 0, 7, 1 << 62, -1 << 62, -1 << 63, 1<<63 - 1})
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) document.Op {
		path := []string{member.Draw(t, "member")}
		switch rapid.IntRange(0, 5).Draw(t, "operation") {
		case 0, 1:
			return document.Op{Type: document.OpIncrement, Path: path, By: by.Draw(t, "by")}
		case 2:
			return document.Op{Type: document.OpDecrement, Path: path, By: by.Draw(t, "by")}
		case 3:
			return document.Op{Type: document.OpSet, Path: path, Value: values(1).Draw(t, "value")}
		case 4:
			return document.Op{Type: document.OpMerge, Value: values(1).Draw(t, "value")}
		default:
			return document.Op{Type: document.OpRemove, Path: path}
		}
	}), 0, 3).Draw(t, "operations")
}

// drawOld draws what is there before an update: mostly objects with numbers that are updated.
func drawOld(t *rapid.T) document.Value {
	return rapid.SampledFrom([]document.Value{
		nil, document.Value(`{}`), document.Value(`[]`), document.Value(`7`), document.Value(`{"a":7}`),
		document.Value(`{"a":9223372036854775807,"b":-9223372036854775808}`), document.Value(`{"a":0.5,"b":1e+21}`),
		document.Value(`{"a":"x","b":null,"ä":true}`), document.Value(`{"a":{"b":1},"b":[1]}`), document.Value(`{"#f3":4,"a.b":3}`),
	}).Draw(t, "old")
}

func TestEndpointUpdatesDoWhatTheirOperationsSay(t *testing.T) {
	t.Parallel()
	e := dial(t)
	s := e.store()
	key := 0
	rapid.Check(t, func(rt *rapid.T) {
		key++
		w := port.Write{Op: port.Update, Collection: scope, Key: strings.Repeat("k", 1+key%7) + string(rune('0'+key%10))}
		at := func(op port.Op, value document.Value) port.Write {
			return port.Write{Op: op, Collection: w.Collection, Key: w.Key, Value: value}
		}
		old := drawOld(rt)
		first := at(port.Delete, nil)
		if old != nil {
			first = at(port.Set, old)
		}
		if _, err := s.Commit(t.Context(), alone(first)); err != nil {
			rt.Fatal(err)
		}
		w.Ops = drawOps(rt)
		w.NoResult = rapid.Bool().Draw(rt, "no result")
		c := alone(w)
		if rapid.Bool().Draw(rt, "in a transaction") {
			c.Calls = []port.Call{{ID: "c", Function: "a::b"}}
		}
		want, faults, err := document.Apply(old, w.Ops)
		if err != nil {
			rt.Skip(err)
		}
		results, err := s.Commit(t.Context(), c)
		if err != nil {
			rt.Fatal(err)
		}
		got, err := s.Get(t.Context(), w.Collection, w.Key)
		if err != nil {
			rt.Fatal(err)
		}
		if string(got.Value) != string(want) {
			rt.Fatalf("%v made %s of %s, want %s", w.Ops, got.Value, old, want)
		}
		if w.NoResult {
			return
		}
		if diff := cmp.Diff(port.Result{Old: old, New: want, Version: got.Version, Faults: faults}, results[0]); diff != "" {
			rt.Fatalf("result (-want +got):\n%s", diff)
		}
	})
}

func TestEndpointADocumentDoesNotGrowBeyondItsLimit(t *testing.T) {
	t.Parallel()
	s := dial(t).store()
	base := document.Value(`{"a":"` + strings.Repeat("x", document.MaxSize-1000) + `"}`)
	if o := commit(t, s, alone(set(string(base)))); o.code != "" {
		t.Fatal(o)
	}
	text := document.Value(`"` + strings.Repeat("y", 300) + `"`)
	model := base
	for _, member := range []string{"b", "c", "d", "e", "b", "f"} {
		ops := []document.Op{{Type: document.OpSet, Path: []string{member}, Value: text}}
		next, _, err := document.Apply(model, ops)
		o := commit(t, s, alone(port.Write{Op: port.Update, Collection: scope, Key: "k", Ops: ops}))
		if o.code != errs.CodeOf(err) {
			t.Errorf("setting %s came to %q, want %v", member, o.code, err)
		}
		if err == nil {
			model = next
		}
	}
	got, err := s.Get(t.Context(), scope, "k")
	if err != nil || string(got.Value) != string(model) {
		t.Errorf("the document has %d bytes, want %d (%v)", len(got.Value), len(model), err)
	}
}
