package state_test

import (
	"net/url"
	"testing"

	"pgregory.net/rapid"

	"github.com/eddyhq/eddy/shared/errs"
	"github.com/eddyhq/eddy/shared/port"
	"github.com/eddyhq/eddy/shared/state"
)

func TestCursorsComeBack(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		c := port.Scope(rapid.String().Draw(t, "scope"))
		prefix, key := rapid.String().Draw(t, "prefix"), rapid.String().Draw(t, "key")
		cursor := state.EncodeCursor(c, prefix, key)
		if cursor == "" || url.QueryEscape(cursor) != cursor {
			t.Fatalf("%q is not safe in a URL", cursor)
		}
		if got, err := state.DecodeCursor(c, prefix, cursor); err != nil || got != key {
			t.Fatalf("got %q, %v; want %q", got, err, key)
		}
		if got, err := state.DecodeCursor(c+"x", prefix, cursor); errs.CodeOf(err) != errs.InvalidArgument {
			t.Fatalf("another collection: %q, %v", got, err)
		}
		if got, err := state.DecodeCursor(c, prefix+"x", cursor); errs.CodeOf(err) != errs.InvalidArgument {
			t.Fatalf("another prefix: %q, %v", got, err)
		}
	})
}

func TestAnEmptyCursorIsTheFirstPage(t *testing.T) {
	t.Parallel()
	if after, err := state.DecodeCursor(port.Scope("s"), "p", ""); after != "" || err != nil {
		t.Errorf("got %q, %v", after, err)
	}
}

func FuzzDecodeCursor(f *testing.F) {
	c := port.Scope("s")
	f.Add(state.EncodeCursor(c, "", "todo-1"))
	f.Add("AAAA")
	f.Add("%%%")
	f.Fuzz(func(t *testing.T, cursor string) {
		after, err := state.DecodeCursor(c, "", cursor)
		switch {
		case err != nil && errs.CodeOf(err) != errs.InvalidArgument:
			t.Fatal(err)
		case err == nil && cursor != "" && state.EncodeCursor(c, "", after) != cursor:
			t.Fatalf("%q was accepted as %q", cursor, after)
		}
	})
}
