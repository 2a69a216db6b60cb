package eddy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/eddyhq/eddy/shared/errs"
)

// maxFaults is how many faults one answer lists; reading stops there.
const maxFaults = 100

// faults collects what is wrong with an input, by field.
type faults struct {
	path  []step // from the input to what is being read
	found []Detail
}

// step is one part of the path to a field: a name, or else an index.
type step struct {
	name  string
	index int // -1 beside a name
}

func (f *faults) push(s step) { f.path = append(f.path, s) }
func (f *faults) pop()        { f.path = f.path[:len(f.path)-1] }

// add records a fault of what is being read.
func (f *faults) add(problem string) {
	if !f.full() {
		f.found = append(f.found, Detail{Field: f.field(), Problem: problem})
	}
}

func (f *faults) full() bool { return len(f.found) >= maxFaults }

// field returns the path as text: items[0].qty.
func (f *faults) field() string {
	var b strings.Builder
	for _, s := range f.path {
		switch {
		case s.index >= 0:
			fmt.Fprintf(&b, "[%d]", s.index)
		case b.Len() > 0:
			b.WriteString("." + s.name)
		default:
			b.WriteString(s.name)
		}
	}
	return b.String()
}

// err returns nil without faults, otherwise one invalid_argument that lists them.
func (f *faults) err() error {
	if len(f.found) == 0 {
		return nil
	}
	return errs.Invalid(f.found...)
}

// decoder reads JSON text into Go values, going on after a fault where it can, until the list of faults is full.
type decoder struct {
	faults
	text *jsontext.Decoder
	dead bool // the text is broken
}

// newDecoder returns a decoder of text. Names given twice are faults of their fields, so they are found here and not
// by the tokenizer, which would stop.
func newDecoder(text []byte) *decoder {
	return &decoder{text: jsontext.NewDecoder(bytes.NewBuffer(text), jsontext.AllowDuplicateNames(true))}
}

// broken ends the reading: the text is no JSON.
func (d *decoder) broken(err error) {
	if d.dead {
		return
	}
	d.dead = true
	at := d.text.InputOffset()
	if syntactic, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		at, err = syntactic.ByteOffset, syntactic.Err
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	d.found = append(d.found, Detail{Problem: fmt.Sprintf("malformed JSON at byte %d: %v", at, err)})
}

// value reads one value and returns its text, valid until the next read; nil when the text is broken.
func (d *decoder) value() jsontext.Value {
	raw, err := d.text.ReadValue()
	if err != nil {
		d.broken(err)
		return nil
	}
	return raw
}

func (d *decoder) skip() { d.value() }

// end checks that nothing follows what was read.
func (d *decoder) end() {
	if d.dead || d.full() {
		return
	}
	if _, err := d.text.ReadToken(); err == nil {
		d.found = append(d.found, Detail{Problem: "malformed JSON: there is more after the end of the value"})
	} else if !errors.Is(err, io.EOF) {
		d.broken(err)
	}
}

// open reads the beginning of an object or array. A value of another kind is skipped, as a fault.
func (d *decoder) open(kind jsontext.Kind, want string) bool {
	if d.text.PeekKind() != kind {
		if raw := d.value(); raw != nil {
			d.mustBe(want, raw.Kind())
		}
		return false
	}
	_, err := d.text.ReadToken()
	if err != nil {
		d.broken(err)
	}
	return err == nil
}

// more reports whether the object or array goes on; otherwise it reads its end.
func (d *decoder) more(end jsontext.Kind) bool {
	if d.dead || d.full() {
		return false
	}
	switch d.text.PeekKind() {
	case end, 0:
		if _, err := d.text.ReadToken(); err != nil {
			d.broken(err)
		}
		return false
	default:
		return true
	}
}

func (d *decoder) mustBe(want string, found jsontext.Kind) {
	if found == 'n' {
		want += ", not null"
	}
	d.add("must be " + want)
}

// scalar reads one value of the kind and returns its text; nil when it is of another kind.
func (d *decoder) scalar(kind jsontext.Kind, want string) jsontext.Value {
	raw := d.value()
	if raw != nil && raw.Kind() != kind {
		d.mustBe(want, raw.Kind())
		return nil
	}
	return raw
}

// valueDecoder reads the next value of d into v.
type valueDecoder func(d *decoder, v reflect.Value)

// newValueDecoder returns the decoder for t, which passed checkType. Structs know those they are inside of, so that a
// type may contain itself.
func newValueDecoder(t reflect.Type, structs map[reflect.Type]*object) valueDecoder {
	switch {
	case t.Kind() == reflect.Pointer:
		return pointerDecoder(t, structs)
	case t == reflect.TypeFor[json.Number]():
		return decodeNumber
	case unmarshalsText(t) && (!unmarshalsJSON(t) || t == reflect.TypeFor[time.Time]()):
		return quoted(parseByMethod)
	case unmarshalsJSON(t):
		return decodeByMethod
	}
	switch t.Kind() {
	case reflect.Struct:
		return newObject(t, structs).decode
	case reflect.Slice, reflect.Array:
		if isBytes(t) {
			return decodeBytes
		}
		return listDecoder(t, structs)
	case reflect.Map:
		if t.Key().Kind() == reflect.String && !unmarshals(t.Key()) {
			return mapDecoder(t, structs)
		}
		return decodeByMethod
	case reflect.Interface:
		return decodeByMethod
	default:
		return scalarDecoder(t)
	}
}

