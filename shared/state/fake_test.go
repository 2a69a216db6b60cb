package state_test

import (
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/eddyhq/eddy/shared/document"
	"github.com/eddyhq/eddy/shared/port"
)

// memory is a port.Documents without durability, whose pages have at most two documents.
type memory struct {
	port.Documents // what the functions under test do not call
	mu             sync.Mutex
	documents      map[port.Collection]map[string]port.Document
	version        int64
}

func newMemory() *memory {
	return &memory{documents: map[port.Collection]map[string]port.Document{}, version: 100}
}

func (m *memory) Get(_ context.Context, c port.Collection, key string) (port.Document, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.documents[c][key], nil
}

func (m *memory) List(_ context.Context, c port.Collection, q port.Query) (port.Page, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var found []port.Document
	for key, d := range m.documents[c] {
		if strings.HasPrefix(key, q.Prefix) && key > q.After {
			found = append(found, d)
		}
	}
	slices.SortFunc(found, func(a, b port.Document) int { return strings.Compare(a.Key, b.Key) })
	if n := min(q.Limit, 2); n < len(found) {
		return port.Page{Documents: found[:n], More: true, Next: found[n-1].Key}, nil
	}
	return port.Page{Documents: found}, nil
}

func (m *memory) Collections(_ context.Context, prefix string) ([]port.Collection, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var found []port.Collection
	for c, documents := range m.documents {
		if strings.HasPrefix(string(c), prefix) && len(documents) > 0 {
			found = append(found, c)
		}
	}
	slices.Sort(found)
	return found, nil
}

func (m *memory) Commit(_ context.Context, commit port.Commit) ([]port.Result, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	w := commit.Writes[0]
	old := m.documents[w.Collection][w.Key]
	if w.IfVersion != nil && *w.IfVersion != old.Version {
		return nil, &port.ConflictError{Version: old.Version}
	}
	result := port.Result{Old: old.Value, New: old.Value, Version: old.Version}
	changed := true
	switch w.Op {
	case port.Set:
		result.New = w.Value
	case port.Delete:
		result.New, changed = nil, old.Exists()
	case port.Update:
		var err error
		if result.New, result.Faults, err = document.Apply(old.Value, w.Ops); err != nil {
			return nil, err
		}
		changed = len(result.Faults) < len(w.Ops)
	}
	if changed {
		m.version++
		result.Version = m.version
		m.store(w, result)
	}
	return []port.Result{result}, nil
}

func (m *memory) store(w port.Write, result port.Result) {
	if m.documents[w.Collection] == nil {
		m.documents[w.Collection] = map[string]port.Document{}
	}
	m.documents[w.Collection][w.Key] = port.Document{Key: w.Key, Value: result.New, Version: result.Version}
	if result.New == nil {
		delete(m.documents[w.Collection], w.Key)
	}
}
