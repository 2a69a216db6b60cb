package engine

import (
	"sync"
	"time"

	"github.com/eddyhq/eddy/shared/eddy"
	"github.com/eddyhq/eddy/shared/port"
	"github.com/eddyhq/eddy/shared/reaction"
)

const (
	// defaultWindow is how many deliveries a feed holds. One lane that is stuck in retries delays the other lanes of
	// its function only once it has so many changes behind it.
	defaultWindow = 65_536
	// ahead is how many windows the other lanes can get ahead of one that is stuck.
	ahead = 8
	// keptBytes is how much of the records themselves a feed holds; what is over it is read from the log again.
	keptBytes = 8 << 20
)

// feed is what one function is owed: its deliveries, in lanes. A function has its own feed, so that one which is slow
// or fails delays no other; lanes, so that a document that fails delays no other document.
//
// It is bounded: past the window it takes no more and remembers where in the log it stopped (it is behind), and
// reads on from there by itself once half of the window is free.
//
// A delivery that is not due yet holds its lane, and takes no worker; it counts in the window as any other does.
type feed struct {
	engine   *Engine
	function *eddy.Function
	window   int    // deliveries held
	replayed uint64 // records up to here may have attempts in the ledger, from before a restart

	mu       sync.Mutex
	lanes    map[string]*lane
	ready    []*lane // whose first delivery can be attempted, in turn
	running  int
	owed     []*owed // in log order; those at the front are not done
	open     int     // those of owed that are not done
	held     heldLanes
	heldBack int    // deliveries in held lanes
	kept     int    // bytes of records held
	offered  uint64 // records up to here were taken, or were not for this function
	behind   bool   // the dispatcher is past offered, and this feed reads the log by itself
	catching bool   // a goroutine is doing so
	closed   bool
	failures uint64 // attempts that were not the end of their delivery
	done     uint64 // deliveries that have ended
}

// lane is deliveries that run one after the other.
type lane struct {
	name     string
	queue    []*owed
	attempts port.Attempts // of the first
	held     bool          // until the first is due
}

// owed is one delivery that has not ended.
type owed struct {
	position  uint64
	notBefore int64              // as reaction.Delivery.NotBefore
	delivery  *reaction.Delivery // nil: read it from the log
	size      int
	twice     bool // it is being made for the second time, see Options.DuplicateDeliveries
	done      bool
}

func newFeed(e *Engine, f *eddy.Function, position, head uint64) *feed {
	return &feed{
		engine: e, function: f, window: e.window, replayed: head,
		lanes: make(map[string]*lane), offered: position, behind: position < head,
	}
}

// offer takes a delivery from the dispatcher, unless the feed is behind or has it already.
func (f *feed) offer(d *reaction.Delivery) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.behind || d.Record.Position <= f.offered {
		return
	}
	if f.isFull() {
		f.behind = true
		f.offered = d.Record.Position - 1
		return
	}
	f.take(d)
}

// isFull reports whether the feed takes no more: it holds a window of deliveries, or is too far ahead of the oldest one.
func (f *feed) isFull() bool { return f.open >= f.window || len(f.owed) >= f.window*ahead }

// take puts a delivery into its lane.
func (f *feed) take(d *reaction.Delivery) {
	o := &owed{position: d.Record.Position, notBefore: d.NotBefore}
	if size := recordSize(d.Record); f.kept+size <= keptBytes {
		o.delivery, o.size = d, size
		f.kept += size
	}
	f.offered = o.position
	f.owed = append(f.owed, o)
	f.open++
	l, busy := f.lanes[d.Lane]
	if !busy {
		l = &lane{name: d.Lane}
		f.lanes[d.Lane] = l
	}
	l.queue = append(l.queue, o)
	switch {
	case l.held:
		f.heldBack++
	case !busy && !f.hold(l):
		f.makeReady(l)
	}
}

// recordSize returns about how many bytes a delivery takes in memory.
func recordSize(r *port.Record) int { return 512 + r.ValueBytes() }

// makeReady queues a lane for its next attempt and starts a worker if there may be one more.
func (f *feed) makeReady(l *lane) {
	f.ready = append(f.ready, l)
	if f.running < f.function.Concurrency && !f.closed {
		f.running++
		f.engine.work.Go(f.work)
	}
}

// work makes attempts, a lane at a time, while any is ready.
func (f *feed) work() {
	for {
		l, o := f.next()
		if l == nil {
			return
		}
		attempts, wait, done := f.attempt(l, o)
		f.attempted(l, attempts, wait, done)
		if done {
			f.engine.dispatch.notify()
		}
	}
}

