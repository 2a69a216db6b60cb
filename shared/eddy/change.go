package eddy

import (
	"github.com/eddyhq/eddy/shared/document"
	"github.com/eddyhq/eddy/shared/errs"
	"github.com/eddyhq/eddy/shared/port"
)

// Kind says how a change changed its document.
type Kind = port.Kind

// The kinds of change.
const (
	Created = port.Created
	Updated = port.Updated
	Deleted = port.Deleted
)

// Change is what a write did to one document: the input of a reaction.
//
// Documents are decoded leniently: what T does not have is ignored, what an old document lacks is zero.
type Change[T any] struct {
	Kind     Kind
	Old, New *T     // nil where there was, or is, no document
	Scope    string // of a state document; "" for a stream item
	Stream   string // of a stream item, with its Group
	Group    string
	Key      string // of the document; of an item, its id
	Version  int64  // of the document after the change
	Expired  bool   // a deletion that nobody made: the document's time was up, see TTL
	ID       string // names the change: the same for each of its deliveries
	Attempt  int    // of this delivery, from 1; 0 in When and Lane
	Depth    int    // how many functions lie between the change and what began its chain; 0 in When and Lane
}

// ChangeTrigger runs a function for the changes of a state scope, or of every group of a stream.
type ChangeTrigger struct {
	Scope  string // one of Scope and Stream is set
	Stream string
	When   func(*port.Change) (bool, error)   // nil: every change; an error is a poisonous change
	Lane   func(*port.Change) (string, error) // nil: one lane for each document
}

// Trigger is what React listens to, made by the Changes of a scope or stream.
type Trigger[T any] struct {
	change   ChangeTrigger
	problems []string
}

// TriggerOption narrows or reorders a Trigger: When, Lane.
type TriggerOption[T any] func(*Trigger[T])

func newTrigger[T any](source ChangeTrigger, opts []TriggerOption[T]) Trigger[T] {
	t := Trigger[T]{change: source}
	for _, opt := range opts {
		if opt == nil {
			t.problems = append(t.problems, "an option of Changes is nil")
			continue
		}
		opt(&t)
	}
	return t
}

// When lets only those changes through for which match is true. It is asked where the change is routed, before any
// function starts, possibly more than once; it must depend on nothing but the change.
func When[T any](match func(Change[T]) bool) TriggerOption[T] {
	return func(t *Trigger[T]) {
		if match == nil {
			t.problems = append(t.problems, "the function given to When is nil")
		}
		t.change.When = func(c *port.Change) (bool, error) {
			change, err := newChange[T](delivered{change: c, id: c.ID()})
			if err != nil {
				return false, err
			}
			return match(change), nil
		}
	}
}

// Lane puts the changes with equal names into one line, to be handled one after the other, in place of one line for
// each document. Changes of one document that lie in different lanes are handled in no order. It must depend on nothing
// but the change.
func Lane[T any](name func(Change[T]) string) TriggerOption[T] {
	return func(t *Trigger[T]) {
		if name == nil {
			t.problems = append(t.problems, "the function given to Lane is nil")
		}
		t.change.Lane = func(c *port.Change) (string, error) {
			change, err := newChange[T](delivered{change: c, id: c.ID()})
			if err != nil {
				return "", err
			}
			return name(change), nil
		}
	}
}

func newChange[T any](d delivered) (Change[T], error) {
	c := Change[T]{
		Kind:    d.change.Kind(),
		Key:     d.change.Key,
		Version: d.change.Version,
		Expired: d.change.Expired,
		ID:      d.id,
		Attempt: d.attempt,
		Depth:   d.depth,
	}
	c.Scope, _ = d.change.Collection.Scope()
	c.Stream, c.Group, _ = d.change.Collection.Group()
	var err error
	if c.Old, err = decodeStored[T](d.change.Old); err != nil {
		return c, errs.New(errs.Internal, "the old value of %s: %w", d.change.Key, err)
	}
	if c.New, err = decodeStored[T](d.change.New); err != nil {
		return c, errs.New(errs.Internal, "the new value of %s: %w", d.change.Key, err)
	}
	return c, nil
}

func decodeStored[T any](v document.Value) (*T, error) {
	if v == nil {
		return nil, nil
	}
	into := new(T)
	return into, v.Decode(into)
}
