package eddy

import (
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"runtime"
	"slices"
	"strings"

	"github.com/eddyhq/eddy/shared/state"
)

// mistake is something wrong in the registry.
type mistake struct{ place, problem string }

// mistakes is the error that reports all of them.
type mistakes []mistake

func (m mistakes) Error() string {
	var b strings.Builder
	if len(m) == 1 {
		b.WriteString("1 mistake in the registered functions:")
	} else {
		fmt.Fprintf(&b, "%d mistakes in the registered functions:", len(m))
	}
	for _, one := range m {
		fmt.Fprintf(&b, "\n  %s: %s", one.place, one.problem)
	}
	return b.String()
}

func (a *App) mistake(place, format string, args ...any) {
	a.mistakes = append(a.mistakes, mistake{place, fmt.Sprintf(format, args...)})
}

// later has Validate make a check. What looks through types takes too long for a start that knows the app to be sound.
func (a *App) later(check func()) { a.checks = append(a.checks, check) }

// caller returns file:line of the code that called the function skip frames above the one that calls caller.
func caller(skip int) string {
	_, file, line, ok := runtime.Caller(skip + 1)
	if !ok {
		return "an unknown place"
	}
	return fmt.Sprintf("%s:%d", file, line)
}

// Validate returns nil when the registry is sound. Otherwise the error lists every mistake, each with the place of the
// registration it is in. A host refuses to start an app with mistakes; using one is undefined.
func (a *App) Validate() error {
	a.checking.Lock()
	defer a.checking.Unlock()
	for _, check := range a.checks {
		check()
	}
	a.checks = nil
	all := slices.Clone(a.mistakes)
	functions := a.Functions()
	all = append(all, a.unknownTargets(functions)...)
	all = append(all, conflictingRoutes(functions)...)
	all = append(all, sharedQueues(functions)...)
	if len(all) == 0 {
		all = append(all, undescribable(functions)...)
	}
	if len(all) == 0 {
		return nil
	}
	return mistakes(all)
}

func (a *App) unknownTargets(functions []*Function) (found mistakes) {
	for _, f := range functions {
		for _, u := range f.Uses {
			if u.Queue != "" {
				if _, err := a.FindQueue(u.Queue); err != nil {
					found = append(found, mistake{f.Place, fmt.Sprintf("%s: eddy.Enqueues(%q): no function has this queue", f.ID, u.Queue)})
				}
			}
			if u.Function == "" || isEngineFunction(u.Function) {
				continue
			}
			if _, ok := a.functions[u.Function]; !ok {
				found = append(found, mistake{f.Place,
					fmt.Sprintf("%s: eddy.Invokes(%q): no such function is registered", f.ID, u.Function)})
			}
		}
	}
	return found
}

// sharedQueues finds queues that several functions would run for.
func sharedQueues(functions []*Function) (found mistakes) {
	taken := make(map[string]*Function)
	for _, f := range functions {
		if f.Queue == nil {
			continue
		}
		if other, ok := taken[f.Queue.Name]; ok {
			found = append(found, mistake{f.Place, fmt.Sprintf("%s: the queue %q is that of %s, at %s: a queue has one function",
				f.ID, f.Queue.Name, other.ID, other.Place)})
			continue
		}
		taken[f.Queue.Name] = f
	}
	return found
}

// undescribable finds types whose own schema methods fail. Everything else about types is known by now.
func undescribable(functions []*Function) (found mistakes) {
	for _, f := range functions {
		if err := recovered(func() { f.describe() }); err != nil {
			found = append(found, mistake{f.Place, fmt.Sprintf("%s: its JSON Schema cannot be made: %v", f.ID, err)})
		}
	}
	return found
}

// conflictingRoutes asks the router of net/http, whose rules of precedence the hosts follow.
func conflictingRoutes(functions []*Function) (found mistakes) {
	mux := http.NewServeMux()
	taken := make(map[string]*Function)
	for _, f := range functions {
		for _, route := range f.Routes {
			if !route.valid {
				continue
			}
			shape := route.shape()
			if other, ok := taken[shape]; ok {
				found = append(found, mistake{f.Place, fmt.Sprintf("%s: the route %q is taken by %s, at %s",
					f.ID, route, other.ID, other.Place)})
				continue
			}
			taken[shape] = f
			if err := recovered(func() { mux.Handle(route.Pattern(), http.NotFoundHandler()) }); err != nil {
				found = append(found, mistake{f.Place, fmt.Sprintf("%s: the route %q is ambiguous: %s",
					f.ID, route, ambiguity(route, functions))})
			}
		}
	}
	return found
}

// ambiguity names the route that one in conflict with it overlaps, such as /a/{x}/c and /a/b/{y}.
func ambiguity(route *Route, functions []*Function) string {
	for _, f := range functions {
		for _, other := range f.Routes {
			if other == route || !other.valid {
				continue
			}
			mux := http.NewServeMux()
			mux.Handle(other.Pattern(), http.NotFoundHandler())
			if recovered(func() { mux.Handle(route.Pattern(), http.NotFoundHandler()) }) != nil {
				return fmt.Sprintf("some paths match it and %q of %s, at %s, and neither is more specific",
					other, f.ID, f.Place)
			}
		}
	}
	return "it conflicts with another"
}

const maxIDLength = 100

// isFunctionID reports whether id is made of words joined by "::".
func isFunctionID(id string) bool {
	for word := range strings.SplitSeq(id, "::") {
		if word == "" || strings.Trim(word, wordCharacters) != "" {
			return false
		}
	}
	return len(id) <= maxIDLength
}

const wordCharacters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

func (f *Function) checkID() {
	area, _, _ := strings.Cut(f.ID, "::")
	switch {
	case f.ID == "":
		f.app.mistake(f.Place, "the id of the function is empty: write something like todos::create")
	case !isFunctionID(f.ID):
		f.app.mistake(f.Place, "the id %q: ids are words of letters, digits, - and _, joined by ::, of at most %d bytes",
			f.ID, maxIDLength)
	case slices.Contains([]string{"state", "stream", "queue", "data", "eddy"}, area):
		f.mistake("ids that begin with %s:: are reserved", area)
	}
}

func (f *Function) checkUse(u Use) {
	switch {
	case u.Scope != "":
		f.checkName("scope", u.Scope, state.ValidScope)
	case u.Stream != "":
		f.checkName("stream", u.Stream, validStream)
	case u.Queue != "":
		f.checkName("queue", u.Queue, validQueue)
	case u.Function == "":
		f.mistake("a handle given to eddy.Uses has no name")
	}
}

func (f *Function) checkName(what, name string, valid func(string) error) {
	if err := valid(name); err != nil {
		f.mistake("the %s %q: %v", what, name, err)
	}
}

// addTrigger makes f run for the trigger's changes of documents of type T.
func (f *Function) addTrigger(t *ChangeTrigger, document reflect.Type, problems []string) {
	for _, problem := range problems {
		f.mistake("%s", problem)
	}
	switch {
	case t.Scope != "":
		f.checkName("scope", t.Scope, state.ValidScope)
	case t.Stream != "":
		f.checkName("stream", t.Stream, validStream)
	default:
		f.mistake("the trigger names neither a scope nor a stream")
	}
	f.app.later(func() { f.checkType("document", document, reading) })
	f.Changes = append(f.Changes, t)
}

func validOrigin(origin string) bool {
	if origin == "*" {
		return true
	}
	u, err := url.Parse(origin)
	return err == nil && u.Host != "" && origin == u.Scheme+"://"+u.Host
}
