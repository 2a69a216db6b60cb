// Package porttest holds every adapter of package port to what the comments there promise.
//
//	func TestStore(t *testing.T) {
//		porttest.Exercise(t, func(t *testing.T) porttest.Target { ... })
//	}
package porttest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/eddyhq/eddy/shared/document"
	"github.com/eddyhq/eddy/shared/errs"
	"github.com/eddyhq/eddy/shared/port"
)

// Target is an adapter under test.
type Target struct {
	Documents port.Documents
	Ledger    port.Ledger

	// Records returns the records that have been kept so far, in the order of the log. Nil where an adapter cannot tell:
	// then what it keeps is not tested.
	Records func(ctx context.Context) ([]port.Record, error)

	// Advance moves the clock of the adapter. Nil where that cannot be done: then nothing expires in the suite.
	Advance func(d time.Duration)

	// PerItem says that the log keeps the order of the changes of one document, and no other: neither that of the changes
	// of several documents, nor that of a change and an event or a call.
	PerItem bool
}

// Exercise runs the suite. Each case calls open for an empty target of its own, in parallel with the others; what open
// holds open is closed by t.Cleanup.
func Exercise(t *testing.T, open func(t *testing.T) Target) {
	for _, area := range []struct {
		name  string
		cases []testCase
	}{
		{"documents", documentCases()},
		{"lists", listCases()},
		{"commits", commitCases()},
		{"cursors", cursorCases()},
		{"dead letters", letterCases()},
		{"records", recordCases()},
		{"expiry", expiryCases()},
		{"concurrency", concurrencyCases()},
	} {
		t.Run(area.name, func(t *testing.T) {
			for _, c := range area.cases {
				t.Run(c.name, func(t *testing.T) {
					t.Parallel()
					c.run(&fixture{T: t, Target: open(t)})
				})
			}
		})
	}
}

type testCase struct {
	name string
	run  func(f *fixture)
}

// The collections that cases use when it does not matter which.
var (
	todos   = port.Scope("todos")
	metrics = port.Scope("metrics")
	room    = port.Group("chat", "room")
)

// fixture is a target with what the cases do to it. A step that must not fail ends the case when it does.
type fixture struct {
	*testing.T
	Target
}

func (f *fixture) commit(commit port.Commit) []port.Result {
	f.Helper()
	results, err := f.Documents.Commit(f.Context(), commit)
	if err != nil {
		f.Fatalf("commit: %v", err)
	}
	if len(results) != len(commit.Writes) {
		f.Fatalf("%d results for %d writes", len(results), len(commit.Writes))
	}
	return results
}

// write commits one write.
func (f *fixture) write(w port.Write) port.Result {
	f.Helper()
	return f.commit(port.Commit{Writes: []port.Write{w}})[0]
}

func (f *fixture) set(c port.Collection, key, text string) port.Result {
	f.Helper()
	return f.write(set(c, key, text))
}

func (f *fixture) delete(c port.Collection, key string) port.Result {
	f.Helper()
	return f.write(port.Write{Op: port.Delete, Collection: c, Key: key})
}

func (f *fixture) get(c port.Collection, key string) port.Document {
	f.Helper()
	d, err := f.Documents.Get(f.Context(), c, key)
	if err != nil {
		f.Fatalf("get %s %q: %v", c, key, err)
	}
	return d
}

// wantText fails the case unless the document holds text; "" stands for no document.
func (f *fixture) wantText(c port.Collection, key, text string) {
	f.Helper()
	d := f.get(c, key)
	if d.Key != key || string(d.Value) != text || d.Exists() != (text != "") || (d.Version != 0) != (text != "") {
		f.Errorf("%s %q holds %+v (%s), want %q", c, key, d, d.Value, text)
	}
}

// wantConflict fails the case unless the commit is refused for the write at index, which found version.
func (f *fixture) wantConflict(commit port.Commit, index int, version int64) {
	f.Helper()
	_, err := f.Documents.Commit(f.Context(), commit)
	var conflict *port.ConflictError
	if !errors.As(err, &conflict) {
		f.Fatalf("commit: %v, want a conflict", err)
	}
	f.same("conflict", *conflict, port.ConflictError{Index: index, Version: version})
}

