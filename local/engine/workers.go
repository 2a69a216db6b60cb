package engine

import "sync/atomic"

// maxIdle is how many goroutines are kept for the next run of a function.
const maxIdle = 128

// workers runs functions on goroutines that it keeps, so that a stack which has grown once need not grow again for
// each run.
type workers struct {
	work chan func()
	idle atomic.Int32
	done <-chan struct{}
}

// run has a goroutine do the work, a waiting one if there is any. It does not wait.
func (w *workers) run(work func()) {
	select {
	case w.work <- work:
	default:
		go w.serve(work)
	}
}

func (w *workers) serve(work func()) {
	for work != nil {
		work()
		work = w.next()
	}
}

// next waits for more work; nil when there are enough who wait, or no more is to come.
func (w *workers) next() func() {
	defer w.idle.Add(-1)
	if w.idle.Add(1) > maxIdle {
		return nil
	}
	select {
	case work := <-w.work:
		return work
	case <-w.done:
		return nil
	}
}
