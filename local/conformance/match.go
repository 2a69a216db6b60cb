package conformance

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"slices"
	"strings"
	"time"
)

// match says how a JSON text differs from the expected one; nil when it does not. In want,
//
//   - a string in angle brackets stands for any value of a kind: "<any>", "<string>" (not empty), "<number>",
//     "<count>" (an integer from 0), "<version>" (an integer from 1), "<time>" (RFC 3339),
//   - a member whose name ends in ? may be missing.
//
// Members are compared in no order, numbers by their exact value.
func match(got []byte, want string) error {
	g, err := parse(got)
	if err != nil {
		return fmt.Errorf("not one JSON value: %w", err)
	}
	w, err := parse([]byte(want))
	if err != nil {
		return fmt.Errorf("the expected text is no JSON: %w", err)
	}
	return differ("", g, w)
}

func parse(text []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, fmt.Errorf("something follows the value")
	}
	return v, nil
}

func differ(at string, got, want any) error {
	switch w := want.(type) {
	case map[string]any:
		return differObject(at, got, w)
	case []any:
		return differArray(at, got, w)
	case string:
		if is, ok := kinds[w]; ok {
			return unless(is(got), at, got, w)
		}
		return unless(got == w, at, got, w)
	case json.Number:
		return unless(sameNumber(got, w), at, got, w)
	default: // a bool or null
		return unless(got == want, at, got, want)
	}
}

func unless(ok bool, at string, got, want any) error {
	if ok {
		return nil
	}
	return fmt.Errorf("%s is %s, want %s", place(at), clip(fmt.Sprintf("%#v", got)), clip(fmt.Sprintf("%#v", want)))
}

func differObject(at string, got any, want map[string]any) error {
	members, ok := got.(map[string]any)
	if !ok {
		return unless(false, at, got, want)
	}
	known := map[string]bool{}
	for name, w := range want {
		name, optional := strings.CutSuffix(name, "?")
		known[name] = true
		g, present := members[name]
		if !present && optional {
			continue
		}
		if !present {
			return fmt.Errorf("%s is missing", place(at+"."+name))
		}
		if err := differ(at+"."+name, g, w); err != nil {
			return err
		}
	}
	for name := range members {
		if !known[name] {
			return fmt.Errorf("%s is unexpected", place(at+"."+name))
		}
	}
	return nil
}

func differArray(at string, got any, want []any) error {
	elements, ok := got.([]any)
	if !ok {
		return unless(false, at, got, want)
	}
	if len(elements) != len(want) {
		return fmt.Errorf("%s has %d elements, want %d", place(at), len(elements), len(want))
	}
	for i := range want {
		if err := differ(fmt.Sprintf("%s[%d]", at, i), elements[i], want[i]); err != nil {
			return err
		}
	}
	return nil
}

func place(at string) string {
	if at == "" {
		return "the value"
	}
	return strings.TrimPrefix(at, ".")
}

func sameNumber(got any, want json.Number) bool {
	g, ok := got.(json.Number)
	if !ok {
		return false
	}
	a, okA := new(big.Rat).SetString(g.String())
	b, okB := new(big.Rat).SetString(want.String())
	return okA && okB && a.Cmp(b) == 0
}

var kinds = map[string]func(any) bool{
	"<any>":     func(any) bool { return true },
	"<string>":  func(v any) bool { s, ok := v.(string); return ok && s != "" },
	"<number>":  func(v any) bool { _, ok := v.(json.Number); return ok },
	"<count>":   func(v any) bool { return integerFrom(0, v) },
	"<version>": func(v any) bool { return integerFrom(1, v) },
	"<time>":    isTime,
}

func integerFrom(least int64, v any) bool {
	n, ok := v.(json.Number)
	if !ok {
		return false
	}
	i, err := n.Int64()
	return err == nil && i >= least
}

func isTime(v any) bool {
	s, ok := v.(string)
	if !ok {
		return false
	}
	_, err := time.Parse(time.RFC3339Nano, s)
	return err == nil
}

// sorted says whether the strings are in ascending byte order, none twice.
func sorted(list []string) bool {
	return slices.IsSorted(list) && len(slices.Compact(slices.Clone(list))) == len(list)
}
