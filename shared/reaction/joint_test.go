package reaction

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/eddyhq/eddy/shared/document"
	"github.com/eddyhq/eddy/shared/port"
)

func drawAddition(t *rapid.T) document.Op {
	return document.Op{
		Type: rapid.SampledFrom([]document.OpType{document.OpIncrement, document.OpDecrement}).Draw(t, "type"),
		Path: rapid.SampledFrom([][]string{nil, {"a"}, {"b"}, {"text"}, {"__proto__"}}).Draw(t, "path"),
		By:   rapid.Int64Range(-5, 5).Draw(t, "by"),
	}
}

func update(ops ...document.Op) port.Write {
	return port.Write{Op: port.Update, Ops: ops, NoResult: true}
}

func TestTheSumOfTwoWritesHasTheEffectOfBoth(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		additions := rapid.SliceOfN(rapid.Custom(drawAddition), 1, 5)
		a, b := additions.Draw(t, "first"), additions.Draw(t, "second")
		var old document.Value
		if text := rapid.SampledFrom([]string{"", "7", "1.5", "{}", `{"a":1.25,"text":"x"}`, `"text"`, "[]"}).Draw(t, "document"); text != "" {
			old = document.Value(text)
		}
		first, _, err := document.Apply(old, a)
		if err != nil {
			t.Fatal(err)
		}
		want, _, err := document.Apply(first, b)
		if err != nil {
			t.Fatal(err)
		}
		x, y := update(a...), update(b...)
		ops, ok := sum(&x, &y)
		if !ok {
			t.Fatalf("%+v and %+v have no sum", a, b)
		}
		got, _, err := document.Apply(old, ops)
		if diff := cmp.Diff(string(want), string(got)); diff != "" || err != nil {
			t.Errorf("%v; of %s (-one by one +sum):\n%s", err, old, diff)
		}
	})
}

func TestOnlyAdditionsHaveASum(t *testing.T) {
	t.Parallel()
	addition := update(document.Op{Type: document.OpIncrement, Path: []string{"a"}, By: 1})
	conditional, asking, version := addition, addition, int64(1)
	conditional.IfVersion, asking.NoResult = &version, false
	for _, test := range []struct {
		name  string
		other port.Write
	}{
		{"a set", port.Write{Op: port.Set, Value: document.Value("1"), NoResult: true}},
		{"a set with a time to live", port.Write{Op: port.Set, Value: document.Value("1"), TTL: 1, NoResult: true}},
		{"a check", port.Write{Op: port.Check, IfVersion: &version, NoResult: true}},
		{"a deletion", port.Write{Op: port.Delete, NoResult: true}},
		{"an update that states a condition", conditional},
		{"an update that wants to know its result", asking},
		{"an update that sets", update(document.Op{Type: document.OpSet, Path: []string{"a"}, Value: document.Value("1")})},
		{"a path of two keys", update(document.Op{Type: document.OpIncrement, Path: []string{"a", "b"}, By: 1})},
		{"a decrement whose amount has no opposite", update(document.Op{Type: document.OpDecrement, Path: []string{"b"}, By: -1 << 63})},
		{"an increment beyond what an amount can be", update(document.Op{Type: document.OpIncrement, Path: []string{"a"}, By: 1<<63 - 1})},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if ops, ok := sum(&addition, &test.other); ok {
				t.Errorf("the sum is %+v", ops)
			}
		})
	}
}
