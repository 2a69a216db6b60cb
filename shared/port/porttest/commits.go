package porttest

import (
	"slices"
	"strings"

	"github.com/eddyhq/eddy/shared/document"
	"github.com/eddyhq/eddy/shared/errs"
	"github.com/eddyhq/eddy/shared/port"
)

func commitCases() []testCase {
	return []testCase{
		{"an empty commit does nothing", func(f *fixture) {
			f.commit(port.Commit{})
		}},
		{"if_version takes the version that is there", func(f *fixture) {
			first := f.write(ifVersion(set(todos, "k", `1`), 0))
			second := f.write(ifVersion(set(todos, "k", `2`), first.Version))
			third := f.write(ifVersion(update(todos, "k", document.Op{Type: document.OpSet, Value: document.Value(`{}`)}),
				second.Version))
			f.rises(0, first, second, third)
			f.write(ifVersion(port.Write{Op: port.Delete, Collection: todos, Key: "k"}, third.Version))
			f.write(ifVersion(set(todos, "k", `3`), 0))
		}},
		{"if_version refuses every other one, and tells which is there", func(f *fixture) {
			now := f.set(todos, "k", `1`).Version
			for _, w := range []port.Write{
				set(todos, "k", `2`),
				update(todos, "k", increment("n", 1)),
				{Op: port.Delete, Collection: todos, Key: "k"},
				{Op: port.Check, Collection: todos, Key: "k"},
			} {
				for _, version := range []int64{0, now - 1, now + 1} {
					f.wantConflict(port.Commit{Writes: []port.Write{ifVersion(w, version)}}, 0, now)
				}
				w.Key = "missing"
				f.wantConflict(port.Commit{Writes: []port.Write{ifVersion(w, now)}}, 0, 0)
			}
			f.wantText(todos, "k", `1`)
		}},
		{"a conflict without result tells the version too", func(f *fixture) {
			now := f.set(todos, "k", `1`).Version
			w := ifVersion(set(todos, "k", `2`), 0)
			w.NoResult = true
			f.wantConflict(port.Commit{Writes: []port.Write{w}}, 0, now)
		}},
		{"a deleted document is at version 0", func(f *fixture) {
			version := f.set(todos, "k", `1`).Version
			deleted := f.delete(todos, "k").Version
			for _, v := range []int64{version, deleted} {
				f.wantConflict(port.Commit{Writes: []port.Write{ifVersion(set(todos, "k", `2`), v)}}, 0, 0)
			}
		}},
		{"several writes do what each does, with one result each", func(f *fixture) {
			f.set(todos, "b", `{"n":1}`)
			f.set(room, "c", `{"id":"c"}`)
			results := f.commit(port.Commit{Writes: []port.Write{
				set(todos, "a", `1`),
				update(todos, "b", increment("n", 1)),
				{Op: port.Delete, Collection: room, Key: "c"},
				{Op: port.Delete, Collection: room, Key: "missing"},
				ifVersion(port.Write{Op: port.Check, Collection: metrics, Key: "d"}, 0),
			}})
			want := []result{{New: `1`}, {Old: `{"n":1}`, New: `{"n":2}`}, {Old: `{"id":"c"}`}, {}, {}}
			for i, r := range results {
				f.same("result", text(r), want[i])
			}
			f.wantText(todos, "a", `1`)
			f.wantText(todos, "b", `{"n":2}`)
			f.wantText(room, "c", "")
		}},
		{"a conflict names its write and applies nothing", func(f *fixture) {
			version := f.set(todos, "b", `1`).Version
			f.wantConflict(port.Commit{Writes: []port.Write{
				set(todos, "a", `1`),
				ifVersion(set(todos, "b", `2`), version),
				ifVersion(port.Write{Op: port.Check, Collection: metrics, Key: "c"}, 5),
				{Op: port.Delete, Collection: todos, Key: "b2"},
			}}, 2, 0)
			f.wantText(todos, "a", "")
			f.wantText(todos, "b", `1`)
			f.same("version", f.get(todos, "b").Version, version)
		}},
		{"ninety writes are all done or not at all", func(f *fixture) {
			var writes []port.Write
			for _, key := range numbered(90) {
				writes = append(writes, ifVersion(set(todos, key, `1`), 0))
			}
			last := &writes[89]
			last.Collection, last.Key = metrics, "taken"
			version := f.set(metrics, "taken", `1`).Version
			f.wantConflict(port.Commit{Writes: writes}, 89, version)
			f.same("keys", f.keys(todos, "", 100), []string{})
			f.delete(metrics, "taken")
			f.commit(port.Commit{Writes: writes})
			f.same("keys", f.keys(todos, "", 100), numbered(89))
		}},
		{"what a commit leaves has its bounds, and beyond them nothing is done", func(f *fixture) {
			large := `"` + strings.Repeat("x", 380_000) + `"`
			var writes []port.Write
			for _, key := range numbered(10) {
				writes = append(writes, set(todos, key, large))
			}
			f.commit(port.Commit{Writes: writes[:9]})
			_, err := f.Documents.Commit(f.Context(), port.Commit{Writes: append(writes, set(todos, "key-0010", `"one more"`))})
			f.wantCode(err, errs.TooLarge)
			f.wantText(todos, "key-0009", "")
			f.wantText(todos, "key-0010", "")
		}},
		{"the same key in two collections is two documents", func(f *fixture) {
			f.commit(port.Commit{Writes: []port.Write{set(todos, "k", `1`), set(metrics, "k", `2`)}})
			f.wantText(todos, "k", `1`)
			f.wantText(metrics, "k", `2`)
		}},
		{"a commit is refused once its context has ended", func(f *fixture) {
			_, err := f.Documents.Commit(ended(f), port.Commit{Writes: []port.Write{set(todos, "k", `1`)}})
			f.wantCode(err, errs.Unavailable)
			f.wantText(todos, "k", "")
		}},
	}
}

