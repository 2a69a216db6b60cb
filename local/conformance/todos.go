package conformance

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"
)

// todo is a todo as the app answers it.
type todo struct {
	ID        string `json:"id"`
	Title     string `json:"title"`
	Completed bool   `json:"completed"`
	CreatedAt string `json:"created_at"`
	UpdatedAt string `json:"updated_at,omitempty"`
}

const anyTodo = `{"id":"<string>","title":"<string>","completed":"<any>","created_at":"<time>","updated_at?":"<time>"}`

// newTodo is what a todo looks like that was created with the title.
func newTodo(title string) string {
	text, _ := json.Marshal(title) // a string always marshals
	return `{"id":"<string>","title":` + string(text) + `,"completed":false,"created_at":"<time>"}`
}

// create makes a todo that is removed again when the case ends.
func (s *suite) create(t *testing.T, title string) todo {
	t.Helper()
	a := s.post(t, "/todos", `{"title":`+encode(t, title)+`}`)
	a.wantJSON(t, 201, newTodo(strings.TrimSpace(title)))
	s.removeLater(t, a)
	var made todo
	decode(t, a.body, &made)
	return made
}

// removeLater removes the todo of the answer when the case ends.
func (s *suite) removeLater(t *testing.T, a answer) {
	t.Helper()
	var made todo
	decode(t, a.body, &made)
	t.Cleanup(func() {
		// The context of a case has ended when its cleanups run.
		if err := s.remove(context.Background(), made.ID); err != nil {
			t.Errorf("remove %s: %v", made.ID, err)
		}
	})
}

// remove deletes the todo, if it is there. It is for goroutines and cleanups.
func (s *suite) remove(ctx context.Context, id string) error {
	text, err := json.Marshal(map[string]string{"id": id})
	if err != nil {
		return err
	}
	a, err := s.do(ctx, request{method: "POST", path: "/todos/delete", body: string(text)})
	if err == nil && a.status != 200 {
		err = fmt.Errorf("status %d: %s", a.status, clip(string(a.body)))
	}
	return err
}

// todos checks every row of the app's routes.
func (s *suite) todos(t *testing.T) {
	s.parallel(t, []area{
		{"titles are 1 to 500 characters after trimming", s.titles},
		{"ids sort as they were created", s.ids},
		{"GET returns the todo, or not_found", func(t *testing.T) {
			made := s.create(t, "read me")
			s.get(t, "/todos/"+made.ID).wantJSON(t, 200, encode(t, made))
			s.get(t, "/todos/"+unique("none")).wantError(t, "not_found")
		}},
		{"PATCH edits what it names", s.edit},
		{"DELETE removes, and then finds nothing", func(t *testing.T) {
			made := s.create(t, "remove me")
			a := s.send(t, request{method: "DELETE", path: "/todos/" + made.ID})
			if a.status != 204 || len(a.body) != 0 {
				t.Errorf("status %d with %q, want 204 without a body", a.status, a.body)
			}
			s.send(t, request{method: "DELETE", path: "/todos/" + made.ID}).wantError(t, "not_found")
			s.get(t, "/todos/"+made.ID).wantError(t, "not_found")
		}},
		{"POST delete answers the same when it was gone already", func(t *testing.T) {
			made := s.create(t, "delete me")
			for range 2 {
				s.post(t, "/todos/delete", `{"id":"`+made.ID+`"}`).wantJSON(t, 200, `{"deleted":"`+made.ID+`"}`)
			}
			s.get(t, "/todos/"+made.ID).wantError(t, "not_found")
			s.post(t, "/todos/delete", `{}`).wantError(t, "invalid_argument", "id")
		}},
		{"toggle flips and says when", s.toggle},
		{"two toggles at once both count", s.togglesAtOnce},
		{"pages lead through every todo, in order", s.pages},
		{"metrics are two counts, on both routes", func(t *testing.T) {
			for _, path := range []string{"/todos/metrics", "/metrics"} {
				s.get(t, path).wantJSON(t, 200, `{"total":"<count>","completed":"<count>"}`)
			}
		}},
		{"every route is a function to call by its id", s.byID},
	})
}

