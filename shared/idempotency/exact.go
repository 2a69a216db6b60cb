package idempotency

import (
	"context"
	"errors"

	"github.com/eddyhq/eddy/shared/port"
)

// exact is the transaction as a run sees it. What a write found and left can become part of the answer, so a write whose
// result is asked for demands that its document is still as it was then when the whole is committed.
type exact struct{ port.Documents }

// Commit implements port.Documents.
func (e exact) Commit(ctx context.Context, commit port.Commit) ([]port.Result, error) {
	for {
		demanding, mine, err := e.demand(ctx, commit)
		if err != nil {
			return nil, err
		}
		results, err := e.Documents.Commit(ctx, demanding)
		var found *port.ConflictError
		if !errors.As(err, &found) || !mine[found.Index] {
			return results, err
		}
	}
}

// demand returns the commit with the demands, and which of the writes got one.
func (e exact) demand(ctx context.Context, commit port.Commit) (demanding port.Commit, mine map[int]bool, err error) {
	demanding, mine = commit, make(map[int]bool)
	demanding.Writes = append([]port.Write(nil), commit.Writes...)
	for i := range demanding.Writes {
		w := &demanding.Writes[i]
		if w.NoResult || w.IfVersion != nil {
			continue
		}
		seen, err := e.Get(ctx, w.Collection, w.Key)
		if err != nil {
			return demanding, nil, err
		}
		w.IfVersion, mine[i] = &seen.Version, true
	}
	return demanding, mine, nil
}

// settled is what a run is made over to amend its answer: its writes are what they came to.
type settled struct {
	port.Documents
	results map[name]port.Result
}

type name struct {
	collection port.Collection
	key        string
}

func newSettled(store port.Documents, writes []port.Write, results []port.Result) settled {
	s := settled{store, make(map[name]port.Result, len(writes))}
	for i, w := range writes {
		s.results[name{w.Collection, w.Key}] = results[i]
	}
	return s
}

// Get implements port.Documents: a document that was written is as it was before.
func (s settled) Get(ctx context.Context, c port.Collection, key string) (port.Document, error) {
	result, written := s.results[name{c, key}]
	if !written {
		return s.Documents.Get(ctx, c, key)
	}
	return port.Document{Key: key, Value: result.Old}, nil
}

// Commit implements port.Documents.
func (s settled) Commit(_ context.Context, commit port.Commit) ([]port.Result, error) {
	results := make([]port.Result, len(commit.Writes))
	for i, w := range commit.Writes {
		results[i] = s.results[name{w.Collection, w.Key}]
	}
	return results, nil
}
