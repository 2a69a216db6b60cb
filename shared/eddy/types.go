package eddy

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
)

// direction says whether values of a type are read from JSON or written to it.
type direction int

const (
	reading direction = iota
	writing
)

// checkType records a mistake for every part of t that JSON has no form for. Reports whether there is none.
func (f *Function) checkType(what string, t reflect.Type, d direction) bool {
	c := typeCheck{direction: d, seen: make(map[reflect.Type]bool)}
	c.walk(t, t.String(), nil)
	for _, problem := range c.problems {
		f.mistake("the %s: %s", what, problem)
	}
	return len(c.problems) == 0
}

type typeCheck struct {
	direction direction
	seen      map[reflect.Type]bool // structs only: recursion through a struct can end
	problems  []string
}

func (c *typeCheck) problem(at, format string, args ...any) {
	c.problems = append(c.problems, at+" "+fmt.Sprintf(format, args...))
}

// walk checks t, which lies at the Go path at, below the types of inside.
func (c *typeCheck) walk(t reflect.Type, at string, inside []reflect.Type) {
	if c.direction == reading && unmarshals(t) || c.direction == writing && marshals(t) {
		return
	}
	for _, outer := range inside {
		if outer == t {
			c.problem(at, "contains itself, and no struct ends it")
			return
		}
	}
	inside = append(inside, t)
	switch t.Kind() {
	case reflect.Chan, reflect.Func, reflect.Complex64, reflect.Complex128, reflect.UnsafePointer, reflect.Uintptr:
		c.problem(at, "is a %s: JSON has none", t)
	case reflect.Interface:
		if c.direction == reading && t.NumMethod() > 0 {
			c.problem(at, "is the interface %s: nothing says which type to read", t)
		}
	case reflect.Pointer, reflect.Slice, reflect.Array:
		c.walk(t.Elem(), at, inside)
	case reflect.Map:
		if !isMapKey(t.Key()) {
			c.problem(at, "has keys of type %s: JSON has only strings", t.Key())
		}
		c.walk(t.Elem(), at, inside)
	case reflect.Struct:
		c.walkStruct(t, at)
	default:
	}
}

func (c *typeCheck) walkStruct(t reflect.Type, at string) {
	if c.seen[t] {
		return
	}
	c.seen[t] = true
	fields, problems := jsonFields(t)
	for _, problem := range problems {
		c.problem(at, "%s", problem)
	}
	for _, field := range fields {
		c.walk(field.typ, at+"."+field.goName, nil)
	}
}

func marshals(t reflect.Type) bool { return marshalsJSON(t) || implements[encoding.TextMarshaler](t) }

func marshalsJSON(t reflect.Type) bool { return implements[json.Marshaler](t) }

func unmarshals(t reflect.Type) bool { return unmarshalsJSON(t) || unmarshalsText(t) }

func unmarshalsJSON(t reflect.Type) bool { return implements[json.Unmarshaler](t) }

func unmarshalsText(t reflect.Type) bool { return implements[encoding.TextUnmarshaler](t) }

// implements reports whether t or a pointer to it has the methods of I. A pointer type itself counts as what it points
// to, which leaves null to us.
func implements[I any](t reflect.Type) bool {
	i := reflect.TypeFor[I]()
	return t.Kind() != reflect.Pointer && t.Kind() != reflect.Interface &&
		(t.Implements(i) || reflect.PointerTo(t).Implements(i))
}

func isMapKey(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.String, reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return true
	default:
		return marshals(t) && unmarshals(t)
	}
}

// isBytes reports whether t is written as one base64 string.
func isBytes(t reflect.Type) bool {
	return t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8 && !marshals(t.Elem())
}
