package main

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// load is a number of clients that each send a request, wait for its reply and send the next.
type load struct {
	clients []*loadClient
	stopped atomic.Bool
	running sync.WaitGroup
}

type loadClient struct {
	http    *httpClient
	request template
	before  func() bool // when not nil, waits for the right to send; false: there will be none
	done    atomic.Int64
	err     error
	_       [64]byte // keeps the counters of two clients out of one cache line
}

// startLoad starts n clients that send request, each with numbers of its own. before may be nil.
func startLoad(addr string, n int, request template, before func() bool) (*load, error) {
	l := &load{}
	for i := range n {
		http, err := dialHTTP(addr)
		if err != nil {
			_ = l.stop()
			return nil, fmt.Errorf("connect client %d: %w", i, err)
		}
		l.clients = append(l.clients, &loadClient{http: http, request: request.forClient(i), before: before})
	}
	for _, c := range l.clients {
		l.running.Go(func() { c.err = c.run(&l.stopped) })
	}
	return l, nil
}

func (c *loadClient) run(stopped *atomic.Bool) error {
	for i := 0; !stopped.Load(); i++ {
		if c.before != nil && !c.before() {
			return nil
		}
		if _, err := c.http.do(c.request.number(i)); err != nil {
			return fmt.Errorf("request %d: %w", i, err)
		}
		c.done.Add(1)
	}
	return nil
}

// done returns how many requests were answered.
func (l *load) done() int64 {
	total := int64(0)
	for _, c := range l.clients {
		total += c.done.Load()
	}
	return total
}

// stop lets every client finish its request and returns what went wrong with the first that failed.
func (l *load) stop() error {
	l.stopped.Store(true)
	l.running.Wait()
	var failed error
	for _, c := range l.clients {
		c.http.close()
		failed = cmp.Or(failed, c.err)
	}
	return failed
}

// spent is what a server did and used in a time.
type spent struct {
	usage
	operations int64
	elapsed    time.Duration
	syncs      float64
}

// measure lets the system warm up and returns what happens in a time after, counting operations with count.
func (b *bench) measure(ctx context.Context, s *server, count func() int64, during time.Duration) (spent, error) {
	if err := pause(ctx, b.warm); err != nil {
		return spent{}, err
	}
	meter, err := startMeter(s, count)
	if err != nil {
		return spent{}, err
	}
	if err := pause(ctx, during); err != nil {
		return spent{}, err
	}
	return meter.read()
}

// meter remembers where a measured time began.
type meter struct {
	server *server
	count  func() int64
	began  time.Time
	start  int64
	usage  usage
	syncs  float64
}

func startMeter(s *server, count func() int64) (*meter, error) {
	syncs, err := s.syncs()
	if err != nil {
		return nil, err
	}
	used, err := s.usage()
	return &meter{server: s, count: count, began: time.Now(), start: count(), usage: used, syncs: syncs}, err
}

// read returns what was done and used since the meter was started.
func (m *meter) read() (spent, error) {
	operations, elapsed := m.count()-m.start, time.Since(m.began)
	used, err := m.server.usage()
	if err != nil {
		return spent{}, err
	}
	syncs, err := m.server.syncs()
	return spent{usage: used.since(m.usage), operations: operations, elapsed: elapsed, syncs: syncs - m.syncs}, err
}

// figures returns the rate and the costs of one operation.
func (s spent) figures() figures {
	n := float64(s.operations)
	return figures{
		"rate":  n / s.elapsed.Seconds(),
		"cpu":   float64(s.cpu.Microseconds()) / n,
		"bytes": float64(s.written) / n,
		"syncs": s.syncs / n,
	}
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
