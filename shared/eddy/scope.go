package eddy

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/eddyhq/eddy/shared/document"
	"github.com/eddyhq/eddy/shared/errs"
	"github.com/eddyhq/eddy/shared/port"
	"github.com/eddyhq/eddy/shared/state"
	"github.com/eddyhq/eddy/shared/transaction"
)

// ScopeHandle is a typed name for the documents of one state scope. It holds no state; its methods need the ctx of a
// running function, which must declare it with Uses.
//
// Besides the codes that a method names, it can fail with permission_denied (not declared), invalid_argument (a key
// that is none: 1 to 512 bytes), too_large (a document over its limit) and unavailable.
type ScopeHandle[T any] struct {
	name       string
	collection port.Collection
}

// Scope returns the handle of the state scope called name, with documents of type T.
func Scope[T any](name string) *ScopeHandle[T] {
	return &ScopeHandle[T]{name: name, collection: port.Scope(name)}
}

func (s *ScopeHandle[T]) use() Use { return Use{Scope: s.name} }

// ReadOnly is the scope for Uses, without the permission to write.
func (s *ScopeHandle[T]) ReadOnly() Use { return Use{Scope: s.name, ReadOnly: true} }

// Changes is the trigger of a reaction to every change of a document in the scope.
func (s *ScopeHandle[T]) Changes(opts ...TriggerOption[T]) Trigger[T] {
	return newTrigger(ChangeTrigger{Scope: s.name}, opts)
}

// Entry is a document with its key and version.
type Entry[T any] struct {
	Key     string
	Value   T
	Version int64
	Expires time.Time // when there will be no such document any more; the zero time: until it is deleted
}

// Page is a part of a list. An empty Cursor says that it is the last one.
type Page[T any] struct {
	Items  []Entry[T]
	Cursor string
}

// Values returns the documents of the page without their keys and versions; never nil.
func (p Page[T]) Values() []T {
	values := make([]T, len(p.Items))
	for i, entry := range p.Items {
		values[i] = entry.Value
	}
	return values
}

// WriteOption is an option of a write: IfVersion, TTL.
type WriteOption func(*port.Write)

// IfVersion lets a write happen only to a document at this version; 0: only if there is none. Otherwise it fails with
// conflict.
func IfVersion(version int64) WriteOption {
	return func(w *port.Write) { w.IfVersion = &version }
}

// TTL lets a document that is Set live for d, above 0 and rounded up to whole seconds; without it a Set lets it live until
// it is deleted. Update, Modify and Increment leave the time as it is.
//
// At its time the document is gone from every read at once, and conditions do not see it. Reactions run for its expiry as
// for a deletion, with Change.Expired: locally within a second; on AWS when DynamoDB removes the row, mostly within minutes
// and at the latest in some days; and in both at the latest before what a write over the document changes.
func TTL(d time.Duration) WriteOption {
	return func(w *port.Write) {
		if w.TTL = d; d == 0 {
			w.TTL = -1 // is refused, as any that is not above 0; 0 itself would be for ever
		}
	}
}

// Get returns the document at key; not_found when there is none.
func (s *ScopeHandle[T]) Get(ctx context.Context, key string) (T, error) {
	entry, err := s.Entry(ctx, key)
	return entry.Value, err
}

// Entry returns the document at key with its version; not_found when there is none. In a reaction, the version of a
// document that the reaction has written is provisional.
func (s *ScopeHandle[T]) Entry(ctx context.Context, key string) (Entry[T], error) {
	documents, err := documentsFor(ctx, key)
	if err != nil {
		return Entry[T]{}, err
	}
	d, err := documents.Get(ctx, s.collection, key)
	if err != nil {
		return Entry[T]{}, err
	}
	if !d.Exists() {
		return Entry[T]{}, s.notFound(key)
	}
	return decodeEntry[T](s.name, d)
}

