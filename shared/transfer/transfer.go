// Package transfer takes the documents of an application out and puts them in elsewhere, also from one kind of host to the
// other: the engine functions data::export and data::import. They are for operators; a function of an app cannot call them.
//
//	data::export {limit?, cursor?} -> {documents: [document…], cursor?}
//	data::import {documents: […]}  -> {imported: how many, expired: how many}
//
// A document is {scope, key, value, version, expires_at?}, or, of a stream, {stream_name, group_id, item_id, value, version}.
// Versions are told and not taken: a document that is put in gets a new one. It is told to nobody: what it led to comes with
// it, as further documents. What is on its way - deliveries, dead letters, cursors - is not part of it; a backup has that.
package transfer

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/eddyhq/eddy/shared/payload"
	"github.com/eddyhq/eddy/shared/port"
	"github.com/eddyhq/eddy/shared/state"
	"github.com/eddyhq/eddy/shared/stream"
)

// The bounds of one call.
const (
	maxExport     = 1000
	maxPageBytes  = 1 << 20 // of values, after which a page ends
	maxImport     = 25
	defaultExport = 100
)

// Function is an engine function over the documents of an app: payload in, result out, both JSON text.
type Function func(ctx context.Context, docs port.Documents, now time.Time, payload []byte) (json.RawMessage, error)

// Lookup returns the engine function with the id, such as "data::export".
func Lookup(id string) (Function, bool) {
	switch id {
	case "data::export":
		return export, true
	case "data::import":
		return importDocuments, true
	default:
		return nil, false
	}
}

// document is a document as it is taken out.
type document struct {
	Scope   string          `json:"scope,omitempty"`
	Key     string          `json:"key,omitempty"`
	Stream  string          `json:"stream_name,omitempty"`
	Group   string          `json:"group_id,omitempty"`
	Item    string          `json:"item_id,omitempty"`
	Value   json.RawMessage `json:"value"`
	Version int64           `json:"version"`
	Expires *time.Time      `json:"expires_at,omitempty"`
}

func documentOf(c port.Collection, d *port.Document) document {
	told := document{Value: json.RawMessage(d.Value), Version: d.Version}
	if name, group, ok := c.Group(); ok {
		told.Stream, told.Group, told.Item = name, group, d.Key
		return told
	}
	told.Scope, _ = c.Scope()
	told.Key = d.Key
	if d.Expires != 0 {
		told.Expires = new(time.Unix(d.Expires, 0).UTC())
	}
	return told
}

func export(ctx context.Context, docs port.Documents, _ time.Time, text []byte) (json.RawMessage, error) {
	fields := payload.Read(text)
	most := defaultExport
	if limit := fields.Integer("limit", 1, maxExport); limit != nil {
		most = int(*limit)
	}
	at, ok := decodeCursor(fields.OptionalText("cursor"))
	if !ok {
		fields.Fault("cursor", "is not one that data::export gave")
	}
	if err := fields.Err(); err != nil {
		return nil, err
	}
	page, err := read(ctx, docs, at, most)
	if err != nil {
		return nil, err
	}
	return json.Marshal(page)
}

// page is an answer of data::export.
type page struct {
	Documents []document `json:"documents"`
	Cursor    string     `json:"cursor,omitempty"`
}

// place is where a page ended.
type place struct {
	collection port.Collection
	key        string // the last one of it; "" is the start
}

// read reads a page from a place on: scopes, then groups of streams.
func read(ctx context.Context, docs port.Documents, at place, most int) (page, error) {
	p := page{Documents: []document{}}
	collections, err := collectionsFrom(ctx, docs, at.collection)
	if err != nil {
		return p, err
	}
	size := 0
	for _, c := range collections {
		query := port.Query{Limit: most - len(p.Documents)}
		if c == at.collection {
			query.After = at.key
		}
		for more := true; more; {
			if len(p.Documents) == most || size >= maxPageBytes {
				p.Cursor = encodeCursor(place{c, query.After})
				return p, nil
			}
			query.Limit = most - len(p.Documents)
			found, err := docs.List(ctx, c, query)
			if err != nil {
				return p, err
			}
			query.After, more = found.Next, found.More
			for i := range found.Documents {
				d := &found.Documents[i]
				p.Documents = append(p.Documents, documentOf(c, d))
				if size += len(d.Value); size >= maxPageBytes {
					query.After, more = d.Key, true // the rest of what was found is for the next page
					break
				}
			}
		}
	}
	return p, nil
}

