package state

import (
	"context"
	"encoding/json"
	"strconv"

	"github.com/eddyhq/eddy/shared/document"
	"github.com/eddyhq/eddy/shared/payload"
	"github.com/eddyhq/eddy/shared/port"
)

// The documents of a page of a list.
const (
	MaxLimit     = 1000
	DefaultLimit = 100
)

func list(ctx context.Context, docs port.Documents, text []byte) (json.RawMessage, error) {
	fields := payload.Read(text)
	scope := ReadScope(fields)
	prefix := fields.OptionalText("prefix")
	paged := fields.Has("limit") || fields.Has("cursor")
	limit := fields.Integer("limit", 1, MaxLimit)
	cursor := fields.OptionalText("cursor")
	paged = fields.Flag("with_keys") || paged
	if err := fields.Err(); err != nil {
		return nil, err
	}
	if !paged {
		return All(ctx, docs, scope, prefix)
	}
	after, err := DecodeCursor(scope, prefix, cursor)
	if err != nil {
		return nil, err
	}
	query := port.Query{Prefix: prefix, After: after, Limit: DefaultLimit}
	if limit != nil {
		query.Limit = int(*limit)
	}
	return listPage(ctx, docs, scope, query)
}

// All returns the values of a collection whose keys start with prefix, as a JSON array in the order of the keys. It is
// no snapshot: each value is one that was current at some moment of the call.
func All(ctx context.Context, docs port.Documents, c port.Collection, prefix string) (json.RawMessage, error) {
	text := []byte{'['}
	for query := (port.Query{Prefix: prefix, Limit: MaxLimit}); ; {
		page, err := docs.List(ctx, c, query)
		if err != nil {
			return nil, err
		}
		for _, doc := range page.Documents {
			text = append(AppendValue(text, doc.Value), ',')
		}
		if !page.More {
			return CloseList(text), nil
		}
		query.After = page.Next
	}
}

func listPage(ctx context.Context, docs port.Documents, c port.Collection, query port.Query) (json.RawMessage, error) {
	page, err := Page(ctx, docs, c, query)
	if err != nil {
		return nil, err
	}
	text := []byte(`{"items":[`)
	for _, doc := range page.Documents {
		key, err := document.From(doc.Key)
		if err != nil {
			return nil, err
		}
		text = append(append(text, `{"key":`...), key...)
		text = AppendValue(append(text, `,"value":`...), doc.Value)
		text = strconv.AppendInt(append(text, `,"version":`...), doc.Version, 10)
		text = append(text, "},"...)
	}
	text = CloseList(text)
	if page.More {
		text = append(append(text, `,"cursor":"`...), EncodeCursor(c, query.Prefix, page.Next)...)
		text = append(text, '"')
	}
	return append(text, '}'), nil
}

// Page returns a page that has Query.Limit documents unless it is the last one: it asks the store, whose pages may be
// shorter, until it has.
func Page(ctx context.Context, docs port.Documents, c port.Collection, query port.Query) (port.Page, error) {
	page, err := docs.List(ctx, c, query)
	for err == nil && page.More && len(page.Documents) < query.Limit {
		rest := port.Query{Prefix: query.Prefix, After: page.Next, Limit: query.Limit - len(page.Documents)}
		var next port.Page
		next, err = docs.List(ctx, c, rest)
		page = port.Page{Documents: append(page.Documents, next.Documents...), More: next.More, Next: next.Next}
	}
	return page, err
}

// CloseList ends a JSON array, each element of which was followed by a comma.
func CloseList(text []byte) []byte {
	if text[len(text)-1] == ',' {
		text = text[:len(text)-1]
	}
	return append(text, ']')
}
