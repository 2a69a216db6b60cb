package porttest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/eddyhq/eddy/shared/document"
	"github.com/eddyhq/eddy/shared/port"
)

// ask is what a client asks of the one document: its value is {"n":<n>}, or there is none.
type ask struct {
	op        string // get, set, create, swap, add, count, merge, delete
	n         int
	ifVersion int64 // of create and swap
}

// reply is what it was told.
type reply struct {
	conflict bool
	silent   bool   // it was told no more than that it is done
	before   string // n before, "" for no document
	version  int64
}

// cell is the document as the model has it.
type cell struct {
	n       string
	version int64
}

func cellModel() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return cell{} },
		Step: func(state, input, output any) (bool, any) {
			return move(state.(cell), input.(ask), output.(reply))
		},
		DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v -> %+v", input, output) },
	}
}

func move(now cell, a ask, r reply) (bool, cell) {
	if conditional := a.op == "create" || a.op == "swap"; conditional && r.conflict != (a.ifVersion != now.version) {
		return false, now
	}
	if r.conflict {
		return r.version == now.version, now
	}
	if !r.silent && r.before != now.n {
		return false, now
	}
	next := cell{version: r.version}
	switch a.op {
	case "get":
		return r.version == now.version, now
	case "delete":
		if now.n == "" {
			return r.version == 0, now
		}
		return r.version > now.version, cell{}
	case "add", "count", "merge":
		n, _ := strconv.Atoi(now.n) // "" counts as 0
		if next.n = strconv.Itoa(n + a.n); a.op == "merge" {
			next.n = strconv.Itoa(a.n)
		}
	default:
		next.n = strconv.Itoa(a.n)
	}
	return r.version > now.version, next
}

// Linearizable holds one document of an adapter to the promise of port.Documents: what several clients, who read and write it
// at once, were told can have happened in one order. open is called for each of some histories; what it returns gives each
// client the store that it uses, which may be one for all.
func Linearizable(t *testing.T, open func(t *testing.T) func() port.Documents) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			history := record(t, seed, open(t))
			if result := porcupine.CheckOperationsTimeout(cellModel(), history, time.Minute); result != porcupine.Ok {
				t.Errorf("the history of %d operations is not linearizable: %s", len(history), result)
			}
		})
	}
}

// record has clients use a document at once, and returns what they asked and were told.
func record(t *testing.T, seed uint64, store func() port.Documents) []porcupine.Operation {
	const clients, operations = 6, 50
	start := time.Now()
	var (
		mu      sync.Mutex
		history []porcupine.Operation
		all     sync.WaitGroup
	)
	for id := range clients {
		random := rand.New(rand.NewPCG(seed, uint64(id)))
		documents := store()
		all.Go(func() {
			seen := int64(0)
			for range operations {
				a := drawAsk(random, seen)
				call := time.Since(start)
				r := request(t, documents, a)
				op := porcupine.Operation{
					ClientId: id, Input: a, Output: r, Call: int64(call), Return: int64(time.Since(start)),
				}
				seen = r.version
				mu.Lock()
				history = append(history, op)
				mu.Unlock()
			}
		})
	}
	all.Wait()
	return history
}

func drawAsk(random *rand.Rand, seen int64) ask {
	ops := []string{"get", "get", "set", "create", "swap", "swap", "add", "add", "count", "merge", "delete"}
	a := ask{op: ops[random.IntN(len(ops))], n: random.IntN(1000)}
	if a.op == "swap" {
		a.ifVersion = seen
	}
	return a
}

func request(t *testing.T, documents port.Documents, a ask) reply {
	if a.op == "get" {
		d, err := documents.Get(context.Background(), todos, "k")
		if err != nil {
			t.Errorf("get: %v", err)
		}
		return reply{before: string(d.Value.Field("n")), version: d.Version}
	}
	w := a.write()
	results, err := documents.Commit(context.Background(), port.Commit{Writes: []port.Write{w}})
	var conflict *port.ConflictError
	switch {
	case errors.As(err, &conflict):
		return reply{conflict: true, version: conflict.Version}
	case err != nil:
		t.Errorf("%s: %v", a.op, err)
		return reply{}
	}
	return reply{silent: w.NoResult, before: string(results[0].Old.Field("n")), version: results[0].Version}
}

// write returns what is asked, where that is no get.
func (a ask) write() port.Write {
	value := fmt.Sprintf(`{"n":%d}`, a.n)
	switch a.op {
	case "create", "swap":
		return ifVersion(set(todos, "k", value), a.ifVersion)
	case "delete":
		return port.Write{Op: port.Delete, Collection: todos, Key: "k"}
	case "add":
		return update(todos, "k", increment("n", int64(a.n)))
	case "count":
		w := update(todos, "k", increment("n", int64(a.n)))
		w.NoResult = true
		return w
	case "merge":
		return update(todos, "k", document.Op{Type: document.OpMerge, Value: document.Value(value)})
	default:
		return set(todos, "k", value)
	}
}
