package eddy_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/eddyhq/eddy/shared/eddy"
	"github.com/eddyhq/eddy/shared/port"
)

type thing struct {
	Name  string   `json:"name"`
	Count int      `json:"count"`
	Tags  []string `json:"tags,omitempty"`
}

var (
	things = eddy.Scope[thing]("things")
	others = eddy.Scope[thing]("others")
	board  = eddy.Stream[thing]("board")
)

// wantCode fails the test when the code of err is another; "" is no error.
func wantCode(t *testing.T, what string, err error, want eddy.Code) {
	t.Helper()
	if got := eddy.CodeOf(err); got != want {
		t.Errorf("%s: %v, want the code %q", what, err, want)
	}
}

func TestScopeReadsAndWrites(t *testing.T) {
	t.Parallel()
	m := newMemory(nil)
	err := within(t.Context(), m, func(ctx context.Context) error {
		_, err := things.Get(ctx, "a")
		wantCode(t, "getting what is not there", err, eddy.CodeNotFound)
		wantCode(t, "setting", things.Set(ctx, "a", thing{Name: "A"}), "")
		entry, err := things.Entry(ctx, "a")
		if want := (eddy.Entry[thing]{Key: "a", Value: thing{Name: "A"}, Version: 1}); !cmp.Equal(entry, want) || err != nil {
			t.Errorf("got %+v, %v", entry, err)
		}
		wantCode(t, "setting what must not exist", things.Set(ctx, "a", thing{}, eddy.IfVersion(0)), eddy.CodeConflict)
		wantCode(t, "setting an older version", things.Set(ctx, "a", thing{}, eddy.IfVersion(7)), eddy.CodeConflict)
		wantCode(t, "setting this version", things.Set(ctx, "a", thing{Name: "B"}, eddy.IfVersion(1)), "")
		wantCode(t, "deleting an older version", things.Delete(ctx, "a", eddy.IfVersion(1)), eddy.CodeConflict)
		taken, err := things.Take(ctx, "a")
		wantCode(t, "taking", err, "")
		if taken.Name != "B" {
			t.Errorf("took %+v", taken)
		}
		_, err = things.Take(ctx, "a")
		wantCode(t, "taking what is gone", err, eddy.CodeNotFound)
		wantCode(t, "deleting what is gone", things.Delete(ctx, "a"), "")
		wantCode(t, "an empty key", things.Set(ctx, "", thing{}), eddy.CodeInvalidArgument)
		_, err = things.Get(ctx, "")
		wantCode(t, "an empty key", err, eddy.CodeInvalidArgument)
		return nil
	}, things)
	wantCode(t, "the function", err, "")
}

func TestStoredDocumentsAreReadLeniently(t *testing.T) {
	t.Parallel()
	m := newMemory(nil)
	m.put(port.Scope("things"), "old", `{"count":3,"gone":true}`)
	m.put(port.Scope("things"), "alien", `"text"`)
	err := within(t.Context(), m, func(ctx context.Context) error {
		got, err := things.Get(ctx, "old")
		if want := (thing{Count: 3}); !cmp.Equal(got, want) || err != nil {
			t.Errorf("got %+v, %v", got, err)
		}
		_, err = things.Get(ctx, "alien")
		return err
	}, things.ReadOnly())
	wantCode(t, "a document of another type", err, eddy.CodeInternal)
}

func TestUpdateAppliesOperations(t *testing.T) {
	t.Parallel()
	m := newMemory(nil)
	err := within(t.Context(), m, func(ctx context.Context) error {
		_, err := things.Update(ctx, "a", eddy.SetField("name", "A"), eddy.Increment("count", 5), eddy.Decrement("count", 2),
			eddy.Append("x", "tags"), eddy.RemoveField("more"), eddy.Merge(map[string]any{"name": "B"}))
		wantCode(t, "a tag that is no list yet", err, eddy.CodeInternal)
		got, err := things.Update(ctx, "b", eddy.SetField("name", "A"), eddy.Increment("count", 5), eddy.Decrement("count", 2),
			eddy.SetField("tags", []string{}), eddy.Append("x", "tags"), eddy.RemoveField("more"), eddy.Merge(map[string]any{"name": "B"}))
		if want := (thing{Name: "B", Count: 3, Tags: []string{"x"}}); !cmp.Equal(got, want) || err != nil {
			t.Errorf("got %+v, %v", got, err)
		}
		got, err = things.Update(ctx, "b", eddy.Increment("name", 1), eddy.Increment("count", 1))
		wantCode(t, "an operation that does not fit", err, eddy.CodeConditionNotMet)
		if want := "condition_not_met\nops[0]: increment.not_number: "; len(details(err)) < len(want) || details(err)[:len(want)] != want {
			t.Errorf("got %s", details(err))
		}
		if got.Count != 4 {
			t.Errorf("the other operation did not apply: %+v", got)
		}
		_, err = things.Update(ctx, "b", eddy.SetField("name", func() {}))
		wantCode(t, "a value that is no JSON", err, eddy.CodeInvalidArgument)
		_, err = things.Update(ctx, "b", eddy.SetField("", thing{Name: "C"}))
		wantCode(t, "replacing the root", err, "")
		wantCode(t, "incrementing", things.Increment(ctx, "b", "count", 9), "")
		got, err = things.Get(ctx, "b")
		if want := (thing{Name: "C", Count: 9}); !cmp.Equal(got, want) || err != nil {
			t.Errorf("got %+v, %v", got, err)
		}
		return nil
	}, things)
	wantCode(t, "the function", err, "")
	last := m.commits[len(m.commits)-1].Writes[0]
	if !last.NoResult {
		t.Error("Increment asks for a result")
	}
}

