package conformance

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// reactions checks what the app's reactions do after a change; counters checks todos::update-metrics.
func (s *suite) reactions(t *testing.T) {
	s.parallel(t, []area{
		{"each change of a todo is an event, in order", s.changesAreEvents},
		{"changes by engine functions are changes", s.engineChanges},
		{"what changed nothing is no event", s.nothingIsNoEvent},
		{"a storm of toggles brings every event, in order", s.eventStorm},
		{"a reaction is a function to call with an event", s.reactionByID},
	})
}

// watch subscribes to the events that todos::on-change sends.
func (s *suite) watch(t *testing.T) *socket {
	t.Helper()
	c := s.dial(t, "todos-live", "all", "")
	if f := c.next(t); f.Event.Type != "sync" {
		t.Fatalf("the first frame is %s", clip(string(f.text)))
	}
	return c
}

// changed returns the data of the next event about the todo. Others' events pass by.
func (c *socket) changed(t *testing.T, key string) []byte {
	t.Helper()
	for {
		f := c.next(t)
		if f.Event.Type != "event" {
			continue
		}
		var event struct {
			Type string
			Data struct{ Key string }
		}
		decode(t, f.Event.Event, &event)
		if event.Type == "todo_changed" && event.Data.Key == key {
			return f.Event.Event
		}
	}
}

// wantChange wants the next event about the todo to tell the action and, of what is left, the todo (or null).
func (c *socket) wantChange(t *testing.T, key, action, todo string) {
	t.Helper()
	event := c.changed(t, key)
	want := `{"type":"todo_changed","data":{"action":"` + action + `","key":` + encode(t, key) + `,"todo":` + todo + `}}`
	if err := match(event, want); err != nil {
		t.Fatalf("%v\n got: %s\nwant: %s", err, event, want)
	}
}

func (s *suite) changesAreEvents(t *testing.T) {
	c := s.watch(t)
	made := s.create(t, "watched")
	stored := func() string { return string(s.get(t, "/todos/"+made.ID).body) }
	c.wantChange(t, made.ID, "created", encode(t, made))
	s.post(t, "/todos/toggle", `{"id":"`+made.ID+`"}`).wantJSON(t, 200, `"<any>"`)
	c.wantChange(t, made.ID, "updated", stored())
	s.send(t, request{method: "PATCH", path: "/todos/" + made.ID, body: `{"title":"edited"}`}).wantJSON(t, 200, anyTodo)
	c.wantChange(t, made.ID, "updated", stored())
	s.post(t, "/todos/delete", `{"id":"`+made.ID+`"}`).wantJSON(t, 200, `"<any>"`)
	c.wantChange(t, made.ID, "deleted", `null`)
}

func (s *suite) engineChanges(t *testing.T) {
	c := s.watch(t)
	id := unique("todo-conformance")
	at := `"scope":"todos","key":"` + id + `"`
	todo := func(title string) string {
		return `{"id":"` + id + `","title":"` + title + `","completed":false,"created_at":"2026-01-02T03:04:05Z"}`
	}
	s.must(t, "state::set", `{`+at+`,"value":`+todo("one")+`}`)
	c.wantChange(t, id, "created", todo("one"))
	s.must(t, "state::update", `{`+at+`,"ops":[{"type":"set","path":"title","value":"two"}]}`)
	c.wantChange(t, id, "updated", todo("two"))
	s.must(t, "state::delete", `{`+at+`}`)
	c.wantChange(t, id, "deleted", `null`)
	s.must(t, "state::set", `{`+at+`,"value":`+todo("three")+`}`)
	c.wantChange(t, id, "created", todo("three"))
	s.must(t, "state::delete", `{`+at+`}`)
	c.wantChange(t, id, "deleted", `null`)
}

func (s *suite) nothingIsNoEvent(t *testing.T) {
	c := s.watch(t)
	id := unique("todo-conformance")
	at := `"scope":"todos","key":"` + id + `"`
	todo := `{"id":"` + id + `","title":"one","completed":false,"created_at":"2026-01-02T03:04:05Z"}`
	s.must(t, "state::delete", `{`+at+`}`)
	s.must(t, "state::set", `{`+at+`,"value":`+todo+`}`)
	c.wantChange(t, id, "created", todo)
	s.must(t, "state::update", `{`+at+`,"ops":[{"type":"increment","path":"title","by":1}]}`)
	s.invoke(t, "state::set", `{`+at+`,"value":`+todo+`,"if_version":1}`).wantError(t, "conflict")
	s.must(t, "state::delete", `{`+at+`}`)
	c.wantChange(t, id, "deleted", `null`)
}

func (s *suite) eventStorm(t *testing.T) {
	const toggles = 30
	c := s.watch(t)
	made := s.create(t, "stormy")
	atOnce(t, toggles, func(int) error {
		_, err := s.flip(t.Context(), made.ID)
		return err
	})
	if err := s.remove(t.Context(), made.ID); err != nil {
		t.Fatal(err)
	}
	c.wantChange(t, made.ID, "created", encode(t, made))
	for i := range toggles {
		c.wantChange(t, made.ID, "updated", fmt.Sprintf(
			`{"id":%q,"title":"stormy","completed":%t,"created_at":%q,"updated_at":"<time>"}`,
			made.ID, i%2 == 0, made.CreatedAt))
	}
	c.wantChange(t, made.ID, "deleted", `null`)
}

