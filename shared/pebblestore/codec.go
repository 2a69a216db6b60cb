package pebblestore

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/eddyhq/eddy/shared/document"
	"github.com/eddyhq/eddy/shared/port"
)

// rowFormat is the first byte of every record and dead letter: the version of their encoding.
const rowFormat = 1

// What a record carries.
const (
	changeKind = 1
	eventKind  = 2
	callKind   = 3
	expiryKind = 4 // a change that is an expiry
	heldKind   = 5 // a call with a group, or held back
)

// errCorrupt says that a row is none that this package wrote.
var errCorrupt = errors.New("a row of the database is corrupt")

// stored is a document as its row has it. The zero value is none.
type stored struct {
	value   document.Value
	version int64
	expires int64
}

// expiring marks the version of a row that tells when the document expires. Versions are below it for ages.
const expiring = 1 << 63

// appendDocumentHead appends what is before the value in the row of a document: its version, when it expires if it does.
func appendDocumentHead(b []byte, d stored) []byte {
	if d.expires == 0 {
		return binary.BigEndian.AppendUint64(b, uint64(d.version))
	}
	b = binary.BigEndian.AppendUint64(b, uint64(d.version)|expiring)
	return binary.BigEndian.AppendUint64(b, uint64(d.expires))
}

// decodeDocument reads the row of a document; nil is none. Its value shares memory with the row.
func decodeDocument(row []byte) (d stored, err error) {
	if row == nil {
		return stored{}, nil
	}
	if len(row) < 8 {
		return stored{}, errCorrupt
	}
	version := binary.BigEndian.Uint64(row)
	row = row[8:]
	if version&expiring != 0 {
		if len(row) < 8 {
			return stored{}, errCorrupt
		}
		d.expires = int64(binary.BigEndian.Uint64(row))
		row = row[8:]
	}
	d.value, d.version = document.Value(row), int64(version&^expiring)
	return d, nil
}

// appendRecord appends the encoding of a record, its position excepted: that is the key of its row.
func appendRecord(b []byte, r *port.Record) []byte {
	b = append(b, rowFormat)
	b = appendText(b, r.Cause.Root)
	b = binary.AppendUvarint(b, uint64(len(r.Cause.Chain)))
	for _, function := range r.Cause.Chain {
		b = appendText(b, function)
	}
	b = appendText(b, r.Target)
	switch {
	case r.Change != nil:
		if r.Change.Expired {
			b = append(b, expiryKind)
		} else {
			b = append(b, changeKind)
		}
		b = appendText(b, string(r.Change.Collection))
		b = appendText(b, r.Change.Key)
		b = appendValue(b, r.Change.Old)
		b = appendValue(b, r.Change.New)
		return binary.AppendVarint(b, r.Change.Version)
	case r.Event != nil:
		b = append(b, eventKind)
		b = appendText(b, string(r.Event.Group))
		b = appendText(b, r.Event.Item)
		b = appendText(b, r.Event.Type)
		return appendValue(b, r.Event.Data)
	case r.Call.Group != "" || r.Call.NotBefore != 0:
		b = append(b, heldKind)
		b = appendText(b, r.Call.Group)
		b = binary.AppendVarint(b, r.Call.NotBefore)
		return appendCall(b, r.Call)
	default:
		return appendCall(append(b, callKind), r.Call)
	}
}

func appendCall(b []byte, call *port.Call) []byte {
	b = appendText(b, call.ID)
	b = appendText(b, call.Function)
	return appendValue(b, call.Payload)
}

// decodeRecord reads what appendRecord wrote. Its values share memory with b.
func decodeRecord(position uint64, b []byte) (port.Record, error) {
	d := decoder{rest: b}
	r := d.record()
	r.Position = position
	return r, d.done()
}

// encodeLetter returns the encoding of a dead letter, its function and id excepted: they are the key of its row.
func encodeLetter(l *port.DeadLetter) []byte {
	b := []byte{rowFormat}
	b = appendText(b, l.Code)
	b = appendText(b, l.Message)
	b = binary.AppendVarint(b, int64(l.Attempts))
	b = appendTime(b, l.First)
	b = appendTime(b, l.Last)
	b = binary.AppendUvarint(b, l.Record.Position)
	return appendRecord(b, &l.Record)
}

// decodeLetter reads what encodeLetter wrote. Its values share memory with b.
func decodeLetter(function, id string, b []byte) (port.DeadLetter, error) {
	d := decoder{rest: b}
	d.format()
	l := port.DeadLetter{ID: id, Function: function}
	l.Code = d.text()
	l.Message = d.text()
	l.Attempts = int(d.varint())
	l.First = d.time()
	l.Last = d.time()
	position := d.uvarint()
	l.Record = d.record()
	l.Record.Position = position
	return l, d.done()
}