// next returns the lane whose turn it is and its first delivery; nil when this worker is not needed any more.
func (f *feed) next() (*lane, *owed) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.ready) == 0 || f.closed {
		f.running--
		return nil, nil
	}
	l := f.ready[0]
	f.ready = f.ready[1:]
	return l, l.queue[0]
}

func (f *feed) attempt(l *lane, o *owed) (attempts port.Attempts, wait time.Duration, done bool) {
	ctx := f.engine.stop
	delivery := o.delivery
	if delivery == nil {
		record, err := f.engine.Record(o.position)
		if err != nil {
			f.engine.logger.Error("a record cannot be read; trying again", "position", o.position, "error", err)
			return l.attempts, saveEvery, false
		}
		if delivery = f.engine.router.RouteTo(f.function, &record); delivery == nil {
			return l.attempts, 0, true // the trigger has changed its mind
		}
	}
	past := l.attempts
	if past.Count == 0 && o.position <= f.replayed {
		recorded, err := f.engine.Attempts(ctx, delivery.Cursor.Name)
		if err == nil && recorded.Version == delivery.Cursor.Version {
			past = recorded
		}
	}
	return f.engine.runner.Deliver(ctx, delivery, past)
}

// attempted takes the outcome of an attempt: the lane goes on, now or after the wait.
func (f *feed) attempted(l *lane, attempts port.Attempts, wait time.Duration, done bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !done {
		l.attempts = attempts
		f.failures++
		if !f.closed {
			time.AfterFunc(wait, func() { f.again(l) })
		}
		return
	}
	if o := l.queue[0]; f.engine.twice && !o.twice {
		o.twice = true
		f.forget(o)
		l.attempts = port.Attempts{}
	} else {
		f.end(l)
	}
	if len(l.queue) == 0 {
		delete(f.lanes, l.name)
	} else if !f.hold(l) {
		f.ready = append(f.ready, l) // this worker takes its turn
	}
	f.readOn()
}

func (f *feed) again(l *lane) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.makeReady(l)
}

// end forgets the first delivery of a lane.
func (f *feed) end(l *lane) {
	o := l.queue[0]
	o.done = true
	f.forget(o)
	l.queue[0] = nil
	l.queue = l.queue[1:]
	l.attempts = port.Attempts{}
	f.open--
	f.done++
	for len(f.owed) > 0 && f.owed[0].done {
		f.owed[0] = nil
		f.owed = f.owed[1:]
	}
}

// forget drops what is kept of a delivery in memory.
func (f *feed) forget(o *owed) {
	f.kept -= o.size
	o.delivery, o.size = nil, 0
}

// readOn starts to read the log where the feed stopped, once there is room.
func (f *feed) readOn() {
	roomy := f.open <= f.window/2 && len(f.owed) <= f.window*ahead/2
	if f.behind && !f.catching && !f.closed && roomy {
		f.catching = true
		f.engine.work.Go(f.read)
	}
}

func (f *feed) catchUp() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.readOn()
}

// read takes deliveries from the log until the window is full or the dispatcher is reached.
func (f *feed) read() {
	for {
		f.mu.Lock()
		from := f.offered
		f.mu.Unlock()
		records, err := f.engine.Records(f.engine.serving, from, chunk)
		if err != nil && f.engine.serving.Err() == nil {
			f.engine.logger.Error("the log cannot be read; trying again", "function", f.function.ID, "error", err)
			pause(f.engine.serving, saveEvery)
		}
		var full bool
		for i := range records {
			if full = !f.takeRecord(&records[i]); full {
				break
			}
		}
		if full || f.caughtUp() || f.engine.serving.Err() != nil {
			f.engine.dispatch.notify() // it may be that nothing is owed
			return
		}
	}
}

// takeRecord takes what a record means for this function, and reports false when there is no room for it.
func (f *feed) takeRecord(record *port.Record) bool {
	d := f.engine.router.RouteTo(f.function, record)
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case d == nil:
		f.offered = record.Position
	case f.isFull():
		f.catching = false
		return false
	default:
		f.take(d)
	}
	return true
}

// caughtUp hands over to the dispatcher when it is no further than the feed.
func (f *feed) caughtUp() bool {
	f.engine.dispatch.mu.Lock()
	defer f.engine.dispatch.mu.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.offered < f.engine.dispatch.position {
		return false
	}
	f.behind, f.catching = false, false
	return true
}

// handled returns the position up to which nothing is owed, given how far the dispatcher is.
func (f *feed) handled(dispatched uint64) uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case len(f.owed) > 0:
		return f.owed[0].position - 1
	case f.behind:
		return f.offered
	default:
		return dispatched
	}
}

// idle reports whether nothing is owed but what is held back.
func (f *feed) idle() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.open == f.heldBack && !f.behind
}

func (f *feed) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
}