// Set makes value the document at key. With IfVersion it can fail with conflict.
func (s *ScopeHandle[T]) Set(ctx context.Context, key string, value T, opts ...WriteOption) error {
	v, err := document.From(value)
	if err != nil {
		return err
	}
	_, err = s.write(ctx, port.Write{Op: port.Set, Key: key, Value: v, NoResult: true}, opts)
	return err
}

// Check fails with conflict unless the document at key is at this version (0: unless there is none). It writes nothing; in a
// reaction or a Transact the version must still be that when the whole is committed.
func (s *ScopeHandle[T]) Check(ctx context.Context, key string, version int64) error {
	_, err := s.write(ctx, port.Write{Op: port.Check, Key: key, NoResult: true}, []WriteOption{IfVersion(version)})
	return err
}

// Delete removes the document at key; it may be missing. With IfVersion it can fail with conflict.
func (s *ScopeHandle[T]) Delete(ctx context.Context, key string, opts ...WriteOption) error {
	_, err := s.write(ctx, port.Write{Op: port.Delete, Key: key, NoResult: true}, opts)
	return err
}

// Take removes the document at key and returns it; not_found when there is none. Of several at once, one gets it. With
// IfVersion it can fail with conflict.
func (s *ScopeHandle[T]) Take(ctx context.Context, key string, opts ...WriteOption) (T, error) {
	var none T
	result, err := s.write(ctx, port.Write{Op: port.Delete, Key: key}, opts)
	if err != nil {
		return none, err
	}
	if result.Old == nil {
		return none, s.notFound(key)
	}
	entry, err := decodeEntry[T](s.name, port.Document{Key: key, Value: result.Old})
	return entry.Value, err
}

// Update applies the operations to the document at key in one step, and returns the document after them. One that does
// not exist begins as {}.
//
// An operation that does not fit the document, such as an increment of a text, is skipped, and the others apply; Update
// then returns condition_not_met naming what was skipped and why, beside the document. (A reaction that returns that
// error leaves nothing behind.)
func (s *ScopeHandle[T]) Update(ctx context.Context, key string, ops ...Op) (T, error) {
	var value T
	list, err := documentOps(ops)
	if err != nil {
		return value, err
	}
	result, err := s.write(ctx, port.Write{Op: port.Update, Key: key, Ops: list}, nil)
	if err != nil {
		return value, err
	}
	if result.New != nil {
		entry, err := decodeEntry[T](s.name, port.Document{Key: key, Value: result.New})
		if err != nil {
			return value, err
		}
		value = entry.Value
	}
	return value, skipped(key, result.Faults)
}

// Increment adds by to a first-level field of the document at key, which counts as 0 when it is missing. It reads
// nothing, so that no two of them are ever in each other's way; so it may not tell when the field is no number, and
// nothing was added.
func (s *ScopeHandle[T]) Increment(ctx context.Context, key, field string, by int64) error {
	list, err := documentOps([]Op{Increment(field, by)})
	if err != nil {
		return err
	}
	result, err := s.write(ctx, port.Write{Op: port.Update, Key: key, Ops: list, NoResult: true}, nil)
	if err != nil {
		return err
	}
	return skipped(key, result.Faults)
}

// Modify changes the document at key by a function of it, and returns the document after that: it reads, calls change,
// and writes if nobody else wrote in between, again and again otherwise. So change can run several times and must do
// nothing else. Its error is returned as it is, and nothing is written.
//
// Modify fails with not_found when there is no document, and with conflict when it found no quiet moment in 50
// attempts. Fields of the document that T does not have are lost.
func (s *ScopeHandle[T]) Modify(ctx context.Context, key string, change func(value *T) error) (T, error) {
	var none T
	for attempt := 1; ; attempt++ {
		entry, err := s.Entry(ctx, key)
		if err != nil {
			return none, err
		}
		if err := change(&entry.Value); err != nil {
			return none, err
		}
		err = s.replace(ctx, key, entry)
		if err == nil {
			return entry.Value, nil
		}
		if CodeOf(err) != CodeConflict || attempt == transaction.MaxRuns {
			return none, err
		}
		if err := transaction.Pause(ctx, attempt); err != nil {
			return none, err
		}
	}
}

