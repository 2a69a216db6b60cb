package transaction_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/eddyhq/eddy/shared/document"
	"github.com/eddyhq/eddy/shared/errs"
	"github.com/eddyhq/eddy/shared/pebblestore"
	"github.com/eddyhq/eddy/shared/pebblestore/pebbletest"
	"github.com/eddyhq/eddy/shared/port"
	"github.com/eddyhq/eddy/shared/transaction"
)

func open(t pebbletest.TB) *pebblestore.Store {
	t.Helper()
	return pebbletest.Open(t, pebblestore.Options{})
}

var scope = port.Scope("s")

func set(key, value string) port.Write {
	return port.Write{Op: port.Set, Collection: scope, Key: key, Value: document.Value(value)}
}

func increment(key string, by int64) port.Write {
	ops := []document.Op{{Type: document.OpIncrement, Path: []string{"n"}, By: by}}
	return port.Write{Op: port.Update, Collection: scope, Key: key, Ops: ops}
}

func remove(key string) port.Write { return port.Write{Op: port.Delete, Collection: scope, Key: key} }

func commit(t pebbletest.TB, docs port.Documents, writes ...port.Write) []port.Result {
	t.Helper()
	results, err := docs.Commit(context.Background(), port.Commit{Writes: writes})
	if err != nil {
		t.Fatal(err)
	}
	return results
}

// visible is what reads of a scope return, without the versions, which are provisional in a transaction.
func visible(t pebbletest.TB, docs port.Documents, q port.Query) []string {
	t.Helper()
	var seen []string
	for {
		page, err := docs.List(context.Background(), scope, q)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range page.Documents {
			seen = append(seen, fmt.Sprintf("%s=%s", d.Key, d.Value))
		}
		if !page.More {
			return seen
		}
		q.After = page.Next
	}
}

// farAway is a time that no test lives to see, in seconds of the Unix epoch.
const farAway = 1 << 35

func drawWrite(t *rapid.T) port.Write {
	key := rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(t, "key")
	var w port.Write
	switch rapid.IntRange(0, 3).Draw(t, "operation") {
	case 0:
		w = set(key, rapid.SampledFrom([]string{`{"n":1}`, `{}`, `7`, `{"n":"text"}`}).Draw(t, "value"))
		w.Expires = rapid.SampledFrom([]int64{0, farAway, farAway + 1}).Draw(t, "expires")
	case 1:
		w = remove(key)
	default:
		w = increment(key, rapid.Int64Range(-3, 3).Draw(t, "by"))
	}
	w.NoResult = rapid.Bool().Draw(t, "no result")
	return w
}

func TestATransactionReadsAndEndsAsIfItsWritesHadBeenMadeDirectly(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		direct, under := open(t), open(t)
		for _, w := range rapid.SliceOfN(rapid.Custom(drawWrite), 0, 6).Draw(t, "before") {
			commit(t, direct, w)
			commit(t, under, w)
		}
		buffer := transaction.New(under)
		for i, w := range rapid.SliceOfN(rapid.Custom(drawWrite), 1, 10).Draw(t, "writes") {
			want, got := commit(t, direct, w)[0], commit(t, buffer, w)[0]
			if w.NoResult {
				want, got = port.Result{}, port.Result{}
			}
			want.Version, got.Version = 0, 0
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("result of write %d (-direct +transaction):\n%s", i, diff)
			}
			q := port.Query{Limit: rapid.IntRange(1, 5).Draw(t, "limit"), After: rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "after")}
			if diff := cmp.Diff(visible(t, direct, q), visible(t, buffer, q)); diff != "" {
				t.Fatalf("after write %d (-direct +transaction):\n%s", i, diff)
			}
		}
		commit(t, under, buffer.End().Writes...)
		all := port.Query{Limit: 100}
		if diff := cmp.Diff(visible(t, direct, all), visible(t, under, all)); diff != "" {
			t.Fatalf("after the end (-direct +transaction):\n%s", diff)
		}
		if diff := cmp.Diff(expiries(t, direct), expiries(t, under)); diff != "" {
			t.Fatalf("the times at which documents expire (-direct +transaction):\n%s", diff)
		}
	})
}

