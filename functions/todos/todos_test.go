package todos_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/eddyhq/eddy/functions"
	"github.com/eddyhq/eddy/functions/todos"
	"github.com/eddyhq/eddy/shared/eddy"
	"github.com/eddyhq/eddy/shared/eddytest"
)

func create(app *eddytest.App, title string) todos.Todo {
	return eddytest.Call[todos.Todo](app, "todos::create", todos.CreateInput{Title: title})
}

func metrics(app *eddytest.App) todos.Metrics {
	app.Settle()
	return eddytest.Call[todos.Metrics](app, "todos::get-metrics", nil)
}

func TestCreate(t *testing.T) {
	t.Parallel()
	app := eddytest.New(t, functions.App())

	answer := app.Request("POST", "/todos", `{"title":"  water the plants\n"}`)

	if answer.Code != http.StatusCreated {
		t.Fatalf("status %d: %s", answer.Code, answer.Body)
	}
	var todo todos.Todo
	if err := json.Unmarshal(answer.Body.Bytes(), &todo); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(todo.ID, "todo-") || todo.Title != "water the plants" || todo.Completed ||
		time.Since(todo.CreatedAt).Abs() > time.Minute || !todo.UpdatedAt.IsZero() {
		t.Errorf("created %s", answer.Body)
	}
	if diff := cmp.Diff(todo, eddytest.Call[todos.Todo](app, "todos::get", todos.ByID{ID: todo.ID})); diff != "" {
		t.Errorf("what is stored (-created +got):\n%s", diff)
	}
}

func TestTitles(t *testing.T) {
	t.Parallel()
	app := eddytest.New(t, functions.App())
	for _, test := range []struct {
		name, title, problem string
	}{
		{"500 characters are a title", strings.Repeat("é", 500), ""},
		{"blanks around a title do not count", strings.Repeat(" ", 500) + "a", ""},
		{"an empty title is refused", "", "must not be empty"},
		{"blanks alone are refused", " \t\n", "must not be empty"},
		{"501 characters are refused", strings.Repeat("a", 501), "must not be longer than 500 characters"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, created := eddytest.Try[todos.Todo](app, "todos::create", todos.CreateInput{Title: test.title})
			todo := create(app, "to be edited")
			_, edited := eddytest.Try[todos.Todo](app, "todos::edit", todos.EditInput{ID: todo.ID, Title: &test.title})
			var want error
			if test.problem != "" {
				want = eddy.Invalid("title", test.problem)
			}
			for _, err := range []error{created, edited} {
				if text(err) != text(want) {
					t.Errorf("got %v, want %v", err, want)
				}
			}
		})
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestListShowsEveryTodoOnce(t *testing.T) {
	t.Parallel()
	app := eddytest.New(t, functions.App())
	if answer := app.Request("GET", "/todos", ""); answer.Body.String() != "[]" {
		t.Errorf("an empty list is %s", answer.Body)
	}
	var want []string
	for _, title := range []string{"one", "two", "three", "four", "five"} {
		want = append(want, create(app, title).ID)
	}

	var got []string
	var sizes []int
	for cursor := ""; len(sizes) < 5; {
		answer := app.Request("GET", "/todos?limit=2&cursor="+cursor, "")
		var page []todos.Todo
		if err := json.Unmarshal(answer.Body.Bytes(), &page); err != nil {
			t.Fatalf("status %d: %s", answer.Code, answer.Body)
		}
		sizes = append(sizes, len(page))
		for _, todo := range page {
			got = append(got, todo.ID)
		}
		if cursor = answer.Header().Get("X-Next-Cursor"); cursor == "" {
			break
		}
	}

	if !slices.Equal(got, want) || !slices.Equal(sizes, []int{2, 2, 1}) {
		t.Errorf("pages of %v with %q, want %q", sizes, got, want)
	}
}

func TestAPageHasALimit(t *testing.T) {
	t.Parallel()
	app := eddytest.New(t, functions.App())
	for _, query := range []string{"limit=0", "limit=1001", "limit=many", "cursor=garbage"} {
		if answer := app.Request("GET", "/todos?"+query, ""); answer.Code != http.StatusBadRequest {
			t.Errorf("%s: status %d: %s", query, answer.Code, answer.Body)
		}
	}
}

func TestEditChangesOnlyWhatIsGiven(t *testing.T) {
	t.Parallel()
	app := eddytest.New(t, functions.App())
	want := create(app, "draft")
	for _, step := range []struct {
		body, title string
		completed   bool
	}{
		{`{"title":" final "}`, "final", false},
		{`{"completed":true}`, "final", true},
		{`{"title":"again","completed":false}`, "again", false},
		{`{}`, "again", false},
	} {
		answer := app.Request("PATCH", "/todos/"+want.ID, step.body)
		var got todos.Todo
		if err := json.Unmarshal(answer.Body.Bytes(), &got); err != nil || answer.Code != http.StatusOK {
			t.Fatalf("%s: status %d: %s", step.body, answer.Code, answer.Body)
		}
		if got.UpdatedAt.Before(got.CreatedAt) {
			t.Errorf("%s: updated at %v, created at %v", step.body, got.UpdatedAt, got.CreatedAt)
		}
		want.Title, want.Completed, want.UpdatedAt = step.title, step.completed, got.UpdatedAt
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step.body, diff)
		}
	}
}

