package port

import (
	"strings"
)

// Collection names a set of documents that lists in key order: a state scope ("state/<scope>") or the items of a
// stream group ("stream/<name>/<group>"). Segments are escaped, so that no name can reach into another collection.
// Adapters use the text as it is: as a key prefix, as a partition key.
type Collection string

// The spaces a Collection can lie in; each is also the prefix to list it with.
const (
	StateSpace  = "state/"
	StreamSpace = "stream/"
	OwnSpace    = "own/" // of Eddy itself: no function and no client reaches it, and nothing is told of its changes
)

// Own returns a collection of Eddy itself: what it keeps, of which function.
func Own(what, function string) Collection {
	return Collection(OwnSpace + escape(what) + "/" + escape(function))
}

// IsOwn reports whether the collection is one of Eddy itself.
func (c Collection) IsOwn() bool { return strings.HasPrefix(string(c), OwnSpace) }

// Scope returns the collection of a state scope.
func Scope(name string) Collection { return Collection(StateSpace + escape(name)) }

// Group returns the collection that holds the items of a stream group.
func Group(stream, group string) Collection {
	return Collection(StreamSpace + escape(stream) + "/" + escape(group))
}

// GroupsOf returns the prefix that all groups of a stream share.
func GroupsOf(stream string) string { return StreamSpace + escape(stream) + "/" }

// Scope returns the name of the state scope, and whether the collection is one.
func (c Collection) Scope() (name string, ok bool) {
	rest, ok := strings.CutPrefix(string(c), StateSpace)
	if !ok {
		return "", false
	}
	return unescape(rest), true
}

// Group returns the stream and group of the collection, and whether the collection is a stream group.
func (c Collection) Group() (stream, group string, ok bool) {
	rest, ok := strings.CutPrefix(string(c), StreamSpace)
	if !ok {
		return "", "", false
	}
	stream, group, ok = strings.Cut(rest, "/")
	return unescape(stream), unescape(group), ok
}

// Segment returns a name as it stands in a Collection: one segment, from which no other segment can be reached. Adapters
// make the keys of what they keep beside documents of it.
func Segment(name string) string { return escape(name) }

const hexDigits = "0123456789ABCDEF"

// escape makes a name safe as one segment: '/', '%' and control bytes become %XX.
func escape(name string) string {
	special := 0
	for i := range len(name) {
		if isSpecial(name[i]) {
			special++
		}
	}
	if special == 0 {
		return name
	}
	var b strings.Builder
	b.Grow(len(name) + 2*special)
	for i := range len(name) {
		if c := name[i]; isSpecial(c) {
			b.WriteByte('%')
			b.WriteByte(hexDigits[c>>4])
			b.WriteByte(hexDigits[c&15])
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

func isSpecial(c byte) bool { return c == '/' || c == '%' || c < 0x20 || c == 0x7f }

// unescape undoes escape; text that escape cannot have produced is returned as it is.
func unescape(segment string) string {
	if !strings.Contains(segment, "%") {
		return segment
	}
	var b strings.Builder
	b.Grow(len(segment))
	for i := 0; i < len(segment); i++ {
		if segment[i] == '%' && i+2 < len(segment) {
			hi, lo := strings.IndexByte(hexDigits, segment[i+1]), strings.IndexByte(hexDigits, segment[i+2])
			if hi >= 0 && lo >= 0 {
				b.WriteByte(byte(hi<<4 | lo))
				i += 2
				continue
			}
		}
		b.WriteByte(segment[i])
	}
	return b.String()
}
