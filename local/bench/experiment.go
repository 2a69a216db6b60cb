package main

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// experiment is one measurement, which -only can name.
type experiment struct {
	name string
	run  func(context.Context, *bench) ([]row, error)
}

func experiments() []experiment {
	return []experiment{
		{"set", measureSets},
		{"create", measureCreates},
		{"isolation", measureIsolation},
		{"queue", measureQueues},
		{"push", measurePushes},
		{"frames", measureFrames},
		{"idle", measureIdle},
		{"restart", measureRestarts},
		{"binary", measureBinary},
	}
}

func experimentNames() []string {
	var names []string
	for _, e := range experiments() {
		names = append(names, e.name)
	}
	return names
}

// document is what is written: a JSON object of 120 bytes.
const document = `{"title":"a document that is one hundred and twenty bytes long, as JSON",` +
	`"completed":false,"created_by":"the benchmark"}`

// round measures one side once.
type round func() (figures, error)

// interleave runs all sides in turn, as often as there are rounds, and returns the medians of each side.
func (b *bench) interleave(ctx context.Context, sides ...round) ([]figures, error) {
	measured := make([][]figures, len(sides))
	for range b.rounds {
		for i, measure := range sides {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			found, err := measure()
			if err != nil {
				return nil, err
			}
			measured[i] = append(measured[i], found)
		}
	}
	result := make([]figures, len(sides))
	for i := range sides {
		result[i] = medians(measured[i])
	}
	return result, nil
}

// costs are the rows of what one operation costs the server.
func costs(operation string, gateway, baseline figures) []row {
	return []row{
		{what: "  CPU µs per " + operation, gateway: gateway.get("cpu"), baseline: baseline.get("cpu")},
		{what: "  bytes written per " + operation, gateway: gateway.get("bytes"), baseline: baseline.get("bytes")},
		{what: "  syncs per " + operation + ", at most", gateway: gateway.get("syncs"), baseline: baseline.get("syncs")},
	}
}

// measureSets measures acknowledged writes per second.
func measureSets(ctx context.Context, b *bench) ([]row, error) {
	sets := func(p program, clients int) round {
		return func() (figures, error) { return b.setFor(ctx, p, clients, b.measured) }
	}
	one, err := b.interleave(ctx, sets(b.gateway, 1), sets(b.stored, 1), sets(b.logged, 1))
	if err != nil {
		return nil, err
	}
	const what = "state::set over HTTP, "
	rows := setRows(what+"1 client", one[0], one[1], ratioAtLeast(0.9))
	rows = append(rows, row{
		what: "  the same, baseline a preallocated log, writes/s", gateway: one[0].get("rate"), baseline: one[2].get("rate"),
	})
	some, err := b.interleave(ctx, sets(b.gateway, 32), sets(b.stored, 32))
	if err != nil {
		return rows, err
	}
	rows = append(rows, setRows(what+"32 clients", some[0], some[1], ratioAtLeast(0.8))...)
	many, err := b.interleave(ctx, sets(b.gateway, 128), sets(b.stored, 128))
	if err != nil {
		return rows, err
	}
	return append(rows, setRows(what+"128 clients", many[0], many[1], target{})...), nil
}

func setRows(what string, gateway, baseline figures, t target) []row {
	rate := row{what: what + ", writes/s", gateway: gateway.get("rate"), baseline: baseline.get("rate"), target: t}
	return append([]row{rate}, costs("write", gateway, baseline)...)
}

func (b *bench) setFor(ctx context.Context, p program, clients int, during time.Duration) (found figures, err error) {
	err = b.with(ctx, p, func(s *server) error {
		load, err := startLoad(s.addr, clients, setRequest(s.addr), nil)
		if err != nil {
			return err
		}
		done, err := b.measure(ctx, s, load.done, during)
		if stopped := load.stop(); stopped != nil {
			return fmt.Errorf("state::set on %s: %w", p.name, stopped)
		}
		found = done.figures()
		return err
	})
	return found, err
}

func setRequest(addr string) template {
	return newTemplate(addr, "/_eddy/invoke/state::set", `{"scope":"bench","key":"`+placeholder+`","value":`+document+`}`)
}

// measureBinary measures what `go build ./local` makes.
func measureBinary(_ context.Context, b *bench) ([]row, error) {
	info, err := os.Stat(b.binary)
	if err != nil {
		return nil, err
	}
	const mb = 1e6
	return []row{{what: "binary, MB", gateway: float64(info.Size()) / mb, baseline: math.NaN(), target: atMost(40)}}, nil
}

