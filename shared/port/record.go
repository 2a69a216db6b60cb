package port

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"strconv"

	"github.com/eddyhq/eddy/shared/document"
)

// Record is one thing that a commit made happen: exactly one of Change, Event and Call is set. A store keeps its
// records in the order of its commits and hands them to whoever follows it: the reactions and the lanes of streams.
type Record struct {
	Position uint64 // the record's place in the store's log; rises, with gaps
	Cause    Cause
	Target   string // when not "", only this function is to see the record: a redriven dead letter, a call
	Change   *Change
	Event    *Event
	Call     *Call
}

// Change is what a write did to one document.
type Change struct {
	Collection Collection
	Key        string
	Old, New   document.Value // nil where there was, or is, no document
	Version    int64
	Expired    bool // nobody deleted the document: its time was up
}

// Kind says how a change changed its document.
type Kind string

// The kinds of change.
const (
	Created Kind = "created"
	Updated Kind = "updated"
	Deleted Kind = "deleted"
)

// Kind returns what happened to the document.
func (c *Change) Kind() Kind {
	switch {
	case c.Old == nil:
		return Created
	case c.New == nil:
		return Deleted
	default:
		return Updated
	}
}

// ID names the change: the same for every delivery of it, different from every other change.
func (c *Change) ID() string {
	return Digest(string(c.Collection), c.Key, strconv.FormatInt(c.Version, 10))
}

// ID names the record by what it carries. An event has none: events are not delivered to functions.
func (r *Record) ID() string {
	switch {
	case r.Change != nil:
		return r.Change.ID()
	case r.Call != nil:
		return r.Call.ID
	default:
		return ""
	}
}

// ValueBytes returns the length of the values that the record carries.
func (r *Record) ValueBytes() int {
	switch {
	case r.Change != nil:
		return len(r.Change.Old) + len(r.Change.New)
	case r.Event != nil:
		return len(r.Event.Data)
	case r.Call != nil:
		return len(r.Call.Payload)
	default:
		return 0
	}
}

// Digest returns a short name (32 hexadecimal digits) for a list of strings; different lists get different names.
func Digest(parts ...string) string {
	text := make([]byte, 0, 256)
	for _, part := range parts {
		text = binary.LittleEndian.AppendUint64(text, uint64(len(part)))
		text = append(text, part...)
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:16])
}