func (f *fixture) wantStale(commit port.Commit) {
	f.Helper()
	if _, err := f.Documents.Commit(f.Context(), commit); !errors.Is(err, port.ErrStale) {
		f.Fatalf("commit: %v, want ErrStale", err)
	}
}

func (f *fixture) wantCode(err error, code errs.Code) {
	f.Helper()
	if errs.CodeOf(err) != code {
		f.Fatalf("error %v, want %s", err, code)
	}
}

func (f *fixture) same(what string, got, want any) {
	f.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		f.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// page lists one page.
func (f *fixture) page(c port.Collection, q port.Query) port.Page {
	f.Helper()
	page, err := f.Documents.List(f.Context(), c, q)
	if err != nil {
		f.Fatalf("list %s %+v: %v", c, q, err)
	}
	if len(page.Documents) > q.Limit {
		f.Fatalf("list %s %+v: %d documents", c, q, len(page.Documents))
	}
	return page
}

// keys lists all keys with a prefix, page by page.
func (f *fixture) keys(c port.Collection, prefix string, limit int) []string {
	f.Helper()
	keys := []string{}
	for q := (port.Query{Prefix: prefix, Limit: limit}); ; {
		page := f.page(c, q)
		for _, d := range page.Documents {
			keys = append(keys, d.Key)
		}
		if !page.More {
			return keys
		}
		if page.Next <= q.After {
			f.Fatalf("list %s: page after %q goes on after %q", c, q.After, page.Next)
		}
		q.After = page.Next
	}
}

func (f *fixture) collections(prefix string) []port.Collection {
	f.Helper()
	collections, err := f.Documents.Collections(f.Context(), prefix)
	if err != nil {
		f.Fatalf("collections %q: %v", prefix, err)
	}
	return slices.Clip(collections)
}

// records returns what has been kept, without positions, which it checks to rise. It skips the case for an adapter
// that cannot tell.
func (f *fixture) records() []port.Record {
	f.Helper()
	if f.Records == nil {
		f.Skip("this adapter does not show its records")
	}
	records, err := f.Records(f.Context())
	if err != nil {
		f.Fatalf("records: %v", err)
	}
	last := uint64(0)
	for i := range records {
		if records[i].Position <= last {
			f.Fatalf("position %d follows %d", records[i].Position, last)
		}
		last, records[i].Position = records[i].Position, 0
	}
	return records
}

// wantRecords fails the case unless want has been kept: in this order, or where the adapter promises less, in this order
// for each document.
func (f *fixture) wantRecords(want ...port.Record) {
	f.Helper()
	got := f.records()
	if f.PerItem {
		slices.SortStableFunc(got, byItem)
		slices.SortStableFunc(want, byItem)
	}
	f.same("records", got, want)
}

// byItem orders records by what they are about.
func byItem(a, b port.Record) int {
	about := func(r *port.Record) string {
		switch {
		case r.Change != nil:
			return "change " + string(r.Change.Collection) + " " + r.Change.Key
		case r.Event != nil:
			return "event " + string(r.Event.Group)
		default:
			return "call " + r.Call.ID
		}
	}
	return strings.Compare(about(&a), about(&b))
}

func set(c port.Collection, key, text string) port.Write {
	return port.Write{Op: port.Set, Collection: c, Key: key, Value: document.Value(text)}
}

func update(c port.Collection, key string, ops ...document.Op) port.Write {
	return port.Write{Op: port.Update, Collection: c, Key: key, Ops: ops}
}

func increment(field string, by int64) document.Op {
	return document.Op{Type: document.OpIncrement, Path: []string{field}, By: by}
}

func ifVersion(w port.Write, version int64) port.Write {
	w.IfVersion = &version
	return w
}

// numbered returns n keys in order.
func numbered(n int) []string {
	keys := make([]string, n)
	for i := range keys {
		keys[i] = fmt.Sprintf("key-%04d", i)
	}
	return keys
}
