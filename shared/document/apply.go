package document

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/eddyhq/eddy/shared/errs"
	"github.com/eddyhq/eddy/shared/payload"
)

// The limits of update operations. What exceeds them is skipped, with a Fault.
const (
	maxPathDepth    = 32
	maxSegmentBytes = 256
	maxValueDepth   = 16
	maxMergedKeys   = 1024
)

// Apply returns what ops make of a document, one after the other. A document that is missing (nil) starts as {}, which
// counts as missing for increment, decrement and append at the root until an operation has taken effect.
//
// An operation that cannot take effect is skipped and leaves one Fault. When all were skipped, or there are none, the
// result is old itself. Apply fails, with no result, with too_large when the result is above MaxSize, and with
// invalid_argument when it is deeper than MaxDepth or an operation is not well formed.
//
// It follows iii's state::update. Different, on purpose: `remove ""` is skipped with remove.path.empty_segment instead
// of leaving null, integers do not leave the range of int64, and a merge at the root replaces what is no object, as it
// does below the root.
func Apply(old Value, ops []Op) (result Value, faults []Fault, err error) {
	u := update{root: &node{text: old}, missing: old == nil}
	if u.missing {
		u.root.text = Value("{}")
	}
	for i, op := range ops {
		if err := Validate(op); err != nil {
			var malformed payload.Fields
			malformed.Fail("["+strconv.Itoa(i)+"]", err)
			return nil, nil, malformed.Err()
		}
		if skipped := u.apply(op); skipped != nil {
			faults = append(faults, Fault{OpIndex: i, Code: string(op.Type) + "." + skipped.reason, Message: skipped.message})
		} else {
			u.missing = false
		}
	}
	if len(faults) == len(ops) {
		return old, faults, nil
	}
	result = u.root.appendTo(make(Value, 0, len(old)+64))
	if result.depth() > MaxDepth {
		return nil, nil, errs.New(errs.InvalidArgument,
			"the update would make the document deeper than %d objects and arrays within each other", MaxDepth)
	}
	if result.Size() > MaxSize {
		return nil, nil, tooLarge()
	}
	return result, faults, nil
}

// update is a document on its way through operations.
type update struct {
	root    *node
	missing bool // there was no document, and no operation has taken effect
}

// skip says why an operation has no effect.
type skip struct{ reason, message string }

func (u *update) apply(op Op) *skip {
	if s := checkPath(op); s != nil {
		return s
	}
	switch op.Type {
	case OpSet:
		return u.set(op)
	case OpMerge:
		return u.merge(op)
	case OpIncrement, OpDecrement:
		return u.add(op)
	case OpAppend:
		return u.append(op)
	default:
		return u.remove(op)
	}
}

func checkPath(op Op) *skip {
	if len(op.Path) > maxPathDepth {
		return &skip{"path.too_deep",
			fmt.Sprintf("the path has %d keys, at most %d are allowed", len(op.Path), maxPathDepth)}
	}
	if op.Type == OpRemove && len(op.Path) == 0 {
		return &skip{"path.empty_segment", "the root cannot be removed: delete the document instead"}
	}
	for _, key := range op.Path {
		switch {
		case key == "":
			return &skip{"path.empty_segment", "a key of the path is empty"}
		case len(key) > maxSegmentBytes:
			return &skip{"path.segment_too_long",
				fmt.Sprintf("a key of the path has %d bytes, at most %d are allowed", len(key), maxSegmentBytes)}
		case isPolluted(key):
			return &skip{"path.proto_polluted", fmt.Sprintf("the key %q is not allowed in a path", key)}
		}
	}
	return nil
}

// isPolluted reports whether a name would reach into the prototype of JavaScript objects.
func isPolluted(key string) bool {
	return key == "__proto__" || key == "constructor" || key == "prototype"
}

func (u *update) set(op Op) *skip {
	if len(op.Path) == 0 {
		u.root = &node{text: op.Value}
		return nil
	}
	members, s := u.rootMembers(op)
	if s == nil {
		members[op.Path[0]] = &node{text: op.Value}
	}
	return s
}

func (u *update) remove(op Op) *skip {
	members, s := u.rootMembers(op)
	if s == nil {
		delete(members, op.Path[0])
	}
	return s
}

func (u *update) add(op Op) *skip {
	target, missing := u.root, u.missing
	var members map[string]*node
	if len(op.Path) > 0 {
		var s *skip
		if members, s = u.rootMembers(op); s != nil {
			return s
		}
		target = members[op.Path[0]]
		missing = target == nil
	}
	current := Value("0")
	if !missing {
		if current = target.text; !target.isNumber() {
			return &skip{"not_number", fmt.Sprintf("%s is %s, not a number", place(op.Path), target.describe())}
		}
	}
	sum, ok := add(current, op.By, op.Type == OpDecrement)
	if !ok {
		return &skip{"not_number",
			fmt.Sprintf("%s is %s: a change by %d is beyond what 64-bit integers, or fractions of %d digits, can hold",
				place(op.Path), current, op.By, MaxDigits)}
	}
	if members == nil {
		u.root = &node{text: sum}
	} else {
		members[op.Path[0]] = &node{text: sum}
	}
	return nil
}

func (u *update) merge(op Op) *skip {
	if s := checkMerged(op.Value); s != nil {
		return s
	}
	target := u.root
	for _, key := range op.Path {
		target = target.child(key)
	}
	members := target.becomeObject()
	for name, value := range op.Value.members() {
		members[unquote(name)] = &node{text: value}
	}
	return nil
}