func (s *suite) titles(t *testing.T) {
	accepted := []struct{ name, title string }{
		{"one character", "x"},
		{"500 characters", strings.Repeat("x", 500)},
		{"500 characters of two bytes", strings.Repeat("é", 500)},
		{"500 characters of four bytes", strings.Repeat("🌊", 500)},
		{"500 characters between blanks", " \t\n" + strings.Repeat("x", 500) + "  "},
		{"blanks around it", "  trimmed  "},
		{"characters that JSON or HTML escape", `<b> & "quotes" \ / ` + "\u2028 end"},
	}
	for _, c := range accepted {
		t.Run(c.name+" is a title", func(t *testing.T) {
			t.Parallel()
			made := s.create(t, c.title)
			if made.Title != strings.TrimSpace(c.title) {
				t.Errorf("the title is %q", made.Title)
			}
			s.get(t, "/todos/"+made.ID).wantJSON(t, 200, encode(t, made))
		})
	}
	refused := []struct{ name, title string }{
		{"nothing", ""},
		{"only blanks", " \t\n "},
		{"501 characters", strings.Repeat("x", 501)},
		{"501 characters of two bytes", strings.Repeat("é", 501)},
	}
	for _, c := range refused {
		t.Run(c.name+" is no title", func(t *testing.T) {
			t.Parallel()
			body := `{"title":` + encode(t, c.title) + `}`
			s.post(t, "/todos", body).wantError(t, "invalid_argument", "title")
			made := s.create(t, "to be edited")
			s.send(t, request{method: "PATCH", path: "/todos/" + made.ID, body: body}).
				wantError(t, "invalid_argument", "title")
			s.get(t, "/todos/"+made.ID).wantJSON(t, 200, encode(t, made))
		})
	}
}

func (s *suite) ids(t *testing.T) {
	var ids []string
	for range 5 {
		ids = append(ids, s.create(t, "sortable").ID)
	}
	if !sorted(ids) {
		t.Errorf("ids in the order of their creation: %q", ids)
	}
	for _, id := range ids {
		if !strings.HasPrefix(id, "todo-") || !utf8.ValidString(id) {
			t.Errorf("an id is %q, want todo-…", id)
		}
	}
}

func (s *suite) edit(t *testing.T) {
	made := s.create(t, "first")
	expect := func(title string, completed bool) string {
		return fmt.Sprintf(`{"id":%q,"title":%q,"completed":%t,"created_at":%q,"updated_at?":"<time>"}`,
			made.ID, title, completed, made.CreatedAt)
	}
	for _, c := range []struct {
		body, title string
		completed   bool
	}{
		{`{"title":" second "}`, "second", false},
		{`{"completed":true}`, "second", true},
		{`{"title":"third","completed":false}`, "third", false},
		{`{}`, "third", false},
	} {
		a := s.send(t, request{method: "PATCH", path: "/todos/" + made.ID, body: c.body})
		a.wantJSON(t, 200, expect(c.title, c.completed))
		s.get(t, "/todos/"+made.ID).wantJSON(t, 200, string(a.body))
	}
	s.send(t, request{method: "PATCH", path: "/todos/" + unique("none"), body: `{"completed":true}`}).
		wantError(t, "not_found")
}

func (s *suite) toggle(t *testing.T) {
	made := s.create(t, "toggle me")
	for _, completed := range []bool{true, false} {
		s.post(t, "/todos/toggle", `{"id":"`+made.ID+`"}`).
			wantJSON(t, 200, fmt.Sprintf(`{"id":%q,"completed":%t}`, made.ID, completed))
		s.get(t, "/todos/"+made.ID).wantJSON(t, 200, fmt.Sprintf(
			`{"id":%q,"title":"toggle me","completed":%t,"created_at":%q,"updated_at":"<time>"}`,
			made.ID, completed, made.CreatedAt))
	}
	s.post(t, "/todos/toggle", `{"id":"`+unique("none")+`"}`).wantError(t, "not_found")
	s.post(t, "/todos/toggle", `{}`).wantError(t, "invalid_argument", "id")
	s.post(t, "/todos/toggle", `{"id":7}`).wantError(t, "invalid_argument", "id")
}

func (s *suite) togglesAtOnce(t *testing.T) {
	made := s.create(t, "toggle me twice")
	for range 10 {
		states := make([]bool, 2)
		atOnce(t, 2, func(i int) (err error) {
			states[i], err = s.flip(t.Context(), made.ID)
			return err
		})
		if states[0] == states[1] {
			t.Fatalf("both toggles answered completed = %t", states[0])
		}
		var now todo
		decode(t, s.get(t, "/todos/"+made.ID).body, &now)
		if now.Completed {
			t.Fatal("two toggles left it completed")
		}
	}
}

// flip toggles the todo and returns what the answer says. It is for goroutines.
func (s *suite) flip(ctx context.Context, id string) (completed bool, err error) {
	a, err := s.do(ctx, request{method: "POST", path: "/todos/toggle", body: `{"id":"` + id + `"}`})
	if err != nil {
		return false, err
	}
	if a.status != 200 {
		return false, fmt.Errorf("toggle: status %d: %s", a.status, clip(string(a.body)))
	}
	var flipped todo
	err = json.Unmarshal(a.body, &flipped)
	return flipped.Completed, err
}

