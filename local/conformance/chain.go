package conformance

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// chains checks the guard against reactions that never come to an end, with a ball that two of the proof app strike to and fro.
func (s *suite) chains(t *testing.T) {
	s.parallel(t, []area{
		{"a chain that settles at the limit is untouched", s.settlingChain},
		{"a chain without an end becomes a dead letter that names it", s.endlessChain},
	})
}

// maxDepth is how many functions can lie between what a client did and a reaction.
const maxDepth = 16

// strike has a ball struck so many times, and returns its key.
func (s *suite) strike(t *testing.T, key string, until int) {
	t.Helper()
	s.must(t, "state::set", fmt.Sprintf(`{"scope":"proof-pings","key":%q,"value":{"strokes":0,"until":%d}}`, key, until))
}

// wantBall waits for a ball to be in the scope, struck so many times.
func (s *suite) wantBall(t *testing.T, scope, key string, strokes int) {
	t.Helper()
	eventually(t, "the ball is struck", func() error {
		return match(s.must(t, "state::get", `{"scope":"`+scope+`","key":"`+key+`"}`),
			fmt.Sprintf(`{"strokes":%d,"until":"<count>"}`, strokes))
	})
}

// lostBalls returns the dead letters that are about the ball.
func (s *suite) lostBalls(t *testing.T, key string) []letter {
	t.Helper()
	all := append(s.letters(t, `"function_id":"proof::ping"`, 1000), s.letters(t, `"function_id":"proof::pong"`, 1000)...)
	return slices.DeleteFunc(all, func(l letter) bool { return l.Payload.Key != key })
}

func (s *suite) settlingChain(t *testing.T) {
	s.needs(t, "proof::ping")
	key := unique("ball")
	s.strike(t, key, maxDepth)
	s.wantBall(t, "proof-pings", key, maxDepth)
	// The next ball is behind the last stroke of this one: once it is over there, that has been handled.
	s.strike(t, key, 1)
	s.wantBall(t, "proof-pongs", key, 1)
	if lost := s.lostBalls(t, key); len(lost) > 0 {
		t.Errorf("the chain was cut: %s", lost[0].text)
	}
}

func (s *suite) endlessChain(t *testing.T) {
	s.needs(t, "proof::ping")
	key := unique("ball")
	s.strike(t, key, 1_000_000)
	var lost []letter
	eventually(t, "the chain is cut", func() error {
		if lost = s.lostBalls(t, key); len(lost) == 0 {
			return fmt.Errorf("there is no dead letter")
		}
		return nil
	})
	s.wantBall(t, "proof-pongs", key, maxDepth+1)
	var chain []string
	for i := range maxDepth + 1 {
		chain = append(chain, []string{"proof::ping", "proof::pong"}[i%2])
	}
	l := lost[0]
	if len(lost) != 1 || l.Function != "proof::pong" || !slices.Equal(l.Chain, chain) ||
		!strings.Contains(l.Message, strings.Join(append(chain, l.Function), " -> ")) {
		t.Errorf("%d dead letters, the first of them %s, want one of proof::pong after %q", len(lost), l.text, chain)
	}
	s.invoke(t, "queue::discard", fmt.Sprintf(`{"function_id":%q,"id":%q}`, l.Function, l.ID)).wantJSON(t, 200, `{"discarded":1}`)
}