// expiries tells when the documents of the scope expire.
func expiries(t pebbletest.TB, docs port.Documents) map[string]int64 {
	t.Helper()
	page, err := docs.List(context.Background(), scope, port.Query{Limit: 100})
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[string]int64)
	for _, d := range page.Documents {
		found[d.Key] = d.Expires
	}
	return found
}

func TestACommitThatFailsLeavesNothingInTheTransaction(t *testing.T) {
	t.Parallel()
	huge := port.Write{Op: port.Update, Collection: scope, Key: "huge", Ops: []document.Op{
		{Type: document.OpSet, Path: []string{"more"}, Value: document.Value(`"` + strings.Repeat("x", 300_000) + `"`)},
	}}
	for _, c := range []struct {
		name   string
		writes []port.Write
		want   errs.Code
	}{
		{"an update that makes a document too large", []port.Write{set("a", `2`), remove("b"), set("c", `3`), huge}, errs.TooLarge},
		{"the same document twice", []port.Write{set("a", `2`), set("c", `3`), set("a", `4`)}, errs.InvalidArgument},
		{"a time to live of a deletion", []port.Write{set("a", `2`), {Op: port.Delete, Collection: scope, Key: "b", TTL: 1}},
			errs.InvalidArgument},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			store := open(t)
			commit(t, store, set("b", `1`), set("huge", `{"text":"`+strings.Repeat("x", 300_000)+`"}`))
			buffer := transaction.New(store)
			commit(t, buffer, set("a", `1`))
			before := visible(t, buffer, port.Query{Limit: 10})
			if _, err := buffer.Commit(t.Context(), port.Commit{Writes: c.writes}); errs.CodeOf(err) != c.want {
				t.Fatalf("the commit returns %v, want %s", err, c.want)
			}
			if diff := cmp.Diff(before, visible(t, buffer, port.Query{Limit: 10})); diff != "" {
				t.Errorf("(-before +after):\n%s", diff)
			}
			if writes := buffer.End().Writes; len(writes) != 1 || writes[0].Key != "a" || string(writes[0].Value) != `1` {
				t.Errorf("it ends with %+v", writes)
			}
		})
	}
}

func TestACommitOverTheBoundLeavesNothingInTheTransaction(t *testing.T) {
	t.Parallel()
	buffer := transaction.New(open(t))
	for i := range transaction.MaxDocuments - 1 {
		commit(t, buffer, set(fmt.Sprint("k", i), `1`))
	}
	_, err := buffer.Commit(t.Context(), port.Commit{Writes: []port.Write{set("k0", `2`), set("one", `1`), set("more", `1`)}})
	if errs.CodeOf(err) != errs.InvalidArgument {
		t.Errorf("the commit returns %v", err)
	}
	writes := buffer.End().Writes
	if len(writes) != transaction.MaxDocuments-1 || string(writes[0].Value) != `1` {
		t.Errorf("it ends with %d writes, the first %+v", len(writes), writes[0])
	}
}

func TestNothingReachesTheStoreBeforeTheEnd(t *testing.T) {
	t.Parallel()
	store := open(t)
	buffer := transaction.New(store)
	commit(t, buffer, set("a", `1`), set("b", `2`))
	if seen := visible(t, store, port.Query{Limit: 10}); seen != nil {
		t.Errorf("the store holds %v", seen)
	}
	collections, err := buffer.Collections(t.Context(), port.StateSpace)
	if err != nil || len(collections) != 1 || collections[0] != scope {
		t.Errorf("the transaction sees the collections %v, %v", collections, err)
	}
}

