package eddy_test

import (
	"context"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/invopop/jsonschema"

	"github.com/eddyhq/eddy/shared/eddy"
)

type empty struct{}

type loop []loop

type left struct {
	X int
}

type right struct {
	X int
}

type twice struct {
	left
	right
}

type badSchema struct{}

func (badSchema) JSONSchema() *jsonschema.Schema { panic("no schema today") }

func none(context.Context, eddy.None) (eddy.None, error) { return eddy.None{}, nil }

func takes[T any](context.Context, T) (eddy.None, error) { return eddy.None{}, nil }

func gives[T any](context.Context, eddy.None) (out T, err error) { return out, nil }

func reacts[T any](context.Context, eddy.Change[T]) error { return nil }

func TestMistakesAreReportedWithTheirPlace(t *testing.T) {
	t.Parallel()
	type withID struct {
		ID   string   `json:"id"`
		List []string `json:"list,omitempty"`
	}
	for _, test := range []struct {
		name     string
		register func(app *eddy.App)
		want     string // each mistake on a line, without its place
	}{
		{"a sound app", func(app *eddy.App) {
			eddy.Register(app, "a::b", takes[withID], eddy.HTTP("GET /a/{id}"), eddy.HTTP("GET /a/b/{id}"), eddy.HTTP("PUT /a/{id}"))
			eddy.Register(app, "root", none, eddy.HTTP("GET /"), eddy.Uses(eddy.Invokes("a::b"), eddy.Invokes("state::set")))
			eddy.Register(app, "a::tree", takes[node])
			eddy.React(app, "a::c", reacts[withID], eddy.Scope[withID]("s").Changes(eddy.When(func(eddy.Change[withID]) bool { return true })))
		}, ""},
		{"two functions with one id", func(app *eddy.App) {
			eddy.Register(app, "a::b", none)
			eddy.Register(app, "a::b", none)
		}, "a::b: this id is registered already, at PLACE"},
		{"ids that are none", func(app *eddy.App) {
			eddy.Register(app, "", none)
			eddy.Register(app, "a:b", none)
			eddy.Register(app, "state::mine", none)
			eddy.Register(app, "eddy", none)
		}, `the id of the function is empty: write something like todos::create
the id "a:b": ids are words of letters, digits, - and _, joined by ::, of at most 100 bytes
state::mine: ids that begin with state:: are reserved
eddy: ids that begin with eddy:: are reserved`},
		{"two functions on one route", func(app *eddy.App) {
			eddy.Register(app, "a::b", takes[withID], eddy.HTTP("GET /a/{id}"))
			eddy.Register(app, "a::c", takes[struct {
				Key string `json:"key"`
			}], eddy.HTTP("GET /a/{key}"))
		}, `a::c: the route "GET /a/{key}" is taken by a::b, at PLACE`},
		{"routes of which neither is more specific", func(app *eddy.App) {
			eddy.Register(app, "a::b", takes[withID], eddy.HTTP("GET /a/{id}/c"))
			eddy.Register(app, "a::c", takes[withID], eddy.HTTP("GET /a/b/{id}"))
		}, `a::c: the route "GET /a/b/{id}" is ambiguous: some paths match it and "GET /a/{id}/c" of a::b, at PLACE, and neither is more specific`},
		{"patterns that are none", func(app *eddy.App) {
			for _, pattern := range []string{"", "/a", "GET a", "get /a", "HEAD /a", "GET /a/", "GET /a//b", "GET /a b",
				"GET /{id}.json", "GET /{id...}", "GET /{}", "GET /a/../b", "GET /{id}/{id}", "GET /{$}",
				"GET /_eddy/x", "POST /stream", "GET /stream/x"} {
				eddy.Register(app, "a::"+regexp.MustCompile(`\W`).ReplaceAllString(pattern, "_"), takes[withID], eddy.HTTP(pattern))
			}
		}, `a::: the route "": write a method and a path, such as "GET /todos/{id}"
the id "a::": ids are words of letters, digits, - and _, joined by ::, of at most 100 bytes
a::_a: the route "/a": write a method and a path, such as "GET /todos/{id}"
a::GET_a: the route "GET a": write a method and a path, such as "GET /todos/{id}"
a::get__a: the route "get /a": the method must be GET, POST, PUT, PATCH or DELETE
a::HEAD__a: the route "HEAD /a": HEAD and OPTIONS are answered for you
a::GET__a_: the route "GET /a/": a segment is empty: write no double or trailing slash
a::GET__a__b: the route "GET /a//b": a segment is empty: write no double or trailing slash
a::GET__a_b: the route "GET /a b": the segment a b holds a character that a path cannot hold, or a part of a parameter
a::GET___id__json: the route "GET /{id}.json": the segment {id}.json holds a character that a path cannot hold, or a part of a parameter
a::GET___id____: the route "GET /{id...}": the parameter {id...} is no Go identifier: one parameter is one whole segment
a::GET____: the route "GET /{}": the parameter {} is no Go identifier: one parameter is one whole segment
a::GET__a____b: the route "GET /a/../b": a segment is ..
a::GET___id___id_: the route "GET /{id}/{id}": the parameter {id} is there twice
a::GET_____: the route "GET /{$}": the parameter {$} is no Go identifier: one parameter is one whole segment
a::GET___eddy_x: the route "GET /_eddy/x": paths below /_eddy are reserved
a::POST__stream: the route "POST /stream": paths below /stream are reserved
a::GET__stream_x: the route "GET /stream/x": paths below /stream are reserved`},
		{"parameters and inputs that do not fit", func(app *eddy.App) {
			eddy.Register(app, "a::b", takes[withID], eddy.HTTP("GET /a/{key}"))
			eddy.Register(app, "a::c", takes[withID], eddy.HTTP("GET /b/{list}"))
			eddy.Register(app, "a::d", takes[[]int], eddy.HTTP("POST /c"))
			eddy.Register(app, "a::e", takes[*withID], eddy.HTTP("POST /d"))
		}, `a::b: the route "GET /a/{key}": the parameter {key} is no field of eddy_test.withID: add one with the tag json:"key"
a::c: the route "GET /b/{list}": the parameter {list} cannot be read into a []string
a::d: the route "POST /c": the input of a function with a route must be a struct, not []int
a::e: the route "POST /d": the input of a function with a route must be a struct, not *eddy_test.withID`},
		{"types that JSON cannot hold", func(app *eddy.App) {
			eddy.Register(app, "a::b", takes[struct{ Done chan int }])
			eddy.Register(app, "a::c", gives[map[string][]func()])
			eddy.Register(app, "a::d", takes[struct{ E error }])
			eddy.Register(app, "a::e", takes[loop])
			eddy.Register(app, "a::f", takes[map[empty]int])
			eddy.Register(app, "a::g", takes[twice])
			eddy.Register(app, "a::h", gives[complex64])
			eddy.React(app, "a::i", reacts[struct{ F func() }], eddy.Scope[struct{ F func() }]("s").Changes())
		}, `a::b: the input: struct { Done chan int }.Done is a chan int: JSON has none
a::c: the output: map[string][]func() is a func(): JSON has none
a::d: the input: struct { E error }.E is the interface error: nothing says which type to read
a::e: the input: eddy_test.loop contains itself, and no struct ends it
a::f: the input: map[eddy_test.empty]int has keys of type eddy_test.empty: JSON has only strings
a::g: the input: eddy_test.twice has two fields named "X"
a::h: the output: complex64 is a complex64: JSON has none
a::i: the document: struct { F func() }.F is a func(): JSON has none`},
		{"a type whose schema cannot be made", func(app *eddy.App) {
			eddy.Register(app, "a::b", takes[badSchema])
		}, "a::b: its JSON Schema cannot be made: no schema today"},
		{"options out of range", func(app *eddy.App) {
			eddy.Register(app, "a::b", none, eddy.Memory(1), eddy.Timeout(-1), eddy.Concurrency(0), eddy.MaxAttempts(0), nil)
			eddy.Register(app, "a::c", none, eddy.Timeout(time.Minute), eddy.HTTP("GET /c", eddy.Status(404), nil))
		}, `a::b: Memory(1): must be from 128 to 10240
a::b: Timeout(-1ns): must be above 0 and at most 15m0s
a::b: Concurrency(0): must be from 1 to 1000
a::b: MaxAttempts(0): must be from 1 to 1000
a::b: an option is nil
a::c: Status(404): must be from 200 to 299
a::c: the route "GET /c": an option is nil
a::c: Timeout(1m0s): an HTTP request takes at most 29s`},
		{"functions that are nil", func(app *eddy.App) {
			eddy.Register[eddy.None, eddy.None](app, "a::b", nil, eddy.HTTP("GET /b", eddy.Middleware(nil)),
				eddy.HTTP("GET /c", eddy.Middleware(func(eddy.Handler) eddy.Handler { return nil })))
			eddy.React(app, "a::c", nil, eddy.Scope[int]("s").Changes(eddy.When[int](nil), eddy.Lane[int](nil), nil))
		}, `a::b: the function is nil
a::b: the route "GET /b": the function given to Middleware is nil
a::b: the route "GET /c": a middleware returned no handler
a::c: the function is nil
a::c: the function given to When is nil
a::c: the function given to Lane is nil
a::c: an option of Changes is nil`},
		{"names of scopes and streams that are none", func(app *eddy.App) {
			eddy.Register(app, "a::b", none, eddy.Uses(eddy.Scope[int](""), eddy.Stream[int](strings.Repeat("x", 300)), eddy.Invokes(""), nil))
			eddy.React(app, "a::c", reacts[int], eddy.Scope[int]("").Changes())
			eddy.React(app, "a::d", reacts[int], eddy.Trigger[int]{})
		}, `a::b: a handle given to eddy.Uses has no name
a::b: the stream "` + strings.Repeat("x", 300) + `": invalid_argument: stream_name: must not be longer than 256 bytes
a::b: a handle given to eddy.Uses has no name
a::b: a handle given to eddy.Uses is nil
a::c: the trigger names neither a scope nor a stream
a::d: the trigger names neither a scope nor a stream`},
		{"a call of a function that is not there", func(app *eddy.App) {
			eddy.Register(app, "a::b", none, eddy.Uses(eddy.Invokes("a::c")))
		}, `a::b: eddy.Invokes("a::c"): no such function is registered`},
		{"a reaction with a route", func(app *eddy.App) {
			eddy.React(app, "a::b", reacts[int], eddy.Scope[int]("s").Changes(), eddy.HTTP("GET /b"))
		}, `a::b: a reaction has no HTTP route: register another function for it`},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			app := eddy.New()
			test.register(app)
			if diff := cmp.Diff(test.want, problems(t, app.Validate())); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// problems returns the mistakes without their places, which must all be in this file.
func problems(t *testing.T, err error) string {
	t.Helper()
	if err == nil {
		return ""
	}
	place := regexp.MustCompile(`[^\s,]*` + regexp.QuoteMeta("register_test.go") + `:\d+`)
	lines := strings.Split(err.Error(), "\n")[1:]
	for i, line := range lines {
		at, problem, found := strings.Cut(strings.TrimSpace(line), ": ")
		if !found || !filepath.IsAbs(at) || !place.MatchString(at) {
			t.Errorf("no place: %s", line)
		}
		lines[i] = place.ReplaceAllString(problem, "PLACE")
	}
	return strings.Join(lines, "\n")
}

func TestMistakesOfTheAppItself(t *testing.T) {
	t.Parallel()
	app := eddy.New(eddy.AllowOrigins("https://a.example", "http://b.example:8080", "*", "c.example", "https://d.example/"),
		eddy.Middleware(nil), nil)
	want := `"c.example" is no origin: write scheme://host[:port], or *
"https://d.example/" is no origin: write scheme://host[:port], or *
the function given to Middleware is nil
an option of eddy.New is nil`
	if diff := cmp.Diff(want, problems(t, app.Validate())); diff != "" {
		t.Error(diff)
	}
}

func TestTheRegistryCanBeRead(t *testing.T) {
	t.Parallel()
	app := eddy.New()
	eddy.Register(app, "b::b", none, eddy.HTTP("GET /b"), eddy.HTTP("POST /b"))
	eddy.Register(app, "a::a", none, eddy.HTTP("GET /"))
	var ids, patterns []string
	for _, f := range app.Functions() {
		ids = append(ids, f.ID)
	}
	for _, r := range app.Routes() {
		patterns = append(patterns, r.Pattern())
	}
	if diff := cmp.Diff([]string{"a::a", "b::b"}, ids); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"GET /{$}", "GET /b", "POST /b"}, patterns); diff != "" {
		t.Error(diff)
	}
	f, ok := app.Function("a::a")
	if !ok || f.Timeout != eddy.DefaultTimeout || f.Memory != 256 || f.MaxAttempts != 8 || f.Concurrency != 64 {
		t.Errorf("got %+v", f)
	}
	if _, ok := app.Function("c::c"); ok {
		t.Error("there is a c::c")
	}
}
