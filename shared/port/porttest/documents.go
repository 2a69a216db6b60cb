package porttest

import (
	"strings"

	"github.com/eddyhq/eddy/shared/document"
	"github.com/eddyhq/eddy/shared/errs"
	"github.com/eddyhq/eddy/shared/port"
)

func documentCases() []testCase {
	return []testCase{
		{"one that does not exist is nil at version 0 and no error", func(f *fixture) {
			f.same("missing", f.get(todos, "k"), port.Document{Key: "k"})
		}},
		{"a set creates, then replaces, and tells old, new and version", func(f *fixture) {
			first := f.set(todos, "k", `{"n":1}`)
			f.same("first", text(first), result{New: `{"n":1}`})
			second := f.set(todos, "k", `[true]`)
			f.same("second", text(second), result{Old: `{"n":1}`, New: `[true]`})
			f.rises(0, first, second)
			f.same("read", f.get(todos, "k"),
				port.Document{Key: "k", Value: document.Value(`[true]`), Version: second.Version})
		}},
		{"a set to an equal value is a change", func(f *fixture) {
			f.rises(0, f.set(todos, "k", `1`), f.set(todos, "k", `1`))
		}},
		{"null is a value", func(f *fixture) {
			f.set(todos, "k", `null`)
			f.wantText(todos, "k", `null`)
		}},
		{"versions are about the microseconds of the clock", func(f *fixture) {
			const year2020, year2100 = 1_577_836_800_000_000, 4_102_444_800_000_000
			if v := f.set(todos, "k", `1`).Version; v < year2020 || v > year2100 {
				f.Errorf("version %d", v)
			}
		}},
		{"versions rise over deletions and new beginnings", func(f *fixture) {
			var results []port.Result
			for range 20 {
				results = append(results, f.set(todos, "k", `1`), f.delete(todos, "k"))
			}
			f.rises(0, results...)
		}},
		{"a delete tells what was there", func(f *fixture) {
			f.set(todos, "k", `{"n":1}`)
			f.same("delete", text(f.delete(todos, "k")), result{Old: `{"n":1}`})
			f.wantText(todos, "k", "")
		}},
		{"deleting what does not exist changes nothing", func(f *fixture) {
			f.same("never there", text(f.delete(todos, "k")), result{})
			f.set(todos, "k", `1`)
			f.delete(todos, "k")
			f.same("gone", text(f.delete(todos, "k")), result{})
		}},
		{"an update applies its operations and tells old and new", func(f *fixture) {
			first := f.write(update(todos, "k", increment("n", 2)))
			f.same("first", text(first), result{New: `{"n":2}`})
			second := f.write(update(todos, "k", increment("n", 3),
				document.Op{Type: document.OpMerge, Value: document.Value(`{"a":"b"}`)}))
			f.same("second", text(second), result{Old: `{"n":2}`, New: `{"a":"b","n":5}`})
			f.rises(0, first, second)
			f.wantText(todos, "k", `{"a":"b","n":5}`)
		}},
		{"an update reads numbers back normalised", func(f *fixture) {
			f.set(todos, "k", `{"n":0.5}`)
			for range 3 {
				f.write(update(todos, "k", increment("n", 1)))
			}
			f.wantText(todos, "k", `{"n":3.5}`)
		}},
		{"a skipped operation is reported and the others apply", func(f *fixture) {
			f.set(todos, "k", `{"n":1,"s":"x"}`)
			r := f.write(update(todos, "k", increment("s", 1), increment("n", 1)))
			f.same("update", text(r), result{
				Old: `{"n":1,"s":"x"}`, New: `{"n":2,"s":"x"}`, Faults: []string{"0 increment.not_number"},
			})
		}},
		{"an update whose operations were all skipped writes nothing", func(f *fixture) {
			before := f.set(todos, "k", `{"s":"x"}`)
			r := f.write(update(todos, "k", increment("s", 1), increment("s", 2)))
			f.same("update", text(r), result{
				Old: `{"s":"x"}`, New: `{"s":"x"}`, Faults: []string{"0 increment.not_number", "1 increment.not_number"},
			})
			f.same("version", r.Version, before.Version)
			f.same("stored version", f.get(todos, "k").Version, before.Version)
		}},
		{"an update without operations writes nothing", func(f *fixture) {
			f.same("update", f.write(update(todos, "k")), port.Result{})
			f.wantText(todos, "k", "")
		}},
		{"an update that would make a document too large is refused whole", func(f *fixture) {
			large := document.Value(`"` + strings.Repeat("x", document.MaxSize-100) + `"`)
			f.write(port.Write{Op: port.Set, Collection: todos, Key: "k", Value: document.Value(`{"a":` + string(large) + `}`)})
			_, err := f.Documents.Commit(f.Context(), port.Commit{Writes: []port.Write{
				set(todos, "other", `1`),
				update(todos, "k", document.Op{Type: document.OpSet, Path: []string{"b"}, Value: large}),
			}})
			f.wantCode(err, errs.TooLarge)
			f.wantText(todos, "k", `{"a":`+string(large)+`}`)
			f.wantText(todos, "other", "")
		}},
		{"a check states a condition and changes nothing", func(f *fixture) {
			before := f.set(todos, "k", `1`)
			r := f.write(ifVersion(port.Write{Op: port.Check, Collection: todos, Key: "k"}, before.Version))
			f.same("version", r.Version, before.Version)
			f.same("stored", f.get(todos, "k").Version, before.Version)
			r = f.write(ifVersion(port.Write{Op: port.Check, Collection: todos, Key: "missing"}, 0))
			f.same("missing", r, port.Result{})
		}},
		{"a write without result is done all the same", func(f *fixture) {
			w := set(todos, "k", `{"n":1}`)
			w.NoResult = true
			first := f.write(w)
			w = update(todos, "k", increment("n", 1))
			w.NoResult = true
			second := f.write(w)
			f.wantText(todos, "k", `{"n":2}`)
			f.rises(0, first, second)
			w = port.Write{Op: port.Delete, Collection: todos, Key: "k", NoResult: true}
			f.write(w)
			f.wantText(todos, "k", "")
		}},
		{"the largest values are kept whole", func(f *fixture) {
			for i, key := range numbered(12) {
				large := `"` + strings.Repeat(string(rune('a'+i)), document.MaxSize-10) + `"`
				f.set(todos, key, large)
				f.wantText(todos, key, large)
			}
			f.same("keys", f.keys(todos, "", 100), numbered(12))
		}},
		{"names may hold anything and never reach into others", awkwardNames},
	}
}

