package crash_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// TestLinearizable lets clients fight over one document, kills the gateway under them, goes on after the restart, and
// asks porcupine for an order of all operations that explains every answer.
func TestLinearizable(t *testing.T) {
	t.Parallel()
	const lives, clients, operationsEach = 3, 6, 200
	data, seed := t.TempDir(), drawSeed(t)
	h := &history{began: time.Now()}
	for life := range lives {
		p := start(t, data)
		h.restarted()
		h.limit, h.reached = (life+1)*operationsEach, func() { go p.kill() }
		var all sync.WaitGroup
		for i := range clients {
			f := &fighter{
				client:  &client{address: p.http},
				id:      i,
				random:  rand.New(rand.NewPCG(seed, uint64(life*clients+i))),
				history: h,
			}
			all.Go(f.run)
		}
		all.Wait()
		p.kill()
		p.faults().report(t)
	}
	h.restarted()
	h.report(t)
	t.Logf("%d operations, %d of them without an answer", len(h.operations), h.lost)
	if result := porcupine.CheckOperationsTimeout(linear(), h.operations, time.Minute); result != porcupine.Ok {
		t.Errorf("linearizable: %s", result)
	}
}

// history is what all clients did, in every life of the gateway.
type history struct {
	began time.Time
	next  atomic.Int64 // what is set is never set again

	mu         sync.Mutex
	operations []porcupine.Operation
	open       []int // those whose answer was lost in this life
	lost       int
	faults

	limit   int    // when there are so many operations
	reached func() // this is called
}

func (h *history) now() int64 { return int64(time.Since(h.began)) }

func (h *history) add(o porcupine.Operation) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if o.Output.(answer).lost {
		h.open = append(h.open, len(h.operations))
		h.lost++
	}
	h.operations = append(h.operations, o)
	if len(h.operations) == h.limit {
		h.reached()
	}
}

// restarted ends what was open: a process that is dead has no effects any more. That is stricter, and quicker to
// check, than operations that may yet take effect at any time.
func (h *history) restarted() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, i := range h.open {
		h.operations[i].Return = h.now()
	}
	h.open = nil
}

func (h *history) fault(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.faults.fault(format, args...)
}

// fighter is one of the clients of the document.
type fighter struct {
	client  *client
	id      int
	random  *rand.Rand
	history *history
	seen    int64 // the version last seen; 0: there was no document
}

// run makes operations until the gateway is gone.
func (f *fighter) run() {
	defer f.client.close()
	for {
		in := f.choose()
		called := f.history.now()
		r := f.client.invoke(in.op, payload(in))
		if r.outcome == unsent {
			return
		}
		out, err := decode(in, r)
		if err != nil {
			f.history.fault("%s %s was answered %v: %v", in.op, payload(in), r, err)
			return
		}
		f.history.add(porcupine.Operation{
			ClientId: f.id, Input: in, Output: out, Call: called, Return: f.history.now(),
		})
		if out.lost {
			return
		}
		if !out.conflict {
			f.seen = out.version
		}
	}
}

func (f *fighter) choose() request {
	in := request{op: "state::get"}
	switch f.random.IntN(8) {
	case 0, 1:
		in.op, in.n = "state::set", int(f.history.next.Add(1))*1000
	case 2, 3:
		in.op, in.n = "state::update", 1
	case 4:
		in.op = "state::delete"
	}
	if in.op != "state::get" && f.random.IntN(2) == 0 {
		seen := f.seen
		in.ifVersion = &seen
	}
	return in
}

func payload(in request) map[string]any {
	p := map[string]any{"scope": "fight", "key": "document"}
	switch in.op {
	case "state::get":
		p["with_version"] = true
	case "state::set":
		p["value"] = map[string]int{"n": in.n}
	case "state::update":
		p["ops"] = []any{map[string]any{"type": "increment", "path": "n", "by": in.n}}
	}
	if in.ifVersion != nil {
		p["if_version"] = *in.ifVersion
	}
	return p
}

// decode reads the end of a request as an answer.
func decode(in request, r reply) (answer, error) {
	switch {
	case r.outcome == uncertain:
		return answer{lost: true}, nil
	case r.outcome == refused && r.status == 409 && in.ifVersion != nil:
		return answer{conflict: true}, nil
	case r.outcome == refused:
		return answer{}, fmt.Errorf("a refusal that is no conflict")
	}
	switch in.op {
	case "state::get":
		var got struct {
			Value   *entry
			Version int64
		}
		err := json.Unmarshal(r.body, &got)
		return answer{n: numberOf(got.Value), version: got.Version}, err
	case "state::delete":
		var deleted *entry
		err := json.Unmarshal(r.body, &deleted)
		return answer{old: numberOf(deleted)}, err
	default:
		var wrote struct {
			Old     *entry `json:"old_value"`
			New     *entry `json:"new_value"`
			Version int64
		}
		err := json.Unmarshal(r.body, &wrote)
		return answer{old: numberOf(wrote.Old), n: numberOf(wrote.New), version: wrote.Version}, err
	}
}

func numberOf(e *entry) *int {
	if e == nil {
		return nil
	}
	return &e.N
}
