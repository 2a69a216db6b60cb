package crash_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// belief is every state that something can be in, as far as its only writer knows.
type belief[S comparable] []S

// did takes an acknowledged operation. The step says what it makes of a state, and whether the answer fits that; it
// reports false when the answer fits no state that was possible.
func (b *belief[S]) did(step func(S) (S, bool)) bool {
	var after belief[S]
	for _, before := range *b {
		if next, fits := step(before); fits {
			after.add(next)
		}
	}
	*b = after
	return len(after) > 0
}

// mayHaveDone takes an operation without an answer: from each state it leads on, or it does not.
func (b *belief[S]) mayHaveDone(step func(S) S) {
	for _, before := range slices.Clone(*b) {
		b.add(step(before))
	}
}

// saw takes an observation: only the states that fit it remain. It reports false when none does.
func (b *belief[S]) saw(fits func(S) bool) bool {
	return b.did(func(s S) (S, bool) { return s, fits(s) })
}

// certain returns the only possible state, if there is only one.
func (b *belief[S]) certain() (state S, ok bool) {
	if len(*b) != 1 {
		return state, false
	}
	return (*b)[0], true
}

func (b *belief[S]) add(s S) {
	if !slices.Contains(*b, s) {
		*b = append(*b, s)
	}
}

func TestBelief(t *testing.T) {
	t.Parallel()
	increment := func(n int) int { return n + 1 }
	incrementTo := func(answer int) func(int) (int, bool) {
		return func(n int) (int, bool) { return n + 1, n+1 == answer }
	}
	is := func(want int) func(int) bool { return func(n int) bool { return n == want } }
	tests := []struct {
		name string
		does func(*belief[int]) bool
		want belief[int]
		ok   bool
	}{
		{"an acknowledged step is certain", func(b *belief[int]) bool { return b.did(incrementTo(1)) }, belief[int]{1}, true},
		{"an answer that fits no state is impossible", func(b *belief[int]) bool { return b.did(incrementTo(2)) }, nil, false},
		{"a lost answer leaves both states", func(b *belief[int]) bool {
			b.mayHaveDone(increment)
			return true
		}, belief[int]{0, 1}, true},
		{"two lost answers leave three states", func(b *belief[int]) bool {
			b.mayHaveDone(increment)
			b.mayHaveDone(increment)
			return true
		}, belief[int]{0, 1, 2}, true},
		{"an answer tells what an earlier lost one did", func(b *belief[int]) bool {
			b.mayHaveDone(increment)
			return b.did(incrementTo(2))
		}, belief[int]{2}, true},
		{"an observation decides", func(b *belief[int]) bool {
			b.mayHaveDone(increment)
			return b.saw(is(1))
		}, belief[int]{1}, true},
		{"an observation of what cannot be is refused", func(b *belief[int]) bool {
			b.mayHaveDone(increment)
			return b.saw(is(2))
		}, nil, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			b := belief[int]{0}
			if ok := test.does(&b); ok != test.ok {
				t.Errorf("possible = %t, want %t", ok, test.ok)
			}
			if diff := cmp.Diff(test.want, b); diff != "" {
				t.Errorf("states (-want +got):\n%s", diff)
			}
		})
	}
}