// awkwardNames writes every pair of collection and key that could be mixed up, then reads each back.
func awkwardNames(f *fixture) {
	names := []string{
		"a", "ab", "a/b", "a%2Fb", "a%", "a b", "%", "/", "//", "a\x01", "a\x7f", "ä", "a\u0301", "世界", "😀", "A", ".", "..",
		"a#b", `"`, `\`, strings.Repeat("long", 128),
	}
	collections := []port.Collection{port.Group("a", "b"), port.Group("a/b", ""), port.Group("", "a/b"), port.Group("a", "")}
	for _, name := range names {
		collections = append(collections, port.Scope(name))
	}
	for _, c := range collections {
		for _, key := range names {
			f.set(c, key, quoted(c, key))
		}
	}
	for _, c := range collections {
		for _, key := range names {
			f.wantText(c, key, quoted(c, key))
		}
		f.same("number of keys in "+string(c), len(f.keys(c, "", 7)), len(names))
	}
	f.delete(port.Scope("a"), "a")
	f.wantText(port.Scope("a"), "ab", quoted(port.Scope("a"), "ab"))
	f.wantText(port.Scope("ab"), "a", quoted(port.Scope("ab"), "a"))
}

// quoted returns a JSON string that only this document holds.
func quoted(c port.Collection, key string) string { return `"` + port.Digest(string(c), key) + `"` }

// result is a port.Result to compare by, without its version.
type result struct {
	Old, New string
	Faults   []string // index and code
}

func text(r port.Result) result {
	t := result{Old: string(r.Old), New: string(r.New)}
	for _, fault := range r.Faults {
		t.Faults = append(t.Faults, string(rune('0'+fault.OpIndex))+" "+fault.Code)
	}
	return t
}

// rises fails the case unless the versions of the results strictly rise from above last.
func (f *fixture) rises(last int64, results ...port.Result) {
	f.Helper()
	for i, r := range results {
		if r.Version <= last {
			f.Errorf("version %d of result %d is not above %d", r.Version, i, last)
		}
		last = r.Version
	}
}