// collectionsFrom returns the collections that hold something, from one on.
func collectionsFrom(ctx context.Context, docs port.Documents, first port.Collection) ([]port.Collection, error) {
	var all []port.Collection
	for _, space := range []string{port.StateSpace, port.StreamSpace} {
		found, err := docs.Collections(ctx, space)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	slices.Sort(all)
	from, _ := slices.BinarySearch(all, first)
	return all[from:], nil
}

func importDocuments(ctx context.Context, docs port.Documents, now time.Time, text []byte) (json.RawMessage, error) {
	fields := payload.Read(text)
	var texts []json.RawMessage
	if raw := fields.Raw("documents"); raw != nil {
		if err := json.Unmarshal(raw, &texts); err != nil || len(texts) == 0 || len(texts) > maxImport {
			fields.Fault("documents", fmt.Sprintf("must be an array of 1 to %d documents", maxImport))
		}
	}
	var writes []port.Write
	expired := 0
	for i, text := range texts {
		read := payload.Read(text)
		w := readDocument(read)
		fields.Fail(fmt.Sprintf("documents[%d]", i), read.Err())
		if port.IsExpired(w.Expires, now) {
			expired++
			continue
		}
		writes = append(writes, w)
	}
	if err := fields.Err(); err != nil {
		return nil, err
	}
	if len(writes) > 0 {
		if _, err := docs.Commit(ctx, port.Commit{Writes: writes, Silent: true}); err != nil {
			return nil, err
		}
	}
	return json.Marshal(map[string]int{"imported": len(writes), "expired": expired})
}

// readDocument reads what documentOf made.
func readDocument(fields *payload.Fields) port.Write {
	w := port.Write{Op: port.Set, NoResult: true, Value: state.ReadValue(fields, "value")}
	fields.Integer("version", 0, math.MaxInt64) // told, and not taken
	if !fields.Has("stream_name") {
		w.Collection, w.Key = state.ReadScope(fields), fields.Name("key", state.MaxKey)
		w.Expires = readExpires(fields)
		return w
	}
	w.Collection, w.Key = stream.ReadGroup(fields), stream.ReadItem(fields)
	if w.Value != nil && w.Key != "" {
		item, err := stream.Item(w.Key, w.Value)
		fields.Fail("value", err)
		w.Value = item
	}
	return w
}

func readExpires(fields *payload.Fields) int64 {
	text := fields.OptionalText("expires_at")
	if text == "" {
		return 0
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil || at.Unix() <= 0 {
		fields.Fault("expires_at", "must be a time as RFC 3339 writes it")
		return 0
	}
	return at.Unix()
}

const cursorPrefix = "ex."

func encodeCursor(at place) string {
	return cursorPrefix + base64.RawURLEncoding.EncodeToString([]byte(string(at.collection)+"\x00"+at.key))
}

func decodeCursor(cursor string) (at place, ok bool) {
	if cursor == "" {
		return place{}, true
	}
	encoded, ok := strings.CutPrefix(cursor, cursorPrefix)
	if !ok {
		return place{}, false
	}
	text, err := base64.RawURLEncoding.DecodeString(encoded)
	if err != nil {
		return place{}, false
	}
	collection, key, ok := strings.Cut(string(text), "\x00")
	at = place{port.Collection(collection), key}
	_, _, isGroup := at.collection.Group()
	_, isScope := at.collection.Scope()
	return at, ok && (isGroup || isScope)
}
