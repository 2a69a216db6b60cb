package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"
)

// streamPath subscribes to the group that streamRequest writes to.
const streamPath = "/stream/bench/all"

// pushLimit is how long a write may take to reach its last subscriber before the run fails.
const pushLimit = 10 * time.Second

// streamRequest is a call of stream::set: each writes a new item of 120 bytes.
func streamRequest(addr string) template {
	return newTemplate(addr, "/_eddy/invoke/stream::set",
		`{"stream_name":"bench","group_id":"all","item_id":"`+placeholder+`","data":`+document+`}`)
}

// measurePushes measures the time from a write to its frame at a subscriber.
func measurePushes(ctx context.Context, b *bench) ([]row, error) {
	pushes := func(p program, subscribers int) round {
		return func() (figures, error) { return b.pushOn(ctx, p, subscribers) }
	}
	one, err := b.interleave(ctx, pushes(b.gateway, 1), pushes(b.stored, 1))
	if err != nil {
		return nil, err
	}
	rows := pushRows("write → push, 1 subscriber", one[0], one[1], ratioAtMost(1.3), target{})

	n := b.subscribers
	many, err := b.interleave(ctx, pushes(b.gateway, n), pushes(b.stored, n), pushes(b.bare, n))
	if err != nil {
		return rows, err
	}
	what := fmt.Sprintf("write → push, %d subscribers", n)
	rows = append(rows, pushRows(what, many[0], many[1], ratioAtMost(1.2), ratioAtMost(1.2))...)
	rows = append(rows, row{
		what: "  to the last of them, p50 ms", gateway: many[0].get("last"), baseline: many[1].get("last"),
	})
	return append(rows, pushRows("  the same, baseline stores nothing", many[0], many[2], target{}, target{})...), nil
}

func pushRows(what string, gateway, baseline figures, p50, p99 target) []row {
	return []row{
		{what: what + ", p50 ms", gateway: gateway.get("p50"), baseline: baseline.get("p50"), target: p50},
		{what: what + ", p99 ms", gateway: gateway.get("p99"), baseline: baseline.get("p99"), target: p99},
	}
}

// arrivals notes when the frames of one write at a time arrive.
type arrivals struct {
	began    time.Time
	sent     atomic.Int64 // nanoseconds after began
	missing  atomic.Int64 // sockets that the write has not reached
	all      chan struct{}
	latency  [][]time.Duration // by socket
	slowest  []time.Duration   // by write
	patience *time.Timer
}

func newArrivals(sockets int) *arrivals {
	return &arrivals{
		began: time.Now(), all: make(chan struct{}, 1),
		latency: make([][]time.Duration, sockets), patience: time.NewTimer(pushLimit),
	}
}

// frame is called by each socket when the frame of the write reaches it.
func (a *arrivals) frame(socket int) {
	a.latency[socket] = append(a.latency[socket], time.Since(a.began)-time.Duration(a.sent.Load()))
	if a.missing.Add(-1) == 0 {
		a.all <- struct{}{}
	}
}

// write sends one request and waits until it is answered and its frame is at every socket.
func (a *arrivals) write(c *httpClient, request []byte) error {
	a.missing.Store(int64(len(a.latency)))
	a.patience.Reset(pushLimit)
	sent := time.Since(a.began)
	a.sent.Store(int64(sent))
	if _, err := c.do(request); err != nil {
		return err
	}
	select {
	case <-a.all:
	case <-a.patience.C:
		return fmt.Errorf("%d of %d subscribers did not get a frame in %s", a.missing.Load(), len(a.latency), pushLimit)
	}
	slowest := time.Duration(0)
	for _, latencies := range a.latency {
		slowest = max(slowest, latencies[len(latencies)-1])
	}
	a.slowest = append(a.slowest, slowest)
	return nil
}

// forget drops what was noted until now.
func (a *arrivals) forget() {
	for i := range a.latency {
		a.latency[i] = a.latency[i][:0]
	}
	a.slowest = a.slowest[:0]
}