func TestDeleting(t *testing.T) {
	t.Parallel()
	app := eddytest.New(t, functions.App())
	removed, deleted := create(app, "removed").ID, create(app, "deleted").ID
	for _, step := range []struct {
		name, method, path, body string
		status                   int
		answer                   string
	}{
		{"remove", "DELETE", "/todos/" + removed, "", http.StatusNoContent, ""},
		{"delete", "POST", "/todos/delete", `{"id":"` + deleted + `"}`, http.StatusOK, `{"deleted":"` + deleted + `"}`},
		{"delete again", "POST", "/todos/delete", `{"id":"` + deleted + `"}`, http.StatusOK, `{"deleted":"` + deleted + `"}`},
		{"list", "GET", "/todos", "", http.StatusOK, `[]`},
	} {
		answer := app.Request(step.method, step.path, step.body)
		if answer.Code != step.status || answer.Body.String() != step.answer {
			t.Errorf("%s: status %d with %s", step.name, answer.Code, answer.Body)
		}
	}
}

func TestWhatIsNotThereIsNotFound(t *testing.T) {
	t.Parallel()
	app := eddytest.New(t, functions.App())
	gone := create(app, "gone").ID
	app.Request("DELETE", "/todos/"+gone, "")
	for _, request := range [][3]string{
		{"GET", "/todos/" + gone, ""},
		{"PATCH", "/todos/" + gone, `{"completed":true}`},
		{"DELETE", "/todos/" + gone, ""},
		{"POST", "/todos/toggle", `{"id":"` + gone + `"}`},
	} {
		if answer := app.Request(request[0], request[1], request[2]); answer.Code != http.StatusNotFound {
			t.Errorf("%v: status %d: %s", request, answer.Code, answer.Body)
		}
	}
}

func TestTogglesAtOnceAllCount(t *testing.T) {
	t.Parallel()
	app := eddytest.New(t, functions.App())
	todo := create(app, "on and off")
	const toggles = 9
	completed := make(chan bool, toggles)
	var all sync.WaitGroup
	for range toggles {
		all.Go(func() {
			toggled, err := eddytest.Try[todos.Toggled](app, "todos::toggle", todos.ByID{ID: todo.ID})
			if err != nil || toggled.ID != todo.ID {
				t.Errorf("toggled %+v: %v", toggled, err)
			}
			completed <- toggled.Completed
		})
	}
	all.Wait()
	close(completed)

	on := 0
	for state := range completed {
		if state {
			on++
		}
	}
	got := eddytest.Call[todos.Todo](app, "todos::get", todos.ByID{ID: todo.ID})
	if on != (toggles+1)/2 || !got.Completed || got.UpdatedAt.IsZero() {
		t.Errorf("%d of %d toggles completed it, and now it is %+v", on, toggles, got)
	}
}

