// Package payload reads the JSON objects that callers send, strictly: every unknown, repeated, missing or mistyped
// field is a fault of its own, and all of them are reported together.
//
//	fields := payload.Read(text)
//	scope := fields.Text("scope")
//	limit := fields.Integer("limit", 1, 1000)
//	if err := fields.Err(); err != nil {
//
// It splits text without judging the values of fields: each of them is judged by whoever asks for it.
package payload

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/eddyhq/eddy/shared/errs"
)

// Fields is a JSON object being read: ask for each field it may have, then for Err.
type Fields struct {
	fields []field
	broken bool // the text is no object: its fields are not known, so none is missing
	faults []errs.Detail
	other  error // the first error that is no fault of a field, such as too_large
}

type field struct {
	name  []byte
	raw   []byte
	asked bool
}

// Read splits a JSON object into its fields. Empty text is read as {}. What is wrong with the text is told by Err.
func Read(text []byte) *Fields {
	f := &Fields{}
	if len(bytes.TrimSpace(text)) == 0 {
		return f
	}
	if problem := f.split(text); problem != "" {
		f = &Fields{broken: true}
		f.Fault("", problem)
	}
	return f
}

func (f *Fields) split(text []byte) (problem string) {
	f.fields = make([]field, 0, 6)
	return split(text, '{', '}', func(rest []byte) (int, string) {
		n := Extent(rest)
		if n < 0 || rest[0] != '"' {
			return 0, "a field name must be a JSON string"
		}
		name, err := unquote(rest[:n])
		if err != nil {
			return 0, "a field name is not valid JSON: " + err.Error()
		}
		colon := n + space(rest[n:])
		if colon == len(rest) || rest[colon] != ':' {
			return 0, fmt.Sprintf("field %q lacks a colon", name)
		}
		start := colon + 1 + space(rest[colon+1:])
		n = Extent(rest[start:])
		if n < 0 {
			return 0, fmt.Sprintf("field %q lacks a JSON value", name)
		}
		return start + n, f.add(field{name: name, raw: rest[start : start+n]})
	})
}

// maxFields keeps what an object of a great many fields costs to refuse small: fields are looked up one by one.
const maxFields = 64

func (f *Fields) add(found field) (problem string) {
	switch {
	case f.find(string(found.name)) != nil:
		f.Fault(string(found.name), "is given twice")
	case len(f.fields) == maxFields:
		return fmt.Sprintf("has more than %d fields", maxFields)
	default:
		f.fields = append(f.fields, found)
	}
	return ""
}

func (f *Fields) find(name string) *field {
	for i := range f.fields {
		if string(f.fields[i].name) == name {
			return &f.fields[i]
		}
	}
	return nil
}

// Has reports whether the field is there. It does not count as asking for it.
func (f *Fields) Has(name string) bool { return f.find(name) != nil }

// Optional returns the JSON text of a field, nil when it is absent. Only the extent of the text is known, not that it
// is valid: whoever takes it has to parse it.
func (f *Fields) Optional(name string) []byte {
	found := f.find(name)
	if found == nil {
		return nil
	}
	found.asked = true
	return found.raw
}

// Raw returns the JSON text of a required field, as Optional does; a fault and nil when it is absent.
func (f *Fields) Raw(name string) []byte {
	raw := f.Optional(name)
	if raw == nil && !f.broken {
		f.Fault(name, "is required")
	}
	return raw
}

// Text returns the string in a required field; a fault and "" when it is absent or no string.
func (f *Fields) Text(name string) string {
	raw := f.Raw(name)
	if raw == nil {
		return ""
	}
	return f.text(name, raw)
}

// Name returns the string in a required field that names something; a fault when it has not from 1 to longest bytes.
func (f *Fields) Name(name string, longest int) string {
	raw := f.Raw(name)
	if raw == nil {
		return ""
	}
	s, problem := Text(raw)
	if problem == "" && (s == "" || len(s) > longest) {
		problem = fmt.Sprintf("must have from 1 to %d bytes, not %d", longest, len(s))
	}
	if problem != "" {
		f.Fault(name, problem)
	}
	return s
}

// OptionalText returns the string in a field, "" when it is absent; a fault when it is no string.
func (f *Fields) OptionalText(name string) string {
	raw := f.Optional(name)
	if raw == nil {
		return ""
	}
	return f.text(name, raw)
}

func (f *Fields) text(name string, raw []byte) string {
	s, problem := Text(raw)
	if problem != "" {
		f.Fault(name, problem)
	}
	return s
}

// Flag returns the boolean in a field, false when it is absent; a fault when it is no boolean.
func (f *Fields) Flag(name string) bool {
	raw := f.Optional(name)
	switch string(raw) {
	case "true":
		return true
	case "", "false":
		return false
	default:
		f.Fault(name, "must be true or false")
		return false
	}
}

// Integer returns the integer in a field, nil when it is absent; a fault and nil when it is no integer from lowest to
// highest. 1.0 and 1e3 are no integers.
func (f *Fields) Integer(name string, lowest, highest int64) *int64 {
	raw := f.Optional(name)
	if raw == nil {
		return nil
	}
	n, ok := integer(raw)
	if !ok || n < lowest || n > highest {
		f.Fault(name, fmt.Sprintf("must be an integer from %d to %d", lowest, highest))
		return nil
	}
	return &n
}

