package eddy

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// jsonField is a field of a struct as encoding/json sees it: those of embedded structs included.
type jsonField struct {
	name     string
	goName   string
	typ      reflect.Type
	index    []int
	tagged   bool // the name comes from a tag
	optional bool // omitempty, omitzero, or inside an embedded pointer
	quoted   bool // ",string"
}

// jsonFields returns the fields of a struct in their order, and what is wrong with them.
func jsonFields(t reflect.Type) (fields []jsonField, problems []string) {
	all := collectFields(t, nil, false, map[reflect.Type]bool{}, &problems)
	byName := make(map[string][]jsonField)
	for _, field := range all {
		byName[field.name] = append(byName[field.name], field)
	}
	for _, field := range all {
		winner, sole := dominant(byName[field.name])
		switch isWinner := slices.Equal(winner.index, field.index); {
		case isWinner && sole:
			fields = append(fields, field)
		case isWinner:
			problems = append(problems, fmt.Sprintf("has two fields named %q", field.name))
		}
	}
	return fields, problems
}

// dominant returns the one of several fields with one name that JSON means: the least nested one, and among those the
// tagged one. If there are several such, it returns one of them.
func dominant(fields []jsonField) (winner jsonField, sole bool) {
	sorted := slices.SortedStableFunc(slices.Values(fields), func(a, b jsonField) int {
		return cmp.Or(cmp.Compare(len(a.index), len(b.index)), compareTrueFirst(a.tagged, b.tagged))
	})
	winner = sorted[0]
	if len(sorted) == 1 {
		return winner, true
	}
	next := sorted[1]
	return winner, len(next.index) > len(winner.index) || winner.tagged != next.tagged
}

func compareTrueFirst(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	default:
		return 1
	}
}

func collectFields(
	t reflect.Type, index []int, optional bool, inside map[reflect.Type]bool, problems *[]string,
) (fields []jsonField) {
	if inside[t] {
		return nil
	}
	inside[t] = true
	defer delete(inside, t)
	for i := range t.NumField() {
		f := t.Field(i)
		tag := f.Tag.Get("json")
		if tag == "-" {
			continue
		}
		options := strings.Split(tag, ",")
		at := append(slices.Clip(index), i)
		if embedded, pointer := embeddedStruct(f); embedded != nil && options[0] == "" {
			if pointer && !f.IsExported() {
				*problems = append(*problems, fmt.Sprintf("embeds a pointer to the unexported %s", embedded))
				continue
			}
			fields = append(fields, collectFields(embedded, at, optional || pointer, inside, problems)...)
			continue
		}
		if !f.IsExported() {
			continue
		}
		field := jsonField{name: options[0], goName: f.Name, typ: f.Type, index: at, tagged: options[0] != ""}
		if !field.tagged {
			field.name = f.Name
		}
		field.optional = optional || slices.Contains(options[1:], "omitempty") || slices.Contains(options[1:], "omitzero")
		field.quoted = slices.Contains(options[1:], "string") && isScalar(f.Type)
		fields = append(fields, field)
	}
	return fields
}

// embeddedStruct returns the struct that f embeds, nil when it embeds none.
func embeddedStruct(f reflect.StructField) (t reflect.Type, pointer bool) {
	if !f.Anonymous {
		return nil, false
	}
	t = f.Type
	if t.Kind() == reflect.Pointer {
		t, pointer = t.Elem(), true
	}
	if t.Kind() != reflect.Struct {
		return nil, false
	}
	return t, pointer
}

// isScalar reports whether t is a kind to which ",string" applies.
func isScalar(t reflect.Type) bool {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t.Kind() {
	case reflect.Bool, reflect.String, reflect.Float32, reflect.Float64,
		reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return true
	default:
		return false
	}
}