func TestMetricsFollowTheTodos(t *testing.T) {
	t.Parallel()
	app := eddytest.New(t, functions.App())
	var id string
	toggle := func() { eddytest.Call[todos.Toggled](app, "todos::toggle", todos.ByID{ID: id}) }
	for _, step := range []struct {
		name string
		do   func()
		want todos.Metrics
	}{
		{"zeros before the first todo", func() {}, todos.Metrics{}},
		{"a todo counts", func() { id = create(app, "one").ID }, todos.Metrics{Total: 1}},
		{"another one too", func() { create(app, "two") }, todos.Metrics{Total: 2}},
		{"one is completed", toggle, todos.Metrics{Total: 2, Completed: 1}},
		{"it is reopened", toggle, todos.Metrics{Total: 2}},
		{"it is completed again", toggle, todos.Metrics{Total: 2, Completed: 1}},
		{"a todo can be born completed", func() {
			eddytest.Call[any](app, "state::set", map[string]any{
				"scope": "todos", "key": "todo-done", "value": todos.Todo{ID: "todo-done", Completed: true},
			})
		}, todos.Metrics{Total: 3, Completed: 2}},
		{"a deleted todo takes back what it counted", func() {
			eddytest.Call[todos.Deleted](app, "todos::delete", todos.ByID{ID: id})
		}, todos.Metrics{Total: 2, Completed: 1}},
	} {
		step.do()
		if diff := cmp.Diff(step.want, metrics(app)); diff != "" {
			t.Fatalf("%s (-want +got):\n%s", step.name, diff)
		}
	}
}

func TestAChangeThatMovesNoCounterRunsNothing(t *testing.T) {
	t.Parallel()
	app := eddytest.New(t, functions.App())
	version := func() (d struct{ Version int64 }) {
		app.Settle()
		query := map[string]any{"scope": "todo-metrics", "key": "global", "with_version": true}
		return eddytest.Call[struct{ Version int64 }](app, "state::get", query)
	}
	todo := create(app, "a title")
	before := version()
	app.Request("PATCH", "/todos/"+todo.ID, `{"title":"another title"}`)
	if after := version(); before.Version == 0 || after != before {
		t.Errorf("the metrics went from version %d to %d", before.Version, after.Version)
	}
}

func TestMetricsEqualARecountAfterAStorm(t *testing.T) {
	t.Parallel()
	app := eddytest.New(t, functions.App())
	const clients, each = 8, 12
	var storm sync.WaitGroup
	for client := range clients {
		storm.Go(func() {
			for i := range each {
				id := create(app, "in the storm").ID
				for range (client + i) % 3 {
					eddytest.Call[todos.Toggled](app, "todos::toggle", todos.ByID{ID: id})
				}
				if i%4 == 0 {
					app.Request("DELETE", "/todos/"+id, "")
				}
			}
		})
	}
	storm.Wait()

	limit := 1000
	var recount todos.Metrics
	for _, todo := range eddytest.Call[[]todos.Todo](app, "todos::list", todos.ListInput{Limit: &limit}) {
		recount.Total++
		if todo.Completed {
			recount.Completed++
		}
	}
	if diff := cmp.Diff(recount, metrics(app)); diff != "" || recount.Total != clients*each*3/4 {
		t.Errorf("metrics (-recount +got):\n%s", diff)
	}
}

func TestSubscribersHearWhatHappenedInOrder(t *testing.T) {
	t.Parallel()
	app := eddytest.New(t, functions.App())
	created := create(app, "loud")
	id := todos.ByID{ID: created.ID}
	eddytest.Call[todos.Toggled](app, "todos::toggle", id)
	updated := eddytest.Call[todos.Todo](app, "todos::get", id)
	eddytest.Call[todos.Deleted](app, "todos::delete", id)
	app.Settle()

	var got []todos.TodoChanged
	for _, event := range app.Events("todos-live", "all") {
		var changed todos.TodoChanged
		if err := json.Unmarshal(event.Data, &changed); err != nil || event.Type != "todo_changed" {
			t.Fatalf("%s: %s", event.Type, event.Data)
		}
		got = append(got, changed)
	}
	want := []todos.TodoChanged{
		{Action: "created", Key: created.ID, Todo: &created},
		{Action: "updated", Key: created.ID, Todo: &updated},
		{Action: "deleted", Key: created.ID},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}
