package reaction

import (
	"fmt"

	"github.com/eddyhq/eddy/shared/eddy"
	"github.com/eddyhq/eddy/shared/errs"
	"github.com/eddyhq/eddy/shared/port"
)

// Delivery is one record on its way to one function.
type Delivery struct {
	ID       string // the same for every attempt: the idempotency key that the handler sees
	recordID string
	Function *eddy.Function
	Record   *port.Record
	Lane     string      // deliveries of one lane run one after the other, in the order of their records
	Cursor   port.Cursor // what makes the effects of the delivery happen once

	// NotBefore is when the first attempt may be made, in milliseconds of the Unix epoch; 0: at once.
	NotBefore int64

	poison error // why the record could not be routed; it goes straight to the dead letters
}

// Router knows which functions run for which records. It is made once from an App and safe for concurrent use.
type Router struct {
	app      *eddy.App
	triggers map[string][]trigger // by state scope collection or by stream prefix
}

type trigger struct {
	function *eddy.Function
	*eddy.ChangeTrigger
}

// NewRouter returns the router of the app's triggers.
func NewRouter(app *eddy.App) *Router {
	r := &Router{app: app, triggers: make(map[string][]trigger)}
	for _, f := range app.Functions() {
		for _, t := range f.Changes {
			source := port.GroupsOf(t.Stream)
			if t.Scope != "" {
				source = string(port.Scope(t.Scope))
			}
			r.triggers[source] = append(r.triggers[source], trigger{f, t})
		}
	}
	return r
}

// Follows reports whether any function runs for changes of the collection.
func (r *Router) Follows(c port.Collection) bool { return len(r.triggersOf(c)) > 0 }

func (r *Router) triggersOf(c port.Collection) []trigger {
	if stream, _, ok := c.Group(); ok {
		return r.triggers[port.GroupsOf(stream)]
	}
	return r.triggers[string(c)]
}

// Route returns the deliveries of a record, at most one for each function. A record addressed to a function that the
// app does not have is not_found, see Orphan.
func (r *Router) Route(record *port.Record) ([]*Delivery, error) {
	if record.Target != "" {
		f, ok := r.app.Function(record.Target)
		if !ok {
			return nil, errs.New(errs.NotFound, "no function %q is registered", record.Target)
		}
		return []*Delivery{addressed(f, record)}, nil
	}
	if record.Change == nil {
		return nil, nil
	}
	var deliveries []*Delivery
	for _, t := range r.triggersOf(record.Change.Collection) {
		if n := len(deliveries); n > 0 && deliveries[n-1].Function == t.function {
			continue
		}
		if d := t.delivery(record); d != nil {
			deliveries = append(deliveries, d)
		}
	}
	return deliveries, nil
}

// RouteTo returns the delivery of a record to one function, nil when there is none.
func (r *Router) RouteTo(f *eddy.Function, record *port.Record) *Delivery {
	if record.Target != "" {
		if record.Target == f.ID {
			return addressed(f, record)
		}
		return nil
	}
	if record.Change == nil {
		return nil
	}
	for _, t := range r.triggersOf(record.Change.Collection) {
		if t.function == f {
			if d := t.delivery(record); d != nil {
				return d
			}
		}
	}
	return nil
}

// addressed is the delivery of a call, or of a redriven dead letter. It is in order with nothing, or with the calls of its
// group: by the time a dead letter is redriven, later changes of its document have been handled. So it has a cursor of its
// own. Where records have no positions, a cursor that is taken still differs from one that is not, which is 0.
func addressed(f *eddy.Function, record *port.Record) *Delivery {
	d := &Delivery{recordID: record.ID(), Function: f, Record: record}
	if record.Call != nil {
		d.ID = record.Call.ID
		d.NotBefore = record.Call.NotBefore
	} else {
		d.ID = port.Digest(f.ID, d.recordID)
	}
	d.Lane = "addressed/" + d.ID
	d.Cursor = port.Cursor{Name: f.ID + "/" + d.Lane, Version: max(1, int64(record.Position))}
	if record.Call != nil && record.Call.Group != "" {
		d.Lane = "call/" + record.Call.Group
	}
	return d
}

// delivery applies the trigger to a change: nil when its When says no.
func (t trigger) delivery(record *port.Record) *Delivery {
	change := record.Change
	matched, lane, err := t.ask(change)
	if !matched && err == nil {
		return nil
	}
	id := change.ID()
	d := &Delivery{ID: port.Digest(t.function.ID, id), recordID: id, Function: t.function, Record: record, poison: err}
	if t.Lane != nil && err == nil {
		// A document may move between lanes, and then its changes are in no order: each gets a mark of its own.
		d.Lane = "custom/" + lane
		d.Cursor = port.Cursor{Name: t.function.ID + "/once/" + id, Version: 1}
		return d
	}
	d.Lane = string(change.Collection) + "/" + change.Key
	d.Cursor = port.Cursor{Name: t.function.ID + "/" + d.Lane, Version: change.Version}
	return d
}

// ask asks When and Lane about a change. They are users' code: what goes wrong in them is an error.
func (t trigger) ask(change *port.Change) (matched bool, lane string, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the When or Lane of %s panicked: %v", t.function.ID, p)
		}
	}()
	matched = true
	if t.When != nil {
		if matched, err = t.When(change); err != nil {
			return false, "", fmt.Errorf("the When of %s: %w", t.function.ID, err)
		}
	}
	if t.Lane != nil && matched {
		if lane, err = t.Lane(change); err != nil {
			return false, "", fmt.Errorf("the Lane of %s: %w", t.function.ID, err)
		}
	}
	return matched, lane, nil
}
