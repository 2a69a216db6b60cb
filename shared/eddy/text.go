package eddy

import (
	"encoding"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// textParser sets v from the text of a path parameter or query string, and returns what is wrong with it.
type textParser func(v reflect.Value, text string) (problem string)

// newTextParser returns the parser for t, nil when values of t cannot be given as text.
func newTextParser(t reflect.Type) textParser {
	switch {
	case t.Kind() == reflect.Pointer:
		return newPointerParser(t)
	case t == reflect.TypeFor[json.Number]():
		return parseNumber
	case unmarshalsText(t):
		return parseByMethod
	case unmarshalsJSON(t):
		return nil
	}
	switch t.Kind() {
	case reflect.String:
		return parseString
	case reflect.Bool:
		return parseBool
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return parseInt
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return parseUint
	case reflect.Float32, reflect.Float64:
		return parseFloat
	default:
		return nil
	}
}

func newPointerParser(t reflect.Type) textParser {
	parse := newTextParser(t.Elem())
	if parse == nil {
		return nil
	}
	return func(v reflect.Value, text string) string {
		v.Set(reflect.New(t.Elem()))
		return parse(v.Elem(), text)
	}
}

func parseByMethod(v reflect.Value, text string) string {
	err := v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(text))
	switch {
	case err == nil:
		return ""
	case v.Type() == reflect.TypeFor[time.Time]():
		return "must be an RFC 3339 time"
	default:
		return problemOf(err)
	}
}

// parseString refuses what percent-encoding can bring and JSON cannot.
func parseString(v reflect.Value, text string) string {
	if !utf8.ValidString(text) {
		return "must be UTF-8"
	}
	v.SetString(text)
	return ""
}

func parseBool(v reflect.Value, text string) string {
	switch text {
	case "true", "false":
		v.SetBool(text == "true")
		return ""
	default:
		return "must be true or false"
	}
}

func parseInt(v reflect.Value, text string) string {
	n, err := strconv.ParseInt(text, 10, v.Type().Bits())
	if err != nil {
		limit := int64(math.MaxInt64) >> (64 - v.Type().Bits())
		return fmt.Sprintf("must be an integer from %d to %d", -limit-1, limit)
	}
	v.SetInt(n)
	return ""
}

func parseUint(v reflect.Value, text string) string {
	n, err := strconv.ParseUint(text, 10, v.Type().Bits())
	if err != nil {
		return fmt.Sprintf("must be an integer from 0 to %d", uint64(math.MaxUint64)>>(64-v.Type().Bits()))
	}
	v.SetUint(n)
	return ""
}

// parseFloat leaves out what strconv takes and JSON does not: infinities, hexadecimal digits, underscores.
func parseFloat(v reflect.Value, text string) string {
	n, err := strconv.ParseFloat(text, v.Type().Bits())
	if strings.Trim(text, "+-.0123456789eE") != "" {
		return "must be a number"
	}
	if err != nil {
		return fmt.Sprintf("must be a number that fits a float of %d bits", v.Type().Bits())
	}
	v.SetFloat(n)
	return ""
}

func parseNumber(v reflect.Value, text string) string {
	if !isNumber(text) {
		return "must be a number"
	}
	v.SetString(text)
	return ""
}

func isNumber(text string) bool {
	return json.Valid([]byte(text)) && text != "" && strings.Trim(text[:1], "-0123456789") == ""
}