func cursorCases() []testCase {
	// guarded returns a commit that adds one to a document, once for the version of each cursor.
	guarded := func(version int64, names ...string) port.Commit {
		commit := port.Commit{Writes: []port.Write{update(metrics, "global", increment("n", 1))}}
		for _, name := range names {
			commit.Cursors = append(commit.Cursors, port.Cursor{Name: name, Version: version})
		}
		return commit
	}
	return []testCase{
		{"a commit with a cursor takes effect once", func(f *fixture) {
			f.commit(guarded(5, "c"))
			f.wantStale(guarded(5, "c"))
			f.wantText(metrics, "global", `{"n":1}`)
		}},
		{"a lower version is stale, a higher one is not", func(f *fixture) {
			f.commit(guarded(5, "c"))
			f.wantStale(guarded(4, "c"))
			f.commit(guarded(6, "c"))
			f.wantStale(guarded(5, "c"))
			f.wantStale(guarded(6, "c"))
			f.wantText(metrics, "global", `{"n":2}`)
		}},
		{"cursors of different names are independent", func(f *fixture) {
			for _, name := range []string{"c", "cc", "c/c", "c\x00", "c\x00c", "d", ""} {
				f.commit(guarded(5, name))
				f.wantStale(guarded(5, name))
			}
			f.wantText(metrics, "global", `{"n":7}`)
		}},
		{"one stale cursor of several refuses the commit and takes none of the others", func(f *fixture) {
			f.commit(guarded(5, "b"))
			f.wantStale(guarded(5, "a", "b", "c"))
			f.wantText(metrics, "global", `{"n":1}`)
			f.commit(guarded(5, "a", "c"))
			f.wantText(metrics, "global", `{"n":2}`)
		}},
		{"a conflict takes no cursor", func(f *fixture) {
			commit := guarded(5, "c")
			version := f.set(todos, "k", `1`).Version
			commit.Writes = append(commit.Writes, ifVersion(set(todos, "k", `2`), 0))
			f.wantConflict(commit, 1, version)
			f.commit(guarded(5, "c"))
		}},
		{"a commit can be of a cursor alone", func(f *fixture) {
			commit := port.Commit{Cursors: []port.Cursor{{Name: "c", Version: 1}}}
			f.commit(commit)
			f.wantStale(commit)
		}},
		{"attempts are kept under the name of their cursor until a commit with it", func(f *fixture) {
			f.wantAttempts("c", port.Attempts{})
			first := port.Attempts{Version: 7, Count: 1, First: when}
			f.attempted("c", first)
			f.attempted("c2", port.Attempts{Version: 9, Count: 4, First: when})
			f.wantAttempts("c", first)
			second := port.Attempts{Version: 7, Count: 2, First: when}
			f.attempted("c", second)
			f.wantAttempts("c", second)
			f.commit(guarded(7, "c"))
			f.wantAttempts("c", port.Attempts{})
			f.wantAttempts("c2", port.Attempts{Version: 9, Count: 4, First: when})
		}},
		{"attempts for a later change begin anew", func(f *fixture) {
			f.attempted("c", port.Attempts{Version: 7, Count: 3, First: when})
			f.commit(guarded(7, "c"))
			later := port.Attempts{Version: 8, Count: 1, First: when}
			f.attempted("c", later)
			f.wantAttempts("c", later)
		}},
		{"a commit that is refused leaves attempts as they are", func(f *fixture) {
			attempts := port.Attempts{Version: 7, Count: 3, First: when}
			f.attempted("c", attempts)
			commit := guarded(7, "c")
			commit.Writes = append(commit.Writes, ifVersion(set(todos, "k", `2`), 5))
			f.wantConflict(commit, 1, 0)
			f.wantAttempts("c", attempts)
		}},
	}
}

