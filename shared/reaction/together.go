package reaction

import (
	"context"
	"sync"
	"time"

	"github.com/eddyhq/eddy/shared/port"
)

// Attempt is a delivery with the failed attempts at it so far.
type Attempt struct {
	Delivery *Delivery
	Past     port.Attempts
}

// Outcome is what an attempt came to, as Deliver returns it.
type Outcome struct {
	Attempts port.Attempts // to give with the next attempt
	Wait     time.Duration // before the next attempt
	Done     bool          // it needs no further attempt
}

// DeliverTogether makes one attempt at each of several deliveries, no two of one lane, and returns the outcomes in their
// order. Each is one that Deliver could have given: they fail and take effect each for itself.
//
// The handlers run side by side, no more of them than any of the functions allows. What they did is committed together
// where it can be told apart again by nothing but the cause of its changes: several changes of one counter become one, and
// the changes of different deliveries carry the root of the first one. What one commit cannot hold, or is refused as one,
// is committed one by one.
func (r *Runner) DeliverTogether(ctx context.Context, attempts []Attempt) []Outcome {
	outcomes := make([]Outcome, len(attempts))
	effects := r.runTogether(ctx, attempts, outcomes)
	var lost []int
	for len(effects) > 0 {
		var together joint
		effects = together.take(effects)
		for i, err := range r.commitJoint(ctx, &together) {
			if lostRace(err) {
				lost = append(lost, i)
				continue
			}
			outcomes[i] = r.outcome(ctx, attempts[i], err)
		}
	}
	// Mostly it was a race with one another: one by one, each of them wins.
	for _, i := range lost {
		outcomes[i] = one(r.Deliver(ctx, attempts[i].Delivery, attempts[i].Past))
	}
	return outcomes
}

// effect is what the handler of an attempt did.
type effect struct {
	attempt int // its index
	commit  port.Commit
}

// runTogether runs the handlers and returns what the attempts did, in their order. The outcomes of those that failed are
// put into outcomes.
func (r *Runner) runTogether(ctx context.Context, attempts []Attempt, outcomes []Outcome) []effect {
	commits := make([]port.Commit, len(attempts))
	failures := make([]error, len(attempts))
	slots := make(chan struct{}, sideBySide(attempts))
	var running sync.WaitGroup
	for i, a := range attempts {
		slots <- struct{}{}
		running.Go(func() {
			defer func() { <-slots }()
			commits[i], failures[i] = r.run(ctx, a.Delivery, a.Past.Count+1)
			if failures[i] != nil {
				outcomes[i] = r.outcome(ctx, a, failures[i])
			}
		})
	}
	running.Wait()
	effects := make([]effect, 0, len(attempts))
	for i := range attempts {
		if failures[i] == nil {
			effects = append(effects, effect{i, commits[i]})
		}
	}
	return effects
}

// sideBySide returns how many of the handlers may run at a time.
func sideBySide(attempts []Attempt) int {
	n := max(1, len(attempts))
	for _, a := range attempts {
		n = min(n, a.Delivery.Function.Concurrency)
	}
	return n
}

// commitJoint commits effects together, and one by one where that fails. It returns the error of each by the index of its
// attempt.
func (r *Runner) commitJoint(ctx context.Context, together *joint) map[int]error {
	results := make(map[int]error, len(together.effects))
	if len(together.effects) > 1 {
		_, err := r.host.Commit(ctx, together.commit)
		if err == nil || ctx.Err() != nil {
			for _, e := range together.effects {
				results[e.attempt] = err
			}
			return results
		}
		r.logger.DebugContext(ctx, "deliveries are committed one by one", "deliveries", len(together.effects), "error", err)
	}
	for _, e := range together.effects {
		results[e.attempt] = r.commit(ctx, e.commit)
	}
	return results
}

func (r *Runner) outcome(ctx context.Context, a Attempt, err error) Outcome {
	return one(r.judge(ctx, a.Delivery, a.Past, err))
}

func one(attempts port.Attempts, wait time.Duration, done bool) Outcome {
	return Outcome{attempts, wait, done}
}
