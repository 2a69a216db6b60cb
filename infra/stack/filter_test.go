package stack_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/eddyhq/eddy/infra/stack"
	"github.com/eddyhq/eddy/shared/eddy"
)

func scopesWithReactions(names ...string) *eddy.App {
	app := eddy.New()
	for i, name := range names {
		eddy.React(app, fmt.Sprintf("a::%d", i), reacts, eddy.Scope[note](name).Changes())
	}
	return app
}

// small0 is an app without reactions.
func small0() *eddy.App {
	app := eddy.New()
	eddy.Register(app, "a::f", none)
	return app
}

// numbered returns n names of a length.
func numbered(n, length int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("%0*d", length, i)
	}
	return names
}

// written and expired are patterns for further scopes.
func written(scopes string) string {
	return `{"dynamodb":{"Keys":{"pk":{"S":[{"prefix":"stream/"},{"prefix":"event/"},{"prefix":"call/"}` + scopes +
		`]}}},"eventName":["INSERT","MODIFY"]}`
}

func expired(scopes string) string {
	return `{"dynamodb":{"Keys":{"pk":{"S":[{"prefix":"stream/"}` + scopes +
		`]}},"OldImage":{"size":{"N":[{"exists":true}]}}},"eventName":["REMOVE"]}`
}

const everyScope = `,{"prefix":"state/"}`

func TestFilters(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		app  *eddy.App
		want []string
	}{
		{"items, events and calls alone when no scope has a reaction", small0(), []string{written(""), expired("")}},
		{"each scope that has reactions, once", small(), []string{written(`,"state/notes"`), expired(`,"state/notes"`)}},
		{"names as keys have them", scopesWithReactions(`a/"<b>"`),
			[]string{written(`,"state/a%2F\"<b>\""`), expired(`,"state/a%2F\"<b>\""`)}},
		{"all scopes when five patterns are too few", scopesWithReactions(numbered(200, 100)...),
			[]string{written(everyScope), expired(everyScope)}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(test.want, stack.Filters(test.app)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestScopesAreSpreadOverPatterns(t *testing.T) {
	t.Parallel()
	for name, scopes := range map[string][]string{
		"many":        numbered(80, 100),
		"the longest": {strings.Repeat("\x01", 1024), strings.Repeat("\x02", 1024)},
	} {
		patterns := stack.Filters(scopesWithReactions(scopes...))
		if len(patterns) > 5 || slices.ContainsFunc(patterns, func(p string) bool { return len(p) > 4096 }) {
			t.Errorf("%s: more than AWS takes: %q", name, patterns)
		}
		last := len(patterns) - 1
		if named := strings.Count(strings.Join(patterns[:last], ""), `"state/`); last < 2 || named != len(scopes) {
			t.Errorf("%s: %d patterns name %d scopes: %q", name, last, named, patterns)
		}
		if want := expired(everyScope); patterns[last] != want {
			t.Errorf("%s: expiries pass by %s, want %s", name, patterns[last], want)
		}
	}
}

// passes reports whether a pattern lets a record through, as far as the patterns here go: a list holds what a leaf may be.
func passes(pattern, record any) bool {
	switch p := pattern.(type) {
	case map[string]any:
		r, ok := record.(map[string]any)
		for name, asked := range p {
			ok = ok && passes(asked, r[name])
		}
		return ok
	case []any:
		return slices.ContainsFunc(p, func(one any) bool {
			leaf, ok := record.(string)
			if asked, special := one.(map[string]any); special {
				prefix, _ := asked["prefix"].(string)
				return ok && strings.HasPrefix(leaf, prefix)
			}
			return ok && one == leaf
		})
	default:
		return false
	}
}

func TestWhatReachesTheRouter(t *testing.T) {
	t.Parallel()
	row := func(attributes string) string {
		return `{"version":{"N":"7"},"expires":{"N":"1700000000"}` + attributes + `}`
	}
	document, tombstone, message := row(`,"value":{"M":{}},"size":{"N":"2"}`), row(""), `{"record":{"S":"{}"},"expires":{"N":"1"}}`
	for _, test := range []struct {
		name, event, partition, old string
		want                        bool
	}{
		{"a creation", "INSERT", "state/notes", "", true},
		{"a deletion", "MODIFY", "state/notes", document, true},
		{"an expiry", "REMOVE", "state/notes", document, true},
		{"the end of a tombstone", "REMOVE", "state/notes", tombstone, false},
		{"a creation where nobody listens", "INSERT", "state/other", "", false},
		{"an expiry where nobody listens", "REMOVE", "state/other", document, false},
		{"an item", "INSERT", "stream/notes-live/all", "", true},
		{"the expiry of an item", "REMOVE", "stream/notes-live/all", document, true},
		{"an event", "INSERT", "event/notes-live/all", "", true},
		{"the end of an event", "REMOVE", "event/notes-live/all", message, false},
		{"a call", "INSERT", "call/notes::get", "", true},
		{"a further call of a group", "MODIFY", "call/notes::get", message, true},
		{"the end of a call", "REMOVE", "call/notes::get", message, false},
		{"what is Eddy's own", "INSERT", "own/idempotency/notes::get", "", false},
		{"the end of what is Eddy's own", "REMOVE", "own/idempotency/notes::get", document, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			text := `{"eventName":"` + test.event + `","dynamodb":{"Keys":{"pk":{"S":"` + test.partition + `"},"sk":{"S":"k"}}`
			if test.old != "" {
				text += `,"OldImage":` + test.old
			}
			var record any
			if err := json.Unmarshal([]byte(text+"}}"), &record); err != nil {
				t.Fatal(err)
			}
			got := slices.ContainsFunc(stack.Filters(small()), func(text string) bool {
				var pattern any
				if err := json.Unmarshal([]byte(text), &pattern); err != nil {
					t.Fatal(err)
				}
				return passes(pattern, record)
			})
			if got != test.want {
				t.Errorf("it passes: %t", got)
			}
		})
	}
}
