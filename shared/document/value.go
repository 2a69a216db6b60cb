// Package document holds JSON documents in one canonical form, their limits, and the update operations on them.
//
// The limits are DynamoDB's, so that a document which can be stored on one machine can be stored on AWS.
package document

import (
	"bytes"
	"encoding/json"
	"fmt"
	"iter"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/eddyhq/eddy/shared/errs"
	"github.com/eddyhq/eddy/shared/payload"
)

// Value is one JSON value as canonical text; nil is the absence of a value (JSON null is the text `null`). Two Values
// are equal exactly when their bytes are. A Value is never modified after it was made.
//
// Canonical text has no whitespace, object members in ascending byte order of their names, strings with no escapes but
// those JSON demands, and numbers as ECMAScript writes them, but with all of their digits: 1.50 is 1.5, 1e2 is 100,
// 1e21 is 1e+21.
type Value []byte

// The limits of a document.
const (
	MaxSize   = 400_000 // bytes, as Value.Size counts them; leaves room for the key and metadata of a DynamoDB item
	MaxDepth  = 31      // objects and arrays within each other
	MaxDigits = 38      // significant digits of a number, which is 0 or from 1e-130 up to but not including 1e126
)

// From returns the Value that encoding/json makes of v. A Value or json.RawMessage stands for the JSON it holds. It
// fails with invalid_argument when v cannot be JSON or breaks a limit, and with too_large above MaxSize.
func From(v any) (Value, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, errs.New(errs.InvalidArgument, "a %T cannot be a document: %w", v, err)
	}
	return Parse(text)
}

// Decode stores v in what into points to, as json.Unmarshal does: fields that into does not have are ignored. The
// absence of a value decodes as null.
func (v Value) Decode(into any) error {
	text, _ := v.MarshalJSON()
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("decode document: %w", err)
	}
	return nil
}

// String returns the canonical text; "" for the absence of a value.
func (v Value) String() string { return string(v) }

// MarshalJSON returns the canonical text; null for the absence of a value.
func (v Value) MarshalJSON() ([]byte, error) {
	if v == nil {
		return []byte("null"), nil
	}
	return v, nil
}

// UnmarshalJSON parses text, as Parse does. null becomes the value null, not the absence of a value.
func (v *Value) UnmarshalJSON(text []byte) error {
	parsed, err := Parse(text)
	if err != nil {
		return err
	}
	*v = parsed
	return nil
}

// IsObject reports whether v is a JSON object.
func (v Value) IsObject() bool { return len(v) > 0 && v[0] == '{' }

// Text returns the string that v is, and whether it is one.
func (v Value) Text() (string, bool) {
	s, problem := payload.Text(v)
	return s, problem == ""
}

// Field returns the member of an object, nil when it has none of that name or v is no object. It shares v's memory.
func (v Value) Field(name string) Value {
	quoted := quote(name)
	for found, value := range v.members() {
		if bytes.Equal(found, quoted) {
			return value
		}
	}
	return nil
}

// WithField returns the object v with its member of that name set to value, or without it when value is nil. What is no
// object counts as {}. Only Parse and Apply hold to the limits of a document.
func (v Value) WithField(name string, value Value) Value {
	quoted := quote(name)
	result := make(Value, 0, len(v)+len(quoted)+len(value)+3)
	result = append(result, '{')
	add := func(name []byte, value Value) {
		if value != nil {
			result = append(append(append(append(result, name...), ':'), value...), ',')
		}
	}
	placed := false
	for found, old := range v.members() {
		order := compareNames(found, quoted)
		if order >= 0 && !placed {
			add(quoted, value)
			placed = true
		}
		if order != 0 {
			add(found, old)
		}
	}
	if !placed {
		add(quoted, value)
	}
	return append(bytes.TrimSuffix(result, []byte(",")), '}')
}

// Size returns the size of v in bytes, counted the way DynamoDB documents it: a string and the name of a member count
// their UTF-8 bytes, a number a byte and one more for every two significant digits, true, false and null one byte, an
// object or array three bytes and one for each of its elements.
func (v Value) Size() int {
	size := 0
	for i := 0; i < len(v); {
		switch c := v[i]; {
		case c == '{' || c == '[':
			size += containerSize
			if v[i+1] != '}' && v[i+1] != ']' {
				size += elementSize
			}
			i++
		case c == ',':
			size += elementSize
			i++
		case c == '"':
			n := payload.Extent(v[i:])
			size += stringSize(v[i : i+n])
			i += n
		case c == '-' || '0' <= c && c <= '9':
			n := payload.Extent(v[i:])
			size += numberSize(digitsIn(v[i : i+n]))
			i += n
		case c == 't' || c == 'f' || c == 'n':
			size += scalarSize
			i += payload.Extent(v[i:])
		default:
			i++
		}
	}
	return size
}

