package eddy

import (
	"bytes"
	"encoding/json"
	"reflect"
)

// Example returns a payload that the function can be tried with: JSON, with what is required.
func (f *Function) Example() string {
	var b bytes.Buffer
	writeExample(&b, f.payloadType(), "value", f.input().object)
	return b.String()
}

// writeExample writes a value of t. A struct has its object.
func writeExample(b *bytes.Buffer, t reflect.Type, name string, o *object) {
	switch {
	case o != nil:
		b.WriteByte('{')
		for _, field := range o.fields {
			if !field.required {
				continue
			}
			if b.Bytes()[b.Len()-1] != '{' {
				b.WriteByte(',')
			}
			b.Write(mustEncode(field.name))
			b.WriteByte(':')
			writeExample(b, field.typ, field.name, field.object)
		}
		b.WriteByte('}')
	case t.Kind() == reflect.String && !marshals(t) && t != reflect.TypeFor[json.Number]():
		b.Write(mustEncode("a " + name))
	case t.Kind() == reflect.Map:
		b.WriteString("{}")
	default:
		b.Write(mustEncode(reflect.Zero(t).Interface()))
	}
}
