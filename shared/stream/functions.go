package stream

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/eddyhq/eddy/shared/document"
	"github.com/eddyhq/eddy/shared/errs"
	"github.com/eddyhq/eddy/shared/payload"
	"github.com/eddyhq/eddy/shared/port"
	"github.com/eddyhq/eddy/shared/state"
)

// Lookup returns the engine function with the id, such as "stream::set", and whether there is one. Their payloads and
// results are iii's; unknown, missing and mistyped fields are one invalid_argument that lists them all.
func Lookup(id string) (state.Function, bool) {
	switch id {
	case "stream::set":
		return set, true
	case "stream::get":
		return get, true
	case "stream::delete":
		return remove, true
	case "stream::update":
		return update, true
	case "stream::list":
		return list, true
	case "stream::list_groups":
		return listGroups, true
	case "stream::list_all":
		return listAll, true
	case "stream::send":
		return send, true
	default:
		return nil, false
	}
}

func set(ctx context.Context, docs port.Documents, text []byte) (json.RawMessage, error) {
	f := payload.Read(text)
	group, id := ReadGroup(f), ReadItem(f)
	value := state.ReadValue(f, "data")
	if value != nil && id != "" {
		var err error
		value, err = Item(id, value)
		f.Fail("data", err)
	}
	if err := f.Err(); err != nil {
		return nil, err
	}
	results, err := docs.Commit(ctx, port.Commit{Writes: []port.Write{{
		Op: port.Set, Collection: group, Key: id, Value: value,
	}}})
	if err != nil {
		return nil, err
	}
	return state.AppendResult(nil, results[0]), nil
}

func get(ctx context.Context, docs port.Documents, text []byte) (json.RawMessage, error) {
	f := payload.Read(text)
	group, id := ReadGroup(f), ReadItem(f)
	if err := f.Err(); err != nil {
		return nil, err
	}
	doc, err := docs.Get(ctx, group, id)
	if err != nil {
		return nil, err
	}
	return state.AppendValue(nil, doc.Value), nil
}

func remove(ctx context.Context, docs port.Documents, text []byte) (json.RawMessage, error) {
	f := payload.Read(text)
	group, id := ReadGroup(f), ReadItem(f)
	if err := f.Err(); err != nil {
		return nil, err
	}
	results, err := docs.Commit(ctx, port.Commit{Writes: []port.Write{{Op: port.Delete, Collection: group, Key: id}}})
	if err != nil {
		return nil, err
	}
	return append(state.AppendValue([]byte(`{"old_value":`), results[0].Old), '}'), nil
}

// update reads, applies and writes if the version is still the same: unlike a document, an item has limits that only the
// outcome can break. The outcome is an object of at most MaxItem that carries its id: a removed id is put back, a changed
// one is refused.
func update(ctx context.Context, docs port.Documents, text []byte) (json.RawMessage, error) {
	f := payload.Read(text)
	group, id := ReadGroup(f), ReadItem(f)
	var ops []document.Op
	if raw := f.Raw("ops"); raw != nil {
		var err error
		ops, err = document.ParseOps(raw)
		f.Fail("ops", err)
	}
	if err := f.Err(); err != nil {
		return nil, err
	}
	for try := range updateTries {
		result, err := tryUpdate(ctx, docs, group, id, ops)
		var conflict *port.ConflictError
		if !errors.As(err, &conflict) {
			return result, err
		}
		if err := pause(ctx, try); err != nil {
			return nil, err
		}
	}
	return nil, errs.New(errs.Unavailable, "item %s is being written too often: try again", id)
}

// updateTries is how often an update meets others of the same item before it gives up. Each time one of the others has
// succeeded.
const updateTries = 64