// measureIdle measures what a subscribed socket that is sent nothing costs the server.
func measureIdle(ctx context.Context, b *bench) ([]row, error) {
	sockets := func(p program) round {
		return func() (figures, error) { return b.idleOn(ctx, p) }
	}
	found, err := b.interleave(ctx, sockets(b.gateway), sockets(b.bare))
	if err != nil {
		return nil, err
	}
	return []row{{
		what:    fmt.Sprintf("memory per idle socket, of %d, KiB", b.idle),
		gateway: found[0].get("KiB"), baseline: found[1].get("KiB"), target: atMost(10),
	}}, nil
}

func (b *bench) idleOn(ctx context.Context, p program) (found figures, err error) {
	const first = 100 // so that what the first sockets cost once is not counted
	err = b.with(ctx, p, func(s *server) error {
		before, closeFirst, err := b.residentWith(ctx, s, first)
		if err != nil {
			return err
		}
		defer closeFirst()
		after, closeRest, err := b.residentWith(ctx, s, b.idle)
		if err != nil {
			return err
		}
		defer closeRest()
		found = figures{"KiB": (after - before) / float64(b.idle)}
		return nil
	})
	return found, err
}

// residentWith opens n further sockets and returns the memory of the server once it is at rest.
func (b *bench) residentWith(ctx context.Context, s *server, n int) (kib float64, closeAll func(), err error) {
	subscribed, err := subscribe(s.addr, streamPath, n, func(int) {})
	if err != nil {
		return 0, nil, err
	}
	closeAll = func() { _ = subscribed.close() }
	if err = pause(ctx, b.warm); err == nil {
		kib, err = s.residentKiB()
	}
	if err != nil {
		closeAll()
	}
	return kib, closeAll, err
}

// measureRestarts measures the time from the start of a process to its first 200, with documents on disk.
func measureRestarts(ctx context.Context, b *bench) ([]row, error) {
	gateway, err := b.seed(ctx, b.gateway)
	if err != nil {
		return nil, err
	}
	stored, err := b.seed(ctx, b.stored)
	if err != nil {
		return nil, err
	}
	found, err := b.interleave(ctx,
		func() (figures, error) { return b.restart(ctx, b.gateway, gateway) },
		func() (figures, error) { return b.restart(ctx, b.stored, stored) })
	if err != nil {
		return nil, err
	}
	return []row{{
		what:    fmt.Sprintf("restart to ready, %d documents on disk, ms", b.documents),
		gateway: found[0].get("clean"), baseline: found[1].get("clean"), target: atMost(50),
	}, {
		what:    fmt.Sprintf("  after kill -9, %d of them just written, ms", b.unflushed),
		gateway: found[0].get("killed"), baseline: found[1].get("killed"),
	}}, nil
}

// seed writes the documents, stops the server and returns its data directory.
func (b *bench) seed(ctx context.Context, p program) (dir string, err error) {
	parent, err := os.MkdirTemp(b.dir, "restart-")
	if err != nil {
		return "", err
	}
	dir = filepath.Join(parent, "data")
	s, err := p.start(ctx, dir)
	if err != nil {
		return "", err
	}
	if err := writeDocuments(s.addr, b.documents); err != nil {
		s.kill()
		return "", err
	}
	return dir, s.stop()
}

// restart starts a server that was stopped, then one that was killed after further writes.
func (b *bench) restart(ctx context.Context, p program, dir string) (figures, error) {
	clean, err := p.start(ctx, dir)
	if err != nil {
		return nil, err
	}
	err = writeDocuments(clean.addr, b.unflushed)
	clean.kill()
	if err != nil {
		return nil, err
	}
	killed, err := p.start(ctx, dir)
	if err != nil {
		return nil, err
	}
	return figures{"clean": milliseconds(clean.ready), "killed": milliseconds(killed.ready)}, killed.stop()
}

// writeDocuments writes n documents, over those of an earlier call.
func writeDocuments(addr string, n int) error {
	const clients = 64
	var begun atomic.Int64
	more := func() bool { return begun.Add(1) <= int64(n) }
	load, err := startLoad(addr, clients, setRequest(addr), more)
	if err != nil {
		return err
	}
	load.running.Wait()
	return load.stop()
}

// syncsMetric counts the groups of commits, each of which is made durable by one sync.
const syncsMetric = "eddy_store_groups_total"

// syncs returns how often the server has made commits durable; NaN when it does not say.
func (s *server) syncs() (float64, error) {
	c, err := dialHTTP(s.addr)
	if err != nil {
		return 0, err
	}
	defer c.close()
	text, err := c.get("/_eddy/metrics")
	if err != nil {
		return 0, fmt.Errorf("metrics of %s: %w", s.name, err)
	}
	for line := range bytes.Lines(text) {
		if name, value, _ := strings.Cut(strings.TrimSpace(string(line)), " "); name == syncsMetric {
			return strconv.ParseFloat(value, 64)
		}
	}
	return math.NaN(), nil
}
