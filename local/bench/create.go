package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"
)

const (
	createClients = 32
	settleLimit   = time.Minute
	samplePeriod  = 25 * time.Millisecond
)

// measureCreates measures creates of the todo app, each done when both of its reactions have taken effect: the counter
// includes it, and its event is at a subscriber.
func measureCreates(ctx context.Context, b *bench) ([]row, error) {
	found, err := b.interleave(ctx,
		func() (figures, error) { return b.createFor(ctx, b.gateway, nothingBeside) },
		func() (figures, error) { return b.setFor(ctx, b.stored, createClients, b.sustained) })
	if err != nil {
		return nil, err
	}
	gateway, baseline := found[0], found[1]
	alone := func(what, name string) row {
		return row{what: what, gateway: gateway.get(name), baseline: figures{}.get(name)}
	}
	rows := []row{{
		what:    fmt.Sprintf("POST /todos with its reactions, %d clients, creates/s", createClients),
		gateway: gateway.get("rate"), baseline: baseline.get("rate"), target: ratioAtLeast(0.4),
	}}
	rows = append(rows, costs("create", gateway, baseline)...)
	return append(rows,
		alone("  creates/s answered, reactions still running", "answered"),
		alone("  reactions' lag, median, creates", "lag"),
		alone("  reactions' lag, last quarter of the load, creates", "late lag"),
		alone("  reactions' lag, median, ms", "delay"),
		alone("  reactions' lag, worst, ms", "worst delay"),
		alone("  from the last answer until all have run, ms", "settling")), nil
}

// sample is how far creates and their reactions were at a moment of the load.
type sample struct {
	at       time.Duration
	answered int64 // creates
	counted  int64 // by the reaction; read before answered, so that a lag is never shown too small
}

// createFor has a program create todos for a time, beside what begin begins before.
func (b *bench) createFor(
	ctx context.Context, p program, begin func(*server) (end func() error, err error),
) (found figures, err error) {
	err = b.with(ctx, p, func(s *server) error {
		end, err := begin(s)
		if err != nil {
			return err
		}
		found, err = b.createSubscribed(ctx, s)
		return errors.Join(err, end())
	})
	return found, err
}

func nothingBeside(*server) (end func() error, err error) { return func() error { return nil }, nil }

// createSubscribed creates todos with a subscriber, and adds how much memory the server has grown by.
func (b *bench) createSubscribed(ctx context.Context, s *server) (figures, error) {
	before, err := s.residentKiB()
	if err != nil {
		return nil, err
	}
	var events atomic.Int64
	subscribed, err := subscribe(s.addr, "/stream/todos-live/all", 1, func(int) { events.Add(1) })
	if err != nil {
		return nil, err
	}
	found, err := b.createAndSettle(ctx, s, &events)
	if err := errors.Join(err, subscribed.close()); err != nil {
		return nil, err
	}
	after, err := s.residentKiB()
	const kibInMib = 1024
	found["grown"] = (after - before) / kibInMib
	return found, err
}

func (b *bench) createAndSettle(ctx context.Context, s *server, events *atomic.Int64) (figures, error) {
	counter, err := dialHTTP(s.addr)
	if err != nil {
		return nil, err
	}
	defer counter.close()
	request := newTemplate(s.addr, "/todos", `{"title":"`+placeholder+`"}`)
	load, err := startLoad(s.addr, createClients, request, nil)
	if err != nil {
		return nil, err
	}
	meter, err := startMeter(s, load.done)
	if err != nil {
		return nil, errors.Join(err, load.stop())
	}
	samples, err := sampleCreates(ctx, counter, load, meter.began, b.sustained)
	if err := errors.Join(err, load.stop()); err != nil {
		return nil, fmt.Errorf("creates: %w", err)
	}
	answered := time.Since(meter.began)
	if err := settle(ctx, counter, events, load.done()); err != nil {
		return nil, err
	}
	done, err := meter.read()
	if err != nil {
		return nil, err
	}
	result := done.figures()
	result["answered"] = float64(load.done()) / answered.Seconds()
	result["settling"] = milliseconds(done.elapsed - answered)
	addLags(result, samples)
	return result, nil
}

// sampleCreates watches the load for a time.
func sampleCreates(ctx context.Context, c *httpClient, l *load, began time.Time, during time.Duration) ([]sample, error) {
	samples := []sample{{}}
	for time.Since(began) < during {
		if err := pause(ctx, samplePeriod); err != nil {
			return nil, err
		}
		counted, err := countedTodos(c)
		if err != nil {
			return nil, err
		}
		samples = append(samples, sample{at: time.Since(began), answered: l.done(), counted: counted})
	}
	return samples, nil
}

// settle waits until the counter and the subscriber have seen n creates.
func settle(ctx context.Context, c *httpClient, events *atomic.Int64, n int64) error {
	for end := time.Now().Add(settleLimit); ; {
		counted, err := countedTodos(c)
		if err != nil {
			return err
		}
		switch pushed := events.Load(); {
		case counted == n && pushed == n:
			return nil
		case counted > n || pushed > n || time.Now().After(end):
			return fmt.Errorf("of %d creates, %d were counted and %d pushed %s after the last", n, counted, pushed, settleLimit)
		}
		if err := pause(ctx, time.Millisecond); err != nil {
			return err
		}
	}
}

func countedTodos(c *httpClient) (int64, error) {
	body, err := c.get("/todos/metrics")
	if err != nil {
		return 0, err
	}
	var metrics struct {
		Total int64 `json:"total"`
	}
	return metrics.Total, json.Unmarshal(body, &metrics)
}

// addLags adds what the samples say of the time and the creates by which the counter is behind.
func addLags(to figures, samples []sample) {
	var creates, delays []float64
	for i, s := range samples {
		creates = append(creates, float64(max(0, s.answered-s.counted)))
		delays = append(delays, milliseconds(s.at-answeredAt(samples[:i+1], s.counted)))
	}
	late := slices.Clone(creates[len(creates)*3/4:])
	for _, values := range [][]float64{creates, delays, late} {
		slices.Sort(values)
	}
	to["lag"], to["late lag"] = percentile(creates, 0.5), percentile(late, 0.5)
	to["delay"], to["worst delay"] = percentile(delays, 0.5), percentile(delays, 1)
}

// answeredAt returns when the n-th create was answered, on the line between the samples around it; the time of the last
// sample when it was answered after that.
func answeredAt(samples []sample, n int64) time.Duration {
	i := slices.IndexFunc(samples, func(s sample) bool { return s.answered >= n })
	switch {
	case i < 0:
		return samples[len(samples)-1].at
	case i == 0:
		return samples[0].at
	}
	before, after := samples[i-1], samples[i]
	part := float64(n-before.answered) / float64(after.answered-before.answered)
	return before.at + time.Duration(part*float64(after.at-before.at))
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
