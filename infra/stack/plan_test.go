package stack_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/eddyhq/eddy/infra/stack"
	"github.com/eddyhq/eddy/shared/eddy"
)

func TestFunctionsLieInTheStackOfTheirArea(t *testing.T) {
	t.Parallel()
	app := small()
	eddy.Register(app, "plain", none)

	planned, _, err := stack.Plan(app, stack.Props{})

	want := []stack.Planned{
		{Name: "mail", Functions: []string{"mail::send"}},
		{Name: "notes", Functions: []string{"notes::count", "notes::get", "notes::import", "notes::tell"}},
		{Name: "main", Functions: []string{"plain"}},
	}
	if diff := cmp.Diff(want, planned); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

func TestALargeAreaIsSpread(t *testing.T) {
	t.Parallel()
	planned, _, err := stack.Plan(many(100), stack.Props{})
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, p := range planned {
		if len(p.Functions) > 40 {
			t.Errorf("%s has %d functions", p.Name, len(p.Functions))
		}
		all = append(all, p.Functions...)
	}
	slices.Sort(all)
	if all = slices.Compact(all); len(all) != 100 || len(planned) < 3 {
		t.Errorf("%d functions in %d stacks", len(all), len(planned))
	}
}

func TestSchedulesCountAsWhatTheyAreMadeOf(t *testing.T) {
	t.Parallel()
	scheduled := func(functions, schedules int) (stacks int) {
		app := eddy.New()
		for i := range functions {
			var options []eddy.Option
			for j := range schedules {
				options = append(options, eddy.Cron(fmt.Sprintf("%d * * * *", j)))
			}
			eddy.Register(app, fmt.Sprintf("area::function-%d", i), none, options...)
		}
		planned, _, err := stack.Plan(app, stack.Props{})
		if err != nil {
			t.Fatal(err)
		}
		return len(planned)
	}
	if few, many := scheduled(30, 7), scheduled(30, 8); few != 1 || many != 2 { // 30 * (7 + 1 + 7) is the limit
		t.Errorf("%d stacks, and %d with more schedules", few, many)
	}
}

func TestANewFunctionMovesNoOther(t *testing.T) {
	t.Parallel()
	where := func(n int) map[string]string {
		planned, _, err := stack.Plan(many(n), stack.Props{Shards: 8})
		if err != nil {
			t.Fatal(err)
		}
		in := make(map[string]string)
		for _, p := range planned {
			for _, id := range p.Functions {
				in[id] = p.Name
			}
		}
		return in
	}
	before, after := where(100), where(130)
	for id, name := range before {
		if after[id] != name {
			t.Errorf("%s moved from %s to %s", id, name, after[id])
		}
	}
}

func TestWarnings(t *testing.T) {
	t.Parallel()
	lazy := eddy.New()
	eddy.Register(lazy, "a::f", none, eddy.Concurrency(1))
	for _, test := range []struct {
		name  string
		app   *eddy.App
		props stack.Props
		want  []string // what each warning holds
	}{
		{"none but of concurrency for a small app in a large account", small(), stack.Props{Concurrency: 1000}, []string{"notes::get has Concurrency(7)"}},
		{"more Lambdas than a new account runs", many(8), stack.Props{}, []string{"12 Lambdas share"}},
		{"none when they are as many", many(6), stack.Props{}, nil},
		{"a stack that is nearly full", many(33), stack.Props{Concurrency: 1000}, []string{"area has 33 of 40 functions"}},
		{"less concurrency than a queue knows", lazy, stack.Props{}, []string{"a::f has Concurrency(1)"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, warned, err := stack.Plan(test.app, test.props)
			if err != nil || len(warned) != len(test.want) {
				t.Fatalf("%v, %q", err, warned)
			}
			for i, text := range test.want {
				if !strings.Contains(warned[i], text) {
					t.Errorf("%q does not say %q", warned[i], text)
				}
			}
		})
	}
}

func TestWhatCannotBeDrawnIsRefused(t *testing.T) {
	t.Parallel()
	routes := eddy.New()
	for i := range 298 {
		eddy.Register(routes, fmt.Sprintf("a%d::f", i), none, eddy.HTTP(fmt.Sprintf("GET /path-%d", i)))
	}
	for _, test := range []struct {
		name  string
		app   *eddy.App
		props stack.Props
		want  string
	}{
		{"more routes than an API has", routes, stack.Props{}, "needs 301 routes"},
		{"the same with a higher quota", routes, stack.Props{MaxRoutes: 301}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, _, err := stack.Plan(test.app, test.props)
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}
