package porttest

import (
	"context"
	"fmt"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/eddyhq/eddy/shared/document"
	"github.com/eddyhq/eddy/shared/port"
)

// when is a time that every adapter can keep: to the microsecond, in UTC.
var when = time.Date(2026, 11, 23, 12, 30, 45, 123456000, time.UTC)

func letterCases() []testCase {
	return []testCase{
		{"there are none at first", func(f *fixture) {
			f.wantLetters("", port.LetterID{}, 10, false)
			f.wantLetters("a::b", port.LetterID{}, 10, false)
		}},
		{"a failed delivery is kept as it was", func(f *fixture) {
			change := letter("a::b", "1")
			call := letter("a::b", "2")
			call.Record = port.Record{Target: "a::b", Call: &port.Call{ID: "2", Function: "a::b", Payload: document.Value(`[]`)}}
			f.commit(port.Commit{Failed: []port.DeadLetter{change, call}})
			f.wantLetters("a::b", port.LetterID{}, 10, false, change, call)
		}},
		{"they are in order of function and id, page by page", func(f *fixture) {
			var want []port.DeadLetter
			for i := range 10 {
				want = append(want, letter("a::b", fmt.Sprintf("id-%d", i)))
			}
			for i := range want {
				f.bury(want[len(want)-1-i])
			}
			others := []port.DeadLetter{letter("a::a", "z"), letter("a::bc", "y")}
			f.bury(others...)
			f.wantLetters("a::b", port.LetterID{}, 100, false, want...)
			f.wantLetters("a::b", port.LetterID{}, 4, true, want[:4]...)
			f.wantLetters("a::b", port.LetterID{Function: "a::b", ID: "id-3"}, 4, true, want[4:8]...)
			f.wantLetters("a::b", port.LetterID{Function: "a::b", ID: "id-7"}, 4, false, want[8:]...)
			f.wantLetters("a::b", port.LetterID{}, 10, false, want...)
			all := append(append([]port.DeadLetter{others[0]}, want...), others[1])
			f.wantLetters("", port.LetterID{}, 100, false, all...)
			f.wantLetters("", port.LetterID{Function: "a::b", ID: "id-3"}, 3, true, want[4:7]...)
			f.wantLetters("", port.LetterID{Function: "a::b", ID: "id-8"}, 100, false, all[10:]...)
		}},
		{"one is kept in one step with the rest of its commit", func(f *fixture) {
			commit := port.Commit{
				Cursors: []port.Cursor{{Name: "c", Version: 3}},
				Failed:  []port.DeadLetter{letter("a::b", "1")},
			}
			f.commit(commit)
			commit.Failed[0].ID = "2"
			f.wantStale(commit)
			f.wantLetters("a::b", port.LetterID{}, 10, false, letter("a::b", "1"))
		}},
		{"redrive puts its record back into the log, for its function alone", func(f *fixture) {
			l := letter("a::b", "1")
			f.bury(l, letter("a::c", "1"))
			f.wantTaken(f.Ledger.Redrive, "a::b", "1", true)
			f.wantTaken(f.Ledger.Redrive, "a::b", "1", false)
			f.wantLetters("", port.LetterID{}, 10, false, letter("a::c", "1"))
			record := l.Record
			record.Target = "a::b"
			f.same("records", f.records(), []port.Record{record})
		}},
		{"discard removes it", func(f *fixture) {
			f.bury(letter("a::b", "1"), letter("a::b", "2"))
			f.wantTaken(f.Ledger.Discard, "a::b", "1", true)
			f.wantTaken(f.Ledger.Discard, "a::b", "1", false)
			f.wantTaken(f.Ledger.Redrive, "a::b", "1", false)
			f.wantLetters("a::b", port.LetterID{}, 10, false, letter("a::b", "2"))
			f.same("number of records", len(f.records()), 0)
		}},
		{"what was never there cannot be taken", func(f *fixture) {
			f.bury(letter("a::b", "1"))
			f.wantTaken(f.Ledger.Redrive, "a::b", "2", false)
			f.wantTaken(f.Ledger.Discard, "a::c", "1", false)
		}},
		{"of many who redrive one, one does", func(f *fixture) {
			f.bury(letter("a::b", "1"))
			taken := make(chan bool, 16)
			f.inParallel(cap(taken), func(int) {
				found, err := f.Ledger.Redrive(f.Context(), "a::b", "1")
				if err != nil {
					f.Errorf("redrive: %v", err)
				}
				taken <- found
			})
			close(taken)
			n := 0
			for found := range taken {
				if found {
					n++
				}
			}
			f.same("redriven", n, 1)
			f.same("number of records", len(f.records()), 1)
		}},
	}
}

func letter(function, id string) port.DeadLetter {
	return port.DeadLetter{
		ID:       id,
		Function: function,
		Record: port.Record{
			Cause: port.Cause{Root: "root", Chain: []string{"x::y"}},
			Change: &port.Change{
				Collection: todos, Key: "key-" + id, Old: document.Value(`{"n":1}`), New: document.Value(`{"n":2}`), Version: 42,
			},
		},
		Code:     "internal",
		Message:  "it did not work: " + id,
		Attempts: 8,
		First:    when,
		Last:     when.Add(time.Minute),
	}
}

func (f *fixture) bury(letters ...port.DeadLetter) {
	f.Helper()
	f.commit(port.Commit{Failed: letters})
}

func (f *fixture) wantLetters(function string, after port.LetterID, limit int, more bool, want ...port.DeadLetter) {
	f.Helper()
	got, gotMore, err := f.Ledger.DeadLetters(f.Context(), function, after, limit)
	if err != nil {
		f.Fatalf("dead letters: %v", err)
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		f.Errorf("dead letters of %q after %q (-want +got):\n%s", function, after, diff)
	}
	f.same("more", gotMore, more)
}

func (f *fixture) wantTaken(take func(context.Context, string, string) (bool, error), function, id string, want bool) {
	f.Helper()
	found, err := take(f.Context(), function, id)
	if err != nil {
		f.Fatalf("take %s %s: %v", function, id, err)
	}
	f.same("found "+function+" "+id, found, want)
}
