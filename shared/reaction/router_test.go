package reaction_test

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/eddyhq/eddy/shared/document"
	"github.com/eddyhq/eddy/shared/eddy"
	"github.com/eddyhq/eddy/shared/port"
	"github.com/eddyhq/eddy/shared/reaction"
)

func nothing(context.Context, eddy.Change[counter]) error { return nil }

func router(t *testing.T) (*eddy.App, *reaction.Router) {
	t.Helper()
	items := eddy.Stream[counter]("items")
	app := eddy.New()
	eddy.React(app, "r::all", nothing, source.Changes())
	eddy.React(app, "r::even", nothing, source.Changes(eddy.When(func(c eddy.Change[counter]) bool { return c.New.N%2 == 0 })))
	eddy.React(app, "r::lane", nothing, source.Changes(eddy.Lane(func(c eddy.Change[counter]) string { return "x" })))
	eddy.React(app, "r::items", nothing, items.Changes())
	eddy.Register(app, "r::call", func(context.Context, counter) (eddy.None, error) { return eddy.None{}, nil })
	if err := app.Validate(); err != nil {
		t.Fatal(err)
	}
	return app, reaction.NewRouter(app)
}

func TestRoute(t *testing.T) {
	t.Parallel()
	changed := func(c port.Collection, value string) *port.Record {
		return &port.Record{Position: 9, Change: &port.Change{Collection: c, Key: "k", New: document.Value(value), Version: 5}}
	}
	redriven := changed(port.Scope("s"), `{"n":1}`)
	redriven.Target = "r::even"
	call := &port.Call{ID: "c1", Function: "r::call", Payload: document.Value(`{"n":1}`)}
	cases := []struct {
		name   string
		record *port.Record
		want   []string
	}{
		{"a change goes to every function of its scope whose When agrees", changed(port.Scope("s"), `{"n":2}`),
			[]string{"r::all", "r::even", "r::lane"}},
		{"and to no function whose When does not", changed(port.Scope("s"), `{"n":1}`), []string{"r::all", "r::lane"}},
		{"another scope has no functions", changed(port.Scope("s2"), `{"n":2}`), nil},
		{"items of every group of a stream go to its functions", changed(port.Group("items", "g/1"), `{"n":1}`), []string{"r::items"}},
		{"a stream is not the scope of the same name", changed(port.Group("s", "g"), `{"n":1}`), nil},
		{"a redriven record goes to its function alone, whatever its When says", redriven, []string{"r::even"}},
		{"a call goes to its function", &port.Record{Position: 3, Target: "r::call", Call: call}, []string{"r::call"}},
		{"an event goes to no function", &port.Record{Event: &port.Event{Group: port.Group("items", "g")}}, nil},
	}
	app, r := router(t)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			deliveries, err := r.Route(c.record)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, d := range deliveries {
				got = append(got, d.Function.ID)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
			for _, f := range app.Functions() {
				single := r.RouteTo(f, c.record)
				for _, d := range deliveries {
					if d.Function == f && (single == nil || single.ID != d.ID || single.Cursor != d.Cursor || single.Lane != d.Lane) {
						t.Errorf("RouteTo %s differs from Route: %+v", f.ID, single)
					}
				}
			}
		})
	}
}

func TestARecordForAnUnknownFunctionIsAnError(t *testing.T) {
	t.Parallel()
	_, r := router(t)
	if _, err := r.Route(&port.Record{Target: "r::gone", Call: &port.Call{ID: "c"}}); err == nil {
		t.Error("it was routed")
	}
}

func TestFollows(t *testing.T) {
	t.Parallel()
	_, r := router(t)
	for c, want := range map[port.Collection]bool{
		port.Scope("s"): true, port.Scope("other"): false, port.Group("items", "any"): true, port.Group("other", "any"): false,
	} {
		if got := r.Follows(c); got != want {
			t.Errorf("Follows(%s) is %v", c, got)
		}
	}
}