func TestModifyTriesAgainWhenSomebodyElseWrote(t *testing.T) {
	t.Parallel()
	m := newMemory(nil)
	m.put(port.Scope("things"), "a", `{"count":1,"name":"A"}`)
	m.beforeSet = func() { m.put(port.Scope("things"), "a", `{"count":10,"name":"A"}`) }
	runs := 0
	err := within(t.Context(), m, func(ctx context.Context) error {
		got, err := things.Modify(ctx, "a", func(v *thing) error {
			runs++
			v.Count++
			return nil
		})
		if got.Count != 11 || runs != 2 || err != nil {
			t.Errorf("got %+v after %d runs, %v", got, runs, err)
		}
		_, err = things.Modify(ctx, "b", func(*thing) error { return nil })
		wantCode(t, "modifying what is not there", err, eddy.CodeNotFound)
		refused := errors.New("no")
		if _, err := things.Modify(ctx, "a", func(*thing) error { return refused }); !errors.Is(err, refused) {
			t.Errorf("got %v", err)
		}
		return nil
	}, things)
	wantCode(t, "the function", err, "")
}

func TestModifyGivesUp(t *testing.T) {
	t.Parallel()
	m := newMemory(nil)
	m.put(port.Scope("things"), "a", `{"count":0}`)
	runs := 0
	err := within(t.Context(), m, func(ctx context.Context) error {
		_, err := things.Modify(ctx, "a", func(*thing) error {
			runs++
			m.put(port.Scope("things"), "a", fmt.Sprintf(`{"count":%d}`, runs))
			return nil
		})
		return err
	}, things)
	wantCode(t, "a document that never rests", err, eddy.CodeConflict)
	if runs != 50 {
		t.Errorf("%d runs", runs)
	}
}

func TestListGoesThroughPages(t *testing.T) {
	t.Parallel()
	m := newMemory(nil)
	for n := range 5 {
		m.put(port.Scope("things"), fmt.Sprintf("k%d", n), fmt.Sprintf(`{"count":%d}`, n))
	}
	m.put(port.Scope("things"), "z", `{}`)
	err := within(t.Context(), m, func(ctx context.Context) error {
		var counts []int
		var lengths []int
		for cursor, more := "", true; more; more = cursor != "" {
			page, err := things.List(ctx, "k", 2, cursor)
			if err != nil {
				return err
			}
			for _, v := range page.Values() {
				counts = append(counts, v.Count)
			}
			lengths, cursor = append(lengths, len(page.Items)), page.Cursor
		}
		if diff := cmp.Diff([]int{0, 1, 2, 3, 4}, counts); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff([]int{2, 2, 1}, lengths); diff != "" {
			t.Error(diff)
		}
		for _, limit := range []int{-1, 0, 1001} {
			_, err := things.List(ctx, "", limit, "")
			wantCode(t, fmt.Sprintf("limit %d", limit), err, eddy.CodeInvalidArgument)
		}
		_, err := things.List(ctx, "", 1, "mine")
		wantCode(t, "a cursor that is none", err, eddy.CodeInvalidArgument)
		return nil
	}, things)
	wantCode(t, "the function", err, "")
}

