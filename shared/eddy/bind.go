package eddy

import (
	"errors"
	"fmt"
	"reflect"

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
// has no body, else from its body. A body is JSON whatever its Content-Type says, so that `curl -d` needs no header.
func (in *input) bindRequest(r *HTTPRequest, into any) error {
	if err := in.bindFields(r, reflect.ValueOf(into).Elem()); err != nil {
		return err
	}
	return validate(into)
}

func (in *input) bindFields(r *HTTPRequest, v reflect.Value) error {
	var few [16]source
	given := in.object.marks(few[:])
	if len(r.Body) == 0 {
		f := &faults{}
		in.object.bindPath(f, v, r.PathValues, given)
		in.object.bindQuery(f, v, r.Query, given)
		in.object.requireRest(f, given)
		return f.err()
	}
	d := newDecoder(r.Body)
	in.object.bindPath(&d.faults, v, r.PathValues, given)
	if in.object.decodeMembers(d, v, given) && !d.dead {
		in.object.requireRest(&d.faults, given)
	}
	d.end()
	return d.err()
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
	var joined interface{ Unwrap() []error }
	if errors.As(err, &joined) {
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