// Fault records what is wrong with a field; the name is "" when it is wrong with the object.
func (f *Fields) Fault(name, problem string) {
	f.faults = append(f.faults, errs.Detail{Field: name, Problem: problem})
}

// Fail records err, which the parser or check of a field returned; nil is no fault. The faults of an invalid_argument
// are listed below the name ("" adds nothing to their fields); an error of another code is what Err returns if all
// else is well.
func (f *Fields) Fail(name string, err error) {
	e := errs.From(err)
	switch {
	case e == nil:
	case e.Code != errs.InvalidArgument:
		if f.other == nil {
			f.other = err
		}
	case len(e.Details) == 0:
		f.Fault(name, e.Message)
	default:
		for _, d := range e.Details {
			f.Fault(Join(name, d.Field), d.Problem)
		}
	}
}

// Ignore lets the fields nobody asked for so far be no fault.
func (f *Fields) Ignore() {
	for i := range f.fields {
		f.fields[i].asked = true
	}
}

// Err returns nil when all is well. Otherwise it returns every fault as one invalid_argument, those of the fields
// nobody asked for included.
func (f *Fields) Err() error {
	for i := range f.fields {
		if !f.fields[i].asked {
			f.fields[i].asked = true
			f.Fault(string(f.fields[i].name), "is not known here")
		}
	}
	if len(f.faults) > 0 {
		return errs.Invalid(f.faults...)
	}
	return f.other
}

// Join returns the name of a field within a field: "a" and "b" make "a.b", "a" and "[1]" make "a[1]".
func Join(outer, inner string) string {
	if outer == "" || inner == "" || inner[0] == '[' {
		return outer + inner
	}
	return outer + "." + inner
}

// Elements splits a JSON array into the texts of its elements. Only their extents are known, not that they are valid.
// The problem is "" when text is an array.
func Elements(text []byte) (elements [][]byte, problem string) {
	problem = split(text, '[', ']', func(rest []byte) (int, string) {
		n := Extent(rest)
		if n < 0 {
			return 0, "lacks a JSON value"
		}
		elements = append(elements, rest[:n])
		return n, ""
	})
	return elements, problem
}

// Text returns the string that a JSON text is. The problem is "" when it is one.
func Text(raw []byte) (s, problem string) {
	if len(raw) == 0 || raw[0] != '"' {
		return "", "must be a string"
	}
	b, err := unquote(raw)
	if err != nil {
		return "", "is not a valid JSON string: " + err.Error()
	}
	return string(b), ""
}

// unquote returns what stands between the quotes of a JSON string. The result can share memory with raw.
func unquote(raw []byte) ([]byte, error) {
	plain := true
	for _, c := range raw[1 : len(raw)-1] {
		plain = plain && c != '\\' && c >= ' ' && c < 0x80
	}
	if plain {
		return raw[1 : len(raw)-1], nil
	}
	b, err := jsontext.AppendUnquote(nil, raw)
	if err != nil {
		return nil, fmt.Errorf("%s", strings.TrimPrefix(err.Error(), "jsontext: "))
	}
	return b, nil
}

func integer(raw []byte) (int64, bool) {
	digits := bytes.TrimPrefix(raw, []byte("-"))
	if len(digits) == 0 || digits[0] < '0' || digits[0] > '9' || digits[0] == '0' && len(digits) > 1 {
		return 0, false
	}
	n, err := strconv.ParseInt(string(raw), 10, 64)
	return n, err == nil
}

// split walks the items of an object or array. Item reads the one that rest begins with, and returns its length.
func split(text []byte, opening, closing byte, item func(rest []byte) (n int, problem string)) (problem string) {
	pos := space(text)
	if pos == len(text) || text[pos] != opening {
		return "must be " + kind(opening)
	}
	pos++
	pos += space(text[pos:])
	if pos < len(text) && text[pos] == closing {
		return trailing(text[pos+1:])
	}
	for pos < len(text) {
		n, problem := item(text[pos:])
		if problem != "" {
			return problem
		}
		pos += n
		pos += space(text[pos:])
		if pos == len(text) {
			break
		}
		switch text[pos] {
		case closing:
			return trailing(text[pos+1:])
		case ',':
			pos++
			pos += space(text[pos:])
		default:
			return fmt.Sprintf("must be %s: unexpected character at byte %d", kind(opening), pos)
		}
	}
	return "must be " + kind(opening) + ": it ends too early"
}

func kind(opening byte) string {
	if opening == '[' {
		return "an array"
	}
	return "a JSON object"
}

func trailing(rest []byte) (problem string) {
	if space(rest) < len(rest) {
		return "has something after its end"
	}
	return ""
}

// space returns how much JSON whitespace text begins with.
func space(text []byte) int {
	for i, c := range text {
		if c != ' ' && c != '\n' && c != '\t' && c != '\r' {
			return i
		}
	}
	return len(text)
}
