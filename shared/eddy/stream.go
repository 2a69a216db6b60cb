package eddy

import (
	"context"

	"github.com/eddyhq/eddy/shared/document"
	"github.com/eddyhq/eddy/shared/port"
	"github.com/eddyhq/eddy/shared/state"
	"github.com/eddyhq/eddy/shared/stream"
)

// StreamHandle is a typed name for live data: the items of a stream's groups, and the events sent to them. Clients
// subscribe to a group, or to one item of it. It holds no state; a function that uses it declares it with Uses.
type StreamHandle[T any] struct{ name string }

// Stream returns the handle of the stream called name, with items and events of type T.
func Stream[T any](name string) *StreamHandle[T] { return &StreamHandle[T]{name} }

func (s *StreamHandle[T]) use() Use { return Use{Stream: s.name} }

// ReadOnly is the stream for Uses, without the permission to write items and send events.
func (s *StreamHandle[T]) ReadOnly() Use { return Use{Stream: s.name, ReadOnly: true} }

// Changes is the trigger of a reaction to every change of an item in any group of the stream.
func (s *StreamHandle[T]) Changes(opts ...TriggerOption[T]) Trigger[T] {
	return newTrigger(ChangeTrigger{Stream: s.name}, opts)
}

func validStream(name string) error {
	_, err := stream.Group(name, "any")
	return err
}

// GroupHandle is one group of a stream. Besides the codes that a method names, it can fail with permission_denied (the
// stream is not declared), invalid_argument (a group or item id that is none), too_large (an item or event over 100 KB)
// and unavailable.
type GroupHandle[T any] struct{ stream, group string }

// Group returns the handle of a group of the stream.
func (s *StreamHandle[T]) Group(id string) GroupHandle[T] { return GroupHandle[T]{s.name, id} }

// Set makes value, an object, the item with the id. Its member id is the id; it is set when it is missing.
func (g GroupHandle[T]) Set(ctx context.Context, id string, value T) error {
	v, err := document.From(value)
	if err != nil {
		return err
	}
	if v, err = stream.Item(id, v); err != nil {
		return err
	}
	return g.write(ctx, port.Write{Op: port.Set, Key: id, Value: v})
}

// Delete removes the item with the id; it may be missing.
func (g GroupHandle[T]) Delete(ctx context.Context, id string) error {
	return g.write(ctx, port.Write{Op: port.Delete, Key: id})
}

// Get returns the item with the id; not_found when there is none.
func (g GroupHandle[T]) Get(ctx context.Context, id string) (T, error) {
	var none T
	documents, group, err := g.open(ctx)
	if err != nil {
		return none, err
	}
	if err := stream.CheckItem(id); err != nil {
		return none, err
	}
	d, err := documents.Get(ctx, group, id)
	if err != nil {
		return none, err
	}
	if !d.Exists() {
		return none, NotFound("%s/%s has no item %q", g.stream, g.group, id)
	}
	entry, err := decodeEntry[T](g.stream, d)
	return entry.Value, err
}

// List returns all items of the group, in the byte order of their ids.
func (g GroupHandle[T]) List(ctx context.Context) ([]T, error) {
	documents, group, err := g.open(ctx)
	if err != nil {
		return nil, err
	}
	items := []T{}
	for q := (port.Query{Limit: MaxLimit}); ; {
		page, err := documents.List(ctx, group, q)
		if err != nil {
			return nil, err
		}
		for _, d := range page.Documents {
			entry, err := decodeEntry[T](g.stream, d)
			if err != nil {
				return nil, err
			}
			items = append(items, entry.Value)
		}
		if !page.More {
			return items, nil
		}
		q.After = page.Next
	}
}

// Send brings an event to the live subscribers of the group. It is not stored.
func (g GroupHandle[T]) Send(ctx context.Context, eventType string, data T) error {
	documents, group, err := g.open(ctx)
	if err != nil {
		return err
	}
	v, err := document.From(data)
	if err != nil {
		return err
	}
	event := port.Event{Group: group, Type: eventType, Data: v}
	if err := stream.CheckEvent(event); err != nil {
		return err
	}
	_, err = documents.Commit(ctx, port.Commit{Events: []port.Event{event}})
	return err
}

func (g GroupHandle[T]) write(ctx context.Context, w port.Write) error {
	documents, group, err := g.open(ctx)
	if err != nil {
		return err
	}
	if err := stream.CheckItem(w.Key); err != nil {
		return err
	}
	w.Collection, w.NoResult = group, true
	_, err = state.Commit(ctx, documents, w)
	return err
}

// open returns the documents of the running function and the collection of the group.
func (g GroupHandle[T]) open(ctx context.Context) (port.Documents, port.Collection, error) {
	r, err := current(ctx)
	if err != nil {
		return nil, "", err
	}
	group, err := stream.Group(g.stream, g.group)
	if err != nil {
		return nil, "", err
	}
	return r.guard(), group, nil
}
