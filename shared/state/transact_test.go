package state_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/eddyhq/eddy/shared/errs"
	"github.com/eddyhq/eddy/shared/pebblestore"
	"github.com/eddyhq/eddy/shared/pebblestore/pebbletest"
	"github.com/eddyhq/eddy/shared/port"
	"github.com/eddyhq/eddy/shared/state"
)

// stored opens a store whose first version is 1001, and whose clock moves by hand.
func stored(t testing.TB) (s *pebblestore.Store, advance func(time.Duration)) {
	t.Helper()
	var micros atomic.Int64
	micros.Store(1001)
	s = pebbletest.Open(t, pebblestore.Options{Now: func() time.Time { return time.UnixMicro(micros.Load()) }})
	return s, func(d time.Duration) { micros.Add(d.Microseconds()) }
}

func TestTransact(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		steps []step
	}{
		{"all writes happen, each with its result", []step{
			{"set", `{"scope":"s","key":"d","value":1}`, `{"old_value":null,"new_value":1,"version":1001}`},
			{"set", `{"scope":"s","key":"c","value":1}`, `{"old_value":null,"new_value":1,"version":1002}`},
			{"transact", `{"writes":[
				{"op":"set","scope":"s","key":"a","value":{"n":1}},
				{"op":"update","scope":"t","key":"b","ops":[{"type":"increment","path":"n","by":2}]},
				{"op":"delete","scope":"s","key":"d"},
				{"op":"check","scope":"s","key":"c","if_version":1002}]}`,
				`{"results":[{"old_value":null,"new_value":{"n":1},"version":1003},` +
					`{"old_value":null,"new_value":{"n":2},"version":1004},{"old_value":1},{"version":1002}]}`},
			{"list", `{"scope":"s"}`, `[{"n":1},1]`},
			{"list", `{"scope":"t"}`, `[{"n":2}]`},
		}},
		{"nothing happens when one condition does not hold, which is named", []step{
			{"set", `{"scope":"s","key":"c","value":1}`, `{"old_value":null,"new_value":1,"version":1001}`},
			{"transact", `{"writes":[{"op":"set","scope":"s","key":"a","value":1},{"op":"check","scope":"s","key":"c","if_version":7}]}`,
				`conflict: write 1: scope "s": "c" is at version 1001, not 7: read it again; nothing was written`},
			{"transact", `{"writes":[{"op":"set","scope":"s","key":"a","value":1},{"op":"set","scope":"s","key":"c","value":2,"if_version":0}]}`,
				`conflict: write 1: scope "s": "c" exists already, at version 1001`},
			{"list", `{"scope":"s"}`, `[1]`},
		}},
		{"faults are listed by write and field", []step{
			{"transact", `{}`, `invalid_argument: writes: is required`},
			{"transact", `{"writes":{}}`, `invalid_argument: writes: must be an array`},
			{"transact", `{"writes":[]}`, `invalid_argument: writes: must have from 1 to 90 writes, not 0`},
			{"transact", `{"writes":[1]}`, `invalid_argument: writes[0]`},
			{"transact", `{"writes":[{"op":"move","scope":"s","key":"k"}]}`, `invalid_argument: writes[0].op: is "move"`},
			{"transact", `{"writes":[{"op":"check","scope":"s","key":"k"}]}`, `invalid_argument: writes[0].if_version: is required`},
			{"transact", `{"writes":[{"op":"delete","scope":"s","key":"k","value":1}]}`, `invalid_argument: writes[0].value: is not`},
			{"transact", `{"writes":[{"op":"delete","scope":"s","key":"k"},{"op":"set","scope":"s","key":"k","value":1}]}`,
				`invalid_argument: writes[1]: is of the same document as writes[0]`},
			{"set", `{"scope":"s","key":"k","value":1,"ttl_seconds":0}`, `invalid_argument: ttl_seconds: `},
			{"set", `{"scope":"s","key":"k","value":1,"ttl_seconds":316224001}`, `invalid_argument: ttl_seconds: must be an integer from 1 to 316224000`},
			{"update", `{"scope":"s","key":"k","ops":[],"ttl_seconds":1}`, `invalid_argument: ttl_seconds: is not`},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s, _ := stored(t)
			for _, step := range c.steps {
				call(t, s, step)
			}
		})
	}
}

func TestTransactTakesNinetyWrites(t *testing.T) {
	t.Parallel()
	s, _ := stored(t)
	write := func(n int) error {
		var writes []string
		for i := range n {
			writes = append(writes, fmt.Sprintf(`{"op":"set","scope":"s","key":"k%d","value":1}`, i))
		}
		run, _ := state.Lookup("state::transact")
		_, err := run(t.Context(), s, []byte(`{"writes":[`+strings.Join(writes, ",")+`]}`))
		return err
	}
	if err := write(state.MaxWrites); err != nil {
		t.Error(err)
	}
	if err := write(state.MaxWrites + 1); errs.CodeOf(err) != errs.InvalidArgument {
		t.Errorf("one too many: %v", err)
	}
}

func TestADocumentWithATimeToLiveIsGoneAfterIt(t *testing.T) {
	t.Parallel()
	s, advance := stored(t)
	call(t, s, step{"set", `{"scope":"s","key":"k","value":1,"ttl_seconds":60}`, `{"old_value":null,"new_value":1,"version":1001}`})
	call(t, s, step{"transact", `{"writes":[{"op":"set","scope":"s","key":"l","value":1,"ttl_seconds":60}]}`,
		`{"results":[{"old_value":null,"new_value":1,"version":1002}]}`})
	advance(59 * time.Second)
	call(t, s, step{"list", `{"scope":"s"}`, `[1,1]`})
	advance(2 * time.Second)
	call(t, s, step{"list", `{"scope":"s"}`, `[]`})
	call(t, s, step{"get", `{"scope":"s","key":"k"}`, `null`})
	call(t, s, step{"list_groups", `{}`, `{"groups":[]}`})
	if d, err := s.Get(t.Context(), port.Scope("s"), "l"); err != nil || d.Exists() {
		t.Errorf("%+v, %v", d, err)
	}
}

// FuzzTransact holds state::transact to answering any payload with as many results as it has writes, or a caller's error.
func FuzzTransact(f *testing.F) {
	s, _ := stored(f)
	run, _ := state.Lookup("state::transact")
	f.Add([]byte(`{"writes":[{"op":"set","scope":"s","key":"k","value":1,"ttl_seconds":1},{"op":"delete","scope":"s","key":"l"}]}`))
	f.Add([]byte(`{"writes":[{"op":"check","scope":"s","key":"l","if_version":0},{"op":"update","scope":"t","key":"k","ops":[]}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		result, err := run(t.Context(), s, text)
		if err != nil {
			switch code := errs.CodeOf(err); code {
			case errs.InvalidArgument, errs.Conflict, errs.TooLarge:
			default:
				t.Errorf("%q: %v", text, err)
			}
			return
		}
		var asked struct{ Writes []json.RawMessage }
		var got struct{ Results []json.RawMessage }
		if err := json.Unmarshal(result, &got); err != nil {
			t.Fatalf("%q: %s, %v", text, result, err)
		}
		if err := json.Unmarshal(text, &asked); err != nil || len(got.Results) != len(asked.Writes) {
			t.Errorf("%q: %s, %v", text, result, err)
		}
	})
}