func (a *arrivals) figures() figures {
	all := slices.Concat(a.latency...)
	slices.Sort(all)
	slices.Sort(a.slowest)
	const ms = float64(time.Millisecond)
	return figures{
		"p50": percentile(all, 0.5) / ms, "p99": percentile(all, 0.99) / ms,
		"last": percentile(a.slowest, 0.5) / ms,
	}
}

// pushOn writes one item at a time, each when all subscribers have the last one.
func (b *bench) pushOn(ctx context.Context, p program, subscribers int) (found figures, err error) {
	err = b.with(ctx, p, func(s *server) error {
		arrived := newArrivals(subscribers)
		subscribed, err := subscribe(s.addr, streamPath, subscribers, arrived.frame)
		if err != nil {
			return err
		}
		err = b.writeInTurn(ctx, s, arrived)
		if err := errors.Join(err, subscribed.close()); err != nil {
			return fmt.Errorf("pushes of %s: %w", p.name, err)
		}
		found = arrived.figures()
		return nil
	})
	return found, err
}

func (b *bench) writeInTurn(ctx context.Context, s *server, arrived *arrivals) error {
	c, err := dialHTTP(s.addr)
	if err != nil {
		return err
	}
	defer c.close()
	request := streamRequest(s.addr)
	sequence := 0
	writeFor := func(d time.Duration) error {
		for end := time.Now().Add(d); time.Now().Before(end); sequence++ {
			if err := errors.Join(ctx.Err(), arrived.write(c, request.number(sequence))); err != nil {
				return err
			}
		}
		return nil
	}
	if err := writeFor(b.warm); err != nil {
		return err
	}
	arrived.forget()
	return writeFor(b.measured)
}

// measureFrames measures how many frames per second leave for many subscribers when events wait to be pushed.
func measureFrames(ctx context.Context, b *bench) ([]row, error) {
	frames := func(p program) round {
		return func() (figures, error) { return b.framesOn(ctx, p) }
	}
	found, err := b.interleave(ctx, frames(b.gateway), frames(b.bare))
	if err != nil {
		return nil, err
	}
	return []row{{
		what:    fmt.Sprintf("frames/s, %d subscribers, %d events on their way", b.subscribers, eventsInFlight),
		gateway: found[0].get("rate"), baseline: found[1].get("rate"), target: ratioAtLeast(0.9),
	}, {
		what: "  CPU µs per frame", gateway: found[0].get("cpu"), baseline: found[1].get("cpu"),
	}}, nil
}

const (
	eventsInFlight = 64
	eventWriters   = 16
)

// framesOn sends events that are not stored. An event is on its way until every subscriber has it.
func (b *bench) framesOn(ctx context.Context, p program) (found figures, err error) {
	err = b.with(ctx, p, func(s *server) error {
		var received atomic.Int64
		arrived, end := make(chan struct{}, eventsInFlight), make(chan struct{})
		for range eventsInFlight {
			arrived <- struct{}{}
		}
		subscribed, err := subscribe(s.addr, streamPath, b.subscribers, func(int) {
			if received.Add(1)%int64(b.subscribers) == 0 {
				arrived <- struct{}{}
			}
		})
		if err != nil {
			return err
		}
		load, err := startLoad(s.addr, eventWriters, eventRequest(s.addr), func() bool {
			select {
			case <-arrived:
				return true
			case <-end:
				return false
			}
		})
		if err != nil {
			return errors.Join(err, subscribed.close())
		}
		done, err := b.measure(ctx, s, received.Load, b.measured)
		close(end)
		if err := errors.Join(err, load.stop(), subscribed.close()); err != nil {
			return fmt.Errorf("frames of %s: %w", p.name, err)
		}
		found = done.figures()
		return nil
	})
	return found, err
}

func eventRequest(addr string) template {
	return newTemplate(addr, "/_eddy/invoke/stream::send",
		`{"stream_name":"bench","group_id":"all","id":"`+placeholder+`","type":"created","data":`+document+`}`)
}
