package eddy_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/eddyhq/eddy/shared/document"
	"github.com/eddyhq/eddy/shared/eddy"
	"github.com/eddyhq/eddy/shared/port"
)

// queued is an app with a queue, a FIFO queue by name, and a function that does send.
func queued(send func(ctx context.Context) error, uses ...eddy.Handle) *eddy.App {
	app := eddy.New()
	eddy.Register(app, "a::plain", takes[thing], eddy.Queue("plain"))
	eddy.Register(app, "a::slow", takes[thing], eddy.Queue("slow", eddy.Delay(time.Minute)))
	eddy.Register(app, "a::ordered", takes[thing], eddy.Queue("ordered", eddy.FIFO("name")))
	eddy.Register(app, "a::send", func(ctx context.Context, _ eddy.None) (eddy.None, error) {
		return eddy.None{}, send(ctx)
	}, eddy.Uses(uses...))
	return app
}

func TestAMessageIsACallInACommit(t *testing.T) {
	t.Parallel()
	send := func(queue string, in any, opts ...eddy.EnqueueOption) func(context.Context) error {
		return func(ctx context.Context) error {
			_, err := eddy.Enqueue(ctx, queue, in, opts...)
			return err
		}
	}
	payload := document.Value(`{"count":0,"name":"N"}`)
	for _, c := range []struct {
		name string
		send func(context.Context) error
		want port.Call
	}{
		{"of a queue without order", send("plain", thing{Name: "N"}), port.Call{Function: "a::plain", Payload: payload}},
		{"of a FIFO queue, in the group of its member", send("ordered", thing{Name: "N"}),
			port.Call{Function: "a::ordered", Payload: payload, Group: `"N"`}},
		{"held back by its queue", send("slow", thing{Name: "N"}), port.Call{Function: "a::slow", Payload: payload, NotBefore: 60_000}},
		{"held back by itself", send("slow", thing{Name: "N"}, eddy.Delay(time.Second)),
			port.Call{Function: "a::slow", Payload: payload, NotBefore: 1_000}},
		{"not held back after all", send("slow", thing{Name: "N"}, eddy.Delay(0)), port.Call{Function: "a::slow", Payload: payload}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			app := queued(c.send, eddy.Enqueues("plain"), eddy.Enqueues("slow"), eddy.Enqueues("ordered"))
			m := newMemory(app)
			f, _ := app.Function("a::send")
			if _, err := f.Invoke(t.Context(), m.invocation(), nil); err != nil {
				t.Fatal(err)
			}
			call := m.commits[0].Calls[0]
			if call.ID == "" {
				t.Error("the message has no id")
			}
			call.ID = ""
			if call.NotBefore != 0 {
				call.NotBefore -= m.Now().UnixMilli()
			}
			if diff := cmp.Diff(c.want, call); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestMessagesThatAreRefused(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		queue string
		in    any
		opts  []eddy.EnqueueOption
		uses  []eddy.Handle
		want  eddy.Code
	}{
		{"for a queue that there is not", "none", thing{}, nil, nil, eddy.CodeNotFound},
		{"for a queue that is not declared", "plain", thing{}, nil, nil, eddy.CodePermissionDenied},
		{"held back too long", "plain", thing{}, []eddy.EnqueueOption{eddy.Delay(time.Hour)},
			[]eddy.Handle{eddy.Enqueues("plain")}, eddy.CodeInvalidArgument},
		{"without the member of its order", "ordered", map[string]any{"count": 1}, nil,
			[]eddy.Handle{eddy.Enqueues("ordered")}, eddy.CodeInvalidArgument},
		{"with null for the member of its order", "ordered", map[string]any{"name": nil}, nil,
			[]eddy.Handle{eddy.Enqueues("ordered")}, eddy.CodeInvalidArgument},
		{"with an object for the member of its order", "ordered", map[string]any{"name": map[string]any{"a": 1}}, nil,
			[]eddy.Handle{eddy.Enqueues("ordered")}, eddy.CodeInvalidArgument},
		{"that is no object, for a FIFO queue", "ordered", []int{1}, nil,
			[]eddy.Handle{eddy.Enqueues("ordered")}, eddy.CodeInvalidArgument},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			app := queued(func(ctx context.Context) error {
				_, err := eddy.Enqueue(ctx, c.queue, c.in, c.opts...)
				return err
			}, c.uses...)
			m := newMemory(app)
			f, _ := app.Function("a::send")
			_, err := f.Invoke(t.Context(), m.invocation(), nil)
			wantCode(t, "a message "+c.name, err, c.want)
			if len(m.commits) > 0 {
				t.Errorf("it left %+v", m.commits)
			}
		})
	}
}
