package conformance

import (
	"fmt"
	"testing"
)

// needs skips the case when the deployed app lacks a function. Those of the area proof:: are there to be tested with, and a
// deployment of the todo app alone has none.
func (s *suite) needs(t *testing.T, function string) {
	t.Helper()
	var all []struct{ ID string }
	decode(t, s.get(t, "/_eddy/functions").body, &all)
	for _, one := range all {
		if one.ID == function {
			return
		}
	}
	t.Skipf("the app has no function %s: see functions/testdata/proof for one that has", function)
}

// line is what a message has left in a journal of the proof app.
type line struct{ Text, Delivery string }

// lines returns what is in a journal.
func (s *suite) lines(t *testing.T, journal string) []line {
	t.Helper()
	var content struct{ Lines []line }
	decode(t, s.must(t, "state::get", `{"scope":"proof-journals","key":"`+journal+`"}`), &content)
	return content.Lines
}

// wantLines waits until a journal has n lines, wants it not to have more, and returns them.
func (s *suite) wantLines(t *testing.T, journal string, n int) (found []line) {
	t.Helper()
	eventually(t, "the messages are handled", func() error {
		if found = s.lines(t, journal); len(found) < n {
			return fmt.Errorf("the journal has %d lines, want %d: %v", len(found), n, found)
		}
		return nil
	})
	if len(found) > n {
		t.Errorf("the journal has %d lines, want %d: %v", len(found), n, found)
	}
	return found
}
