package eddy

import (
	"github.com/eddyhq/eddy/shared/document"
)

// Op is one operation of an Update, made by SetField, Increment, Decrement, Merge, Append and RemoveField. The rules
// are those of state::update.
type Op struct {
	op  document.Op
	err error // the value cannot be JSON
}

// SetField sets a first-level field; "" replaces the whole document.
func SetField(field string, value any) Op { return valueOp(document.OpSet, firstLevel(field), value) }

// Increment adds by to a first-level field, which counts as 0 when it is missing; "" is the document itself.
func Increment(field string, by int64) Op {
	return Op{op: document.Op{Type: document.OpIncrement, Path: firstLevel(field), By: by}}
}

// Decrement takes by from a first-level field, as Increment adds it.
func Decrement(field string, by int64) Op {
	return Op{op: document.Op{Type: document.OpDecrement, Path: firstLevel(field), By: by}}
}

// Merge sets the fields of the object at path to those of value, an object. Without a path it is the document itself.
func Merge(value any, path ...string) Op { return valueOp(document.OpMerge, path, value) }

// Append adds value to the end of the array at path, or to the end of the string there.
func Append(value any, path ...string) Op { return valueOp(document.OpAppend, path, value) }

// RemoveField removes a first-level field; it may be missing.
func RemoveField(field string) Op {
	return Op{op: document.Op{Type: document.OpRemove, Path: firstLevel(field)}}
}

func firstLevel(field string) []string {
	if field == "" {
		return nil
	}
	return []string{field}
}

func valueOp(kind document.OpType, path []string, value any) Op {
	v, err := document.From(value)
	return Op{op: document.Op{Type: kind, Path: path, Value: v}, err: err}
}

// documentOps returns the operations for a port, once all of them are well-formed.
func documentOps(ops []Op) ([]document.Op, error) {
	list := make([]document.Op, len(ops))
	for i, o := range ops {
		if o.err != nil {
			return nil, o.err
		}
		if err := document.Validate(o.op); err != nil {
			return nil, err
		}
		list[i] = o.op
	}
	return list, nil
}