func scalarDecoder(t reflect.Type) valueDecoder {
	switch t.Kind() {
	case reflect.String:
		return quoted(newTextParser(t))
	case reflect.Bool:
		return decodeBool
	case reflect.Float32, reflect.Float64:
		return numeric("a number", parseFloat)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return numeric("an integer", parseUint)
	default:
		return numeric("an integer", parseInt)
	}
}

// quoted decodes a JSON string whose content parse takes.
func quoted(parse textParser) valueDecoder {
	return func(d *decoder, v reflect.Value) {
		if raw := d.scalar('"', "a string"); raw != nil {
			if problem := parse(v, unquote(raw)); problem != "" {
				d.add(problem)
			}
		}
	}
}

func unquote(raw jsontext.Value) string {
	if bytes.IndexByte(raw, '\\') < 0 {
		return string(raw[1 : len(raw)-1])
	}
	text, err := jsontext.AppendUnquote(nil, raw)
	if err != nil { // the tokenizer took it
		panic(err)
	}
	return string(text)
}

func numeric(want string, parse textParser) valueDecoder {
	return func(d *decoder, v reflect.Value) {
		if raw := d.scalar('0', want); raw != nil {
			if problem := parse(v, string(raw)); problem != "" {
				d.add(problem)
			}
		}
	}
}

func decodeNumber(d *decoder, v reflect.Value) {
	if raw := d.scalar('0', "a number"); raw != nil {
		v.SetString(string(raw))
	}
}

func decodeBool(d *decoder, v reflect.Value) {
	raw := d.value()
	switch raw.Kind() {
	case 't', 'f':
		v.SetBool(raw.Kind() == 't')
	default:
		if raw != nil {
			d.mustBe("true or false", raw.Kind())
		}
	}
}

func decodeBytes(d *decoder, v reflect.Value) {
	if raw := d.scalar('"', "a string of base64"); raw != nil {
		if json.Unmarshal(raw, v.Addr().Interface()) != nil {
			d.add("must be a string of base64")
		}
	}
}

// decodeByMethod leaves the value to encoding/json: what unmarshals itself, what may be anything.
func decodeByMethod(d *decoder, v reflect.Value) {
	raw := d.value()
	if raw == nil {
		return
	}
	if kind := raw.Kind(); (kind == '{' || kind == '[') && !raw.IsValid() {
		d.add("must not give a name twice")
		return
	}
	if err := json.Unmarshal(raw, v.Addr().Interface()); err != nil {
		d.add(problemOf(err))
	}
}

// problemOf returns what the error of an unmarshaler says, without the words that package put around it.
func problemOf(err error) string {
	if e, ok := errors.AsType[*errs.Error](err); ok {
		return e.Message
	}
	if mistyped, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return "must not be a " + mistyped.Value
	}
	return err.Error()
}

func pointerDecoder(t reflect.Type, structs map[reflect.Type]*object) valueDecoder {
	decode := newValueDecoder(t.Elem(), structs)
	return func(d *decoder, v reflect.Value) {
		if d.text.PeekKind() == 'n' {
			d.skip()
			return
		}
		v.Set(reflect.New(t.Elem()))
		decode(d, v.Elem())
	}
}

func listDecoder(t reflect.Type, structs map[reflect.Type]*object) valueDecoder {
	decode := newValueDecoder(t.Elem(), structs)
	return func(d *decoder, v reflect.Value) {
		if !d.open('[', "an array") {
			return
		}
		if t.Kind() == reflect.Slice {
			v.Set(reflect.MakeSlice(t, 0, 0))
		}
		n := 0
		for ; d.more(']'); n++ {
			if t.Kind() == reflect.Slice {
				v.Grow(1)
				v.SetLen(n + 1)
			}
			if n >= v.Len() {
				d.skip()
				continue
			}
			d.push(step{index: n})
			decode(d, v.Index(n))
			d.pop()
		}
		if t.Kind() == reflect.Array && n != t.Len() && !d.dead {
			d.add("must have " + strconv.Itoa(t.Len()) + " elements")
		}
	}
}

func mapDecoder(t reflect.Type, structs map[reflect.Type]*object) valueDecoder {
	decode := newValueDecoder(t.Elem(), structs)
	return func(d *decoder, v reflect.Value) {
		if !d.open('{', "an object") {
			return
		}
		v.Set(reflect.MakeMap(t))
		for d.more('}') {
			raw := d.value()
			if raw == nil {
				return
			}
			name := unquote(raw)
			d.push(step{name: name, index: -1})
			key := reflect.ValueOf(name).Convert(t.Key())
			if v.MapIndex(key).IsValid() {
				d.add("is given twice")
			}
			element := reflect.New(t.Elem()).Elem()
			decode(d, element)
			v.SetMapIndex(key, element)
			d.pop()
		}
	}
}
