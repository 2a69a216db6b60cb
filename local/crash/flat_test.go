package crash_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// What a gateway may have more of at the end of a long run than after a third of it, and what it may hold in all. They
// are far above what is needed and far below what a run would leave behind if nothing were cleared up.
const (
	moreHeap       = 16<<20 + memtables // bytes
	moreDisk       = 128 << 20          // bytes: Pebble keeps some of its own logs, of a memtable each, to use them again
	moreGoroutines = 150                // those that run functions are kept, up to 128
	maxRows        = 20_000             // of the store, and for each operation
	rowsEach       = 1.25               // of the more than five it makes: cursors go some time after the log they guard
)

// TestFlat writes, updates and deletes for a while, with sockets that come and go, and holds memory, goroutines, the log
// and the data directory to what they were after a third of it.
func TestFlat(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	p := start(t, data)
	base := measure(t, p, data)
	workload(t, p, *operations/3)
	third := measure(t, p, data)
	workload(t, p, *operations-*operations/3)
	last := measure(t, p, data)
	t.Logf("base %v\nafter a third %v\nin the end %v", base, third, last)

	atMost := func(what string, got, limit uint64) {
		if got > limit {
			t.Errorf("%s: %d in the end, may be %d", what, got, limit)
		}
	}
	atMost("heap", last.Heap, third.Heap+moreHeap)
	atMost("disk", last.disk, third.disk+moreDisk)
	if err := eventually(settleLimit, func() error { return calm(p, base.Goroutines+moreGoroutines) }); err != nil {
		t.Error(err)
	}
	for _, gauge := range []string{"eddy_sockets", "eddy_subscriptions", "eddy_stream_lanes"} {
		if got, exists := last.gauges[gauge]; !exists || got != 0 {
			t.Errorf("%s is %v (there: %t) once everybody has gone", gauge, got, exists)
		}
	}
	if err := p.terminate(); err != nil {
		t.Error(err)
	}
	p.faults().report(t)
	rows := countRows(t, data)
	t.Logf("rows of the store by the first byte of their key: %v", rows)
	total := uint64(0)
	for n := range maps.Values(rows) {
		total += n
	}
	atMost("rows of the store", total, maxRows+uint64(rowsEach*float64(*operations)))
}

// size is what a gateway holds while nothing happens.
type size struct {
	vitals
	disk   uint64 // bytes of the data directory
	gauges map[string]float64
}

func (s size) String() string {
	return fmt.Sprintf("heap %d KiB, goroutines %d, disk %d KiB, log %v records",
		s.Heap>>10, s.Goroutines, s.disk>>10, s.gauges["eddy_store_log_records"])
}

// measure waits until nothing is owed and everybody has gone, and looks.
func measure(t *testing.T, p *process, data string) size {
	t.Helper()
	c := &client{address: p.http}
	defer c.close()
	var s size
	err := eventually(settleLimit, func() error {
		var err error
		if s.gauges, err = gauges(c); err != nil {
			return err
		}
		for name, value := range s.gauges {
			busy := strings.HasPrefix(name, "eddy_deliveries_owed") || strings.HasPrefix(name, "eddy_deliveries_lag") ||
				name == "eddy_sockets"
			if busy && value > 0 {
				return fmt.Errorf("%s is %v", name, value)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.read(&s.vitals, c.invoke("crash::vitals", nil)); err != nil {
		t.Fatal(err)
	}
	s.disk = directorySize(t, data)
	return s
}

// calm returns an error while more goroutines run than at most may. Those of a connection end once the gateway notices
// that it was closed.
func calm(p *process, most int) error {
	c := &client{address: p.http}
	defer c.close()
	var now vitals
	if err := c.read(&now, c.invoke("crash::vitals", nil)); err != nil {
		return err
	}
	if now.Goroutines > most {
		return fmt.Errorf("%d goroutines run in the end, may be %d", now.Goroutines, most)
	}
	return nil
}

// gauges reads /_eddy/metrics: the values by their names, with labels.
func gauges(c *client) (map[string]float64, error) {
	r := c.do(http.MethodGet, "/_eddy/metrics", nil)
	if r.outcome != acknowledged {
		return nil, fmt.Errorf("the metrics: %v", r)
	}
	all := make(map[string]float64)
	for lines := bufio.NewScanner(bytes.NewReader(r.body)); lines.Scan(); {
		name, text, found := strings.Cut(lines.Text(), " ")
		value, err := strconv.ParseFloat(text, 64)
		if found && err == nil {
			all[name] = value
		}
	}
	return all, nil
}

func directorySize(t *testing.T, dir string) (bytes uint64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(_ string, file fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // Pebble drops files as it goes
		}
		if err != nil || file.IsDir() {
			return err
		}
		info, err := file.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil {
			bytes += uint64(info.Size())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return bytes
}

// countRows counts what is in a store that nobody has open.
func countRows(t *testing.T, dir string) map[string]uint64 {
	t.Helper()
	db, err := pebble.Open(dir, &pebble.Options{ReadOnly: true, Logger: silence{}})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.NewIter(nil)
	if err != nil {
		t.Fatal(err)
	}
	counted := make(map[string]uint64)
	for rows.First(); rows.Valid(); rows.Next() {
		counted[string(rows.Key()[:1])]++
	}
	if err := rows.Close(); err != nil {
		t.Fatal(err)
	}
	return counted
}

type silence struct{}

func (silence) Infof(string, ...any)  {}
func (silence) Errorf(string, ...any) {}
func (silence) Fatalf(format string, args ...any) {
	panic(fmt.Sprintf(format, args...))
}

// workload makes so many operations: writes of the same few entries, and todos that are created and deleted.
func workload(t *testing.T, p *process, operations int) {
	t.Helper()
	const clients, framesEach = 32, 500
	var left atomic.Int64
	left.Store(int64(operations))
	var all sync.WaitGroup
	faults := make(chan reply, clients)
	for i := range clients {
		all.Go(func() {
			c := &client{address: p.http}
			defer c.close()
			for turn := 0; left.Add(-3) >= 0; turn++ {
				if turn%8 == 0 { // connections come and go, too
					c.close()
				}
				if r := churn(c, fmt.Sprintf("flat-%d", i)); r.outcome != acknowledged {
					faults <- r
					return
				}
			}
		})
	}
	for left.Load() > 0 {
		v := newView()
		w := v.watch(t, p.http)
		_ = eventually(time.Second, func() error { // on a slow machine a socket sees less
			return w.look(func() error {
				if v.frames < framesEach && left.Load() > 0 {
					return fmt.Errorf("%d frames", v.frames)
				}
				return nil
			})
		})
		w.close()
	}
	all.Wait()
	close(faults)
	for r := range faults {
		t.Fatalf("an operation failed: %v", r)
	}
}

// churn makes three operations and returns the last reply, or the first that is no success.
func churn(c *client, key string) reply {
	set := map[string]any{"scope": "ledger", "key": key, "value": entry{N: 1}}
	if r := c.invoke("state::set", set); r.outcome != acknowledged {
		return r
	}
	r := c.do(http.MethodPost, "/todos", map[string]string{"title": "comes and goes"})
	if r.outcome != acknowledged {
		return r
	}
	var created foundTodo
	unpack(r, &created)
	return c.do(http.MethodDelete, "/todos/"+created.ID, nil)
}
