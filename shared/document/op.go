package document

import (
	"fmt"
	"math"
	"strconv"
	"unicode/utf8"

	"github.com/eddyhq/eddy/shared/errs"
	"github.com/eddyhq/eddy/shared/payload"
)

// OpType is the tag of an update operation, as `type` on the wire.
type OpType string

// The update operations of state::update and stream::update.
const (
	OpSet       OpType = "set"
	OpMerge     OpType = "merge"
	OpIncrement OpType = "increment"
	OpDecrement OpType = "decrement"
	OpAppend    OpType = "append"
	OpRemove    OpType = "remove"
)

// Op is one well-formed update operation.
//
// Path is the way from the root: empty for the root itself, one first-level key for set, increment, decrement and
// remove, any number of keys for merge and append. Value belongs to set, merge and append; By to increment and
// decrement.
type Op struct {
	Type  OpType
	Path  []string
	Value Value
	By    int64
}

// Fault says why a well-formed operation was skipped. The other operations of its update still apply.
type Fault struct {
	OpIndex int    `json:"op_index"`
	Code    string `json:"code"`
	Message string `json:"message"`
}

// traits says which fields an operation has. One that takes a value takes no amount, and the other way round.
type traits struct {
	takesValue, takesBy bool
	nested              bool // its path may be any number of keys, and may be left out
}

func (t OpType) traits() (traits, bool) {
	switch t {
	case OpSet:
		return traits{takesValue: true}, true
	case OpMerge, OpAppend:
		return traits{takesValue: true, nested: true}, true
	case OpIncrement, OpDecrement:
		return traits{takesBy: true}, true
	case OpRemove:
		return traits{}, true
	default:
		return traits{}, false
	}
}

func unknownType(t OpType) string {
	return fmt.Sprintf("must be set, merge, increment, decrement, append or remove, not %q", t)
}

// maxOpValueDepth lets a merge be told that its value is too deep rather than that its call is malformed.
const maxOpValueDepth = 4 * MaxDepth

// ParseOps reads the operations of an update from a JSON array. It fails with one invalid_argument that lists what is
// malformed in any of them, by fields such as "[1].by", and with too_large for a value above MaxSize.
func ParseOps(text []byte) ([]Op, error) {
	elements, problem := payload.Elements(text)
	if problem != "" {
		return nil, errs.Invalid(errs.Detail{Problem: problem})
	}
	ops := make([]Op, len(elements))
	var all payload.Fields
	for i, element := range elements {
		op, err := parseOp(element)
		if err != nil {
			all.Fail("["+strconv.Itoa(i)+"]", err)
		}
		ops[i] = op
	}
	if err := all.Err(); err != nil {
		return nil, err
	}
	return ops, nil
}

func parseOp(text []byte) (Op, error) {
	fields := payload.Read(text)
	op := Op{Type: OpType(fields.Text("type"))}
	takes, ok := op.Type.traits()
	if !ok {
		fields.Ignore() // which of the other fields belong here, nobody knows
		if err := fields.Err(); err != nil {
			return op, err
		}
		return op, errs.Invalid(errs.Detail{Field: "type", Problem: unknownType(op.Type)})
	}
	op.Path = parsePath(fields, takes.nested)
	if takes.takesValue {
		if raw := fields.Raw("value"); raw != nil {
			value, err := parse(raw, maxOpValueDepth)
			fields.Fail("value", err)
			op.Value = value
		}
	}
	if takes.takesBy && fields.Raw("by") != nil {
		if by := fields.Integer("by", math.MinInt64, math.MaxInt64); by != nil {
			op.By = *by
		}
	}
	return op, fields.Err()
}

func parsePath(fields *payload.Fields, nested bool) []string {
	if !nested {
		return singlePath(fields.Text("path"))
	}
	raw := fields.Optional("path")
	if len(raw) == 0 || raw[0] != '[' {
		if raw != nil && raw[0] != '"' {
			fields.Fault("path", "must be a string or an array of strings")
			return nil
		}
		return singlePath(fields.OptionalText("path"))
	}
	elements, problem := payload.Elements(raw)
	if problem != "" {
		fields.Fault("path", problem)
		return nil
	}
	path := make([]string, len(elements))
	for i, element := range elements {
		key, problem := payload.Text(element)
		if problem != "" {
			fields.Fault("path["+strconv.Itoa(i)+"]", problem)
		}
		path[i] = key
	}
	return path
}

// singlePath is the path that a string stands for: one key, no dots, no slashes; "" is the root.
func singlePath(key string) []string {
	if key == "" {
		return nil
	}
	return []string{key}
}

// Validate returns nil when op is well formed, and otherwise an invalid_argument that lists what is malformed. It is
// for an Op that was made in Go; those of ParseOps are well formed.
func Validate(op Op) error {
	takes, ok := op.Type.traits()
	if !ok {
		return errs.Invalid(errs.Detail{Field: "type", Problem: unknownType(op.Type)})
	}
	var all payload.Fields
	if !takes.nested && len(op.Path) > 1 {
		all.Fault("path", "must be one key")
	}
	if !takes.nested && len(op.Path) == 1 && op.Path[0] == "" {
		all.Fault("path", "must be one key; the root is the empty path")
	}
	for _, key := range op.Path {
		if !utf8.ValidString(key) {
			all.Fault("path", fmt.Sprintf("must be UTF-8, not %q", key))
		}
	}
	if takes.takesValue != (op.Value != nil) {
		all.Fault("value", map[bool]string{true: "is required", false: "does not belong here"}[takes.takesValue])
	}
	if !takes.takesBy && op.By != 0 {
		all.Fault("by", "does not belong here")
	}
	return all.Err()
}

// MarshalJSON returns the operation as it is on the wire. It fails for one that is not well formed.
func (op Op) MarshalJSON() ([]byte, error) {
	if err := Validate(op); err != nil {
		return nil, err
	}
	takes, _ := op.Type.traits()
	text := append([]byte(`{"type":`), quote(string(op.Type))...)
	text = append(text, `,"path":`...)
	switch {
	case takes.nested:
		text = append(text, '[')
		for i, key := range op.Path {
			if i > 0 {
				text = append(text, ',')
			}
			text = appendQuoted(text, key)
		}
		text = append(text, ']')
	case len(op.Path) == 0:
		text = append(text, `""`...)
	default:
		text = appendQuoted(text, op.Path[0])
	}
	if takes.takesValue {
		text = append(append(text, `,"value":`...), op.Value...)
	}
	if takes.takesBy {
		text = strconv.AppendInt(append(text, `,"by":`...), op.By, 10)
	}
	return append(text, '}'), nil
}

// UnmarshalJSON reads an operation from the wire, as ParseOps does.
func (op *Op) UnmarshalJSON(text []byte) error {
	parsed, err := parseOp(text)
	if err != nil {
		return err
	}
	*op = parsed
	return nil
}
