package eddy

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"

	"github.com/invopop/jsonschema"
)

// InputSchema returns the JSON Schema (2020-12) of the payload: what it refuses, Invoke refuses. Tags of jsonschema
// and a Validate method can each say more than the other.
func (f *Function) InputSchema() json.RawMessage { return schemaOf(f.payloadType(), reading) }

// OutputSchema returns the JSON Schema (2020-12) of the result.
func (f *Function) OutputSchema() json.RawMessage { return schemaOf(f.Output, writing) }

func schemaOf(t reflect.Type, d direction) json.RawMessage {
	s := newSchemas(d)
	schema := s.reflect(t)
	if len(s.definitions) > 0 {
		schema.Definitions = s.definitions
	}
	return mustEncode(schema)
}

// schemas makes schemas for values that are read, or for those that are written. Structs become definitions.
type schemas struct {
	direction   direction
	suffix      string // of the names of definitions
	names       map[reflect.Type]string
	taken       map[string]bool
	definitions jsonschema.Definitions
}

func newSchemas(d direction) *schemas {
	return &schemas{
		direction:   d,
		names:       make(map[reflect.Type]string),
		taken:       make(map[string]bool),
		definitions: make(jsonschema.Definitions),
	}
}

// reflect returns the schema of t; what it refers to is added to the definitions.
func (s *schemas) reflect(t reflect.Type) *jsonschema.Schema {
	reflector := jsonschema.Reflector{
		Anonymous:                 true,
		AllowAdditionalProperties: s.direction == writing, // a client must bear a field that a later version adds
		Namer:                     s.name,
		Mapper:                    s.special,
	}
	schema := reflector.ReflectFromType(t)
	for name, definition := range schema.Definitions {
		s.definitions[name] = definition
	}
	for t, name := range s.names {
		if definition := schema.Definitions[name]; definition != nil && t.Kind() == reflect.Struct {
			s.refine(definition, t)
		}
	}
	schema.Definitions = nil
	return schema
}

// name returns the name of the definition of t, "" for a type that needs none.
func (s *schemas) name(t reflect.Type) string {
	if name, ok := s.names[t]; ok {
		return name
	}
	base := shortName(t.Name())
	if base == "" && t.Kind() == reflect.Struct {
		base = "Object"
	}
	if base == "" {
		return ""
	}
	if !strings.HasSuffix(base, s.suffix) {
		base += s.suffix
	}
	name := base
	for n := 2; s.taken[name]; n++ {
		name = fmt.Sprintf("%s%d", base, n)
	}
	s.claim(t, name)
	return name
}

func (s *schemas) claim(t reflect.Type, name string) {
	s.taken[name] = true
	s.names[t] = name
}

// shortName turns page[example.org/app/todos.Todo] into PageTodo.
func shortName(name string) string {
	words := strings.FieldsFunc(name, func(c rune) bool { return c == '[' || c == ']' || c == ',' })
	for i, word := range words {
		word = word[strings.LastIndexAny(word, "./*")+1:]
		words[i] = strings.ToUpper(word[:1]) + word[1:]
	}
	return strings.Join(words, "")
}

// special returns the schema of a type that has a JSON form of its own; nil leaves it to the reflector.
func (s *schemas) special(t reflect.Type) *jsonschema.Schema {
	_, described := reflect.New(t).Interface().(interface{ JSONSchema() *jsonschema.Schema })
	byJSON, byText := marshalsJSON(t), marshals(t)
	if s.direction == reading {
		byJSON, byText = unmarshalsJSON(t), unmarshalsText(t)
	}
	switch {
	case t == reflect.TypeFor[None]() && s.direction == writing:
		return &jsonschema.Schema{Type: "null"}
	case t.Kind() == reflect.Struct && t.PkgPath() == "time" && t.Name() == "Time", described:
		return nil
	case t == reflect.TypeFor[json.Number]():
		return &jsonschema.Schema{Type: "number"}
	case byJSON:
		return &jsonschema.Schema{}
	case byText:
		return &jsonschema.Schema{Type: "string"}
	default:
		return nil
	}
}

// refine makes the definition of a struct say what binding does: what is required, what may be null, what integers fit.
func (s *schemas) refine(definition *jsonschema.Schema, t reflect.Type) {
	if definition.Properties == nil {
		return
	}
	definition.Required = nil
	fields, _ := jsonFields(t)
	for _, field := range fields {
		property, ok := definition.Properties.Get(field.name)
		if !ok {
			continue
		}
		pointer := field.typ.Kind() == reflect.Pointer
		boundInteger(property, field.typ)
		nullable, required := pointer, !field.optional && !pointer
		if s.direction == writing {
			nullable, required = !field.optional && canBeNil(field.typ), !field.optional
		}
		if nullable && !reflect.DeepEqual(property, &jsonschema.Schema{}) {
			null := &jsonschema.Schema{Type: "null"}
			definition.Properties.Set(field.name, &jsonschema.Schema{AnyOf: []*jsonschema.Schema{property, null}})
		}
		if required {
			definition.Required = append(definition.Required, field.name)
		}
	}
}

func canBeNil(t reflect.Type) bool {
	return slices.Contains([]reflect.Kind{reflect.Pointer, reflect.Slice, reflect.Map}, t.Kind()) && !marshals(t)
}

// boundInteger states the range of the smaller integers. Those of 64 bits have only their sign: the JSON numbers of
// most clients cannot say more.
func boundInteger(property *jsonschema.Schema, t reflect.Type) {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if property.Type != "integer" {
		return
	}
	bound := func(at *json.Number, n int64) {
		if *at == "" {
			*at = json.Number(fmt.Sprint(n))
		}
	}
	switch t.Kind() {
	case reflect.Int8, reflect.Int16, reflect.Int32:
		limit := int64(math.MaxInt64) >> (64 - t.Bits())
		bound(&property.Minimum, -limit-1)
		bound(&property.Maximum, limit)
	case reflect.Uint8, reflect.Uint16, reflect.Uint32:
		bound(&property.Minimum, 0)
		bound(&property.Maximum, int64(math.MaxUint32>>(32-t.Bits())))
	case reflect.Uint, reflect.Uint64:
		bound(&property.Minimum, 0)
	default:
	}
}

// pathless returns a copy of the definition of an object without some of its properties.
func pathless(definition *jsonschema.Schema, params []string) *jsonschema.Schema {
	rest := *definition
	rest.Properties, rest.Required = jsonschema.NewProperties(), nil
	for pair := definition.Properties.Oldest(); pair != nil; pair = pair.Next() {
		if !slices.Contains(params, pair.Key) {
			rest.Properties.Set(pair.Key, pair.Value)
		}
	}
	for _, name := range definition.Required {
		if !slices.Contains(params, name) {
			rest.Required = append(rest.Required, name)
		}
	}
	return &rest
}