func TestStreamGroups(t *testing.T) {
	t.Parallel()
	type item struct {
		ID string `json:"id,omitempty"`
		N  int    `json:"n"`
	}
	live := eddy.Stream[item]("live")
	m := newMemory(nil)
	err := within(t.Context(), m, func(ctx context.Context) error {
		all := live.Group("all")
		wantCode(t, "setting", all.Set(ctx, "a", item{N: 1}), "")
		wantCode(t, "setting under another id", all.Set(ctx, "a", item{ID: "b"}), eddy.CodeInvalidArgument)
		got, err := all.Get(ctx, "a")
		if want := (item{ID: "a", N: 1}); got != want || err != nil {
			t.Errorf("got %+v, %v", got, err)
		}
		_, err = all.Get(ctx, "b")
		wantCode(t, "getting what is not there", err, eddy.CodeNotFound)
		list, err := all.List(ctx)
		if want := []item{{ID: "a", N: 1}}; !cmp.Equal(list, want) || err != nil {
			t.Errorf("got %+v, %v", list, err)
		}
		wantCode(t, "deleting", all.Delete(ctx, "a"), "")
		list, err = live.Group("none").List(ctx)
		if list == nil || len(list) != 0 || err != nil {
			t.Errorf("an empty group: %#v, %v", list, err)
		}
		wantCode(t, "a group without a name", live.Group("").Set(ctx, "a", item{}), eddy.CodeInvalidArgument)
		wantCode(t, "an item without an id", all.Set(ctx, "", item{}), eddy.CodeInvalidArgument)
		wantCode(t, "an event without a type", all.Send(ctx, "", item{}), eddy.CodeInvalidArgument)
		return all.Send(ctx, "moved", item{N: 2})
	}, live)
	wantCode(t, "the function", err, "")
	got := m.commits[len(m.commits)-1]
	want := port.Commit{Events: []port.Event{{Group: port.Group("live", "all"), Type: "moved", Data: []byte(`{"n":2}`)}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestOnlyWhatIsDeclaredCanBeTouched(t *testing.T) {
	t.Parallel()
	set := func(ctx context.Context) error { return things.Set(ctx, "a", thing{}) }
	read := func(ctx context.Context) error { _, err := things.List(ctx, "", 1, ""); return err }
	send := func(ctx context.Context) error { return board.Group("g").Send(ctx, "t", thing{}) }
	void := func(ctx context.Context) error { _, err := eddy.Void(ctx, "a::b", nil); return err }
	call := func(ctx context.Context) error { _, err := eddy.Call[any](ctx, "a::b", nil); return err }
	engine := func(ctx context.Context) error {
		_, err := eddy.Call[any](ctx, "state::set", map[string]any{"scope": "things", "key": "a", "value": 1})
		return err
	}
	transact := func(ctx context.Context) error {
		_, err := eddy.Call[any](ctx, "state::transact", map[string]any{"writes": []any{
			map[string]any{"op": "set", "scope": "things", "key": "a", "value": 1},
			map[string]any{"op": "check", "scope": "others", "key": "a", "if_version": 0}}})
		return err
	}
	check := func(ctx context.Context) error { return things.Check(ctx, "a", 0) }
	for _, test := range []struct {
		name string
		do   func(ctx context.Context) error
		uses []eddy.Handle
		want string
	}{
		{"a transaction that is declared", transact, []eddy.Handle{things, others.ReadOnly()}, ""},
		{"a transaction whose write is not", transact, []eddy.Handle{others}, `eddy.Scope("things")`},
		{"a transaction whose check is not", transact, []eddy.Handle{things}, `eddy.Scope("others")`},
		{"a check of what is read-only", check, []eddy.Handle{things.ReadOnly()}, ""},
		{"a check that is not declared", check, []eddy.Handle{others}, `eddy.Scope("things")`},
		{"a write that is declared", set, []eddy.Handle{things}, ""},
		{"a read that is declared", read, []eddy.Handle{things.ReadOnly()}, ""},
		{"both declarations of one scope", set, []eddy.Handle{things, things.ReadOnly()}, ""},
		{"an event that is declared", send, []eddy.Handle{board}, ""},
		{"a call that is declared", void, []eddy.Handle{eddy.Invokes("a::b")}, ""},
		{"an engine function on a scope that is declared", engine, []eddy.Handle{things}, ""},
		{"a write that is not", set, []eddy.Handle{others}, `eddy.Scope("things")`},
		{"a write to what is read-only", set, []eddy.Handle{things.ReadOnly()}, `eddy.Scope("things") without ReadOnly`},
		{"a read that is not", read, nil, `eddy.Scope("things")`},
		{"an event that is not", send, nil, `eddy.Stream("board")`},
		{"an event to what is read-only", send, []eddy.Handle{board.ReadOnly()}, `eddy.Stream("board") without ReadOnly`},
		{"a delivery that is not", void, nil, `eddy.Invokes("a::b")`},
		{"a call that is not", call, nil, `eddy.Invokes("a::b")`},
		{"an engine function on a scope that is not", engine, nil, `eddy.Scope("things")`},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			err := within(t.Context(), newMemory(nil), test.do, test.uses...)
			want := "<nil>"
			if test.want != "" {
				want = "permission_denied: test::run uses what it does not declare: add " + test.want +
					" to the eddy.Uses of its registration"
			}
			if got := fmt.Sprint(err); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
}

func TestCollectionsThatAreNotDeclaredAreHidden(t *testing.T) {
	t.Parallel()
	m := newMemory(nil)
	m.put(port.Scope("things"), "a", `1`)
	m.put(port.Scope("others"), "a", `1`)
	err := within(t.Context(), m, func(ctx context.Context) error {
		got, err := eddy.Call[json.RawMessage](ctx, "state::list_groups", map[string]any{})
		if string(got) != `{"groups":["things"]}` {
			t.Errorf("got %s", got)
		}
		return err
	}, things.ReadOnly())
	wantCode(t, "the function", err, "")
}
