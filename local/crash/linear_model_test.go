package crash_test

import (
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// request is one operation on the document, as a client sends it.
type request struct {
	op        string // state::get, state::set, state::update (an increment) or state::delete
	n         int    // what to set, what to add
	ifVersion *int64
}

// answer is how a client saw it end. A lost one may have had its effect or not; a conflict had none.
type answer struct {
	lost     bool
	conflict bool
	old      *int  // of a write: what was there before; nil: nothing
	n        *int  // what is there after; nil: nothing
	version  int64 // of what is there after; 0: the operation does not tell
}

// register is the state of the document in the sequential specification.
type register struct {
	exists  bool
	n       int
	version int64 // 0: not observed yet
	floor   int64 // the version is above it
}

// linear is what one document promises: some order of the operations, each at one moment between its request and its
// answer, explains every answer; compare-and-set by version; versions that strictly increase, deletes included.
func linear() porcupine.Model {
	model := porcupine.NondeterministicModel{
		Init: func() []any { return []any{register{}} },
		Step: func(state, input, output any) []any {
			var next []any
			for _, r := range state.(register).after(input.(request), output.(answer)) {
				next = append(next, r)
			}
			return next
		},
	}
	return model.ToModel()
}

// after returns the states that the operation can lead to, given its answer; none when the answer is impossible.
func (r register) after(in request, out answer) []register {
	holds, fails := r.condition(in.ifVersion)
	switch {
	case out.lost && in.op == "state::get":
		return []register{r}
	case out.lost && holds:
		return []register{r, r.apply(in)}
	case out.lost:
		return []register{r}
	case out.conflict && fails:
		return []register{r}
	case out.conflict || !holds:
		return nil
	}
	if in.ifVersion != nil && *in.ifVersion != 0 {
		r = r.observed(*in.ifVersion)
	}
	return r.answered(in, out)
}

// condition says whether a condition can hold and whether it can fail: both as long as the version was not observed.
func (r register) condition(version *int64) (holds, fails bool) {
	switch {
	case version == nil:
		return true, false
	case *version == 0:
		return !r.exists, r.exists
	case !r.exists:
		return false, true
	case r.version == 0:
		return *version > r.floor, true
	default:
		return r.version == *version, r.version != *version
	}
}

func (r register) answered(in request, out answer) []register {
	next := r
	if in.op != "state::get" {
		if !same(out.old, r.value()) {
			return nil
		}
		next = r.apply(in)
	}
	if !same(out.n, next.value()) {
		return nil
	}
	if out.version == 0 {
		return []register{next}
	}
	unchanged := in.op == "state::get" && r.version != 0
	if unchanged && out.version != r.version || !unchanged && out.version <= max(r.version, r.floor) {
		return nil
	}
	return []register{next.observed(out.version)}
}

// apply does the operation; the version it gives is above all before it.
func (r register) apply(in request) register {
	r.floor, r.version = max(r.floor, r.version), 0
	switch in.op {
	case "state::set":
		r.exists, r.n = true, in.n
	case "state::update":
		r.exists, r.n = true, r.n+in.n
	case "state::delete":
		r.exists, r.n = false, 0
	}
	return r
}

func (r register) observed(version int64) register {
	r.floor, r.version = max(r.floor, version), version
	return r
}

func (r register) value() *int {
	if !r.exists {
		return nil
	}
	return &r.n
}

func same(a, b *int) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}

