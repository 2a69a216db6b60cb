// Package state gives the engine functions state::* their meaning over port.Documents: what payloads they take, what
// results they give, as the wire has it.
//
// Errors by code: invalid_argument for a payload that is not as it must be, with every fault by field; conflict when a
// document is not at the version of if_version; too_large for a value above document.MaxSize; and what the store fails
// with.
package state

import (
	"context"
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/eddyhq/eddy/shared/document"
	"github.com/eddyhq/eddy/shared/payload"
	"github.com/eddyhq/eddy/shared/port"
)

// Function is an engine function. Payload and result are JSON; the result is compact, and null where there is none.
type Function func(ctx context.Context, docs port.Documents, payload []byte) (json.RawMessage, error)

// Lookup returns the engine function with the id, such as "state::set", and whether there is one.
func Lookup(id string) (Function, bool) {
	switch id {
	case "state::set":
		return set, true
	case "state::get":
		return get, true
	case "state::delete":
		return remove, true
	case "state::update":
		return update, true
	case "state::transact":
		return transact, true
	case "state::list":
		return list, true
	case "state::list_groups":
		return listGroups, true
	default:
		return nil, false
	}
}

func set(ctx context.Context, docs port.Documents, text []byte) (json.RawMessage, error) {
	fields := payload.Read(text)
	return written(ctx, docs, fields, readSet(fields))
}

func update(ctx context.Context, docs port.Documents, text []byte) (json.RawMessage, error) {
	fields := payload.Read(text)
	return written(ctx, docs, fields, readUpdate(fields))
}

// written commits a write that was read from fields, and returns what it did.
func written(ctx context.Context, docs port.Documents, fields *payload.Fields, write port.Write) (json.RawMessage, error) {
	if err := fields.Err(); err != nil {
		return nil, err
	}
	result, err := Commit(ctx, docs, write)
	if err != nil {
		return nil, err
	}
	return AppendResult(nil, result), nil
}

func remove(ctx context.Context, docs port.Documents, text []byte) (json.RawMessage, error) {
	fields := payload.Read(text)
	write := readWrite(port.Delete, fields)
	if err := fields.Err(); err != nil {
		return nil, err
	}
	result, err := Commit(ctx, docs, write)
	if err != nil {
		return nil, err
	}
	return AppendValue(nil, result.Old), nil
}

func get(ctx context.Context, docs port.Documents, text []byte) (json.RawMessage, error) {
	fields := payload.Read(text)
	scope, key := ReadScope(fields), fields.Name("key", MaxKey)
	withVersion := fields.Flag("with_version")
	if err := fields.Err(); err != nil {
		return nil, err
	}
	doc, err := docs.Get(ctx, scope, key)
	if err != nil {
		return nil, err
	}
	if !withVersion || !doc.Exists() {
		return AppendValue(nil, doc.Value), nil
	}
	result := AppendValue([]byte(`{"value":`), doc.Value)
	result = strconv.AppendInt(append(result, `,"version":`...), doc.Version, 10)
	return append(result, '}'), nil
}

func listGroups(ctx context.Context, docs port.Documents, text []byte) (json.RawMessage, error) {
	if err := payload.Read(text).Err(); err != nil {
		return nil, err
	}
	collections, err := docs.Collections(ctx, port.StateSpace)
	if err != nil {
		return nil, err
	}
	groups := make([]string, 0, len(collections))
	for _, c := range collections {
		if scope, ok := c.Scope(); ok {
			groups = append(groups, scope)
		}
	}
	slices.Sort(groups) // the order of collections is that of their escaped names
	return json.Marshal(map[string][]string{"groups": groups})
}

func readWrite(op port.Op, fields *payload.Fields) port.Write {
	return port.Write{
		Op:         op,
		Collection: ReadScope(fields),
		Key:        fields.Name("key", MaxKey),
		IfVersion:  fields.Integer("if_version", 0, math.MaxInt64),
	}
}

// maxTTL is the most seconds that a document can be given to live: ten years.
const maxTTL = 10 * 366 * 24 * 60 * 60

func readSet(fields *payload.Fields) port.Write {
	write := readWrite(port.Set, fields)
	write.Value = readValue(fields)
	if ttl := fields.Integer("ttl_seconds", 1, maxTTL); ttl != nil {
		write.TTL = time.Duration(*ttl) * time.Second
	}
	return write
}

func readUpdate(fields *payload.Fields) port.Write {
	write := readWrite(port.Update, fields)
	if raw := fields.Raw("ops"); raw != nil {
		ops, err := document.ParseOps(raw)
		fields.Fail("ops", err)
		write.Ops = ops
	}
	return write
}

// readValue reads the value of a set, for which iii's older clients say data.
func readValue(fields *payload.Fields) document.Value {
	name := "value"
	if fields.Has("data") {
		name = "data"
		if fields.Optional("value") != nil {
			fields.Fault("data", "is another name of value: give one of them")
		}
	}
	return ReadValue(fields, name)
}

// ReadValue reads a required field that may hold any document; a fault and nil when it is absent or none.
func ReadValue(fields *payload.Fields, name string) document.Value {
	raw := fields.Raw(name)
	if raw == nil {
		return nil
	}
	value, err := document.Parse(raw)
	fields.Fail(name, err)
	return value
}