const (
	containerSize = 3
	elementSize   = 1
	scalarSize    = 1
)

func numberSize(digits int) int { return (digits+1)/2 + 1 }

// stringSize returns the length of what a canonical string holds.
func stringSize(quoted []byte) int {
	size := len(quoted) - len(`""`)
	for i := 1; i < len(quoted)-1; i++ {
		if quoted[i] != '\\' {
			continue
		}
		i++
		size--
		if quoted[i] == 'u' {
			size -= len("0000")
		}
	}
	return size
}

// depth returns how many objects and arrays of v lie within each other at most.
func (v Value) depth() int {
	depth, deepest := 0, 0
	for i := 0; i < len(v); i++ {
		switch v[i] {
		case '{', '[':
			depth++
			deepest = max(deepest, depth)
		case '}', ']':
			depth--
		case '"':
			i += payload.Extent(v[i:]) - 1
		}
	}
	return deepest
}

// kind names the JSON type of v.
func (v Value) kind() string {
	if len(v) == 0 {
		return "nothing"
	}
	switch v[0] {
	case '{':
		return "an object"
	case '[':
		return "an array"
	case '"':
		return "a string"
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "null"
	default:
		return "a number"
	}
}

// members yields the members of an object in order, their names quoted as they stand in the text. What is no object has
// none.
func (v Value) members() iter.Seq2[[]byte, Value] {
	return func(yield func([]byte, Value) bool) {
		if !v.IsObject() {
			return
		}
		for pos := 1; v[pos] != '}'; {
			if v[pos] == ',' {
				pos++
			}
			start := pos + payload.Extent(v[pos:])
			end := start + 1 + payload.Extent(v[start+1:])
			if !yield(v[pos:start:start], v[start+1:end:end]) {
				return
			}
			pos = end
		}
	}
}

// elements yields the elements of an array. What is no array has none.
func (v Value) elements() iter.Seq[Value] {
	return func(yield func(Value) bool) {
		if len(v) == 0 || v[0] != '[' {
			return
		}
		for pos := 1; v[pos] != ']'; {
			if v[pos] == ',' {
				pos++
			}
			end := pos + payload.Extent(v[pos:])
			if !yield(v[pos:end:end]) {
				return
			}
			pos = end
		}
	}
}

// quote returns the canonical text of a string.
func quote(s string) []byte {
	return appendQuoted(make([]byte, 0, len(s)+len(`""`)), s)
}

func appendQuoted(to []byte, s string) []byte {
	to = append(to, '"')
	for start, i := 0, 0; ; i++ {
		if i == len(s) {
			to = append(to, s[start:]...)
			break
		}
		if s[i] < ' ' || s[i] == '"' || s[i] == '\\' {
			to = appendEscaped(append(to, s[start:i]...), s[i])
			start = i + 1
		}
	}
	return append(to, '"')
}

// appendEscaped appends an ASCII character of a string, escaped where JSON demands it.
func appendEscaped(to []byte, c byte) []byte {
	const hex = "0123456789abcdef"
	switch c {
	case '"', '\\':
		return append(to, '\\', c)
	case '\b':
		return append(to, `\b`...)
	case '\f':
		return append(to, `\f`...)
	case '\n':
		return append(to, `\n`...)
	case '\r':
		return append(to, `\r`...)
	case '\t':
		return append(to, `\t`...)
	}
	if c < ' ' {
		return append(to, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
	}
	return append(to, c)
}

// unquote returns what a canonical string holds.
func unquote(quoted []byte) string {
	plain := quoted[1 : len(quoted)-1]
	if bytes.IndexByte(plain, '\\') < 0 {
		return string(plain)
	}
	decoded, _ := jsontext.AppendUnquote(nil, quoted) // canonical text is valid
	return string(decoded)
}

// compareNames orders two quoted names by the bytes of what they hold.
func compareNames(a, b []byte) int {
	x, y := a[1:len(a)-1], b[1:len(b)-1]
	if bytes.IndexByte(x, '\\') >= 0 || bytes.IndexByte(y, '\\') >= 0 {
		return bytes.Compare([]byte(unquote(a)), []byte(unquote(b)))
	}
	return bytes.Compare(x, y)
}