func (s *suite) reactionByID(t *testing.T) {
	c := s.watch(t)
	id := unique("todo-conformance")
	todo := `{"id":"` + id + `","title":"one","completed":true,"created_at":"2026-01-02T03:04:05Z"}`
	s.invoke(t, "todos::on-change", `{"type":"state","event_type":"state:created","scope":"todos","key":"`+id+`",
		"old_value":null,"new_value":`+todo+`,"id":"`+id+`","version":1732345678901234,"attempt":1,"depth":0}`).
		wantJSON(t, 200, `null`)
	c.wantChange(t, id, "created", todo)
}

// metrics is what the app counts.
type metrics struct{ Total, Completed int }

// counters checks that the counters equal a recount, after each change and after storms of them.
func (s *suite) counters(t *testing.T) {
	t.Run("each change moves the counters by itself", s.countersMove)
	for round := range 3 {
		t.Run(fmt.Sprint("storm ", round+1, " leaves the counters equal to a recount"), s.countersStorm)
	}
}

// read returns the counters.
func (s *suite) read(t *testing.T) (m metrics) {
	t.Helper()
	a := s.get(t, "/todos/metrics")
	a.wantJSON(t, 200, `{"total":"<count>","completed":"<count>"}`)
	decode(t, a.body, &m)
	return m
}

// settled waits until the counters equal a recount of the scope, and returns them.
func (s *suite) settled(t *testing.T) (m metrics) {
	t.Helper()
	eventually(t, "the counters equal a recount", func() error {
		all, err := s.walk(t.Context(), 1000)
		if err != nil {
			return err
		}
		recount := metrics{Total: len(all)}
		for _, one := range all {
			if one.Completed {
				recount.Completed++
			}
		}
		if m = s.read(t); m != recount {
			return fmt.Errorf("they are %+v, the recount %+v", m, recount)
		}
		return nil
	})
	return m
}

func (s *suite) countersMove(t *testing.T) {
	base := s.settled(t)
	want := func(what string, total, completed int) {
		t.Helper()
		expected := metrics{base.Total + total, base.Completed + completed}
		eventually(t, what, func() error {
			if m := s.read(t); m != expected {
				return fmt.Errorf("the counters are %+v, want %+v", m, expected)
			}
			return nil
		})
	}
	made := s.create(t, "counted")
	want("a create adds to total", 1, 0)
	patch := func(body string) {
		s.send(t, request{method: "PATCH", path: "/todos/" + made.ID, body: body}).wantJSON(t, 200, anyTodo)
	}
	s.post(t, "/todos/toggle", `{"id":"`+made.ID+`"}`).wantJSON(t, 200, `{"id":"`+made.ID+`","completed":true}`)
	want("a toggle adds to completed", 1, 1)
	patch(`{"title":"counted still","completed":true}`)
	patch(`{"completed":false}`)
	want("an edit takes from completed", 1, 0)
	patch(`{"completed":true}`)
	want("an edit adds to completed", 1, 1)
	s.send(t, request{method: "DELETE", path: "/todos/" + made.ID})
	want("a delete of a completed todo takes from both", 0, 0)

	id := unique("todo-conformance")
	s.must(t, "state::set", `{"scope":"todos","key":"`+id+`","value":{"id":"`+id+
		`","title":"born completed","completed":true,"created_at":"2026-01-02T03:04:05Z"}}`)
	want("a todo born completed adds to both", 1, 1)
	s.must(t, "state::delete", `{"scope":"todos","key":"`+id+`"}`)
	want("and its delete takes from both", 0, 0)
}

func (s *suite) countersStorm(t *testing.T) {
	const workers, steps = 16, 12
	mine := make([][]string, workers)
	t.Cleanup(func() {
		for _, id := range slices.Concat(mine...) {
			if err := s.remove(context.Background(), id); err != nil {
				t.Errorf("remove %s: %v", id, err)
			}
		}
	})
	shared, err := s.add(t.Context(), "everybody toggles this")
	if err != nil {
		t.Fatal(err)
	}
	mine[0] = append(mine[0], shared)
	atOnce(t, workers, func(worker int) error {
		for range steps {
			if err := s.disturb(t.Context(), &mine[worker], shared); err != nil {
				return err
			}
		}
		return nil
	})
	s.settled(t)
}

// disturb does one random thing to the todos of a worker.
func (s *suite) disturb(ctx context.Context, ids *[]string, shared string) error {
	if len(*ids) == 0 || rand.IntN(3) == 0 {
		id, err := s.add(ctx, "stormy")
		if err == nil {
			*ids = append(*ids, id)
		}
		return err
	}
	last := (*ids)[len(*ids)-1]
	switch rand.IntN(4) {
	case 0:
		_, err := s.flip(ctx, shared)
		return err
	case 1:
		if last == shared {
			return nil
		}
		*ids = (*ids)[:len(*ids)-1]
		return s.remove(ctx, last)
	default:
		_, err := s.flip(ctx, last)
		return err
	}
}
