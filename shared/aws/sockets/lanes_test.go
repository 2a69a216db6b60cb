package sockets_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/eddyhq/eddy/shared/aws/message"
	"github.com/eddyhq/eddy/shared/document"
	"github.com/eddyhq/eddy/shared/port"
)

// Two groups, several connections with several subscriptions, two Lambdas that take turns. Records come late and again,
// pushes and saves fail half-way, a run that is believed dead goes on beside the next one. Whatever happens, each
// connection is told what package sockets promises: room_test.go has the rules.
func TestSubscribersAreToldEverythingOnceInOrder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		d := &drama{T: t, world: newWorld("g", "h")}
		d.processes = []*process{d.start(), d.start()}
		t.Repeat(map[string]func(*rapid.T){
			"write": d.write, "send": d.send, "connect": d.connect, "join": d.join, "leave": d.leave, "close": d.close,
			"route": d.route, "route again": d.routeAgain, "quiet": d.quiet,
			"run": d.run, "run and fail": d.runAndFail, "run beside the dead": d.runTwice, "restart": d.restart,
		})
		d.T = t
		d.settle()
		for _, r := range d.rooms {
			for connection, told := range r.told {
				if err := told.missing(r); d.open[connection] && err != nil {
					t.Errorf("%s: %v", connection, err)
				}
			}
		}
	})
}

// drama is a world and what happens in it.
type drama struct {
	*rapid.T
	*world
	processes []*process
	writes    int
	connected int
}

func (d *drama) room(t *rapid.T) *room {
	groups := slices.Sorted(maps.Keys(d.rooms))
	d.clock = d.clock.Add(time.Duration(rapid.IntRange(1, 2000).Draw(t, "milliseconds")) * time.Millisecond)
	return d.rooms[rapid.SampledFrom(groups).Draw(t, "group")]
}

var keys = []string{"x", "y", "z"}

func (d *drama) write(t *rapid.T) {
	r, key := d.room(t), rapid.SampledFrom(keys).Draw(t, "key")
	d.writes++
	value := document.Value(fmt.Sprintf(`{"id":%q,"n":%d}`, key, d.writes))
	if rapid.IntRange(0, 3).Draw(t, "delete") == 0 {
		value = nil
	}
	r.write(d.clock, key, value)
}

func (d *drama) send(t *rapid.T) {
	d.room(t).send(rapid.SampledFrom(append(slices.Clone(keys), "")).Draw(t, "item"))
}

func (d *drama) connect(t *rapid.T) {
	if len(d.openConnections()) < 3 {
		d.connected++
		d.open[fmt.Sprint("c", d.connected)] = true
	}
	d.join(t)
}

func (d *drama) openConnections() []string { return slices.Sorted(maps.Keys(d.open)) }

func (d *drama) wish(t *rapid.T, kind message.SocketKind) (r *room, s message.Socket, ok bool) {
	if len(d.open) == 0 {
		return nil, s, false
	}
	return d.room(t), message.Socket{
		Kind: kind, Connection: rapid.SampledFrom(d.openConnections()).Draw(t, "connection"), ConnectedAt: d.clock.UnixMilli(),
		SubscriptionID: rapid.SampledFrom([]string{"", "1"}).Draw(t, "subscription"),
	}, true
}

func (d *drama) join(t *rapid.T) {
	if r, s, ok := d.wish(t, message.Join); ok {
		s.Item = rapid.SampledFrom([]string{"", "", "x"}).Draw(t, "item")
		r.ask(s)
	}
}

func (d *drama) leave(t *rapid.T) {
	if r, s, ok := d.wish(t, message.Leave); ok {
		r.ask(s)
	}
}

// close ends a connection; its groups may come to know only by pushing.
func (d *drama) close(t *rapid.T) {
	r, s, ok := d.wish(t, message.Gone)
	if !ok {
		return
	}
	delete(d.open, s.Connection)
	if rapid.Bool().Draw(t, "told") {
		r.ask(s)
	}
}

func (d *drama) route(t *rapid.T) {
	d.room(t).route(rapid.IntRange(1, 4).Draw(t, "records"), rapid.IntRange(1, 3).Draw(t, "fold"))
}

// routeAgain has the router begin again at an earlier record.
func (d *drama) routeAgain(t *rapid.T) {
	r := d.room(t)
	r.routed = rapid.IntRange(r.settled, r.routed).Draw(t, "from")
}

// quiet lets time pass while nothing is under way.
func (d *drama) quiet(*rapid.T) {
	for _, r := range d.rooms {
		if r.routed < len(r.records) || len(r.queue) > 0 {
			return
		}
	}
	for _, r := range d.rooms {
		r.settled = len(r.records)
	}
	d.clock = d.clock.Add(time.Hour)
}

func (d *drama) batch(t *rapid.T) map[port.Collection]int {
	take := map[port.Collection]int{}
	for _, group := range slices.Sorted(maps.Keys(d.rooms)) {
		if n := min(len(d.rooms[group].queue), 5); n > 0 {
			take[group] = rapid.IntRange(0, n).Draw(t, string(group))
		}
	}
	d.clock = d.clock.Add(time.Millisecond)
	return take
}

func (d *drama) process(t *rapid.T) *process {
	return rapid.SampledFrom(d.processes).Draw(t, "process")
}

// do runs a batch and takes what was handled from the queues.
func (d *drama) do(t *rapid.T, p *process, take map[port.Collection]int) {
	handled, err := p.run(t.Context(), take)
	if err != nil {
		t.Fatal(err)
	}
	for group, n := range handled {
		d.rooms[group].handled(n)
	}
}

func (d *drama) run(t *rapid.T) { d.do(t, d.process(t), d.batch(t)) }

func (d *drama) runAndFail(t *rapid.T) {
	p := d.process(t)
	switch rapid.SampledFrom([]string{"push", "save", "reply"}).Draw(t, "failure") {
	case "push":
		p.failPush = rapid.IntRange(0, 2).Draw(t, "deliveries")
	case "save":
		p.failSave = true
	case "reply":
		p.loseSave = true
	}
	d.do(t, p, d.batch(t))
	p.failPush, p.failSave, p.loseSave = -1, false, false
}

// runTwice has the queue give messages to a second Lambda before the first, which was too slow, stores what it did.
func (d *drama) runTwice(t *rapid.T) {
	slow, quick, take := d.processes[0], d.processes[1], d.batch(t)
	done := map[port.Collection]int{}
	slow.beforeSave = func(r *room) {
		d.advance()
		handled, err := quick.run(t.Context(), map[port.Collection]int{r.group: take[r.group]})
		if err != nil {
			t.Error(err)
			return
		}
		done[r.group] = handled[r.group]
	}
	for _, group := range slices.Sorted(maps.Keys(take)) { // the second Lambda has one batch at a time
		handled, err := slow.run(t.Context(), map[port.Collection]int{group: take[group]})
		if err != nil {
			t.Fatal(err)
		}
		d.rooms[group].handled(max(handled[group], done[group]))
	}
	slow.beforeSave = nil
}

func (d *drama) advance() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.clock = d.clock.Add(time.Millisecond)
}

func (d *drama) restart(t *rapid.T) {
	d.processes[rapid.IntRange(0, 1).Draw(t, "process")] = d.world.start()
}

// settle lets everything arrive.
func (d *drama) settle() {
	for _, group := range slices.Sorted(maps.Keys(d.rooms)) {
		r := d.rooms[group]
		r.route(len(r.records), 3)
		for len(r.queue) > 0 {
			d.advance()
			d.do(d.T, d.processes[0], map[port.Collection]int{r.group: min(len(r.queue), 10)})
		}
	}
}
