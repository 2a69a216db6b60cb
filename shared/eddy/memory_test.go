package eddy_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/eddyhq/eddy/shared/document"
	"github.com/eddyhq/eddy/shared/eddy"
	"github.com/eddyhq/eddy/shared/errs"
	"github.com/eddyhq/eddy/shared/port"
)

// memory is an Engine of maps. It keeps every commit, and calls functions of its app.
type memory struct {
	app *eddy.App

	mu        sync.Mutex
	documents map[port.Collection]map[string]port.Document
	commits   []port.Commit
	version   int64
	ids       int
	logs      bytes.Buffer
	beforeSet func() // runs once, before the next commit
}

func newMemory(app *eddy.App) *memory {
	return &memory{app: app, documents: make(map[port.Collection]map[string]port.Document)}
}

func (m *memory) invocation() eddy.Invocation {
	return eddy.Invocation{Engine: m, Logger: slog.New(slog.NewTextHandler(&m.logs, nil)), RequestID: "request-1"}
}

func (m *memory) Get(_ context.Context, c port.Collection, key string) (port.Document, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	d := m.documents[c][key]
	d.Key = key
	return d, nil
}

func (m *memory) List(_ context.Context, c port.Collection, q port.Query) (port.Page, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var page port.Page
	for _, key := range sortedKeys(m.documents[c]) {
		if !strings.HasPrefix(key, q.Prefix) || key <= q.After {
			continue
		}
		if len(page.Documents) == q.Limit {
			page.More, page.Next = true, page.Documents[q.Limit-1].Key
			break
		}
		page.Documents = append(page.Documents, m.documents[c][key])
	}
	return page, nil
}

func (m *memory) Collections(_ context.Context, prefix string) ([]port.Collection, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var found []port.Collection
	for _, c := range sortedKeys(m.documents) {
		if strings.HasPrefix(string(c), prefix) && len(m.documents[c]) > 0 {
			found = append(found, c)
		}
	}
	return found, nil
}

func sortedKeys[K ~string, V any](m map[K]V) []K {
	keys := make([]K, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

func (m *memory) Commit(_ context.Context, commit port.Commit) ([]port.Result, error) {
	m.mu.Lock()
	if before := m.beforeSet; before != nil {
		m.beforeSet = nil
		m.mu.Unlock()
		before()
		m.mu.Lock()
	}
	defer m.mu.Unlock()
	for i, w := range commit.Writes {
		if at := m.documents[w.Collection][w.Key].Version; w.IfVersion != nil && at != *w.IfVersion {
			return nil, &port.ConflictError{Index: i, Version: at}
		}
	}
	m.commits = append(m.commits, commit)
	var results []port.Result
	for _, w := range commit.Writes {
		result, err := m.write(w)
		if err != nil {
			return nil, err
		}
		results = append(results, result)
	}
	return results, nil
}

func (m *memory) write(w port.Write) (result port.Result, err error) {
	old := m.documents[w.Collection][w.Key]
	value := w.Value
	if w.Op == port.Update {
		if value, result.Faults, err = document.Apply(old.Value, w.Ops); err != nil {
			return result, err
		}
	}
	m.version++
	result.Old, result.New, result.Version = old.Value, value, m.version
	if m.documents[w.Collection] == nil {
		m.documents[w.Collection] = make(map[string]port.Document)
	}
	if value == nil {
		delete(m.documents[w.Collection], w.Key)
	} else {
		d := port.Document{Key: w.Key, Value: value, Version: m.version, Expires: old.Expires}
		if w.Op == port.Set {
			d.Expires = w.ExpiresAt(m.Now())
		}
		m.documents[w.Collection][w.Key] = d
	}
	return result, nil
}

func (m *memory) Call(
	ctx context.Context, id string, payload document.Value, cause port.Cause, idempotencyKey string,
) (document.Value, error) {
	f, ok := m.app.Function(id)
	if !ok {
		return nil, errs.New(errs.NotFound, "no function %q", id)
	}
	inv := m.invocation()
	inv.Cause, inv.IdempotencyKey = cause, idempotencyKey
	result, err := f.Invoke(ctx, inv, payload)
	return document.Value(result), err
}

func (m *memory) Now() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) }

func (m *memory) NewID() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ids++
	return fmt.Sprintf("id-%d", m.ids)
}

// put stores a document as something outside of the app would.
func (m *memory) put(c port.Collection, key, value string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, err := m.write(port.Write{Op: port.Set, Collection: c, Key: key, Value: document.Value(value)}); err != nil {
		panic(err)
	}
}

// within runs fn as a function of an app with these uses, on m.
func within(ctx context.Context, m *memory, fn func(ctx context.Context) error, uses ...eddy.Handle) error {
	app := eddy.New()
	eddy.Register(app, "test::run", func(ctx context.Context, _ eddy.None) (eddy.None, error) {
		return eddy.None{}, fn(ctx)
	}, eddy.Uses(uses...))
	f, _ := app.Function("test::run")
	_, err := f.Invoke(ctx, m.invocation(), nil)
	return err
}
