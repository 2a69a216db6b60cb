package pebblestore

import (
	"runtime"
	"sync"
)

// request is something that the committer does as a part of a group.
type request struct {
	stage func(g *group) error // evaluates and stages it: all of it, or nothing and an error
	err   error                // set before done is closed
	done  chan struct{}
}

// queue holds what the committer has not taken yet. It needs no bound of its own: every caller waits for its request.
type queue struct {
	mu       sync.Mutex
	requests []*request
	closed   bool
	wake     chan struct{} // holds a token when there may be something to take
}

func newQueue() queue { return queue{wake: make(chan struct{}, 1)} }

// put reports whether the queue took the request, which it does until it is closed.
func (q *queue) put(r *request) bool {
	q.mu.Lock()
	if q.closed {
		q.mu.Unlock()
		return false
	}
	q.requests = append(q.requests, r)
	q.mu.Unlock()
	q.signal()
	return true
}

func (q *queue) close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.signal()
}

func (q *queue) isClosed() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.closed
}

func (q *queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// take waits for requests and returns all there are, none when the queue is closed and empty. It keeps spare, which
// the caller is done with, for the next ones.
func (q *queue) take(spare []*request) []*request {
	clear(spare)
	for {
		q.mu.Lock()
		requests, closed := q.requests, q.closed
		if len(requests) > 0 {
			q.requests = spare[:0]
		}
		q.mu.Unlock()
		if len(requests) > 0 || closed {
			return requests
		}
		<-q.wake
		// The callers that were just acknowledged are about to come back: letting them run first makes larger groups.
		runtime.Gosched()
	}
}
