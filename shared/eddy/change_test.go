package eddy_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/eddyhq/eddy/shared/eddy"
	"github.com/eddyhq/eddy/shared/port"
)

// heard is an app with one reaction for each source, which tells what it got.
func heard(got *[]eddy.Change[thing]) *eddy.App {
	listen := func(_ context.Context, c eddy.Change[thing]) error {
		*got = append(*got, c)
		return nil
	}
	app := eddy.New()
	eddy.React(app, "a::state", listen, things.Changes())
	eddy.React(app, "a::stream", listen, board.Changes())
	return app
}

func TestChangesReachReactions(t *testing.T) {
	t.Parallel()
	inState, inStream := port.Scope("things"), port.Group("board", "g")
	for _, test := range []struct {
		name, function string
		record         port.Record
		want           eddy.Change[thing]
		event          string
	}{
		{"a document that is new", "a::state",
			port.Record{Change: &port.Change{Collection: inState, Key: "k", New: []byte(`{"count":1,"more":2}`), Version: 5}},
			eddy.Change[thing]{Kind: eddy.Created, New: &thing{Count: 1}, Scope: "things", Key: "k", Version: 5, Attempt: 2},
			`{"type":"state","event_type":"state:created","scope":"things","key":"k","old_value":null,` +
				`"new_value":{"count":1,"more":2},"id":"ID","version":5,"attempt":2,"depth":0}`},
		{"a document that was changed by a reaction", "a::state",
			port.Record{Cause: port.Cause{Root: "r", Chain: []string{"x"}}, Change: &port.Change{Collection: inState, Key: "k",
				Old: []byte(`{"count":1}`), New: []byte(`{"count":2}`), Version: 6}},
			eddy.Change[thing]{Kind: eddy.Updated, Old: &thing{Count: 1}, New: &thing{Count: 2}, Scope: "things", Key: "k", Version: 6,
				Attempt: 2, Depth: 1},
			`{"type":"state","event_type":"state:updated","scope":"things","key":"k","old_value":{"count":1},` +
				`"new_value":{"count":2},"id":"ID","version":6,"attempt":2,"depth":1}`},
		{"an item that was deleted", "a::stream",
			port.Record{Change: &port.Change{Collection: inStream, Key: "i", Old: []byte(`{"id":"i"}`), Version: 7}},
			eddy.Change[thing]{Kind: eddy.Deleted, Old: &thing{}, Stream: "board", Group: "g", Key: "i", Version: 7, Attempt: 2},
			`{"type":"stream","event_type":"stream:deleted","stream_name":"board","group_id":"g","item_id":"i",` +
				`"old_value":{"id":"i"},"new_value":null,"id":"ID","version":7,"attempt":2,"depth":0}`},
		{"a document whose time was up", "a::state",
			port.Record{Change: &port.Change{Collection: inState, Key: "k", Old: []byte(`{"count":1}`), Version: 8, Expired: true}},
			eddy.Change[thing]{Kind: eddy.Deleted, Old: &thing{Count: 1}, Scope: "things", Key: "k", Version: 8, Expired: true, Attempt: 2},
			`{"type":"state","event_type":"state:deleted","scope":"things","key":"k","old_value":{"count":1},` +
				`"new_value":null,"reason":"expired","id":"ID","version":8,"attempt":2,"depth":0}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var got []eddy.Change[thing]
			app := heard(&got)
			f, _ := app.Function(test.function)
			inv := newMemory(app).invocation()
			inv.Attempt = 2
			if err := f.React(t.Context(), inv, &test.record); err != nil {
				t.Fatal(err)
			}
			event, err := eddy.EventJSON(&test.record, 2)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.Invoke(t.Context(), newMemory(app).invocation(), event); err != nil {
				t.Fatalf("%v: %s", err, event)
			}
			test.want.ID = test.record.ID()
			if diff := cmp.Diff([]eddy.Change[thing]{test.want, test.want}, got); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(strings.ReplaceAll(test.event, "ID", test.want.ID), string(event)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestEventsThatAreNone(t *testing.T) {
	t.Parallel()
	var got []eddy.Change[thing]
	app := heard(&got)
	f, _ := app.Function("a::state")
	for payload, want := range map[string]string{
		`{}`: "invalid_argument\ntype: is required\nevent_type: is required\nversion: is required",
		`{"type":"x","event_type":"state:created","version":1}`: "invalid_argument\ntype: must be \"state\" or \"stream\"",
		`{"type":"state","event_type":"state:created","version":1,"scope":"things","key":"k"}`: "invalid_argument\n" +
			"new_value: must not be absent together with old_value",
		`{"type":"state","event_type":"state:deleted","version":1,"scope":"things","key":"k","new_value":1}`: "invalid_argument\n" +
			"event_type: must be \"state:created\" for these values",
		`{"type":"state","event_type":"state:created","version":1,"scope":"things","key":"k","new_value":{},"reason":"expired"}`: "" +
			"invalid_argument\nreason: must be \"expired\", of a deletion, or absent",
		`{"type":"state","event_type":"state:deleted","version":1,"scope":"things","key":"k","old_value":{},"reason":"bored"}`: "" +
			"invalid_argument\nreason: must be \"expired\", of a deletion, or absent",
		`{"type":"state","event_type":"state:created","version":1,"scope":"others","key":"k","new_value":1}`: "invalid_argument: " +
			"a::state is not triggered by eddy.Scope(\"others\")",
		`{"type":"state","event_type":"state:created","version":1,"scope":"things","key":"k","new_value":1}`: "internal: " +
			"the new value of k: decode document: json: cannot unmarshal number into Go value of type eddy_test.thing",
	} {
		_, err := f.Invoke(t.Context(), newMemory(app).invocation(), []byte(payload))
		if details(err) != want {
			t.Errorf("%s: got %s, want %s", payload, details(err), want)
		}
	}
	if len(got) != 0 {
		t.Errorf("the reaction ran: %+v", got)
	}
}

func TestTriggersMatchAndNameLanes(t *testing.T) {
	t.Parallel()
	app := eddy.New()
	eddy.React(app, "a::b", reacts[thing], things.Changes(
		eddy.When(func(c eddy.Change[thing]) bool { return c.New != nil && c.New.Count > 1 }),
		eddy.Lane(func(c eddy.Change[thing]) string { return c.New.Name })))
	f, _ := app.Function("a::b")
	trigger := f.Changes[0]
	change := &port.Change{Collection: port.Scope("things"), Key: "k", New: []byte(`{"count":1,"name":"N"}`)}
	if matched, err := trigger.When(change); matched || err != nil {
		t.Errorf("got %t, %v", matched, err)
	}
	change.New = []byte(`{"count":2,"name":"N"}`)
	if matched, err := trigger.When(change); !matched || err != nil {
		t.Errorf("got %t, %v", matched, err)
	}
	if lane, err := trigger.Lane(change); lane != "N" || err != nil {
		t.Errorf("got %s, %v", lane, err)
	}
	change.New = []byte(`7`)
	if _, err := trigger.When(change); err == nil {
		t.Error("a document of another type matched")
	}
	if _, err := trigger.Lane(change); err == nil {
		t.Error("a document of another type has a lane")
	}
}

func TestReactionsThatFail(t *testing.T) {
	t.Parallel()
	failure := errors.New("not now")
	app := eddy.New()
	eddy.React(app, "a::fails", func(ctx context.Context, _ eddy.Change[thing]) error {
		if eddy.DeliveryID(ctx) != "delivery-1" {
			t.Errorf("the delivery is %s", eddy.DeliveryID(ctx))
		}
		return failure
	}, things.Changes())
	eddy.React(app, "a::panics", func(context.Context, eddy.Change[thing]) error { panic("hunter2") }, things.Changes())
	record := &port.Record{Change: &port.Change{Collection: port.Scope("things"), Key: "k", New: []byte(`{}`), Version: 1}}
	m := newMemory(app)
	inv := m.invocation()
	inv.DeliveryID = "delivery-1"

	fails, _ := app.Function("a::fails")
	if err := fails.React(t.Context(), inv, record); !errors.Is(err, failure) || eddy.IsNoRetry(err) {
		t.Errorf("got %v", err)
	}
	panics, _ := app.Function("a::panics")
	err := panics.React(t.Context(), inv, record)
	wantCode(t, "a panic", err, eddy.CodeInternal)
	for _, want := range []string{"hunter2", "change_test.go", "delivery_id=delivery-1", "change_id=" + record.ID()} {
		if !strings.Contains(m.logs.String(), want) {
			t.Errorf("%q is missing in %s", want, m.logs.String())
		}
	}
	record.Change.New = []byte(`7`)
	if err := fails.React(t.Context(), inv, record); !eddy.IsNoRetry(err) {
		t.Errorf("a document of another type: %v", err)
	}
}

func FuzzEvent(f *testing.F) {
	var got []eddy.Change[thing]
	app := heard(&got)
	f.Add([]byte(`{"type":"state","event_type":"state:created","version":1,"scope":"things","key":"k","new_value":{}}`))
	f.Add([]byte(`{"type":"state","event_type":"state:deleted","version":1,"scope":"things","key":"k","old_value":{},"reason":"expired"}`))
	f.Add([]byte(`{"type":"stream","event_type":"stream:deleted","version":-1,"stream_name":"board","old_value":null}`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		function, _ := app.Function("a::state")
		_, err := function.Invoke(t.Context(), newMemory(app).invocation(), payload)
		if e := (*eddy.Error)(nil); err != nil && !errors.As(err, &e) {
			t.Errorf("%v has no code", err)
		}
		if err == nil && !json.Valid(payload) {
			t.Errorf("%q was taken", payload)
		}
	})
}
