package reaction

import (
	"math"
	"slices"

	"github.com/eddyhq/eddy/shared/document"
	"github.com/eddyhq/eddy/shared/port"
	"github.com/eddyhq/eddy/shared/transaction"
)

// maxActions is how many rows one commit of several effects may write: the actions of one DynamoDB transaction. Writes,
// cursors, events and calls are a row each.
const maxActions = 100

// joint is one commit that has the effects of several deliveries.
type joint struct {
	commit  port.Commit
	effects []effect
	places  map[address]int     // of the writes in the commit
	cursors map[string]struct{} // by name
}

// address names a document.
type address struct {
	collection port.Collection
	key        string
}

// take takes the first effect and whatever else goes with it, and returns what is left.
func (j *joint) take(effects []effect) (left []effect) {
	j.places, j.cursors = make(map[address]int), make(map[string]struct{})
	for _, e := range effects {
		writes, ok := j.with(&e.commit)
		if !ok {
			left = append(left, e)
			continue
		}
		j.add(e, writes)
	}
	return left
}

// with returns the writes of the commit once it has another one's effect too, and whether it can have that. It changes
// nothing yet.
func (j *joint) with(c *port.Commit) (writes []port.Write, ok bool) {
	if len(j.effects) == 0 {
		return c.Writes, true
	}
	if !slices.Equal(j.commit.Cause.Chain, c.Cause.Chain) {
		return nil, false
	}
	for _, cursor := range c.Cursors {
		if _, taken := j.cursors[cursor.Name]; taken {
			return nil, false
		}
	}
	writes = slices.Clone(j.commit.Writes)
	for _, w := range c.Writes {
		place, known := j.places[address{w.Collection, w.Key}]
		if !known {
			writes = append(writes, w)
			continue
		}
		ops, summed := sum(&writes[place], &w)
		if !summed {
			return nil, false
		}
		writes[place].Ops = ops
	}
	others := len(j.commit.Cursors) + len(j.commit.Events) + len(j.commit.Calls) + len(c.Cursors) + len(c.Events) + len(c.Calls)
	return writes, len(writes) <= transaction.MaxDocuments && len(writes)+others <= maxActions
}

func (j *joint) add(e effect, writes []port.Write) {
	if len(j.effects) == 0 {
		j.commit.Cause = e.commit.Cause
	}
	j.effects = append(j.effects, e)
	j.commit.Writes = writes
	j.commit.Events = append(j.commit.Events, e.commit.Events...)
	j.commit.Calls = append(j.commit.Calls, e.commit.Calls...)
	j.commit.Cursors = append(j.commit.Cursors, e.commit.Cursors...)
	for i := range writes {
		j.places[address{writes[i].Collection, writes[i].Key}] = i
	}
	for _, cursor := range e.commit.Cursors {
		j.cursors[cursor.Name] = struct{}{}
	}
}

// sum returns the operations of one write that adds what two writes of a document add, one for each path. ok is false when
// they do anything else, state a condition, or want to know what came of them.
//
// Where an addition is skipped because a number would leave its range, the sum of several is skipped as one.
func sum(a, b *port.Write) (ops []document.Op, ok bool) {
	places := make(map[string]int) // in ops, by path: the root is "", which is no key
	for _, w := range []*port.Write{a, b} {
		if w.Op != port.Update || w.IfVersion != nil || !w.NoResult {
			return nil, false
		}
		for _, op := range w.Ops {
			by, ok := amount(op)
			if !ok {
				return nil, false
			}
			path := ""
			if len(op.Path) > 0 {
				path = op.Path[0]
			}
			place, known := places[path]
			if !known {
				places[path] = len(ops)
				ops = append(ops, document.Op{Type: document.OpIncrement, Path: op.Path, By: by})
				continue
			}
			total := ops[place].By + by
			if (total > by) != (ops[place].By > 0) {
				return nil, false
			}
			ops[place].By = total
		}
	}
	return ops, true
}

// amount returns what an operation adds, if adding is what it does.
func amount(op document.Op) (by int64, ok bool) {
	switch {
	case len(op.Path) > 1 || len(op.Path) == 1 && op.Path[0] == "":
		return 0, false // not well formed
	case op.Type == document.OpIncrement:
		return op.By, true
	case op.Type == document.OpDecrement && op.By != math.MinInt64:
		return -op.By, true
	default:
		return 0, false
	}
}
