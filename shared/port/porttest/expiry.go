package porttest

import (
	"time"

	"github.com/eddyhq/eddy/shared/document"
	"github.com/eddyhq/eddy/shared/errs"
	"github.com/eddyhq/eddy/shared/port"
)

// until returns the write with a time to live.
func until(w port.Write, ttl time.Duration) port.Write {
	w.TTL = ttl
	return w
}

// advance moves the clock. It skips the case where there is none to move.
func (f *fixture) advance(d time.Duration) {
	f.Helper()
	if f.Advance == nil {
		f.Skip("the clock of this adapter cannot be moved")
	}
	f.Advance(d)
}

// expired writes a document and lets its time pass. It returns the version.
func (f *fixture) expired(key, text string) int64 {
	f.Helper()
	version := f.write(until(set(todos, key, text), time.Minute)).Version
	f.advance(time.Minute + time.Second)
	return version
}

func expiryCases() []testCase {
	return []testCase{
		{"a document is there until its time is up, and tells when that is", func(f *fixture) {
			version := f.write(until(set(todos, "k", `1`), time.Minute)).Version
			d := f.get(todos, "k")
			if left := d.Expires - version/1_000_000; left < 60 || left > 61 {
				f.Errorf("it expires %d seconds after it was written, not a minute", left)
			}
			f.same("listed", f.page(todos, port.Query{Limit: 10}).Documents, []port.Document{d})
			f.advance(58 * time.Second)
			f.wantText(todos, "k", `1`)
			f.advance(3 * time.Second)
			f.wantText(todos, "k", "")
			f.same("keys", f.keys(todos, "", 10), []string{})
		}},
		{"one that lives on is listed among the expired", func(f *fixture) {
			for _, key := range []string{"a", "b", "d"} {
				f.write(until(set(todos, key, `1`), time.Minute))
			}
			f.set(todos, "c", `1`)
			f.set(todos, "e", `1`)
			f.advance(2 * time.Minute)
			f.same("keys", f.keys(todos, "", 1), []string{"c", "e"})
			f.same("collections", f.collections(port.StateSpace), []port.Collection{todos})
		}},
		{"a set without a time lets the document live on", func(f *fixture) {
			f.write(until(set(todos, "k", `1`), time.Minute))
			f.set(todos, "k", `2`)
			f.advance(time.Hour)
			f.wantText(todos, "k", `2`)
		}},
		{"a set can name the time itself", func(f *fixture) {
			w := set(todos, "k", `1`)
			w.Expires = 4_000_000_000
			f.write(w)
			if d := f.get(todos, "k"); d.Expires != w.Expires {
				f.Errorf("it expires at %d, not at %d", d.Expires, w.Expires)
			}
		}},
		{"an update leaves the time as it is", func(f *fixture) {
			f.write(until(set(todos, "k", `{"n":1}`), time.Minute))
			before := f.get(todos, "k").Expires
			f.write(update(todos, "k", increment("n", 1)))
			f.write(update(todos, "k", document.Op{Type: document.OpMerge, Value: document.Value(`{"a":1}`)}))
			f.same("expires", f.get(todos, "k").Expires, before)
			f.advance(2 * time.Minute)
			f.wantText(todos, "k", "")
		}},
		{"conditions do not see what has expired", func(f *fixture) {
			version := f.expired("k", `1`)
			f.wantConflict(port.Commit{Writes: []port.Write{ifVersion(set(todos, "k", `2`), version)}}, 0, 0)
			f.wantConflict(port.Commit{Writes: []port.Write{
				set(todos, "other", `1`), ifVersion(port.Write{Op: port.Check, Collection: todos, Key: "k"}, version),
			}}, 1, 0)
			f.commit(port.Commit{Writes: []port.Write{
				set(todos, "other", `1`), ifVersion(port.Write{Op: port.Check, Collection: todos, Key: "k"}, 0),
			}})
			f.rises(version, f.write(ifVersion(set(todos, "k", `2`), 0)))
		}},
		{"a write over an expired document finds none, and the expiry is recorded before it", func(f *fixture) {
			for _, c := range []struct {
				key   string
				write port.Write
				text  string
			}{
				{"set", set(todos, "set", `2`), `2`},
				{"update", update(todos, "update", increment("n", 1)), `{"n":1}`},
			} {
				version := f.expired(c.key, `{"n":5}`)
				r := f.write(c.write)
				f.same(c.key, text(r), result{New: c.text})
				f.wantText(todos, c.key, c.text)
				f.wantExpiry(c.key, version, r.Version)
			}
		}},
		{"several writes over expired documents do the same", func(f *fixture) {
			version := f.expired("a", `{"n":5}`)
			r := f.commit(port.Commit{Writes: []port.Write{update(todos, "a", increment("n", 1)), set(todos, "b", `1`)}})
			f.same("update", text(r[0]), result{New: `{"n":1}`})
			f.wantExpiry("a", version, r[0].Version)
		}},
		{"deleting what has expired is deleting nothing", func(f *fixture) {
			f.expired("k", `1`)
			f.same("delete", text(f.delete(todos, "k")), result{})
			f.wantText(todos, "k", "")
		}},
		{"only a set has a time, and none in the past", func(f *fixture) {
			for _, w := range []port.Write{
				until(update(todos, "k", increment("n", 1)), time.Minute),
				until(port.Write{Op: port.Delete, Collection: todos, Key: "k"}, time.Minute),
				until(set(todos, "k", `1`), -time.Minute),
			} {
				_, err := f.Documents.Commit(f.Context(), port.Commit{Writes: []port.Write{w}})
				f.wantCode(err, errs.InvalidArgument)
			}
		}},
		{"what is written silently is there and told to nobody", func(f *fixture) {
			f.set(todos, "old", `1`)
			f.commit(port.Commit{Silent: true, Writes: []port.Write{
				set(todos, "old", `2`), set(todos, "new", `1`), {Op: port.Delete, Collection: todos, Key: "none"},
			}})
			f.wantText(todos, "old", `2`)
			f.wantText(todos, "new", `1`)
			last := f.set(todos, "old", `3`).Version
			records := f.records()
			f.same("number of records", len(records), 2)
			f.same("last", records[1], port.Record{Change: &port.Change{
				Collection: todos, Key: "old", Old: document.Value(`2`), New: document.Value(`3`), Version: last,
			}})
		}},
		{"what is Eddy's own is told to nobody and listed by no other name", func(f *fixture) {
			own := port.Own("schedules", "a::b")
			f.set(own, "k", `1`)
			f.wantText(own, "k", `1`)
			f.same("number of scopes", len(f.collections(port.StateSpace)), 0)
			f.same("number of records", len(f.records()), 0)
		}},
		{"calls keep their group and their time, and the order of their group", func(f *fixture) {
			var want []port.Record
			for i, id := range []string{"c", "a", "b"} {
				call := port.Call{ID: id, Function: "a::b", Payload: document.Value(`{}`), Group: "g", NotBefore: int64(1000 + i)}
				f.commit(port.Commit{Calls: []port.Call{call}})
				want = append(want, port.Record{Target: "a::b", Call: &call})
			}
			two := []port.Call{
				{ID: "z", Function: "a::b", Payload: document.Value(`1`), Group: "g"},
				{ID: "y", Function: "a::b", Payload: document.Value(`2`), Group: "g"},
			}
			f.commit(port.Commit{Calls: two})
			want = append(want, port.Record{Target: "a::b", Call: &two[0]}, port.Record{Target: "a::b", Call: &two[1]})
			f.same("records", f.records(), want)
		}},
	}
}

// wantExpiry fails the case unless the last two changes of a document are its expiry and its creation.
func (f *fixture) wantExpiry(key string, before, created int64) {
	f.Helper()
	var changes []*port.Change
	for _, r := range f.records() {
		if r.Change != nil && r.Change.Key == key {
			changes = append(changes, r.Change)
		}
	}
	if len(changes) != 3 {
		f.Fatalf("%d changes are recorded of %q, not a creation, an expiry and a creation", len(changes), key)
	}
	expiry, creation := changes[1], changes[2]
	if !expiry.Expired || expiry.New != nil || expiry.Old == nil || expiry.Version <= before || expiry.Version >= created {
		f.Errorf("between versions %d and %d the expiry is recorded as %+v", before, created, expiry)
	}
	if creation.Expired || creation.Old != nil || creation.Version != created {
		f.Errorf("the creation is recorded as %+v", creation)
	}
}
