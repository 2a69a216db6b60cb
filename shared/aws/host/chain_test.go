package host

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eddyhq/eddy/shared/eddy"
	"github.com/eddyhq/eddy/shared/reaction"
)

// chain is an app in which a write leads to a message, and that to a write, until a number is reached. The n-th write is
// 2n functions deep.
func chain(until int) *eddy.App {
	app := eddy.New()
	eddy.Register(app, "c::begin", func(ctx context.Context, _ struct {
		ID string `json:"id"`
	}) (eddy.None, error) {
		return eddy.None{}, papers.Set(ctx, "link", paper{})
	}, eddy.HTTP("PUT /begin/{id}"), eddy.Uses(papers))
	eddy.React(app, "c::react", func(ctx context.Context, c eddy.Change[paper]) error {
		if c.New.N == until {
			return nil
		}
		_, err := eddy.Enqueue(ctx, "links", c.New)
		return err
	}, papers.Changes(), eddy.Uses(eddy.Enqueues("links")))
	eddy.Register(app, "c::write", func(ctx context.Context, in paper) (eddy.None, error) {
		return eddy.None{}, papers.Set(ctx, "link", paper{in.N + 1})
	}, eddy.Queue("links"), eddy.Uses(papers))
	return app
}

func TestAChainOfLambdasEnds(t *testing.T) {
	t.Parallel()
	const limit = reaction.MaxDepth / 2
	for _, test := range []struct {
		name    string
		until   int
		oneIn   int // requests of which one goes wrong
		written int
		letters int
	}{
		{"one that settles at the limit is untouched", limit, 0, limit, 0},
		{"however much goes wrong on the way", limit, 5, limit, 0},
		{"one that goes on becomes a dead letter that names it", limit + 1, 0, limit, 1},
		{"one that never ends too, however much goes wrong", -1, 5, limit, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, chain(test.until), &faults{seed: 1, oneIn: test.oneIn, waiting: true}, newDynamoDB(), time.Now, time.Sleep)
				for w.request("PUT /begin/{id}", "x", "{}", map[string]string{"idempotency-key": "once"}) != 200 {
				}
				w.settle(w.step)
				var last paper
				w.document("papers", "link", &last)
				letters := w.letters()
				if last.N != test.written || len(letters) != test.letters {
					t.Fatalf("written up to %d, dead letters %+v", last.N, letters)
				}
				for _, l := range letters {
					names := strings.Count(l.Message, "c::react -> c::write")
					if l.Function != "c::write" || l.Code != "condition_not_met" || names != limit+1 || l.Attempts != 1 {
						t.Errorf("the dead letter is %+v", l)
					}
				}
			})
		})
	}
}

func TestARequestIsMadeOnceByItsKey(t *testing.T) {
	t.Parallel()
	got, s := play(t, &faults{seed: 1}, func(s *story) {
		for _, test := range []struct {
			name, route, id, key, body string
			status                     int
			replayed                   string
		}{
			{"a request with a key", "POST /pay/{id}", "a", "k", "{}", 200, ""},
			{"the same again", "POST /pay/{id}", "a", "k", "{}", 200, "true"},
			{"another one with that key", "POST /pay/{id}", "b", "k", "{}", 422, ""},
			{"the same by another route", "POST /_eddy/invoke/f::pay", "", "k", `{"id":"a"}`, 422, ""},
			{"a call with a key", "POST /_eddy/invoke/f::pay", "", "l", `{"id":"l"}`, 200, ""},
			{"the same again", "POST /_eddy/invoke/f::pay", "", "l", `{"id":"l"}`, 200, "true"},
			{"a call of an engine function", "POST /_eddy/invoke/state::delete", "", "m", `{"scope":"papers","key":"x"}`, 200, ""},
			{"the same again", "POST /_eddy/invoke/state::delete", "", "m", `{"scope":"papers","key":"x"}`, 200, "true"},
			{"a key that is none", "POST /pay/{id}", "c", "\x01", "{}", 400, ""},
		} {
			answer := s.ask(test.route, test.id, test.body, map[string]string{"idempotency-key": test.key})
			if answer.StatusCode != test.status || answer.Headers["Idempotent-Replayed"] != test.replayed {
				s.t.Errorf("%s: %+v", test.name, answer)
			}
		}
		s.paid = []string{"a", "l"}
	})
	s.report(t, got, "two requests with keys")
}
