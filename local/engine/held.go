package engine

import (
	"container/heap"
	"time"
)

// heldLanes are the lanes whose first delivery is not due yet: a heap, in which the one that is due first comes first.
type heldLanes []*lane

func (h heldLanes) Len() int           { return len(h) }
func (h heldLanes) Less(i, j int) bool { return h[i].due() < h[j].due() }
func (h heldLanes) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }

// Push implements heap.Interface.
func (h *heldLanes) Push(l any) { *h = append(*h, l.(*lane)) }

// Pop implements heap.Interface.
func (h *heldLanes) Pop() any {
	last := len(*h) - 1
	l := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return l
}

// due is when the first delivery of the lane may be attempted, in milliseconds of the Unix epoch.
func (l *lane) due() int64 { return l.queue[0].notBefore }

// hold holds a lane back if its first delivery is not due yet, and reports whether it did. It takes no worker meanwhile.
func (f *feed) hold(l *lane) bool {
	if l.due() == 0 || l.due() <= f.engine.now().UnixMilli() {
		return false
	}
	l.held = true
	f.heldBack += len(l.queue)
	heap.Push(&f.held, l)
	if f.held[0] == l {
		f.engine.clock.signal()
	}
	return true
}

// release lets the lanes go that are due, and returns when the next one is; the zero time when none is held.
func (f *feed) release(now time.Time) (next time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(f.held) > 0 {
		l := f.held[0]
		if l.due() > now.UnixMilli() {
			return time.UnixMilli(l.due())
		}
		heap.Pop(&f.held)
		l.held = false
		f.heldBack -= len(l.queue)
		f.makeReady(l)
	}
	return time.Time{}
}
