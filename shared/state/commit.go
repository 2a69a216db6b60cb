package state

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/eddyhq/eddy/shared/document"
	"github.com/eddyhq/eddy/shared/errs"
	"github.com/eddyhq/eddy/shared/port"
)

// Commit commits a single write. When its condition does not hold it fails with conflict, with a message that names the
// document and the version it is at.
func Commit(ctx context.Context, docs port.Documents, write port.Write) (port.Result, error) {
	results, err := docs.Commit(ctx, port.Commit{Writes: []port.Write{write}})
	var found *port.ConflictError
	switch {
	case errors.As(err, &found):
		return port.Result{}, errs.New(errs.Conflict, "%s", conflict(&write, found.Version))
	case err != nil:
		return port.Result{}, err
	default:
		return results[0], nil
	}
}

// Conflict returns the error for a commit of several writes, of which one found its condition not met: it names the document,
// and in its details the write by its index.
func Conflict(writes []port.Write, found *port.ConflictError) error {
	write := &writes[found.Index]
	problem := conflict(write, found.Version)
	where := "stream item "
	if scope, ok := write.Collection.Scope(); ok {
		where = fmt.Sprintf("scope %q: ", scope)
	}
	e := errs.New(errs.Conflict, "write %d: %s%s; nothing was written", found.Index, where, problem)
	e.Details = []errs.Detail{{Field: fmt.Sprintf("writes[%d]", found.Index), Problem: problem}}
	return e
}

// conflict says what a write found in place of what it demands.
func conflict(write *port.Write, version int64) string {
	switch {
	case version == 0:
		return fmt.Sprintf("%q does not exist, so it is not at version %d", write.Key, expected(write))
	case expected(write) == 0:
		return fmt.Sprintf("%q exists already, at version %d", write.Key, version)
	default:
		return fmt.Sprintf("%q is at version %d, not %d: read it again", write.Key, version, expected(write))
	}
}

func expected(write *port.Write) int64 {
	if write.IfVersion == nil {
		return 0
	}
	return *write.IfVersion
}

// AppendResult appends what a set or an update gives as JSON: {"old_value","new_value","version"}, and "errors" when
// operations were skipped.
func AppendResult(text []byte, r port.Result) []byte {
	const framing = len(`{"old_value":null,"new_value":null,"version":9223372036854775807}`)
	text = slices.Grow(text, len(r.Old)+len(r.New)+framing)
	text = AppendValue(append(text, `{"old_value":`...), r.Old)
	text = AppendValue(append(text, `,"new_value":`...), r.New)
	text = strconv.AppendInt(append(text, `,"version":`...), r.Version, 10)
	if len(r.Faults) > 0 {
		faults, _ := json.Marshal(r.Faults) // numbers and strings: cannot fail
		text = append(append(text, `,"errors":`...), faults...)
	}
	return append(text, '}')
}

// AppendValue appends a value as JSON: null where there is none.
func AppendValue(text []byte, v document.Value) []byte {
	if v == nil {
		return append(text, "null"...)
	}
	return append(text, v...)
}
