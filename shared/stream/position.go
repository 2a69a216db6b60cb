package stream

import "strconv"

// Position is a place in the history of a group. Clients take its text as opaque.
type Position struct {
	Epoch    string // names the log that Sequence counts in; URL-safe, without a dot
	Sequence uint64
}

// String returns the text of the position, which is safe in a URL.
func (p Position) String() string { return string(p.appendTo(nil)) }

func (p Position) appendTo(text []byte) []byte {
	text = append(append(text, p.Epoch...), '.')
	return strconv.AppendUint(text, p.Sequence, 36)
}