func TestLinearModel(t *testing.T) {
	t.Parallel()
	op := func(from, to int64, in request, out answer) porcupine.Operation {
		return porcupine.Operation{Call: from, Return: to, Input: in, Output: out}
	}
	n := func(n int) *int { return &n }
	version := func(v int64) *int64 { return &v }
	set := func(n int) request { return request{op: "state::set", n: n} }
	get := request{op: "state::get"}
	remove := request{op: "state::delete"}
	tests := []struct {
		name    string
		history []porcupine.Operation
		want    bool
	}{
		{"a read sees the write before it", []porcupine.Operation{
			op(0, 1, set(7), answer{n: n(7), version: 100}),
			op(2, 3, get, answer{n: n(7), version: 100}),
		}, true},
		{"an acknowledged write that is gone is found", []porcupine.Operation{
			op(0, 1, set(7), answer{n: n(7), version: 100}),
			op(2, 3, get, answer{}),
		}, false},
		{"a stale read is found", []porcupine.Operation{
			op(0, 1, set(7), answer{n: n(7), version: 100}),
			op(2, 3, set(8), answer{old: n(7), n: n(8), version: 101}),
			op(4, 5, get, answer{n: n(7), version: 100}),
		}, false},
		{"a read during a write may see either", []porcupine.Operation{
			op(0, 9, set(7), answer{n: n(7), version: 100}),
			op(1, 2, get, answer{}),
			op(3, 4, get, answer{n: n(7), version: 100}),
		}, true},
		{"a read that goes back in time is found", []porcupine.Operation{
			op(0, 9, set(7), answer{n: n(7), version: 100}),
			op(1, 2, get, answer{n: n(7), version: 100}),
			op(3, 4, get, answer{}),
		}, false},
		{"a lost write may have had its effect", []porcupine.Operation{
			op(0, 9, set(7), answer{lost: true}),
			op(10, 11, get, answer{n: n(7), version: 100}),
		}, true},
		{"a lost write may have had none", []porcupine.Operation{
			op(0, 9, set(7), answer{lost: true}),
			op(10, 11, get, answer{}),
		}, true},
		{"a lost write does not take effect after its process has ended", []porcupine.Operation{
			op(0, 9, set(7), answer{lost: true}),
			op(10, 11, get, answer{}),
			op(12, 13, get, answer{n: n(7), version: 100}),
		}, false},
		{"a lost write takes effect once", []porcupine.Operation{
			op(0, 9, request{op: "state::update", n: 1}, answer{lost: true}),
			op(10, 11, get, answer{n: n(2), version: 100}),
		}, false},
		{"a lost increment is one to whoever increments next", []porcupine.Operation{
			op(0, 9, request{op: "state::update", n: 1}, answer{lost: true}),
			op(10, 11, request{op: "state::update", n: 1}, answer{old: n(1), n: n(2), version: 100}),
		}, true},
		{"two increments that saw the same are found", []porcupine.Operation{
			op(0, 5, request{op: "state::update", n: 1}, answer{n: n(1), version: 100}),
			op(0, 5, request{op: "state::update", n: 1}, answer{n: n(1), version: 101}),
		}, false},
		{"only one of two compare-and-sets wins", []porcupine.Operation{
			op(0, 1, set(1), answer{n: n(1), version: 100}),
			op(2, 5, request{op: "state::set", n: 2, ifVersion: version(100)}, answer{old: n(1), n: n(2), version: 101}),
			op(2, 5, request{op: "state::set", n: 3, ifVersion: version(100)}, answer{conflict: true}),
		}, true},
		{"two compare-and-sets that both won are found", []porcupine.Operation{
			op(0, 1, set(1), answer{n: n(1), version: 100}),
			op(2, 5, request{op: "state::set", n: 2, ifVersion: version(100)}, answer{old: n(1), n: n(2), version: 101}),
			op(2, 5, request{op: "state::set", n: 3, ifVersion: version(100)}, answer{old: n(2), n: n(3), version: 102}),
		}, false},
		{"a conflict for no reason is found", []porcupine.Operation{
			op(0, 1, set(1), answer{n: n(1), version: 100}),
			op(2, 3, request{op: "state::set", n: 2, ifVersion: version(100)}, answer{conflict: true}),
		}, false},
		{"a version observed later explains a lost write", []porcupine.Operation{
			op(0, 9, set(1), answer{lost: true}),
			op(10, 11, request{op: "state::set", n: 2, ifVersion: version(100)}, answer{old: n(1), n: n(2), version: 101}),
		}, true},
		{"a lost compare-and-set may have met its condition", []porcupine.Operation{
			op(0, 1, set(1), answer{n: n(1), version: 100}),
			op(2, 9, request{op: "state::set", n: 2, ifVersion: version(100)}, answer{lost: true}),
			op(10, 11, get, answer{n: n(2), version: 105}),
		}, true},
		{"a lost compare-and-set cannot have met another version", []porcupine.Operation{
			op(0, 1, set(1), answer{n: n(1), version: 100}),
			op(2, 9, request{op: "state::set", n: 2, ifVersion: version(99)}, answer{lost: true}),
			op(10, 11, get, answer{n: n(2), version: 105}),
		}, false},
		{"a document that comes back after its deletion was acknowledged is found", []porcupine.Operation{
			op(0, 1, set(1), answer{n: n(1), version: 100}),
			op(2, 3, remove, answer{old: n(1)}),
			op(4, 5, get, answer{n: n(1), version: 100}),
		}, false},
		{"a version that does not rise over a deletion is found", []porcupine.Operation{
			op(0, 1, set(1), answer{n: n(1), version: 100}),
			op(2, 3, remove, answer{old: n(1)}),
			op(4, 5, set(2), answer{n: n(2), version: 100}),
		}, false},
		{"a version that changes without a write is found", []porcupine.Operation{
			op(0, 1, set(1), answer{n: n(1), version: 100}),
			op(2, 3, get, answer{n: n(1), version: 101}),
		}, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if got := porcupine.CheckOperationsTimeout(linear(), test.history, time.Minute); (got == porcupine.Ok) != test.want {
				t.Errorf("CheckOperationsTimeout = %s, want linearizable = %t", got, test.want)
			}
		})
	}
}