// encodeAttempts returns the encoding of a delivery's failed attempts.
func encodeAttempts(a port.Attempts) []byte {
	b := []byte{rowFormat}
	b = binary.AppendVarint(b, a.Version)
	b = binary.AppendVarint(b, int64(a.Count))
	return appendTime(b, a.First)
}

// decodeAttempts reads what encodeAttempts wrote.
func decodeAttempts(b []byte) (port.Attempts, error) {
	d := decoder{rest: b}
	d.format()
	a := port.Attempts{Version: d.varint(), Count: int(d.varint()), First: d.time()}
	return a, d.done()
}

func appendText(b []byte, text string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(text))), text...)
}

// appendValue tells nil from empty: the length is one more than it is, zero for nil.
func appendValue(b []byte, v document.Value) []byte {
	if v == nil {
		return append(b, 0)
	}
	return append(binary.AppendUvarint(b, uint64(len(v))+1), v...)
}

func appendTime(b []byte, t time.Time) []byte {
	return binary.AppendUvarint(binary.AppendVarint(b, t.Unix()), uint64(t.Nanosecond()))
}

// decoder reads a row from its start. After the first fault it yields zero values.
type decoder struct {
	rest    []byte
	corrupt bool
}

// done reports whether all of the row was read, without a fault.
func (d *decoder) done() error {
	if d.corrupt || len(d.rest) > 0 {
		return errCorrupt
	}
	return nil
}

func (d *decoder) fail() {
	d.corrupt, d.rest = true, nil
}

func (d *decoder) format() {
	if d.byte() != rowFormat {
		d.fail()
	}
}

func (d *decoder) byte() byte {
	if len(d.rest) == 0 {
		d.fail()
		return 0
	}
	b := d.rest[0]
	d.rest = d.rest[1:]
	return b
}

func (d *decoder) uvarint() uint64 {
	n, size := binary.Uvarint(d.rest)
	if size <= 0 {
		d.fail()
		return 0
	}
	d.rest = d.rest[size:]
	return n
}

func (d *decoder) varint() int64 {
	n, size := binary.Varint(d.rest)
	if size <= 0 {
		d.fail()
		return 0
	}
	d.rest = d.rest[size:]
	return n
}

func (d *decoder) bytes(n uint64) []byte {
	if n > uint64(len(d.rest)) {
		d.fail()
		return nil
	}
	b := d.rest[:n:n]
	d.rest = d.rest[n:]
	return b
}

func (d *decoder) text() string { return string(d.bytes(d.uvarint())) }

func (d *decoder) value() document.Value {
	n := d.uvarint()
	if n == 0 {
		return nil
	}
	return document.Value(d.bytes(n - 1))
}

func (d *decoder) time() time.Time {
	seconds, nanoseconds := d.varint(), d.uvarint()
	if d.corrupt || nanoseconds >= uint64(time.Second) {
		d.fail()
		return time.Time{}
	}
	return time.Unix(seconds, int64(nanoseconds)).UTC()
}

func (d *decoder) record() (r port.Record) {
	d.format()
	r.Cause = d.cause()
	r.Target = d.text()
	switch kind := d.byte(); kind {
	case changeKind, expiryKind:
		r.Change = &port.Change{
			Collection: port.Collection(d.text()),
			Key:        d.text(),
			Old:        d.value(),
			New:        d.value(),
			Version:    d.varint(),
			Expired:    kind == expiryKind,
		}
	case eventKind:
		r.Event = &port.Event{
			Group: port.Collection(d.text()),
			Item:  d.text(),
			Type:  d.text(),
			Data:  d.value(),
		}
	case callKind:
		r.Call = d.call("", 0)
	case heldKind:
		r.Call = d.call(d.text(), d.varint())
	default:
		d.fail()
	}
	return r
}

func (d *decoder) call(group string, notBefore int64) *port.Call {
	return &port.Call{ID: d.text(), Function: d.text(), Payload: d.value(), Group: group, NotBefore: notBefore}
}

func (d *decoder) cause() port.Cause {
	cause := port.Cause{Root: d.text()}
	n := d.uvarint()
	if n > uint64(len(d.rest)) { // each takes a byte at least: refuse before allocating
		d.fail()
		return cause
	}
	if n > 0 {
		cause.Chain = make([]string, n)
	}
	for i := range cause.Chain {
		cause.Chain[i] = d.text()
	}
	return cause
}
