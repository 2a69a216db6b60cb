package eddy

import (
	"bytes"
	"net/url"
	"reflect"

	"github.com/go-json-experiment/json/jsontext"
)

// source says where the value of a field came from.
type source uint8

const (
	nowhere source = iota
	fromPath
	fromRest // the body, or the query string
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

// marks returns a mark for each field, in the place of few where that is enough.
func (o *object) marks(few []source) []source {
	if len(o.fields) <= len(few) {
		return few
	}
	return make([]source, len(o.fields))
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
	var few [16]source
	given := o.marks(few[:])
	if o.decodeMembers(d, v, given) && !d.dead {
		o.requireRest(&d.faults, given)
	}
}

// decodeMembers reads an object into v and marks what it gives. It returns false when there is no object to read.
func (o *object) decodeMembers(d *decoder, v reflect.Value, given []source) bool {
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
			given[i] = fromRest
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
	if bytes.IndexByte(raw, '\\') >= 0 {
		i, ok := o.byName[unquote(raw)]
		return i, ok
	}
	i, ok := o.byName[string(raw[1:len(raw)-1])] // compiled without a copy
	return i, ok
}

// twice says that a field that came from before is in where too.
func (before source) twice(where string) string {
	if before == fromPath {
		return "is given in the path and in " + where
	}
	return "is given twice"
}

func (o *object) bindPath(f *faults, v reflect.Value, values map[string]string, given []source) {
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
func (o *object) bindQuery(f *faults, v reflect.Value, query url.Values, given []source) {
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
			given[i] = fromRest
			field.bindTexts(f, v, texts)
		} else {
			f.add(given[i].twice("the query string"))
		}
		f.pop()
	}
}

// bindTexts reads the values that a query string gives for the field.
func (f *objectField) bindTexts(found *faults, v reflect.Value, texts []string) {
	switch {
	case f.parseOne != nil:
		list := reflect.MakeSlice(f.typ, len(texts), len(texts))
		for i, text := range texts {
			found.push(step{index: i})
			if problem := f.parseOne(list.Index(i), text); problem != "" {
				found.add(problem)
			}
			found.pop()
		}
		f.of(v).Set(list)
	case f.parse == nil:
		found.add("cannot be given in a query string: send a JSON body")
	case len(texts) > 1:
		found.add("is given twice")
	default:
		if problem := f.parse(f.of(v), texts[0]); problem != "" {
			found.add(problem)
		}
	}
}

func (o *object) requireRest(f *faults, given []source) {
	for i := range o.fields {
		if o.fields[i].required && given[i] == nowhere {
			f.push(step{name: o.fields[i].name, index: -1})
			f.add("is required")
			f.pop()
		}
	}
}
