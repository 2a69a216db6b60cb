// Package transaction buffers what a run of a function does, so that all of it, or nothing, is committed at once.
//
//	handler -> Transaction (a port.Documents: reads see the buffered writes) -> End -> one port.Commit
//
// A delivery runs in one, together with its cursor (package reaction), and so does a request with an idempotency key
// (package idempotency), and what eddy.Transact is given.
package transaction

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/eddyhq/eddy/shared/document"
	"github.com/eddyhq/eddy/shared/errs"
	"github.com/eddyhq/eddy/shared/port"
)

// MaxDocuments is how many documents one transaction may write or check: what fits into one DynamoDB transaction beside
// cursors and outbox.
const MaxDocuments = 90

// Transaction buffers what one run of a handler writes, sends and calls. It is a port.Documents over the store: reads
// see the store with the buffered writes on top. Nothing reaches the store before the whole is committed.
//
// Reads take no locks. A write that states a condition (IfVersion, and so Modify) is checked against what the
// transaction sees, and carries the condition on the stored version into the commit.
//
// It is safe for concurrent use: a handler may start goroutines, as long as they end before it returns.
type Transaction struct {
	store port.Documents

	mu     sync.Mutex
	ended  bool
	writes map[address]*buffered
	order  []address // of first writes, so that equal runs make equal commits
	events []port.Event
	calls  []port.Call
}

type address struct {
	collection port.Collection
	key        string
}

// buffered is the net write of one document so far.
type buffered struct {
	write port.Write
	base  *port.Document // the stored document, once read
	view  *port.Document // the document as the run sees it, once known
}

// New returns an empty transaction over a store.
func New(store port.Documents) *Transaction {
	return &Transaction{store: store, writes: make(map[address]*buffered)}
}

// End ends the run and returns what it did as one commit. Whatever comes later, from a goroutine that the handler
// left behind, is refused.
func (t *Transaction) End() port.Commit {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended = true
	commit := port.Commit{Events: t.events, Calls: t.calls}
	for _, at := range t.order {
		commit.Writes = append(commit.Writes, t.writes[at].write)
	}
	return commit
}

// Get returns the document as the run sees it. The version of one that the run wrote is provisional, and so is when it
// expires.
func (t *Transaction) Get(ctx context.Context, c port.Collection, key string) (port.Document, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.get(ctx, c, key)
}

func (t *Transaction) get(ctx context.Context, c port.Collection, key string) (port.Document, error) {
	b, ok := t.writes[address{c, key}]
	if !ok {
		return t.store.Get(ctx, c, key)
	}
	if err := t.look(ctx, b); err != nil {
		return port.Document{}, err
	}
	return *b.view, nil
}

// look makes sure that the base and the view of a buffered write are known.
func (t *Transaction) look(ctx context.Context, b *buffered) error {
	if b.view != nil && b.base != nil {
		return nil
	}
	if b.base == nil {
		base, err := t.store.Get(ctx, b.write.Collection, b.write.Key)
		if err != nil {
			return err
		}
		b.base = &base
	}
	view := port.Document{Key: b.write.Key}
	switch b.write.Op {
	case port.Check:
		view = *b.base
	case port.Set:
		view.Value, view.Version = b.write.Value, b.base.Version+1
	case port.Update:
		value, _, err := document.Apply(b.base.Value, b.write.Ops)
		if err != nil {
			return err
		}
		if view.Value = value; value != nil {
			view.Version, view.Expires = b.base.Version+1, b.base.Expires
		}
	case port.Delete:
	}
	b.view = &view
	return nil
}

// List returns a page of the store with the buffered writes on top.
func (t *Transaction) List(ctx context.Context, c port.Collection, q port.Query) (port.Page, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	page, err := t.store.List(ctx, c, q)
	if err != nil {
		return port.Page{}, err
	}
	covered := func(key string) bool {
		return strings.HasPrefix(key, q.Prefix) && key > q.After && (!page.More || key <= page.Next)
	}
	touched := false
	for at, b := range t.writes {
		if at.collection != c || !covered(at.key) {
			continue
		}
		touched = true
		if err := t.look(ctx, b); err != nil {
			return port.Page{}, err
		}
		page.Documents = slices.DeleteFunc(page.Documents, func(d port.Document) bool { return d.Key == at.key })
		if b.view.Exists() {
			page.Documents = append(page.Documents, *b.view)
		}
	}
	if !touched {
		return page, nil
	}
	slices.SortFunc(page.Documents, func(a, b port.Document) int { return strings.Compare(a.Key, b.Key) })
	if len(page.Documents) > q.Limit {
		page.Documents = page.Documents[:q.Limit]
		page.More, page.Next = true, page.Documents[q.Limit-1].Key
	}
	return page, nil
}

