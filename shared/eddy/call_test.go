package eddy_test

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/eddyhq/eddy/shared/eddy"
	"github.com/eddyhq/eddy/shared/port"
)

func TestCallRunsAnotherFunction(t *testing.T) {
	t.Parallel()
	app := eddy.New()
	eddy.Register(app, "a::inner", func(ctx context.Context, in line) (thing, error) {
		if in.Qty == 0 {
			return thing{}, eddy.ConditionNotMet("nothing of %s", in.SKU)
		}
		return thing{Name: in.SKU}, things.Set(ctx, in.SKU, thing{})
	}, eddy.Uses(things))
	eddy.Register(app, "a::outer", func(ctx context.Context, in line) (thing, error) {
		return eddy.Call[thing](ctx, "a::inner", in)
	}, eddy.Uses(eddy.Invokes("a::inner")))
	m := newMemory(app)
	outer, _ := app.Function("a::outer")
	got, err := outer.Invoke(t.Context(), m.invocation(), []byte(`{"sku":"s","qty":1}`))
	if string(got) != `{"name":"s","count":0}` || err != nil {
		t.Errorf("got %s, %v", got, err)
	}
	want := port.Cause{Root: "request-1", Chain: []string{"a::inner"}}
	if diff := cmp.Diff(want, m.commits[0].Cause); diff != "" {
		t.Error(diff)
	}
	_, err = outer.Invoke(t.Context(), m.invocation(), []byte(`{"sku":"s","qty":0}`))
	wantCode(t, "the error of the inner function", err, eddy.CodeConditionNotMet)
}

func TestCallsDoNotNestForever(t *testing.T) {
	t.Parallel()
	app := eddy.New()
	runs := 0
	eddy.Register(app, "a::again", func(ctx context.Context, _ eddy.None) (eddy.None, error) {
		runs++
		return eddy.Call[eddy.None](ctx, "a::again", eddy.None{})
	}, eddy.Uses(eddy.Invokes("a::again")))
	f, _ := app.Function("a::again")
	_, err := f.Invoke(t.Context(), newMemory(app).invocation(), nil)
	wantCode(t, "a function that calls itself", err, eddy.CodeConditionNotMet)
	if runs != 17 || !strings.Contains(err.Error(), "a::again -> a::again") {
		t.Errorf("%d runs: %v", runs, err)
	}
}

func TestVoidIsACallInACommit(t *testing.T) {
	t.Parallel()
	app := eddy.New()
	eddy.React(app, "a::b", func(ctx context.Context, _ eddy.Change[thing]) error {
		id, err := eddy.Void(ctx, "a::c", thing{Name: "N"})
		if id != "id-1" {
			t.Errorf("the id is %s", id)
		}
		if _, err := eddy.Void(ctx, "state::set", nil); eddy.CodeOf(err) != eddy.CodeInvalidArgument {
			t.Errorf("an engine function: %v", err)
		}
		return err
	}, things.Changes(), eddy.Uses(eddy.Invokes("a::c")))
	m := newMemory(app)
	inv := m.invocation()
	inv.Cause = port.Cause{Root: "r", Chain: []string{"x", "a::b"}}
	f, _ := app.Function("a::b")
	record := &port.Record{Change: &port.Change{Collection: port.Scope("things"), Key: "k", New: []byte(`{}`), Version: 1}}
	if err := f.React(t.Context(), inv, record); err != nil {
		t.Fatal(err)
	}
	want := []port.Commit{{
		Calls: []port.Call{{ID: "id-1", Function: "a::c", Payload: []byte(`{"count":0,"name":"N"}`)}}, Cause: inv.Cause,
	}}
	if diff := cmp.Diff(want, m.commits); diff != "" {
		t.Error(diff)
	}
}