func (f *fixture) attempted(cursor string, a port.Attempts) {
	f.Helper()
	if err := f.Ledger.Attempted(f.Context(), cursor, a); err != nil {
		f.Fatalf("attempted: %v", err)
	}
}

func (f *fixture) wantAttempts(cursor string, want port.Attempts) {
	f.Helper()
	got, err := f.Ledger.Attempts(f.Context(), cursor)
	if err != nil {
		f.Fatalf("attempts: %v", err)
	}
	f.same("attempts of "+cursor, got, want)
}

// recordCases are about what a commit makes happen.
func recordCases() []testCase {
	cause := port.Cause{Root: "root", Chain: []string{"a::b", "c::d"}}
	return []testCase{
		{"a change is recorded with old, new, version and cause", func(f *fixture) {
			first := f.commit(port.Commit{Writes: []port.Write{set(todos, "k", `1`)}})[0]
			second := f.commit(port.Commit{Writes: []port.Write{set(todos, "k", `2`)}, Cause: cause})[0]
			third := f.delete(todos, "k")
			one, two := document.Value(`1`), document.Value(`2`)
			f.wantRecords(
				port.Record{Change: &port.Change{Collection: todos, Key: "k", New: one, Version: first.Version}},
				port.Record{Cause: cause, Change: &port.Change{
					Collection: todos, Key: "k", Old: one, New: two, Version: second.Version,
				}},
				port.Record{Change: &port.Change{Collection: todos, Key: "k", Old: two, Version: third.Version}},
			)
		}},
		{"a write without result is recorded with old and new", func(f *fixture) {
			f.set(todos, "k", `1`)
			w := set(todos, "k", `2`)
			w.NoResult = true
			r := f.write(w)
			f.same("last", f.records()[1], port.Record{Change: &port.Change{
				Collection: todos, Key: "k", Old: document.Value(`1`), New: document.Value(`2`), Version: r.Version,
			}})
		}},
		{"what changes nothing is not recorded", func(f *fixture) {
			version := f.set(todos, "k", `{"s":"x"}`).Version
			f.delete(todos, "missing")
			f.write(update(todos, "k", increment("s", 1)))
			f.write(port.Write{Op: port.Check, Collection: todos, Key: "k"})
			f.wantConflict(port.Commit{
				Writes: []port.Write{ifVersion(set(todos, "k", `1`), 0)},
				Events: []port.Event{{Group: room, Type: "e", Data: document.Value(`1`)}},
			}, 0, version)
			f.same("number of records", len(f.records()), 1)
		}},
		{"events and calls are recorded after the changes, calls for their function", func(f *fixture) {
			event := port.Event{Group: room, Item: "i", Type: "moved", Data: document.Value(`{"a":1}`)}
			call := port.Call{ID: "call-1", Function: "a::b", Payload: document.Value(`null`)}
			r := f.commit(port.Commit{
				Writes: []port.Write{set(todos, "a", `1`), set(todos, "b", `2`)},
				Events: []port.Event{event},
				Calls:  []port.Call{call},
				Cause:  cause,
			})
			f.wantRecords(
				port.Record{Cause: cause, Change: &port.Change{
					Collection: todos, Key: "a", New: document.Value(`1`), Version: r[0].Version,
				}},
				port.Record{Cause: cause, Change: &port.Change{
					Collection: todos, Key: "b", New: document.Value(`2`), Version: r[1].Version,
				}},
				port.Record{Cause: cause, Event: &event},
				port.Record{Cause: cause, Target: "a::b", Call: &call},
			)
		}},
		{"a stale commit records nothing", func(f *fixture) {
			commit := port.Commit{
				Calls:   []port.Call{{ID: "call-1", Function: "a::b"}},
				Cursors: []port.Cursor{{Name: "c", Version: 1}},
			}
			f.commit(commit)
			f.wantStale(commit)
			f.same("number of records", len(f.records()), 1)
		}},
		{"the records of one document are in the order of its versions", func(f *fixture) {
			f.inParallel(8, func(int) {
				for range 10 {
					f.set(todos, "k", `1`)
				}
			})
			records := f.records()
			f.same("number of records", len(records), 80)
			f.same("in order", slices.IsSortedFunc(records, func(a, b port.Record) int {
				return int(a.Change.Version - b.Change.Version)
			}), true)
		}},
	}
}
