package document_test

import (
	"encoding/json"
	"maps"
	"math"
	"math/big"
	"math/rand"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/eddyhq/eddy/shared/document"
)

// TestApplyIsWhatTheModelSays holds Apply to a second, plain telling of its rules on Go maps and slices.
func TestApplyIsWhatTheModelSays(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		m := model{missing: rapid.IntRange(0, 4).Draw(t, "missing") == 0, root: map[string]any{}}
		var old document.Value
		if !m.missing {
			m.root = drawDocument().Draw(t, "document")
			old = parse(t, write(m.root, rand.New(rand.NewSource(1))))
		}
		ops := rapid.SliceOfN(drawOp(), 0, 6).Draw(t, "ops")
		var texts, want []string
		for i, op := range ops {
			text, _ := json.Marshal(op)
			texts = append(texts, string(text))
			if code := m.apply(op); code != "" {
				want = append(want, strconv.Itoa(i)+" "+op["type"].(string)+"."+code)
			}
		}
		got, faults, err := document.Apply(old, parseOps(t, "["+strings.Join(texts, ",")+"]"))
		if err != nil {
			t.Fatalf("%v", err)
		}
		var codes []string
		for _, f := range faults {
			codes = append(codes, strconv.Itoa(f.OpIndex)+" "+f.Code)
		}
		if diff := cmp.Diff(want, codes); diff != "" {
			t.Fatalf("faults of %s on %s: %s", texts, old, diff)
		}
		if len(want) == len(ops) {
			if got.String() != old.String() || (got == nil) != (old == nil) {
				t.Fatalf("%s became %s though nothing took effect", old, got)
			}
			return
		}
		if diff := cmp.Diff(m.root, read(t, got), compareRats); diff != "" {
			t.Fatalf("%s on %s: %s", texts, old, diff)
		}
		if again := parse(t, got.String()); again.String() != got.String() {
			t.Fatalf("%s is not canonical: %s", got, again)
		}
	})
}

func drawDocument() *rapid.Generator[any] {
	object := rapid.Custom(func(t *rapid.T) any { return rapid.MapOfN(drawKey(), drawJSON(2), 0, 5).Draw(t, "object") })
	return rapid.OneOf(object, object, object, object, drawJSON(1))
}

// drawKey draws from a few names, so that operations meet each other.
func drawKey() *rapid.Generator[string] {
	return rapid.SampledFrom([]string{"a", "b", "c", "a.b", "é\n"})
}

// drawOp draws an operation as it is before it is JSON.
func drawOp() *rapid.Generator[map[string]any] {
	return rapid.Custom(func(t *rapid.T) map[string]any {
		op := map[string]any{"type": rapid.SampledFrom([]string{"set", "merge", "increment", "decrement", "append", "append", "remove"}).Draw(t, "type")}
		key := rapid.OneOf(drawKey(), drawKey(), drawKey(), drawKey(), rapid.SampledFrom([]string{"", "__proto__", strings.Repeat("x", 257)}))
		switch op["type"] {
		case "merge", "append":
			switch rapid.IntRange(0, 4).Draw(t, "path kind") {
			case 0:
			case 1:
				op["path"] = key.Draw(t, "path")
			default:
				op["path"] = rapid.SliceOfN(key, 0, 3).Draw(t, "path")
			}
		default:
			op["path"] = key.Draw(t, "path")
		}
		switch op["type"] {
		case "increment", "decrement":
			op["by"] = rapid.SampledFrom([]int64{0, 1, -1, 5, 1e15, math.MaxInt64, math.MinInt64}).Draw(t, "by")
		case "merge":
			value := drawDocument().Draw(t, "value")
			op["value"] = json.RawMessage(write(value, rand.New(rand.NewSource(2))))
		case "set", "append":
			op["value"] = json.RawMessage(write(drawJSON(1).Draw(t, "value"), rand.New(rand.NewSource(2))))
		}
		return op
	})
}

type model struct {
	root    any
	missing bool
}

