package message

import (
	"encoding/json"
	"fmt"

	"github.com/eddyhq/eddy/shared/document"
	"github.com/eddyhq/eddy/shared/port"
)

// Record is a port.Record as it travels. Its ID names it: the same for each time it arrives.
type Record struct {
	ID string
	port.Record

	// Blob, when not "", is the key of the blob that holds the record, of which only the ID is known here. It is what the
	// stream tells of a record that was too large for its row, and does not travel further.
	Blob string
}

// recordText is a Record on the wire. One of Change, Event and Call is set.
type recordText struct {
	ID       string      `json:"id"`
	Position uint64      `json:"position,omitempty"`
	Root     string      `json:"root,omitempty"`
	Chain    []string    `json:"chain,omitempty"`
	Target   string      `json:"target,omitempty"`
	Change   *changeText `json:"change,omitempty"`
	Event    *eventText  `json:"event,omitempty"`
	Call     *callText   `json:"call,omitempty"`
}

// changeText is a change. A value that is absent is left out, since null is a value.
type changeText struct {
	Collection port.Collection `json:"collection"`
	Key        string          `json:"key"`
	Old        document.Value  `json:"old,omitzero"`
	New        document.Value  `json:"new,omitzero"`
	Version    int64           `json:"version"`
	Expired    bool            `json:"expired,omitempty"`
}

type eventText struct {
	Group port.Collection `json:"group"`
	Item  string          `json:"item,omitempty"`
	Type  string          `json:"type"`
	Data  document.Value  `json:"data,omitzero"`
}

type callText struct {
	ID        string         `json:"id"`
	Function  string         `json:"function"`
	Payload   document.Value `json:"payload,omitzero"`
	Group     string         `json:"group,omitempty"`
	NotBefore int64          `json:"not_before,omitempty"`
}

// MarshalJSON implements json.Marshaler.
func (r Record) MarshalJSON() ([]byte, error) {
	t := recordText{ID: r.ID, Position: r.Position, Root: r.Cause.Root, Chain: r.Cause.Chain, Target: r.Target}
	t.Change, t.Event, t.Call = (*changeText)(r.Change), (*eventText)(r.Event), (*callText)(r.Call)
	return encode(t)
}

// UnmarshalJSON implements json.Unmarshaler. A record that does not carry exactly one thing is an error.
func (r *Record) UnmarshalJSON(text []byte) error {
	var t recordText
	if err := json.Unmarshal(text, &t); err != nil {
		return fmt.Errorf("read a record: %w", err)
	}
	carried := 0
	for _, carries := range []bool{t.Change != nil, t.Event != nil, t.Call != nil} {
		if carries {
			carried++
		}
	}
	if carried != 1 {
		return fmt.Errorf("read a record: it carries %d things in place of one", carried)
	}
	*r = Record{ID: t.ID, Record: port.Record{
		Position: t.Position, Cause: port.Cause{Root: t.Root, Chain: t.Chain}, Target: t.Target,
		Change: (*port.Change)(t.Change), Event: (*port.Event)(t.Event), Call: (*port.Call)(t.Call),
	}}
	return nil
}
