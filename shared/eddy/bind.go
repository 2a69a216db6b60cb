package eddy

import (
	"errors"
	"fmt"
	"mime"
	"net/url"
	"reflect"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/eddyhq/eddy/shared/errs"
)

// Validator is what an input can implement to check more than types. The error becomes an invalid_argument unless it
// has a code; several made by Invalid may be joined by errors.Join.
type Validator interface{ Validate() error }

// input knows how to read values of one type strictly: from JSON, and where it is a struct from HTTP requests.
type input struct {
	typ    reflect.Type
	decode valueDecoder
	object *object // nil when it is no struct
}

func newInput(t reflect.Type) *input {
	structs := make(map[reflect.Type]*object)
	return &input{typ: t, decode: newValueDecoder(t, structs), object: structs[t]}
}

// checkParams says what stands in the way of binding the parameters of a path.
func (in *input) checkParams(params []string) (problem string) {
	if in.object == nil {
		return fmt.Sprintf("the input of a function with a route must be a struct, not %s", in.typ)
	}
	for _, name := range params {
		i, ok := in.object.byName[name]
		switch {
		case !ok:
			return fmt.Sprintf("the parameter {%s} is no field of %s: add one with the tag json:%q", name, in.typ, name)
		case in.object.fields[i].parse == nil:
			return fmt.Sprintf("the parameter {%s} cannot be read into a %s", name, in.object.fields[i].typ)
		}
	}
	return ""
}

// bindPayload reads a payload into the value that into points to.
func (in *input) bindPayload(payload []byte, into any) error {
	if len(payload) == 0 {
		payload = []byte("null")
	}
	if in.object != nil && string(payload) == "null" {
		payload = []byte("{}")
	}
	d := newDecoder(payload)
	in.decode(d, reflect.ValueOf(into).Elem())
	d.end()
	if err := d.err(); err != nil {
		return err
	}
	return validate(into)
}

// bindRequest reads a request into the struct that into points to: from its path, then from its query string when it
// has no body, else from its body.
func (in *input) bindRequest(r *HTTPRequest, into any) error {
	if err := in.bindFields(r, reflect.ValueOf(into).Elem()); err != nil {
		return err
	}
	return validate(into)
}

func (in *input) bindFields(r *HTTPRequest, v reflect.Value) error {
	var few [16]origin
	given := few[:]
	if len(in.object.fields) > len(few) {
		given = make([]origin, len(in.object.fields))
	}
	if len(r.Body) == 0 {
		f := &faults{}
		in.object.bindPath(f, v, r.PathValues, given)
		in.object.bindQuery(f, v, r.Query, given)
		in.object.requireRest(f, given)
		return f.err()
	}
	if err := checkContentType(r.Header.Get("Content-Type")); err != nil {
		return err
	}
	d := newDecoder(r.Body)
	in.object.bindPath(&d.faults, v, r.PathValues, given)
	if in.object.decodeMembers(d, v, given) && !d.dead {
		in.object.requireRest(&d.faults, given)
	}
	d.end()
	return d.err()
}

func checkContentType(value string) error {
	if value == "" || value == "application/json" {
		return nil
	}
	if mediaType, _, err := mime.ParseMediaType(value); err == nil && mediaType == "application/json" {
		return nil
	}
	return errs.New(errs.InvalidArgument, "the body must be application/json, not %q", value)
}

func validate(into any) error {
	v, ok := into.(Validator)
	if !ok {
		return nil
	}
	err := v.Validate()
	if err == nil {
		return nil
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joinInvalid(joined.Unwrap(), err)
	}
	if _, ok := errors.AsType[*errs.Error](err); ok {
		return err
	}
	return errs.New(errs.InvalidArgument, "%w", err)
}

// joinInvalid returns one invalid_argument with the details of all of errors, which are joined as whole.
func joinInvalid(list []error, whole error) error {
	var details []Detail
	for _, err := range list {
		e, ok := errors.AsType[*errs.Error](err)
		switch {
		case !ok:
			details = append(details, Detail{Problem: err.Error()})
		case e.Code != errs.InvalidArgument:
			return whole
		case len(e.Details) == 0:
			details = append(details, Detail{Problem: e.Message})
		default:
			details = append(details, e.Details...)
		}
	}
	return errs.Invalid(details...)
}

// origin says where the value of a field came from.
type origin uint8

const (
	nowhere origin = iota
	fromPath
	fromJSON
)

// object knows how to read a struct.
type object struct {
	typ    reflect.Type
	fields []objectField
	byName map[string]int
}

type objectField struct {
	jsonField
	required bool
	object   *object // nil when it is no struct
	decode   valueDecoder
	parse    textParser // nil when it cannot be given as text
	parseOne textParser // of a slice: of one element, in a query string
}

// newObject returns the object for t; structs holds those that are being made.
func newObject(t reflect.Type, structs map[reflect.Type]*object) *object {
	if o, ok := structs[t]; ok {
		return o
	}
	o := &object{typ: t, byName: make(map[string]int)}
	structs[t] = o
	fields, _ := jsonFields(t)
	for i, field := range fields {
		o.fields = append(o.fields, newObjectField(field, structs))
		o.byName[field.name] = i
	}
	return o
}