// pause waits a random time that grows with the tries, so that those who met do not meet again.
func pause(ctx context.Context, try int) error {
	const step, longest = 200 * time.Microsecond, 20 * time.Millisecond
	timer := time.NewTimer(rand.N(min(step*time.Duration(try+1), longest)))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func tryUpdate(ctx context.Context, docs port.Documents, group port.Collection, id string, ops []document.Op) (
	json.RawMessage, error,
) {
	doc, err := docs.Get(ctx, group, id)
	if err != nil {
		return nil, err
	}
	value, faults, err := document.Apply(doc.Value, ops)
	if err != nil {
		return nil, err
	}
	result := port.Result{Old: doc.Value, New: doc.Value, Version: doc.Version, Faults: faults}
	if len(faults) < len(ops) {
		if result.New, err = Item(id, value); err != nil {
			return nil, refusedOutcome(err)
		}
		results, err := docs.Commit(ctx, port.Commit{Writes: []port.Write{{
			Op: port.Set, Collection: group, Key: id, Value: result.New, IfVersion: &doc.Version,
		}}})
		if err != nil {
			return nil, err
		}
		result.Version = results[0].Version
	}
	return state.AppendResult(nil, result), nil
}

// refusedOutcome tells the caller of an update that not the payload but what it would lead to is no item.
func refusedOutcome(err error) error {
	e := errs.From(err)
	if e.Code != errs.InvalidArgument {
		return err
	}
	return errs.Invalid(errs.Detail{Field: "ops", Problem: "would leave an item that is refused: " + e.Message})
}

func list(ctx context.Context, docs port.Documents, text []byte) (json.RawMessage, error) {
	f := payload.Read(text)
	group := ReadGroup(f)
	if err := f.Err(); err != nil {
		return nil, err
	}
	return state.All(ctx, docs, group, "")
}

func listGroups(ctx context.Context, docs port.Documents, text []byte) (json.RawMessage, error) {
	f := payload.Read(text)
	stream := readName(f, "stream_name", maxStream)
	if err := f.Err(); err != nil {
		return nil, err
	}
	collections, err := docs.Collections(ctx, port.GroupsOf(stream))
	if err != nil {
		return nil, err
	}
	return appendGroups(nil, collections), nil
}

func listAll(ctx context.Context, docs port.Documents, text []byte) (json.RawMessage, error) {
	f := payload.Read(text)
	if err := f.Err(); err != nil {
		return nil, err
	}
	collections, err := docs.Collections(ctx, port.StreamSpace)
	if err != nil {
		return nil, err
	}
	streams := byStream(collections)
	result := []byte(`{"stream":[`)
	for _, groups := range streams {
		stream, _, _ := groups[0].Group()
		result = appendString(append(result, `{"id":`...), stream)
		result = append(appendGroups(append(result, `,"groups":`...), groups), '}', ',')
	}
	result = strconv.AppendInt(append(state.CloseList(result), `,"count":`...), int64(len(streams)), 10)
	return append(result, '}'), nil
}

// byStream splits ordered collections where one stream ends and the next begins.
func byStream(collections []port.Collection) (streams [][]port.Collection) {
	last := ""
	for i, c := range collections {
		stream, _, _ := c.Group()
		if i == 0 || stream != last {
			streams = append(streams, nil)
		}
		last = stream
		streams[len(streams)-1] = append(streams[len(streams)-1], c)
	}
	return streams
}

func send(ctx context.Context, docs port.Documents, text []byte) (json.RawMessage, error) {
	f := payload.Read(text)
	event := port.Event{Group: ReadGroup(f)}
	if f.Has("id") {
		event.Item = readName(f, "id", maxItemID)
	}
	event.Type = readEventType(f)
	event.Data = state.ReadValue(f, "data")
	if err := f.Err(); err != nil {
		return nil, err
	}
	if err := CheckEvent(event); err != nil {
		return nil, err
	}
	if _, err := docs.Commit(ctx, port.Commit{Events: []port.Event{event}}); err != nil {
		return nil, err
	}
	return json.RawMessage("null"), nil
}

// readEventType accepts both names of the field, though not at once.
func readEventType(f *payload.Fields) string {
	field := "type"
	if f.Has("event_type") {
		field = "event_type"
		if f.Optional("type") != nil {
			f.Fault("event_type", "is another name of type: give one of them")
			f.Optional("event_type")
			return ""
		}
	}
	return readName(f, field, maxEventType)
}

// ReadGroup reads the required fields stream_name and group_id, which name a group.
func ReadGroup(f *payload.Fields) port.Collection {
	stream, group := readName(f, "stream_name", maxStream), readName(f, "group_id", maxGroup)
	if stream == "" || group == "" {
		return ""
	}
	c, faults := collection(stream, "stream_name", group, "group_id")
	for _, fault := range faults {
		f.Fault(fault.Field, fault.Problem)
	}
	return c
}

// ReadItem reads the required field item_id, which names an item.
func ReadItem(f *payload.Fields) string { return readName(f, "item_id", maxItemID) }

// readName returns the name in a required field; a fault and "" when it is missing, mistyped or breaks the limit.
func readName(f *payload.Fields, field string, longest int) string {
	raw := f.Raw(field)
	if raw == nil {
		return ""
	}
	name, problem := payload.Text(raw)
	if problem != "" {
		f.Fault(field, problem)
		return ""
	}
	for _, fault := range checkName(nil, field, name, longest) {
		f.Fault(fault.Field, fault.Problem)
		return ""
	}
	return name
}

func appendGroups(text []byte, groups []port.Collection) []byte {
	text = append(text, '[')
	for _, c := range groups {
		_, group, _ := c.Group()
		text = append(appendString(text, group), ',')
	}
	return state.CloseList(text)
}
