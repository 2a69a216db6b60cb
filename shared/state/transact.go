package state

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/eddyhq/eddy/shared/payload"
	"github.com/eddyhq/eddy/shared/port"
)

// MaxWrites is how many writes and checks one state::transact may have.
const MaxWrites = 90

// transact commits several writes, or nothing:
//
//	{"writes":[{"op":"set","scope","key","value","if_version"?,"ttl_seconds"?},
//	           {"op":"update","scope","key","ops","if_version"?},
//	           {"op":"delete","scope","key","if_version"?},
//	           {"op":"check","scope","key","if_version"}]}
//	-> {"results":[…]}: of a set and an update as of state::set, of a delete {"old_value"}, of a check {"version"}
//
// It fails with conflict, naming the first write whose condition does not hold, see Conflict.
func transact(ctx context.Context, docs port.Documents, text []byte) (json.RawMessage, error) {
	fields := payload.Read(text)
	writes := readWrites(fields)
	if err := fields.Err(); err != nil {
		return nil, err
	}
	results, err := docs.Commit(ctx, port.Commit{Writes: writes})
	var found *port.ConflictError
	switch {
	case errors.As(err, &found):
		return nil, Conflict(writes, found)
	case err != nil:
		return nil, err
	}
	answer := []byte(`{"results":[`)
	for i := range writes {
		answer = append(appendOutcome(answer, &writes[i], results[i]), ',')
	}
	return append(CloseList(answer), '}'), nil
}

func appendOutcome(text []byte, w *port.Write, r port.Result) []byte {
	switch w.Op {
	case port.Delete:
		return append(AppendValue(append(text, `{"old_value":`...), r.Old), '}')
	case port.Check:
		return append(strconv.AppendInt(append(text, `{"version":`...), *w.IfVersion, 10), '}')
	default:
		return AppendResult(text, r)
	}
}

// readWrites reads the writes of a transaction.
func readWrites(fields *payload.Fields) []port.Write {
	raw := fields.Raw("writes")
	if raw == nil {
		return nil
	}
	var texts []json.RawMessage
	if err := json.Unmarshal(raw, &texts); err != nil {
		fields.Fault("writes", "must be an array of writes")
		return nil
	}
	if len(texts) == 0 || len(texts) > MaxWrites {
		fields.Fault("writes", fmt.Sprintf("must have from 1 to %d writes, not %d", MaxWrites, len(texts)))
		return nil
	}
	writes := make([]port.Write, len(texts))
	type name struct {
		collection port.Collection
		key        string
	}
	seen := make(map[name]int, len(texts))
	for i, text := range texts {
		at := fmt.Sprintf("writes[%d]", i)
		write := payload.Read(text)
		writes[i] = readOne(write)
		if err := write.Err(); err != nil {
			fields.Fail(at, err)
			continue
		}
		document := name{writes[i].Collection, writes[i].Key}
		if first, twice := seen[document]; twice {
			fields.Fault(at, fmt.Sprintf("is of the same document as writes[%d]: a document is written once", first))
		}
		seen[document] = i
	}
	return writes
}

// readOne reads one write of a transaction.
func readOne(fields *payload.Fields) port.Write {
	op := port.Op(fields.Text("op"))
	switch op {
	case port.Set:
		return readSet(fields)
	case port.Update:
		return readUpdate(fields)
	case port.Check:
		w := readWrite(op, fields)
		if w.IfVersion == nil && !fields.Has("if_version") {
			fields.Fault("if_version", "is required: it is what a check checks")
		}
		return w
	case port.Delete:
		return readWrite(op, fields)
	default:
		if op != "" {
			fields.Fault("op", fmt.Sprintf("is %q; it can be set, update, delete or check", op))
		}
		return readWrite(op, fields)
	}
}
