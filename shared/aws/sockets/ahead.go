package sockets

import (
	"cmp"
	"encoding/binary"
	"slices"
)

// ahead is what the snapshots of joins had before the records of it passed the lane. A snapshot has no less than that
// of a join before it, so a join knows of an item what the last join up to it was the first to know.
type ahead struct {
	of    map[digest][]insight // each in the order of the joins
	count int
	next  uint64
}

// insight is a version of an item that one join, and every later one, knew.
type insight struct {
	join    uint64 // the revision of the group that came with the join
	version int64
	turn    uint64 // rises with each thing that is learned
}

// knownTo returns the version of an item that a join knew, 0 when it knew none.
func knownTo(join uint64, insights []insight) int64 {
	for _, i := range slices.Backward(insights) {
		if i.join <= join {
			return i.version
		}
	}
	return 0
}

// maxAhead bounds the insights of a group, so that they fit into a row. Of those beyond it the oldest are given up:
// whoever joined then may be told what it knows.
const maxAhead = 6_000

// learn notes the version of an item that a join knows, and reports whether those before did not.
func (a *ahead) learn(d digest, join uint64, version int64) bool {
	before := a.of[d]
	if len(before) > 0 && before[len(before)-1].version >= version {
		return false
	}
	if a.of == nil {
		a.of = map[digest][]insight{}
	}
	a.next++
	a.of[d] = append(before, insight{join, version, a.next})
	a.count++
	return true
}

// drop forgets what has passed, and what is too much.
func (a *ahead) drop(seen *versions) {
	for d, insights := range a.of {
		a.keep(d, insights, func(i insight) bool { return !seen.covers(d, i.version) })
	}
	if a.count <= maxAhead {
		return
	}
	all := a.inOrder()
	last := all[len(all)-maxAhead-1].turn
	for d, insights := range a.of {
		a.keep(d, insights, func(i insight) bool { return i.turn > last })
	}
}

func (a *ahead) keep(d digest, insights []insight, kept func(insight) bool) {
	left := slices.DeleteFunc(insights, func(i insight) bool { return !kept(i) })
	a.count -= len(insights) - len(left)
	if len(left) == 0 {
		delete(a.of, d)
	} else {
		a.of[d] = left
	}
}

// named is an insight with the item that it is about.
type named struct {
	digest
	insight
}

// inOrder returns everything in the order in which it was learned.
func (a *ahead) inOrder() []named {
	all := make([]named, 0, a.count)
	for d, insights := range a.of {
		for _, i := range insights {
			all = append(all, named{d, i})
		}
	}
	slices.SortFunc(all, func(x, y named) int { return cmp.Compare(x.turn, y.turn) })
	return all
}

const insightBytes = len(digest{}) + 8 + 8

// encode returns everything as bytes, never nil.
func (a *ahead) encode() []byte {
	text := make([]byte, 0, a.count*insightBytes)
	for _, n := range a.inOrder() {
		text = binary.BigEndian.AppendUint64(append(text, n.digest[:]...), n.join)
		text = binary.BigEndian.AppendUint64(text, uint64(n.version))
	}
	return text
}

// decodeAhead reads what encode wrote. A part of an insight at the end is left out: nothing writes such a one.
func decodeAhead(text []byte) ahead {
	var a ahead
	for ; len(text) >= insightBytes; text = text[insightBytes:] {
		d, rest := digest(text[:len(digest{})]), text[len(digest{}):]
		a.learn(d, binary.BigEndian.Uint64(rest), int64(binary.BigEndian.Uint64(rest[8:])))
	}
	return a
}