func (s *suite) pages(t *testing.T) {
	const more = 105 // than the default limit
	mine := s.createMany(t, more)
	first := s.get(t, "/todos")
	if n := countTodos(t, first); n != 100 || first.header.Get("X-Next-Cursor") == "" {
		t.Errorf("the first page has %d todos and the cursor %q, want 100 and one",
			n, first.header.Get("X-Next-Cursor"))
	}
	if cursor := first.header.Get("X-Next-Cursor"); cursor != url.QueryEscape(cursor) {
		t.Errorf("the cursor %q is not URL-safe", cursor)
	}
	s.get(t, "/todos?limit=2&cursor=").wantJSON(t, 200, "["+anyTodo+","+anyTodo+"]")
	for _, limit := range []int{30, 1000} {
		all, err := s.walk(t.Context(), limit)
		if err != nil {
			t.Fatal(err)
		}
		seen := make(map[string]int)
		ids := make([]string, len(all))
		for i, one := range all {
			seen[one.ID]++
			ids[i] = one.ID
		}
		if !sorted(ids) {
			t.Errorf("pages of %d are not in ascending order", limit)
		}
		for _, id := range mine {
			if seen[id] != 1 {
				t.Errorf("pages of %d show %s %d times", limit, id, seen[id])
			}
		}
	}
}

// createMany makes n todos at once, removed again at once when the case ends.
func (s *suite) createMany(t *testing.T, n int) []string {
	t.Helper()
	ids := make([]string, n)
	t.Cleanup(func() {
		atOnce(t, n, func(i int) error {
			if ids[i] == "" {
				return nil // it was never made
			}
			return s.remove(context.Background(), ids[i])
		})
	})
	atOnce(t, n, func(i int) (err error) {
		ids[i], err = s.add(t.Context(), fmt.Sprintf("one of %d", n))
		return err
	})
	return ids
}

// add creates a todo and leaves it. It is for goroutines; title is plain text without quotes.
func (s *suite) add(ctx context.Context, title string) (id string, err error) {
	a, err := s.do(ctx, request{method: "POST", path: "/todos", body: `{"title":"` + title + `"}`})
	if err != nil {
		return "", err
	}
	if a.status != http.StatusCreated {
		return "", fmt.Errorf("create: status %d: %s", a.status, clip(string(a.body)))
	}
	var made todo
	err = json.Unmarshal(a.body, &made)
	return made.ID, err
}

func countTodos(t *testing.T, a answer) int {
	t.Helper()
	var page []todo
	decode(t, a.body, &page)
	return len(page)
}

// walk reads all todos, page by page.
func (s *suite) walk(ctx context.Context, limit int) ([]todo, error) {
	var all []todo
	for cursor := ""; ; {
		a, err := s.do(ctx, request{
			method: "GET", path: fmt.Sprintf("/todos?limit=%d&cursor=%s", limit, url.QueryEscape(cursor)),
		})
		if err != nil {
			return nil, err
		}
		var page []todo
		if err := json.Unmarshal(a.body, &page); err != nil || a.status != 200 || len(page) > limit {
			return nil, fmt.Errorf("page: status %d with %d todos: %s", a.status, len(page), clip(string(a.body)))
		}
		all = append(all, page...)
		if cursor = a.header.Get("X-Next-Cursor"); cursor == "" {
			return all, nil
		}
	}
}

func (s *suite) byID(t *testing.T) {
	a := s.invoke(t, "todos::create", `{"title":"called"}`)
	a.wantJSON(t, 200, newTodo("called"))
	s.removeLater(t, a)
	var made todo
	decode(t, a.body, &made)
	id := `{"id":"` + made.ID + `"}`
	s.invoke(t, "todos::get", id).wantJSON(t, 200, encode(t, made))
	s.invoke(t, "todos::edit", `{"id":"`+made.ID+`","title":"edited"}`).wantJSON(t, 200, fmt.Sprintf(
		`{"id":%q,"title":"edited","completed":false,"created_at":%q,"updated_at?":"<time>"}`, made.ID, made.CreatedAt))
	s.invoke(t, "todos::toggle", id).wantJSON(t, 200, `{"id":"`+made.ID+`","completed":true}`)
	s.invoke(t, "todos::list", `{"limit":1}`).wantJSON(t, 200, "["+anyTodo+"]")
	s.invoke(t, "todos::get-metrics", `{}`).wantJSON(t, 200, `{"total":"<count>","completed":"<count>"}`)
	s.invoke(t, "todos::remove", id).wantJSON(t, 200, "null")
	s.invoke(t, "todos::remove", id).wantError(t, "not_found")
	s.invoke(t, "todos::delete", id).wantJSON(t, 200, `{"deleted":"`+made.ID+`"}`)
	s.invoke(t, "todos::create", `{"title":"called","colour":1}`).wantError(t, "invalid_argument", "colour")
}