// replace gives the document at key another value if it still is at the version of the entry. Unlike a Set it leaves when the
// document expires as it is.
func (s *ScopeHandle[T]) replace(ctx context.Context, key string, entry Entry[T]) error {
	v, err := document.From(entry.Value)
	if err != nil {
		return err
	}
	whole := []document.Op{{Type: document.OpSet, Value: v}}
	_, err = s.write(ctx, port.Write{Op: port.Update, Key: key, Ops: whole, NoResult: true}, []WriteOption{IfVersion(entry.Version)})
	return err
}

// The bounds of List.
const (
	DefaultLimit = 100
	MaxLimit     = 1_000
)

// List returns the documents whose keys begin with prefix, in the byte order of their keys: at most limit of them (1 to
// 1,000), from a cursor that an earlier page returned ("" is the start). It fails with
// invalid_argument for another limit, and for a cursor that is none of this scope and prefix.
func (s *ScopeHandle[T]) List(ctx context.Context, prefix string, limit int, cursor string) (Page[T], error) {
	if limit < 1 || limit > MaxLimit {
		return Page[T]{}, Invalid("limit", fmt.Sprintf("must be from 1 to %d", MaxLimit))
	}
	r, err := current(ctx)
	if err != nil {
		return Page[T]{}, err
	}
	after, err := state.DecodeCursor(s.collection, prefix, cursor)
	if err != nil {
		return Page[T]{}, err
	}
	found, err := state.Page(ctx, r.guard(), s.collection, port.Query{Prefix: prefix, After: after, Limit: limit})
	if err != nil {
		return Page[T]{}, err
	}
	page := Page[T]{Items: make([]Entry[T], len(found.Documents))}
	for i, d := range found.Documents {
		if page.Items[i], err = decodeEntry[T](s.name, d); err != nil {
			return Page[T]{}, err
		}
	}
	if found.More {
		page.Cursor = state.EncodeCursor(s.collection, prefix, found.Next)
	}
	return page, nil
}

// write commits one write of the scope.
func (s *ScopeHandle[T]) write(ctx context.Context, w port.Write, opts []WriteOption) (port.Result, error) {
	for _, opt := range opts {
		opt(&w)
	}
	documents, err := documentsFor(ctx, w.Key)
	if err != nil {
		return port.Result{}, err
	}
	w.Collection = s.collection
	return state.Commit(ctx, documents, w)
}

func (s *ScopeHandle[T]) notFound(key string) error {
	return NotFound("%s has no document %q", s.name, key)
}

// documentsFor returns the documents of the running function, once key is a key.
func documentsFor(ctx context.Context, key string) (port.Documents, error) {
	r, err := current(ctx)
	if err != nil {
		return nil, err
	}
	if err := state.ValidKey(key); err != nil {
		return nil, err
	}
	return r.guard(), nil
}

func decodeEntry[T any](where string, d port.Document) (Entry[T], error) {
	entry := Entry[T]{Key: d.Key, Version: d.Version}
	if d.Expires != 0 {
		entry.Expires = time.Unix(d.Expires, 0).UTC()
	}
	if err := d.Value.Decode(&entry.Value); err != nil {
		return entry, errs.New(errs.Internal, "%s %q does not fit a %T: %w", where, d.Key, entry.Value, err)
	}
	return entry, nil
}

// skipped returns the error that names the operations of an update that were skipped.
func skipped(key string, faults []document.Fault) error {
	if len(faults) == 0 {
		return nil
	}
	e := errs.New(errs.ConditionNotMet, "")
	texts := make([]string, len(faults))
	for i, fault := range faults {
		field := fmt.Sprintf("ops[%d]", fault.OpIndex)
		texts[i] = fmt.Sprintf("%s: %s (%s)", field, fault.Message, fault.Code)
		e.Details = append(e.Details, Detail{Field: field, Problem: fault.Code + ": " + fault.Message})
	}
	e.Message = fmt.Sprintf("skipped on %q: %s", key, strings.Join(texts, "; "))
	return e
}