func checkMerged(value Value) *skip {
	if !value.IsObject() {
		return &skip{"value.not_an_object", "the value to merge is " + value.kind() + ", it must be an object"}
	}
	keys := 0
	polluted := ""
	for name := range value.members() {
		keys++
		if key := unquote(name); isPolluted(key) {
			polluted = key
		}
	}
	switch {
	case keys > maxMergedKeys:
		return &skip{"value.too_many_keys",
			fmt.Sprintf("the value to merge has %d keys, at most %d are allowed", keys, maxMergedKeys)}
	case polluted != "":
		return &skip{"value.proto_polluted", fmt.Sprintf("the key %q is not allowed in a value to merge", polluted)}
	case value.depth() > maxValueDepth:
		return &skip{"value.too_deep",
			fmt.Sprintf("the value to merge has more than %d objects and arrays within each other", maxValueDepth)}
	}
	return nil
}

func (u *update) append(op Op) *skip {
	if len(op.Path) > 0 {
		if _, s := u.rootMembers(op); s != nil {
			return s
		}
	}
	target := u.root.find(op.Path)
	switch {
	case target == nil || target.isNull() || len(op.Path) == 0 && u.missing:
		target = u.root
		for _, key := range op.Path {
			target = target.child(key)
		}
		*target = node{text: op.Value}
		if len(op.Path) > 1 || op.Value[0] != '"' {
			*target = node{elements: []*node{{text: op.Value}}}
		}
	case target.isArray():
		target.push(op.Value)
	case target.isString() && op.Value[0] == '"':
		target.concatenate(op.Value)
	default:
		return &skip{"type_mismatch", fmt.Sprintf("%s is %s, to which %s cannot be appended",
			place(op.Path), target.describe(), op.Value.kind())}
	}
	return nil
}

// rootMembers returns the members of the root, for an operation on what lies below it.
func (u *update) rootMembers(op Op) (map[string]*node, *skip) {
	if !u.root.isObject() {
		return nil, &skip{"target_not_object",
			fmt.Sprintf("the document is %s: it has no %s", u.root.describe(), place(op.Path))}
	}
	return u.root.becomeObject(), nil
}

func place(path []string) string {
	if len(path) == 0 {
		return "the root"
	}
	return fmt.Sprintf("%q", strings.Join(path, `" "`))
}

// node is a value being changed: canonical text until someone looks inside, then its members or elements.
type node struct {
	text     Value
	owned    bool // text is a buffer of this node's own, which may be appended to
	members  map[string]*node
	elements []*node
}

func (n *node) isObject() bool { return n.members != nil || n.text.IsObject() }
func (n *node) isArray() bool  { return n.elements != nil || len(n.text) > 0 && n.text[0] == '[' }
func (n *node) isString() bool { return len(n.text) > 0 && n.text[0] == '"' }
func (n *node) isNumber() bool { return numberExtent(n.text) > 0 }
func (n *node) isNull() bool   { return string(n.text) == "null" }

func (n *node) describe() string {
	switch {
	case n.members != nil:
		return Value("{}").kind()
	case n.elements != nil:
		return Value("[]").kind()
	default:
		return n.text.kind()
	}
}

// becomeObject returns the members of an object; what is none becomes {}.
func (n *node) becomeObject() map[string]*node {
	if n.members == nil {
		members := make(map[string]*node)
		for name, value := range n.text.members() {
			members[unquote(name)] = &node{text: value}
		}
		*n = node{members: members}
	}
	return n.members
}

// child returns the member of that name; one that is missing is made, and n becomes an object if it is none.
func (n *node) child(name string) *node {
	members := n.becomeObject()
	if members[name] == nil {
		members[name] = &node{}
	}
	return members[name]
}

// find returns what lies at the path, nil when nothing does.
func (n *node) find(path []string) *node {
	for _, key := range path {
		if !n.isObject() {
			return nil
		}
		if n = n.becomeObject()[key]; n == nil {
			return nil
		}
	}
	return n
}

// push adds an element to an array.
func (n *node) push(value Value) {
	if n.elements == nil {
		elements := []*node{}
		for element := range n.text.elements() {
			elements = append(elements, &node{text: element})
		}
		*n = node{elements: elements}
	}
	n.elements = append(n.elements, &node{text: value})
}

// concatenate adds to the end of a string.
func (n *node) concatenate(more Value) {
	if !n.owned {
		n.text, n.owned = slices.Clone(n.text), true
	}
	n.text = append(n.text[:len(n.text)-1], more[1:]...)
}

func (n *node) appendTo(text Value) Value {
	switch {
	case n.members != nil:
		text = append(text, '{')
		names := slices.AppendSeq(make([]string, 0, len(n.members)), maps.Keys(n.members))
		slices.Sort(names)
		for i, name := range names {
			if i > 0 {
				text = append(text, ',')
			}
			text = append(appendQuoted(text, name), ':')
			text = n.members[name].appendTo(text)
		}
		return append(text, '}')
	case n.elements != nil:
		text = append(text, '[')
		for i, element := range n.elements {
			if i > 0 {
				text = append(text, ',')
			}
			text = element.appendTo(text)
		}
		return append(text, ']')
	default:
		return append(text, n.text...)
	}
}
