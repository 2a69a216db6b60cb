package crash_test

import (
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
		journals: newJournals(),
		view:     newView(),
		news:     newNews(),
	}
	for r.totals.kills < *crashes && !t.Failed() {
		r.round(t)
	}
	r.last(t)
	r.totals.add(r.journals)
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
	journals []*journal
	view     *view
	news     *news
	totals   totals
}

// round starts the gateway, looks at what the kill before has left, lets the writers write and kills it.
func (r *rounds) round(t *testing.T) {
	t.Helper()
	if r.random.IntN(5) == 0 {
		r.killEarly(t)
	}
	p := start(t, r.data)
	a := audit{client: &client{address: p.http}, journals: r.journals}
	defer a.client.close()
	a.writes().report(t)
	w := r.view.watch(t, p.http)
	n := watch(t, p.http, "todos-live", r.news.take)
	if r.random.IntN(2) == 0 { // otherwise the reactions that are owed go on under the load
		r.settle(t, a, w)
	}
	late := r.upTo(10 * time.Millisecond)
	if r.random.IntN(4) == 0 { // around the moment, once a second, when progress is stored and the log is trimmed
		late = r.upTo(1500 * time.Millisecond)
	}
	l := &load{
		address: p.http, seed: r.seed, round: uint64(r.totals.kills),
		limit: 1 + r.random.Int64N(200), reached: func() { time.AfterFunc(late, p.kill) },
	}
	l.write(r.journals)
	p.kill()
	w.close()
	n.close()
	r.totals.kills++
	p.faults().report(t)
}

// killEarly kills the gateway while it starts, or just after: while it is busy with what the last one left.
func (r *rounds) killEarly(t *testing.T) {
	t.Helper()
	p := launch(t, r.data)
	select {
	case <-time.After(r.upTo(100 * time.Millisecond)):
	case <-p.exited:
		t.Errorf("the gateway ended by itself:\n%s", p.said())
	}
	p.kill()
	r.totals.kills++
	p.faults().report(t)
}

func (r *rounds) upTo(limit time.Duration) time.Duration {
	return time.Duration(r.random.Int64N(int64(limit)))
}

func (r *rounds) settle(t *testing.T, a audit, w *watcher) {
	t.Helper()
	if err := eventually(settleLimit, a.reactions); err != nil {
		t.Errorf("reactions: %v", err)
		return
	}
	items, err := a.items()
	if err == nil {
		err = eventually(settleLimit, func() error {
			return w.look(func() error { return r.view.shows(items) })
		})
	}
	if err != nil {
		t.Errorf("the live stream: %v", err)
	}
}

// last checks everything once more, and again after an orderly stop: what was right by accident is not right twice.
func (r *rounds) last(t *testing.T) {
	t.Helper()
	for again := 0; again < 2 && !t.Failed(); again++ {
		p := start(t, r.data)
		a := audit{client: &client{address: p.http}, journals: r.journals}
		a.writes().report(t)
		w := r.view.watch(t, p.http)
		r.settle(t, a, w)
		w.close()
		a.client.close()
		if err := p.terminate(); err != nil {
			t.Error(err)
		}
		p.faults().report(t)
	}
	r.view.report(t)
	r.news.report(t)
}

func (r *rounds) report(t *testing.T) {
	t.Helper()
	if r.totals.acknowledged == 0 || r.totals.changes == 0 {
		t.Errorf("nothing was put to the test: %s", r.totals)
	}
	if t.Failed() {
		t.Logf("not everything was kept: %s", r.totals)
		return
	}
	t.Logf("%s, items seen %d, news seen %d; writes lost 0, reactions lost 0, counters off by 0",
		r.totals, r.view.frames, r.news.told)
}
