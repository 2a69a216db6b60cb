package crash_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// TestKill kills the gateway under load, again and again on one data directory, and looks after each restart for what
// was acknowledged and, once the reactions have settled, for what they have counted.
func TestKill(t *testing.T) {
	t.Parallel()
	seed := drawSeed(t)
	r := &rounds{
		data:     t.TempDir(),
		seed:     seed,
		random:   rand.New(rand.NewPCG(seed, 0)),
		clock:    newQuickClock(),
		journals: newJournals(),
		view:     newView(),
		news:     newNews(),
	}
	for r.totals.kills < *crashes && !t.Failed() {
		r.round(t)
	}
	r.last(t)
	r.report(t)
}

// drawSeed returns the seed that was asked for, or a new one, and says which.
func drawSeed(t *testing.T) uint64 {
	t.Helper()
	drawn := *seed
	for drawn == 0 {
		drawn = rand.Uint64()
	}
	t.Logf("-seed %d makes the same choices again", drawn)
	return drawn
}

// rounds are lives of the gateway on one data directory.
type rounds struct {
	data     string
	seed     uint64
	random   *rand.Rand
	clock    *quickClock
	journals []*journal
	view     *view
	news     *news
	totals   totals
	findings findings
}

// start starts a gateway; in every other life it makes each delivery twice, which nobody is to notice.
func (r *rounds) start(t *testing.T) *process {
	t.Helper()
	p := r.launch(t)
	p.awaitStart(t)
	return p
}

func (r *rounds) launch(t *testing.T) *process {
	t.Helper()
	return launchAs(t, r.clock.environment(), r.data, fmt.Sprintf("-duplicate-deliveries=%t", r.totals.kills%2 == 1))
}

// audit returns what looks at a gateway; close its client.
func (r *rounds) audit(p *process) audit {
	return audit{client: &client{address: p.http}, journals: r.journals, now: r.clock.now}
}

// found takes in what an audit has found.
func (r *rounds) found(t *testing.T, found findings) {
	t.Helper()
	found.report(t)
	r.findings.add(found)
}

// ended takes in what a gateway said that it should not have.
func (r *rounds) ended(t *testing.T, p *process) {
	t.Helper()
	var found findings
	found.take(processBroken, p.faults())
	r.found(t, found)
}

// round starts the gateway, looks at what the kill before has left, lets the writers write and kills it.
func (r *rounds) round(t *testing.T) {
	t.Helper()
	if r.random.IntN(5) == 0 {
		r.killEarly(t)
	}
	p := r.start(t)
	a := r.audit(p)
	defer a.client.close()
	r.found(t, a.writes())
	w := r.view.watch(t, p.http)
	n := watch(t, p.http, "todos-live", r.news.take)
	if r.random.IntN(2) == 0 { // otherwise the reactions that are owed go on under the load
		r.settle(t, a, w)
	}
	late := r.upTo(10 * time.Millisecond)
	if r.random.IntN(8) == 0 { // around the moment, once a second, when progress is stored and the log is trimmed
		late = r.upTo(1500 * time.Millisecond)
	}
	l := &load{
		address: p.http, seed: r.seed, round: uint64(r.totals.kills), now: r.clock.now,
		limit: 1 + r.random.Int64N(200), reached: func() { time.AfterFunc(late, p.kill) },
	}
	l.write(r.journals)
	p.kill()
	w.close()
	n.close()
	r.totals.kills++
	r.ended(t, p)
}

// killEarly kills the gateway while it starts, or just after: while it is busy with what the last one left.
func (r *rounds) killEarly(t *testing.T) {
	t.Helper()
	p := r.launch(t)
	select {
	case <-time.After(r.upTo(100 * time.Millisecond)):
	case <-p.exited:
		t.Errorf("the gateway ended by itself:\n%s", p.said())
	}
	p.kill()
	r.totals.kills++
	r.ended(t, p)
}

func (r *rounds) upTo(limit time.Duration) time.Duration {
	return time.Duration(r.random.Int64N(int64(limit)))
}

// settle waits until everything that is owed is done, and looks whether it is right.
func (r *rounds) settle(t *testing.T, a audit, w *watcher) {
	t.Helper()
	var found findings
	_ = eventually(settleLimit, func() error { // what is found in the end counts
		found = a.owed()
		return found.err()
	})
	items, err := a.items()
	if err == nil {
		err = eventually(settleLimit, func() error {
			return w.look(func() error { return r.view.shows(items) })
		})
	}
	if err != nil {
		found.found(liveBroken, 1, "%v", err)
	}
	r.found(t, found)
}

// last checks everything once more, and again after an orderly stop: what was right by accident is not right twice.
func (r *rounds) last(t *testing.T) {
	t.Helper()
	for again := 0; again < 2 && !t.Failed(); again++ {
		p := r.start(t)
		a := r.audit(p)
		r.found(t, a.writes())
		w := r.view.watch(t, p.http)
		if err := eventually(settleLimit, func() error { return a.goesOn(r.clock.began) }); err != nil {
			t.Errorf("the clock: %v", err)
		}
		r.settle(t, a, w)
		w.close()
		a.client.close()
		if err := p.terminate(); err != nil {
			t.Error(err)
		}
		r.ended(t, p)
	}
	var found findings
	found.take(liveBroken, append(r.view.faults, r.news.faults...))
	r.found(t, found)
	r.totals.add(r.journals)
}

// report prints the figures.
func (r *rounds) report(t *testing.T) {
	t.Helper()
	if r.totals.acknowledged == 0 || r.totals.changes == 0 {
		t.Errorf("nothing was put to the test: %s", r.totals)
	}
	t.Logf("%s; items seen %d, news seen %d", r.totals, r.view.frames, r.news.told)
	t.Log(&r.findings)
}
