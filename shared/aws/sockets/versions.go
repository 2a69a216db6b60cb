package sockets

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"slices"
)

// digest names an item or an event in a few bytes. Two names of one group that share a digest would hide a frame;
// among the thousands that are looked at together, the chance of that is one in 10^21.
type digest [12]byte

func digestOf(kind, name string) digest {
	text := make([]byte, 0, 256)
	sum := sha256.Sum256(append(append(append(text, kind...), 0), name...))
	return digest(sum[:len(digest{})])
}

func itemDigest(key string) digest { return digestOf("item", key) }
func eventDigest(id string) digest { return digestOf("event", id) }

// versions say up to which version something is known of each of many items. The zero value knows nothing.
type versions struct {
	of   map[digest]learned
	next uint64
}

type learned struct {
	version int64
	turn    uint64 // rises with each thing that is learned
}

// covers reports whether the version, or a later one, is known.
func (v *versions) covers(d digest, version int64) bool {
	known, found := v.of[d]
	return found && version <= known.version
}

// version returns the version that is known, and whether any is.
func (v *versions) version(d digest) (int64, bool) {
	known, found := v.of[d]
	return known.version, found
}

// learn notes a version, which thereby is what was learned last.
func (v *versions) learn(d digest, version int64) {
	if v.of == nil {
		v.of = map[digest]learned{}
	}
	v.next++
	v.of[d] = learned{version, v.next}
}

// keep drops what was learned before the last most things.
func (v *versions) keep(most int) {
	if len(v.of) <= most {
		return
	}
	for _, d := range v.inOrder()[:len(v.of)-most] {
		delete(v.of, d)
	}
}

// inOrder returns the digests in the order in which something was learned of them last.
func (v *versions) inOrder() []digest {
	digests := make([]digest, 0, len(v.of))
	for d := range v.of {
		digests = append(digests, d)
	}
	slices.SortFunc(digests, func(a, b digest) int { return cmp.Compare(v.of[a].turn, v.of[b].turn) })
	return digests
}

const entryBytes = len(digest{}) + 8

// encode returns the versions as bytes, in the order in which they were learned.
func (v *versions) encode() []byte {
	text := make([]byte, 0, len(v.of)*entryBytes)
	for _, d := range v.inOrder() {
		text = binary.BigEndian.AppendUint64(append(text, d[:]...), uint64(v.of[d].version))
	}
	return text
}

// decodeVersions reads what encode wrote. A part of an entry at the end is left out: nothing writes such a one.
func decodeVersions(text []byte) versions {
	var v versions
	for ; len(text) >= entryBytes; text = text[entryBytes:] {
		v.learn(digest(text[:len(digest{})]), int64(binary.BigEndian.Uint64(text[len(digest{}):entryBytes])))
	}
	return v
}
