package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

const queueClients = 32

// measureQueues measures messages from a client to their effect, as a ratio to void calls of the same function and to plain
// writes of the same gateway, which are acknowledged and nothing more.
func measureQueues(ctx context.Context, b *bench) ([]row, error) {
	calls := func(function, action string) round {
		return func() (figures, error) { return b.callsFor(ctx, function, action) }
	}
	found, err := b.interleave(ctx,
		calls("bench::handle", "void"),
		calls("bench::handle", "enqueue:bench"),
		calls("bench::handle-in-order", "enqueue:bench-in-order"),
		func() (figures, error) { return b.setFor(ctx, b.gateway, queueClients, b.sustained) })
	if err != nil {
		return nil, err
	}
	void, plain, inOrder, set := found[0], found[1], found[2], found[3]
	what := fmt.Sprintf("messages enqueued and handled, %d clients, messages/s", queueClients)
	return []row{
		{what: what + ", baseline void calls", gateway: plain.get("rate"), baseline: void.get("rate"), target: ratioAtLeast(0.8)},
		{what: "  the same, FIFO by client", gateway: inOrder.get("rate"), baseline: void.get("rate"), target: ratioAtLeast(0.8)},
		{what: "  the same as the first, baseline state::set", gateway: plain.get("rate"), baseline: set.get("rate")},
		{what: "  messages/s acknowledged, handlers still running, baseline state::set",
			gateway: plain.get("answered"), baseline: set.get("rate")},
		{what: "  CPU µs per message, baseline state::set", gateway: plain.get("cpu"), baseline: set.get("cpu")},
		{what: "  from the last answer until all are handled, ms, baseline void calls",
			gateway: plain.get("settling"), baseline: void.get("settling")},
	}, nil
}

// callsFor has a function called later for a time, and waits until every call has taken effect.
func (b *bench) callsFor(ctx context.Context, function, action string) (found figures, err error) {
	err = b.with(ctx, b.beside(""), func(s *server) error {
		found, err = b.callAndSettle(ctx, s, function, action)
		return err
	})
	return found, err
}

func (b *bench) callAndSettle(ctx context.Context, s *server, function, action string) (figures, error) {
	counter, err := dialHTTP(s.addr)
	if err != nil {
		return nil, err
	}
	defer counter.close()
	body := `{"client":"` + clientPlaceholder + `","number":"` + placeholder + `"}`
	request := newTemplate(s.addr, "/_eddy/invoke/"+function, body, "X-Eddy-Action: "+action)
	load, err := startLoad(s.addr, queueClients, request, nil)
	if err != nil {
		return nil, err
	}
	meter, err := startMeter(s, load.done)
	if err != nil {
		return nil, err
	}
	if err := pause(ctx, b.sustained); err != nil {
		return nil, err
	}
	if err := load.stop(); err != nil {
		return nil, fmt.Errorf("%s of %s: %w", action, function, err)
	}
	answered := time.Since(meter.began)
	if err := settleTally(ctx, counter, load.done()); err != nil {
		return nil, err
	}
	done, err := meter.read()
	if err != nil {
		return nil, err
	}
	result := done.figures()
	result["answered"] = float64(load.done()) / answered.Seconds()
	result["settling"] = milliseconds(done.elapsed - answered)
	return result, nil
}

// settleTally waits until n calls are counted.
func settleTally(ctx context.Context, c *httpClient, n int64) error {
	for end := time.Now().Add(settleLimit); ; {
		body, err := c.post("/_eddy/invoke/state::get", `{"scope":"bench-tallies","key":"all"}`)
		if err != nil {
			return err
		}
		var now tally
		if err := json.Unmarshal(body, &now); err != nil {
			return err
		}
		switch {
		case now.Handled == n:
			return nil
		case now.Handled > n || time.Now().After(end):
			return fmt.Errorf("of %d calls, %d were handled %s after the last", n, now.Handled, settleLimit)
		}
		if err := pause(ctx, time.Millisecond); err != nil {
			return err
		}
	}
}
