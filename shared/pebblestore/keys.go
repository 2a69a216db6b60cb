package pebblestore

import (
	"bytes"
	"encoding/binary"

	"github.com/eddyhq/eddy/shared/port"
)

// Every row of the database begins with the byte of its space.
//
//	d <collection> 00 <key>        a document: version (8 bytes), when it expires if that has its highest bit, value
//	x <time> <row of a document>   that the document expires then; the row of the document itself decides
//	l <position>                   a record of the log
//	c <generation> <cursor>        the version of a cursor
//	a <generation> <cursor>        the failed attempts of a delivery
//	f <function> 00 <id>           a dead letter
//	p <function>                   the progress of a function: a position
//	m <name>                       what the store knows of itself, see the names below
//
// Numbers are 8 bytes, big endian, so that rows sort by them. Collections and function ids hold no byte below 0x20,
// so that 00 separates and sorts first; keys, ids and cursor names may hold any byte.
const (
	documentSpace = 'd'
	expirySpace   = 'x'
	logSpace      = 'l'
	cursorSpace   = 'c'
	attemptSpace  = 'a'
	letterSpace   = 'f'
	progressSpace = 'p'
)

// The rows of the store itself.
const (
	formatRow     = "mformat"     // the version of this layout
	epochRow      = "mepoch"      // the random name of this log
	clockRow      = "mclock"      // the last version given and the last position used; in every batch that uses one
	generationRow = "mgeneration" // the current generation of cursors and the position it began at
	trimmedRow    = "mtrimmed"    // the position up to which the log was dropped
	restoringRow  = "z"           // behind all others, while a backup is restored: this is no store yet
)

// documentKey returns the row of a document. With a prefix of keys for key, it is the prefix of their rows.
func documentKey(c port.Collection, key string) []byte {
	return appendDocumentKey(make([]byte, 0, len(c)+len(key)+2), c, key)
}

func appendDocumentKey(row []byte, c port.Collection, key string) []byte {
	row = append(row, documentSpace)
	row = append(row, c...)
	row = append(row, 0)
	return append(row, key...)
}

// splitDocumentKey returns what documentKey was made of.
func splitDocumentKey(row []byte) (c port.Collection, key string) {
	collection, rest, _ := bytes.Cut(row[1:], []byte{0})
	return port.Collection(collection), string(rest)
}

// expiryKey returns the row that tells of a document that expires at a time, in seconds of the Unix epoch.
func expiryKey(at int64, document string) []byte {
	row := make([]byte, 0, 9+len(document))
	row = append(row, expirySpace)
	row = binary.BigEndian.AppendUint64(row, uint64(at))
	return append(row, document...)
}

// splitExpiryKey returns what expiryKey was made of.
func splitExpiryKey(row []byte) (at int64, document []byte) {
	return int64(binary.BigEndian.Uint64(row[1:])), row[9:]
}

func logKey(position uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{logSpace}, position)
}

// guardKey returns the row of a cursor, or of its attempts, in a generation. With an empty name it is their prefix.
func guardKey(space byte, generation uint64, name string) []byte {
	row := make([]byte, 0, 9+len(name))
	row = append(row, space)
	row = binary.BigEndian.AppendUint64(row, generation)
	return append(row, name...)
}

// letterKey returns the row of a dead letter.
func letterKey(function, id string) []byte {
	row := make([]byte, 0, len(function)+len(id)+2)
	row = append(row, letterSpace)
	row = append(row, function...)
	row = append(row, 0)
	return append(row, id...)
}

// splitLetterKey returns what letterKey was made of.
func splitLetterKey(row []byte) (function, id string) {
	name, rest, _ := bytes.Cut(row[1:], []byte{0})
	return string(name), string(rest)
}

func progressKey(function string) []byte { return append([]byte{progressSpace}, function...) }

// after returns the first row above row.
func after(row []byte) []byte { return append(row, 0) }

// end returns the first row above all that start with prefix, which must hold a byte below 0xff.
func end(prefix []byte) []byte {
	for i := len(prefix) - 1; ; i-- {
		if prefix[i] != 0xff {
			bound := bytes.Clone(prefix[:i+1])
			bound[i]++
			return bound
		}
	}
}

// pair is the value of the rows that hold two numbers.
func pair(a, b uint64) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(make([]byte, 0, 16), a), b)
}

// numbers reads n numbers of 8 bytes; zeros where the row is missing.
func numbers(row []byte, n int) ([]uint64, error) {
	values := make([]uint64, n)
	if row == nil {
		return values, nil
	}
	if len(row) != 8*n {
		return nil, errCorrupt
	}
	for i := range values {
		values[i] = binary.BigEndian.Uint64(row[8*i:])
	}
	return values, nil
}