func newObjectField(field jsonField, structs map[reflect.Type]*object) objectField {
	f := objectField{
		jsonField: field,
		required:  !field.optional && field.typ.Kind() != reflect.Pointer,
		parse:     newTextParser(field.typ),
	}
	if field.quoted {
		f.decode = quoted(f.parse)
	} else {
		f.decode = newValueDecoder(field.typ, structs)
		f.object = structs[field.typ]
	}
	if f.parse == nil && field.typ.Kind() == reflect.Slice && !isBytes(field.typ) && !unmarshals(field.typ) {
		f.parseOne = newTextParser(field.typ.Elem())
	}
	return f
}

// of returns the field in v, making the embedded pointers on the way to it.
func (f *objectField) of(v reflect.Value) reflect.Value {
	if len(f.index) == 1 {
		return v.Field(f.index[0])
	}
	for i, x := range f.index {
		if i > 0 && v.Kind() == reflect.Pointer {
			if v.IsNil() {
				v.Set(reflect.New(v.Type().Elem()))
			}
			v = v.Elem()
		}
		v = v.Field(x)
	}
	return v
}

func (o *object) decode(d *decoder, v reflect.Value) {
	var few [16]origin
	given := few[:]
	if len(o.fields) > len(few) {
		given = make([]origin, len(o.fields))
	}
	if o.decodeMembers(d, v, given) && !d.dead {
		o.requireRest(&d.faults, given)
	}
}

// decodeMembers reads an object into v and marks what it gives. It returns false when there is no object to read.
func (o *object) decodeMembers(d *decoder, v reflect.Value, given []origin) bool {
	if !d.open('{', "an object") {
		return false
	}
	for d.more('}') {
		raw := d.value()
		if raw == nil {
			return true
		}
		i, ok := o.lookup(raw)
		if !ok {
			d.push(step{name: unquote(raw), index: -1})
			d.add("is not a known field")
			d.pop()
			d.skip()
			continue
		}
		field := &o.fields[i]
		d.push(step{name: field.name, index: -1})
		if before := given[i]; before == nowhere {
			given[i] = fromJSON
			field.decode(d, field.of(v))
		} else {
			d.add(before.twice("the body"))
			d.skip()
		}
		d.pop()
	}
	return true
}

func (o *object) lookup(raw jsontext.Value) (int, bool) {
	name := raw[1 : len(raw)-1]
	for _, c := range name {
		if c == '\\' {
			i, ok := o.byName[unquote(raw)]
			return i, ok
		}
	}
	i, ok := o.byName[string(name)]
	return i, ok
}

// twice says that a field that came from before is in where too.
func (before origin) twice(where string) string {
	if before == fromPath {
		return "is given in the path and in " + where
	}
	return "is given twice"
}

func (o *object) bindPath(f *faults, v reflect.Value, values map[string]string, given []origin) {
	if len(values) == 0 {
		return
	}
	for i := range o.fields {
		field := &o.fields[i]
		text, ok := values[field.name]
		if !ok {
			continue
		}
		given[i] = fromPath
		f.push(step{name: field.name, index: -1})
		if problem := field.parse(field.of(v), text); problem != "" {
			f.add(problem)
		}
		f.pop()
	}
}

// bindQuery reads a query string. Names that are no field are ignored: links collect foreign ones.
func (o *object) bindQuery(f *faults, v reflect.Value, query url.Values, given []origin) {
	if len(query) == 0 {
		return
	}
	for i := range o.fields {
		field := &o.fields[i]
		texts, ok := query[field.name]
		if !ok || len(texts) == 0 {
			continue
		}
		f.push(step{name: field.name, index: -1})
		if given[i] == nowhere {
			given[i] = fromJSON
			field.bindTexts(f, v, texts)
		} else {
			f.add(given[i].twice("the query string"))
		}
		f.pop()
	}
}

// bindTexts reads the values that a query string gives for the field.
func (field *objectField) bindTexts(f *faults, v reflect.Value, texts []string) {
	switch {
	case field.parseOne != nil:
		list := reflect.MakeSlice(field.typ, len(texts), len(texts))
		for i, text := range texts {
			f.push(step{index: i})
			if problem := field.parseOne(list.Index(i), text); problem != "" {
				f.add(problem)
			}
			f.pop()
		}
		field.of(v).Set(list)
	case field.parse == nil:
		f.add("cannot be given in a query string: send a JSON body")
	case len(texts) > 1:
		f.add("is given twice")
	default:
		if problem := field.parse(field.of(v), texts[0]); problem != "" {
			f.add(problem)
		}
	}
}

func (o *object) requireRest(f *faults, given []origin) {
	for i := range o.fields {
		if o.fields[i].required && given[i] == nowhere {
			f.push(step{name: o.fields[i].name, index: -1})
			f.add("is required")
			f.pop()
		}
	}
}
