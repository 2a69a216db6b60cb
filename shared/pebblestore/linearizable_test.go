package pebblestore_test

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
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/eddyhq/eddy/shared/document"
	"github.com/eddyhq/eddy/shared/pebblestore"
	"github.com/eddyhq/eddy/shared/port"
)

// act is what a client asks of the one document; its value is {"n":<n>}, or there is none.
type act struct {
	op        string // get, set, create, update, delete, swap (set if the version is the one seen last)
	n         int
	ifVersion int64
}

// outcome is what the client was told.
type outcome struct {
	conflict bool
	before   string
	version  int64 // found by a get or a conflict, given to a change
}

// register is the document as the model has it.
type register struct {
	value   string
	version int64
}

var documentModel = porcupine.Model{
	Init: func() any { return register{} },
	Step: func(state, input, output any) (bool, any) {
		return step(state.(register), input.(act), output.(outcome))
	},
	DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v -> %+v", input, output) },
}

func step(now register, a act, o outcome) (bool, register) {
	conditional := a.op == "swap" || a.op == "create"
	if conditional && (a.ifVersion != now.version) != o.conflict {
		return false, now
	}
	if o.conflict {
		return o.version == now.version, now
	}
	if o.before != now.value {
		return false, now
	}
	switch a.op {
	case "get":
		return o.version == now.version, now
	case "delete":
		if now.value == "" {
			return o.version == 0, now
		}
		return o.version > now.version, register{}
	case "update":
		n := 0
		if now.value != "" {
			n, _ = strconv.Atoi(now.value)
		}
		return o.version > now.version, register{strconv.Itoa(n + a.n), o.version}
	default:
		return o.version > now.version, register{strconv.Itoa(a.n), o.version}
	}
}

func TestOneDocumentIsLinearizable(t *testing.T) {
	t.Parallel()
	for seed := range uint64(8) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			s := open(t, vfs.NewMem(), pebblestore.Options{})
			start := time.Now()
			var mu sync.Mutex
			var history []porcupine.Operation
			var clients sync.WaitGroup
			for id := range 8 {
				random := rand.New(rand.NewPCG(seed, uint64(id)))
				clients.Go(func() {
					seen := int64(0)
					for range 60 {
						a := randomAct(random, seen)
						call := time.Since(start)
						o := perform(t, s, a)
						seen = o.version
						op := porcupine.Operation{
							ClientId: id, Input: a, Output: o, Call: int64(call), Return: int64(time.Since(start)),
						}
						mu.Lock()
						history = append(history, op)
						mu.Unlock()
					}
				})
			}
			clients.Wait()
			if result := porcupine.CheckOperationsTimeout(documentModel, history, time.Minute); result != porcupine.Ok {
				t.Errorf("the history of %d operations is not linearizable: %s", len(history), result)
			}
		})
	}
}

func randomAct(random *rand.Rand, seen int64) act {
	a := act{n: random.IntN(1000)}
	switch random.IntN(8) {
	case 0, 1:
		a.op = "get"
	case 2:
		a.op = "set"
	case 3:
		a.op = "create"
	case 4:
		a.op = "delete"
	case 5:
		a.op = "update"
	default:
		a.op, a.ifVersion = "swap", seen
	}
	return a
}

func perform(t *testing.T, s *pebblestore.Store, a act) outcome {
	c := port.Scope("todos")
	if a.op == "get" {
		d, err := s.Get(context.Background(), c, "k")
		if err != nil {
			t.Errorf("get: %v", err)
		}
		return outcome{before: plain(d.Value), version: d.Version}
	}
	w := port.Write{Op: port.Set, Collection: c, Key: "k", Value: document.Value(fmt.Sprintf(`{"n":%d}`, a.n))}
	switch a.op {
	case "create", "swap":
		w.IfVersion = &a.ifVersion
	case "delete":
		w.Op, w.Value = port.Delete, nil
	case "update":
		w.Op, w.Value = port.Update, nil
		w.Ops = []document.Op{{Type: document.OpIncrement, Path: []string{"n"}, By: int64(a.n)}}
	}
	results, err := s.Commit(context.Background(), port.Commit{Writes: []port.Write{w}})
	var conflict *port.ConflictError
	if errors.As(err, &conflict) {
		return outcome{conflict: true, version: conflict.Version}
	}
	if err != nil {
		t.Errorf("%s: %v", a.op, err)
		return outcome{}
	}
	return outcome{before: plain(results[0].Old), version: results[0].Version}
}

// plain returns n of {"n":<n>} as text, "" for no document.
func plain(v document.Value) string { return string(v.Field("n")) }
