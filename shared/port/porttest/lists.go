package porttest

import (
	"fmt"
	"slices"
	"strings"

	"github.com/eddyhq/eddy/shared/document"
	"github.com/eddyhq/eddy/shared/port"
)

func listCases() []testCase {
	return []testCase{
		{"an empty collection is one last page", func(f *fixture) {
			page := f.page(todos, port.Query{Limit: 10})
			f.same("documents", len(page.Documents), 0)
			f.same("more", page.More, false)
		}},
		{"documents come with key, value and version, in byte order of their keys", func(f *fixture) {
			var want []port.Document
			for _, key := range []string{"b", "a", "Z", "ä", "a/", "a0", "aa", "~"} {
				r := f.set(todos, key, quoted(todos, key))
				want = append(want, port.Document{Key: key, Value: document.Value(quoted(todos, key)), Version: r.Version})
			}
			slices.SortFunc(want, func(a, b port.Document) int { return strings.Compare(a.Key, b.Key) })
			f.same("page", f.page(todos, port.Query{Limit: 100}).Documents, want)
		}},
		{"paging finds every key once, whatever the limit", func(f *fixture) {
			keys := numbered(53)
			for _, key := range keys {
				f.set(todos, key, `1`)
			}
			for _, limit := range []int{1, 7, 52, 53, 54, 1000} {
				f.same(fmt.Sprintf("limit %d", limit), f.keys(todos, "", limit), keys)
			}
		}},
		{"a prefix selects the keys that start with it", func(f *fixture) {
			for _, key := range []string{"a", "a/1", "a/2", "a/20", "ab", "b", "a0"} {
				f.set(todos, key, `1`)
			}
			f.same("a/", f.keys(todos, "a/", 1), []string{"a/1", "a/2", "a/20"})
			f.same("a/2", f.keys(todos, "a/2", 10), []string{"a/2", "a/20"})
			f.same("c", f.keys(todos, "c", 10), []string{})
		}},
		{"after excludes its key, and need not exist", func(f *fixture) {
			for _, key := range []string{"a", "b", "c", "d"} {
				f.set(todos, key, `1`)
			}
			f.same("after b", keysOf(f.page(todos, port.Query{After: "b", Limit: 10})), []string{"c", "d"})
			f.same("after bb", keysOf(f.page(todos, port.Query{After: "bb", Limit: 1})), []string{"c"})
			f.same("after d", keysOf(f.page(todos, port.Query{After: "d", Limit: 1})), []string{})
			f.same("after, with a prefix above it", keysOf(f.page(todos, port.Query{Prefix: "c", After: "a", Limit: 9})),
				[]string{"c"})
			f.same("after, with a prefix below it", keysOf(f.page(todos, port.Query{Prefix: "b", After: "c", Limit: 9})),
				[]string{})
		}},
		{"deleted documents are not listed", func(f *fixture) {
			for _, key := range numbered(10) {
				f.set(todos, key, `1`)
			}
			for _, key := range numbered(9) {
				f.delete(todos, key)
			}
			f.same("keys", f.keys(todos, "", 3), []string{"key-0009"})
		}},
		{"collections do not see each other", func(f *fixture) {
			f.set(port.Scope("a"), "k", `1`)
			f.set(port.Scope("ab"), "k2", `1`)
			f.set(port.Scope("a/b"), "k3", `1`)
			f.set(port.Group("a", "b"), "k4", `1`)
			f.same("a", f.keys(port.Scope("a"), "", 10), []string{"k"})
			f.same("ab", f.keys(port.Scope("ab"), "", 10), []string{"k2"})
			f.same("a/b", f.keys(port.Scope("a/b"), "", 10), []string{"k3"})
			f.same("group", f.keys(port.Group("a", "b"), "", 10), []string{"k4"})
		}},
		{"large documents page to the end", func(f *fixture) {
			for _, key := range numbered(30) {
				f.set(todos, key, `"`+strings.Repeat("x", 300_000)+`"`)
			}
			f.same("keys", f.keys(todos, "", 1000), numbered(30))
		}},
		{"collections are those that hold something, in order of their text", func(f *fixture) {
			f.same("none", len(f.collections(port.StateSpace)), 0)
			scopes := []port.Collection{port.Scope("a"), port.Scope("a b"), port.Scope("a/b"), port.Scope("ab"), port.Scope("b")}
			slices.Sort(scopes)
			groups := []port.Collection{port.Group("s", "1"), port.Group("s", "2"), port.Group("st", "1")}
			for _, c := range slices.Concat(groups, scopes) {
				f.set(c, "k1", `1`)
				f.set(c, "k2", `1`)
			}
			f.same("scopes", f.collections(port.StateSpace), scopes)
			f.same("groups", f.collections(port.StreamSpace), groups)
			f.same("groups of s", f.collections(port.GroupsOf("s")), groups[:2])
			f.delete(groups[0], "k1")
			f.same("one document left", f.collections(port.GroupsOf("s")), groups[:2])
			f.delete(groups[0], "k2")
			f.same("emptied", f.collections(port.GroupsOf("s")), groups[1:2])
			f.set(groups[0], "k3", `1`)
			f.same("filled again", f.collections(port.GroupsOf("s")), groups[:2])
		}},
	}
}

func keysOf(page port.Page) []string {
	keys := []string{}
	for _, d := range page.Documents {
		keys = append(keys, d.Key)
	}
	return keys
}