func TestConditions(t *testing.T) {
	t.Parallel()
	at := func(w port.Write, version int64) port.Write {
		w.IfVersion = &version
		return w
	}
	conflict := func(t *testing.T, docs port.Documents, w port.Write) {
		t.Helper()
		_, err := docs.Commit(t.Context(), port.Commit{Writes: []port.Write{w}})
		var broken *port.ConflictError
		if !errors.As(err, &broken) {
			t.Errorf("the commit returns %v, want a conflict", err)
		}
	}
	t.Run("a condition that is seen to be broken fails at once", func(t *testing.T) {
		t.Parallel()
		store := open(t)
		version := commit(t, store, set("a", `1`))[0].Version
		conflict(t, transaction.New(store), at(set("a", `2`), version+1))
		conflict(t, transaction.New(store), at(set("a", `2`), 0))
	})
	t.Run("a condition that breaks later fails the commit of the whole", func(t *testing.T) {
		t.Parallel()
		store := open(t)
		version := commit(t, store, set("a", `1`))[0].Version
		buffer := transaction.New(store)
		commit(t, buffer, at(set("a", `2`), version), set("b", `2`))
		commit(t, store, set("a", `3`))
		_, err := store.Commit(t.Context(), buffer.End())
		var broken *port.ConflictError
		if !errors.As(err, &broken) {
			t.Fatalf("the commit returns %v, want a conflict", err)
		}
		if diff := cmp.Diff([]string{"a=3"}, visible(t, store, port.Query{Limit: 10})); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("a document that must not exist may not exist in the transaction either", func(t *testing.T) {
		t.Parallel()
		buffer := transaction.New(open(t))
		commit(t, buffer, at(set("a", `1`), 0))
		conflict(t, buffer, at(set("a", `2`), 0))
	})
	t.Run("reading back and writing on is no conflict, and guards what was read", func(t *testing.T) {
		t.Parallel()
		store := open(t)
		commit(t, store, set("a", `{"n":1}`))
		buffer := transaction.New(store)
		commit(t, buffer, increment("a", 1))
		seen, err := buffer.Get(t.Context(), scope, "a")
		if err != nil || string(seen.Value) != `{"n":2}` {
			t.Fatalf("read back %s, %v", seen.Value, err)
		}
		commit(t, buffer, at(set("a", `{"n":20}`), seen.Version))
		commit(t, store, increment("a", 5))
		if _, err := store.Commit(t.Context(), buffer.End()); err == nil {
			t.Error("the commit overwrites what came after its read")
		}
	})
}

func TestATransactionIsBounded(t *testing.T) {
	t.Parallel()
	buffer := transaction.New(open(t))
	for i := range transaction.MaxDocuments {
		commit(t, buffer, set(fmt.Sprint("k", i), `1`))
	}
	_, err := buffer.Commit(t.Context(), port.Commit{Writes: []port.Write{set("one more", `1`)}})
	if errs.CodeOf(err) != errs.InvalidArgument {
		t.Errorf("the document over the limit returns %v", err)
	}
}

func TestWhatComesAfterTheEndIsRefused(t *testing.T) {
	t.Parallel()
	buffer := transaction.New(open(t))
	buffer.End()
	_, err := buffer.Commit(t.Context(), port.Commit{Writes: []port.Write{set("late", `1`)}})
	if errs.CodeOf(err) != errs.Unavailable {
		t.Errorf("a late write returns %v", err)
	}
}

// restless is a store in which somebody else writes a document right after it was read for the n-th time.
type restless struct {
	port.Documents
	left  int
	write func()
}

func (r *restless) Get(ctx context.Context, c port.Collection, key string) (port.Document, error) {
	found, err := r.Documents.Get(ctx, c, key)
	if r.left--; r.left == 0 {
		r.write()
	}
	return found, err
}

func TestAConditionIsOfTheVersionThatTheRunHasSeenWheneverSomebodyElseWrites(t *testing.T) {
	t.Parallel()
	for n := 1; n <= 3; n++ {
		store := open(t)
		commit(t, store, set("k", `1`))
		written := false
		tx := transaction.New(&restless{store, n, func() {
			written = true
			commit(t, store, set("k", `"somebody else's"`))
		}})
		seen, err := tx.Get(t.Context(), scope, "k")
		if err != nil {
			t.Fatal(err)
		}
		mine := set("k", `2`)
		mine.IfVersion = &seen.Version
		_, err = tx.Commit(t.Context(), port.Commit{Writes: []port.Write{mine}})
		if err == nil {
			_, err = store.Commit(t.Context(), tx.End())
		}
		var broken *port.ConflictError
		if lost := errors.As(err, &broken); lost != written {
			t.Errorf("written by somebody else after read %d: %t, and the commit fails with %v", n, written, err)
		}
	}
}
