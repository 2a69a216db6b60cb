package eddy

import (
	"encoding/json"
	"fmt"

	"github.com/eddyhq/eddy/shared/document"
	"github.com/eddyhq/eddy/shared/errs"
	"github.com/eddyhq/eddy/shared/port"
)

// event is the JSON form of a change on its way to a function.
type event struct {
	Type      string           `json:"type"`       // "state" or "stream"
	EventType string           `json:"event_type"` // the type, a colon, the kind of the change
	Scope     string           `json:"scope,omitempty"`
	Key       string           `json:"key,omitempty"`
	Stream    string           `json:"stream_name,omitempty"`
	Group     string           `json:"group_id,omitempty"`
	Item      string           `json:"item_id,omitempty"`
	Old       *json.RawMessage `json:"old_value"`
	New       *json.RawMessage `json:"new_value"`
	Reason    string           `json:"reason,omitempty"` // of a deletion that nobody made: "expired"
	ID        *string          `json:"id"`
	Version   int64            `json:"version"`
	Attempt   *int             `json:"attempt"`
	Depth     *int             `json:"depth"`
}

// EventJSON returns what a function receives for the change of a record, as JSON: the payload with which Invoke runs a
// reaction. The record must carry a change.
func EventJSON(record *port.Record, attempt int) (json.RawMessage, error) {
	change := record.Change
	e := event{
		Old:     optional(change.Old),
		New:     optional(change.New),
		ID:      new(change.ID()),
		Version: change.Version,
		Attempt: &attempt,
		Depth:   new(record.Cause.Depth()),
	}
	if change.Expired {
		e.Reason = expired
	}
	if stream, group, ok := change.Collection.Group(); ok {
		e.Type, e.Stream, e.Group, e.Item = "stream", stream, group, change.Key
	} else {
		e.Type, e.Key = "state", change.Key
		e.Scope, _ = change.Collection.Scope()
	}
	e.EventType = e.eventType(change)
	return encode(e)
}

const expired = "expired"

func optional(v document.Value) *json.RawMessage {
	if v == nil {
		return nil
	}
	return new(json.RawMessage(v))
}

func (e *event) eventType(change *port.Change) string { return e.Type + ":" + string(change.Kind()) }

// parseEvent reads the payload of a reaction.
func (f *Function) parseEvent(payload []byte) (delivered, error) {
	var e event
	if err := f.input().bindPayload(payload, &e); err != nil {
		return delivered{}, err
	}
	change, err := e.change()
	if err != nil {
		return delivered{}, err
	}
	if !f.listensTo(change.Collection) {
		return delivered{}, errs.New(errs.InvalidArgument, "%s is not triggered by %s", f.ID, describe(change.Collection))
	}
	d := delivered{change: change, id: change.ID(), attempt: 1}
	if e.ID != nil {
		d.id = *e.ID
	}
	if e.Attempt != nil {
		d.attempt = *e.Attempt
	}
	if e.Depth != nil {
		d.depth = *e.Depth
	}
	return d, nil
}

func (e *event) change() (*port.Change, error) {
	change := &port.Change{Version: e.Version}
	switch e.Type {
	case "state":
		change.Collection, change.Key = port.Scope(e.Scope), e.Key
	case "stream":
		change.Collection, change.Key = port.Group(e.Stream, e.Group), e.Item
	default:
		return nil, Invalid("type", `must be "state" or "stream"`)
	}
	var err error
	if change.Old, err = parseOptional("old_value", e.Old); err != nil {
		return nil, err
	}
	if change.New, err = parseOptional("new_value", e.New); err != nil {
		return nil, err
	}
	if change.Old == nil && change.New == nil {
		return nil, Invalid("new_value", "must not be absent together with old_value")
	}
	if want := e.eventType(change); e.EventType != want {
		return nil, Invalid("event_type", fmt.Sprintf("must be %q for these values", want))
	}
	change.Expired = e.Reason == expired
	if e.Reason != "" && !(change.Expired && change.Kind() == port.Deleted) {
		return nil, Invalid("reason", fmt.Sprintf("must be %q, of a deletion, or absent", expired))
	}
	return change, nil
}

func parseOptional(field string, text *json.RawMessage) (document.Value, error) {
	if text == nil {
		return nil, nil
	}
	v, err := document.Parse(*text)
	if err != nil {
		return nil, errs.New(errs.CodeOf(err), "%s: %w", field, err)
	}
	return v, nil
}

func (f *Function) listensTo(c port.Collection) bool {
	for _, t := range f.Changes {
		if t.Scope != "" && c == port.Scope(t.Scope) {
			return true
		}
		if stream, _, ok := c.Group(); ok && t.Stream != "" && stream == t.Stream {
			return true
		}
	}
	return false
}