// Collections returns the collections of the store and those that the run has written to.
func (t *Transaction) Collections(ctx context.Context, prefix string) ([]port.Collection, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	collections, err := t.store.Collections(ctx, prefix)
	if err != nil {
		return nil, err
	}
	for at, b := range t.writes {
		if err := t.look(ctx, b); err != nil {
			return nil, err
		}
		if b.view.Exists() && strings.HasPrefix(string(at.collection), prefix) {
			collections = append(collections, at.collection)
		}
	}
	slices.Sort(collections)
	return slices.Compact(collections), nil
}

// Commit buffers a commit. A condition that the transaction already sees broken is a *port.ConflictError now; one that
// breaks later fails the whole run, which is then made again.
func (t *Transaction) Commit(ctx context.Context, commit port.Commit) ([]port.Result, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended {
		return nil, errs.New(errs.Unavailable, "the run that this write belongs to has ended")
	}
	if err := port.CheckWrites(commit.Writes); err != nil {
		return nil, err
	}
	undo := t.mark(commit.Writes)
	results := make([]port.Result, len(commit.Writes))
	for i, w := range commit.Writes {
		result, err := t.apply(ctx, i, w)
		if err != nil {
			undo()
			return nil, err
		}
		results[i] = result
	}
	t.events = append(t.events, commit.Events...)
	t.calls = append(t.calls, commit.Calls...)
	return results, nil
}

// mark returns what takes back the writes that come after it, of documents that are among these.
func (t *Transaction) mark(writes []port.Write) (undo func()) {
	var before map[address]buffered
	for _, w := range writes {
		at := address{w.Collection, w.Key}
		if b, known := t.writes[at]; known {
			if before == nil {
				before = make(map[address]buffered)
			}
			before[at] = *b
		}
	}
	known := len(t.order)
	return func() {
		for _, at := range t.order[known:] {
			delete(t.writes, at)
		}
		t.order = t.order[:known]
		for at, b := range before {
			*t.writes[at] = b
		}
	}
}

// apply folds a write into what is buffered for its document. The condition of the write is held to the very read that goes
// into the commit as its condition: between two reads somebody else could write.
func (t *Transaction) apply(ctx context.Context, index int, w port.Write) (port.Result, error) {
	at := address{w.Collection, w.Key}
	b, known := t.writes[at]
	if !known {
		if len(t.writes) == MaxDocuments {
			return port.Result{}, errs.New(errs.InvalidArgument,
				"a transaction may write at most %d documents: split the work over several", MaxDocuments)
		}
		b = &buffered{write: port.Write{Op: port.Check, Collection: w.Collection, Key: w.Key, NoResult: true}}
	}
	if !w.NoResult || w.IfVersion != nil {
		if err := t.look(ctx, b); err != nil {
			return port.Result{}, err
		}
	}
	if w.IfVersion != nil && b.view.Version != *w.IfVersion {
		return port.Result{}, &port.ConflictError{Index: index, Version: b.view.Version}
	}
	var before *port.Document
	if b.view != nil {
		seen := *b.view
		before = &seen
	}
	next, faults, err := fold(b, w)
	if err != nil {
		return port.Result{}, err
	}
	if w.IfVersion != nil && next.IfVersion == nil {
		stored := b.base.Version
		next.IfVersion = &stored
	}
	b.write, b.view = next, nil
	if !known {
		t.writes[at] = b
		t.order = append(t.order, at)
	}
	if w.NoResult {
		return port.Result{}, nil
	}
	if err := t.look(ctx, b); err != nil {
		return port.Result{}, err
	}
	return port.Result{Old: before.Value, New: b.view.Value, Version: b.view.Version, Faults: faults}, nil
}

// fold returns the one write that has the effect of the buffered write followed by w.
func fold(b *buffered, w port.Write) (port.Write, []document.Fault, error) {
	next := b.write
	switch w.Op {
	case port.Check:
		return next, nil, nil
	case port.Set:
		next.Op, next.Value, next.Ops, next.TTL, next.Expires = port.Set, w.Value, nil, w.TTL, w.Expires
		return next, nil, nil
	case port.Delete:
		next.Op, next.Value, next.Ops, next.TTL, next.Expires = port.Delete, nil, nil, 0, 0
		return next, nil, nil
	case port.Update:
		return foldUpdate(b, next, w)
	default:
		return next, nil, fmt.Errorf("unknown write operation %q", w.Op)
	}
}

func foldUpdate(b *buffered, next, w port.Write) (port.Write, []document.Fault, error) {
	switch b.write.Op {
	case port.Set, port.Delete:
		value, faults, err := document.Apply(b.write.Value, w.Ops)
		if err != nil {
			return next, nil, err
		}
		if value != nil {
			next.Op, next.Value = port.Set, value
		}
		return next, faults, nil
	default:
		next.Op = port.Update
		next.Ops = append(slices.Clip(b.write.Ops), w.Ops...)
		if b.view == nil {
			return next, nil, nil
		}
		_, faults, err := document.Apply(b.view.Value, w.Ops)
		return next, faults, err
	}
}