// apply returns what stands after the type of the operation in the code of its fault, "" when it took effect.
func (m *model) apply(op map[string]any) (code string) {
	defer func() { m.missing = m.missing && code != "" }()
	path := modelPath(op)
	kind := op["type"].(string)
	if code := modelPathFault(kind, path); code != "" {
		return code
	}
	if kind == "merge" {
		return m.merge(path, modelValue(op))
	}
	object, isObject := m.root.(map[string]any)
	if len(path) > 0 && !isObject {
		return "target_not_object"
	}
	switch kind {
	case "set":
		if len(path) == 0 {
			m.root = modelValue(op)
		} else {
			object[path[0]] = modelValue(op)
		}
	case "remove":
		delete(object, path[0])
	case "increment", "decrement":
		return m.add(path, object, op)
	case "append":
		return m.append(path, modelValue(op))
	}
	return ""
}

func modelPath(op map[string]any) []string {
	switch path := op["path"].(type) {
	case []string:
		return path
	case string:
		if path != "" {
			return []string{path}
		}
	}
	return nil
}

func modelPathFault(kind string, path []string) string {
	if kind == "remove" && len(path) == 0 {
		return "path.empty_segment"
	}
	for _, key := range path {
		if key == "" {
			return "path.empty_segment"
		}
		if len(key) > 256 {
			return "path.segment_too_long"
		}
		if key == "__proto__" {
			return "path.proto_polluted"
		}
	}
	return ""
}

func modelValue(op map[string]any) any {
	var plain any
	d := json.NewDecoder(strings.NewReader(string(op["value"].(json.RawMessage))))
	d.UseNumber()
	if err := d.Decode(&plain); err != nil {
		panic(err)
	}
	return rats(plain)
}

func (m *model) merge(path []string, value any) string {
	merged, ok := value.(map[string]any)
	if !ok {
		return "value.not_an_object"
	}
	m.root = modelWith(m.root, path, func(target any) any {
		object, ok := target.(map[string]any)
		if !ok {
			object = map[string]any{}
		}
		maps.Copy(object, merged)
		return object
	})
	return ""
}

func (m *model) append(path []string, value any) string {
	target, found := modelAt(m.root, path)
	text, isText := value.(string)
	if len(path) == 0 && m.missing || target == nil {
		found = false
	}
	switch old := target.(type) {
	case []any:
		value = append(slices.Clone(old), value)
	case string:
		if !isText {
			return "type_mismatch"
		}
		value = old + text
	default:
		if found {
			return "type_mismatch"
		}
		if !isText || len(path) > 1 {
			value = []any{value}
		}
	}
	m.root = modelWith(m.root, path, func(any) any { return value })
	return ""
}

func (m *model) add(path []string, object map[string]any, op map[string]any) string {
	current, found := m.root, !m.missing
	if len(path) > 0 {
		current, found = object[path[0]]
	}
	if !found {
		current = new(big.Rat)
	}
	n, ok := current.(*big.Rat)
	if !ok {
		return "not_number"
	}
	by := new(big.Rat).SetInt64(op["by"].(int64))
	if op["type"] == "decrement" {
		by.Neg(by)
	}
	sum := new(big.Rat).Add(n, by)
	if n.IsInt() && (!n.Num().IsInt64() || !sum.Num().IsInt64()) || !fits(sum) {
		return "not_number"
	}
	if len(path) == 0 {
		m.root = sum
	} else {
		object[path[0]] = sum
	}
	return ""
}

func modelAt(v any, path []string) (any, bool) {
	for _, key := range path {
		object, _ := v.(map[string]any)
		next, ok := object[key]
		if !ok {
			return nil, false
		}
		v = next
	}
	return v, true
}

// modelWith replaces what lies at the path, making objects of all that leads there.
func modelWith(v any, path []string, replace func(any) any) any {
	if len(path) == 0 {
		return replace(v)
	}
	object, ok := v.(map[string]any)
	if !ok {
		object = map[string]any{}
	}
	object[path[0]] = modelWith(object[path[0]], path[1:], replace)
	return object
}
