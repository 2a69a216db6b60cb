package todos

import (
	"context"
	"strings"
	"unicode/utf8"

	"github.com/eddyhq/eddy/shared/eddy"
)

// CreateInput is the input of Create.
type CreateInput struct {
	Title string `json:"title"`
}

// Create adds a todo and returns it.
func Create(ctx context.Context, in CreateInput) (Todo, error) {
	title, err := cleanTitle(in.Title)
	if err != nil {
		return Todo{}, err
	}
	todo := Todo{ID: "todo-" + eddy.NewID(ctx), Title: title, CreatedAt: eddy.Now(ctx)}
	return todo, todos.Set(ctx, todo.ID, todo)
}

// ListInput is the input of List.
type ListInput struct {
	Limit  *int   `json:"limit"`            // 1 to 1,000
	Cursor string `json:"cursor,omitempty"` // from the header X-Next-Cursor of the page before
}

// List returns a page of todos, oldest first. When there are more, the header X-Next-Cursor has the cursor of the
// next page.
func List(ctx context.Context, in ListInput) ([]Todo, error) {
	limit := eddy.DefaultLimit
	if in.Limit != nil {
		limit = *in.Limit
	}
	page, err := todos.List(ctx, "", limit, in.Cursor)
	if err != nil {
		return nil, err
	}
	if page.Cursor != "" {
		eddy.SetHeader(ctx, "X-Next-Cursor", page.Cursor)
	}
	return page.Values(), nil
}

// ByID is the input of what is about one todo.
type ByID struct {
	ID string `json:"id"`
}

// Get returns a todo.
func Get(ctx context.Context, in ByID) (Todo, error) {
	return todos.Get(ctx, in.ID)
}

// EditInput is the input of Edit. What is not given stays as it is.
type EditInput struct {
	ID        string  `json:"id"`
	Title     *string `json:"title"`
	Completed *bool   `json:"completed"`
}

// Edit changes a todo and returns it.
func Edit(ctx context.Context, in EditInput) (Todo, error) {
	return todos.Modify(ctx, in.ID, func(todo *Todo) (err error) {
		if in.Title != nil {
			todo.Title, err = cleanTitle(*in.Title)
		}
		if in.Completed != nil {
			todo.Completed = *in.Completed
		}
		todo.UpdatedAt = eddy.Now(ctx)
		return err
	})
}

// Toggled is the output of Toggle.
type Toggled struct {
	ID        string `json:"id"`
	Completed bool   `json:"completed"`
}

// Toggle completes a todo, or reopens it. Of two toggles at once, both count.
func Toggle(ctx context.Context, in ByID) (Toggled, error) {
	todo, err := todos.Modify(ctx, in.ID, func(todo *Todo) error {
		todo.Completed = !todo.Completed
		todo.UpdatedAt = eddy.Now(ctx)
		return nil
	})
	return Toggled{ID: todo.ID, Completed: todo.Completed}, err
}

// Remove deletes a todo that must exist.
func Remove(ctx context.Context, in ByID) (eddy.None, error) {
	_, err := todos.Take(ctx, in.ID)
	return eddy.None{}, err
}

// Deleted is the output of Delete.
type Deleted struct {
	Deleted string `json:"deleted"`
}

// Delete makes sure that a todo is gone.
func Delete(ctx context.Context, in ByID) (Deleted, error) {
	return Deleted{Deleted: in.ID}, todos.Delete(ctx, in.ID)
}

const maxTitle = 500 // characters

// cleanTitle returns a title without blanks around it, or says what is wrong with it.
func cleanTitle(title string) (string, error) {
	title = strings.TrimSpace(title)
	switch {
	case title == "":
		return "", eddy.Invalid("title", "must not be empty")
	case utf8.RuneCountInString(title) > maxTitle:
		return "", eddy.Invalid("title", "must not be longer than 500 characters")
	}
	return title, nil
}
