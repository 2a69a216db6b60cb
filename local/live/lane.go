package live

import (
	"sync"

	"github.com/eddyhq/eddy/shared/port"
	"github.com/eddyhq/eddy/shared/stream"
)

// lane is a stream.Lane as an actor: a mailbox, and a goroutine only while there is something in it.
type lane struct {
	hub   *Hub
	group port.Collection
	life  *stream.Lane[*socket] // touched by the goroutine alone

	mu      sync.Mutex // after that of the hub
	mail    []letter
	spare   []letter // the memory of the mail before
	pending int      // bytes of the records in mail
	flooded bool     // records were lost
	running bool
}

// letter is a record or a request.
type letter struct {
	record  *port.Record
	request *request
}

// request is what a socket asks of a lane.
type request struct {
	kind   requestKind
	socket *socket
	join   stream.Join
	done   chan error // of a join or leave; has room for the answer
}

type requestKind uint8

const (
	requestJoin requestKind = iota
	requestLeave
	requestGone // the socket is no more
)

func (h *Hub) newLane(group port.Collection) *lane {
	return &lane{hub: h, group: group, life: stream.NewLane(group, stream.LaneOptions[*socket]{
		Epoch: h.options.Epoch(), Snapshot: h.options.Snapshot, Sink: sink{h}, Now: h.now,
	})}
}

// post puts a request into the mailbox of the group's lane. A join makes the lane if there is none. It reports whether
// the request will be answered.
func (h *Hub) post(group port.Collection, r *request) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	l := h.lanes[group]
	if h.closed || l == nil && r.kind != requestJoin {
		return false
	}
	if l == nil {
		l = h.newLane(group)
		h.lanes[group] = l
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.add(letter{request: r})
	return true
}

// publish puts a record into the mailbox; the caller holds the hub's lock. Too many of them are not kept: the lane will
// disconnect its subscribers, who begin again with a snapshot that has what was lost.
func (l *lane) publish(r *port.Record) {
	size := sizeOf(r)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.pending+size > l.hub.options.MaxPendingBytes {
		l.flood()
		l.wake()
		return
	}
	l.pending += size
	l.add(letter{record: r})
}

// sizeOf returns about how much memory a record keeps from being freed.
func sizeOf(r *port.Record) int { return 256 + r.ValueBytes() }

// flood empties the mailbox of records. Requests stay: a join in it will take its snapshot after all that was lost.
func (l *lane) flood() {
	requests := l.mail[:0]
	for _, letter := range l.mail {
		if letter.request != nil {
			requests = append(requests, letter)
		}
	}
	clear(l.mail[len(requests):])
	l.mail, l.pending, l.flooded = requests, 0, true
}

func (l *lane) add(letter letter) {
	l.mail = append(l.mail, letter)
	l.wake()
}

func (l *lane) wake() {
	if !l.running {
		l.running = true
		l.hub.running.Go(l.run)
	}
}

// run reads the mailbox until it is empty.
func (l *lane) run() {
	for {
		mail, flooded, more := l.take()
		if !more {
			return
		}
		if flooded {
			l.disconnect()
		}
		for _, letter := range mail {
			l.read(letter)
		}
		l.recycle(mail)
	}
}

// take empties the mailbox, or, when it is empty, says that the goroutine has to end. A lane that nobody is subscribed to
// is given up in the same step.
func (l *lane) take() (mail []letter, flooded, more bool) {
	unused := l.life.Empty()
	if unused {
		l.hub.mu.Lock()
		defer l.hub.mu.Unlock()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.mail) == 0 && !l.flooded {
		l.running = false
		if unused {
			delete(l.hub.lanes, l.group)
		}
		return nil, false, false
	}
	mail, flooded = l.mail, l.flooded
	l.mail, l.spare, l.pending, l.flooded = l.spare, nil, 0, false
	return mail, flooded, true
}

// recycle keeps the memory of a mailbox of ordinary size.
func (l *lane) recycle(mail []letter) {
	const kept = 64
	clear(mail)
	if cap(mail) > kept {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.spare = mail[:0]
}

func (l *lane) read(letter letter) {
	if letter.record != nil {
		l.life.Record(letter.record)
		return
	}
	switch r := letter.request; r.kind {
	case requestJoin:
		r.done <- l.life.Join(l.hub.stopping, r.socket, r.join)
	case requestLeave:
		l.life.Leave(r.socket, r.join.SubscriptionID)
		r.done <- nil
	case requestGone:
		l.life.Disconnect(r.socket)
	}
}

// disconnect ends the subscribers of a lane that lost records.
func (l *lane) disconnect() {
	for s := range l.life.Connections() {
		s.tooSlow()
	}
}
