package pebblestore

import (
	"bytes"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/eddyhq/eddy/shared/document"
	"github.com/eddyhq/eddy/shared/port"
)

func TestWhatIsEncodedIsDecoded(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		record := drawRecord(t)
		decoded, err := decodeRecord(record.Position, appendRecord(nil, &record))
		wantSame(t, record, decoded, err)

		letter := port.DeadLetter{
			ID:       rapid.String().Draw(t, "id"),
			Function: rapid.StringMatching(`[a-z:-]*`).Draw(t, "function"),
			Record:   record,
			Code:     rapid.String().Draw(t, "code"),
			Message:  rapid.String().Draw(t, "message"),
			Attempts: rapid.Int().Draw(t, "attempts"),
			First:    drawTime(t),
			Last:     drawTime(t),
		}
		function, id := splitLetterKey(letterKey(letter.Function, letter.ID))
		decodedLetter, err := decodeLetter(function, id, encodeLetter(&letter))
		wantSame(t, letter, decodedLetter, err)

		attempts := port.Attempts{
			Version: rapid.Int64().Draw(t, "version"), Count: rapid.Int().Draw(t, "count"), First: drawTime(t),
		}
		decodedAttempts, err := decodeAttempts(encodeAttempts(attempts))
		wantSame(t, attempts, decodedAttempts, err)
	})
}

func TestDocumentsAreDecodedWithAndWithoutTheirTime(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		d := stored{
			value:   document.Value(rapid.SliceOf(rapid.Byte()).Draw(t, "value")),
			version: rapid.Int64Range(0, math.MaxInt64).Draw(t, "version"),
			expires: rapid.Int64Range(0, math.MaxInt64).Draw(t, "expires"),
		}
		row := appendDocumentHead(nil, d)
		if head := len(row); d.expires == 0 && head != 8 {
			t.Fatalf("a document without a time has %d bytes before its value", head)
		}
		decoded, err := decodeDocument(append(row, d.value...))
		if err != nil || !bytes.Equal(decoded.value, d.value) || decoded.version != d.version || decoded.expires != d.expires {
			t.Fatalf("%+v became %+v, %v", d, decoded, err)
		}
		for n := 1; n < len(row); n++ { // a row of none is no document
			if _, err := decodeDocument(row[:n]); err == nil {
				t.Fatalf("%d bytes of %d were taken for a document", n, len(row))
			}
		}
	})
}

func TestRecordsOfTheFormatBeforeAreDecoded(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		row  string
		want port.Record
	}{
		{"a change", "\x01\x00\x00\x00\x01\x07state/a\x01k\x00\x021\x0e", port.Record{
			Change: &port.Change{Collection: "state/a", Key: "k", New: document.Value(`1`), Version: 7},
		}},
		{"a call", "\x01\x00\x00\x01f\x03\x01i\x01f\x022", port.Record{
			Target: "f", Call: &port.Call{ID: "i", Function: "f", Payload: document.Value(`2`)},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got, err := decodeRecord(0, []byte(c.row))
			wantSame(t, c.want, got, err)
		})
	}
}

func TestEveryShorterRowIsCorrupt(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		record := drawRecord(t)
		row := appendRecord(nil, &record)
		if _, err := decodeRecord(1, row[:rapid.IntRange(0, len(row)-1).Draw(t, "length")]); err == nil {
			t.Fatal("a part of a row was taken for a row")
		}
		if _, err := decodeRecord(1, append(row, 0)); err == nil {
			t.Fatal("more than a row was taken for a row")
		}
	})
}

func TestDocumentKeysAreTakenApartAgain(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		c, key := port.Scope(rapid.String().Draw(t, "scope")), rapid.String().Draw(t, "key")
		gotC, gotKey := splitDocumentKey(documentKey(c, key))
		if gotC != c || gotKey != key {
			t.Fatalf("%q %q became %q %q", c, key, gotC, gotKey)
		}
	})
}

func FuzzDecode(f *testing.F) {
	record := port.Record{
		Cause:  port.Cause{Root: "root", Chain: []string{"a", "b"}},
		Change: &port.Change{Collection: "state/a", Key: "k", New: document.Value(`1`), Version: 1},
	}
	f.Add(appendRecord(nil, &record))
	record.Change.Expired = true
	f.Add(appendRecord(nil, &record))
	f.Add(appendRecord(nil, &port.Record{Call: &port.Call{ID: "1", Function: "f", Group: "g", NotBefore: 5}}))
	f.Add(encodeLetter(&port.DeadLetter{Code: "internal", Record: record, First: time.Unix(1, 2)}))
	f.Add(encodeAttempts(port.Attempts{Version: 1, Count: 2, First: time.Unix(1, 2)}))
	f.Add([]byte{rowFormat, 0, 0xff, 0xff, 0xff, 0xff, 0x0f, callKind})
	f.Fuzz(func(t *testing.T, row []byte) {
		if r, err := decodeRecord(7, row); err == nil {
			again, err := decodeRecord(7, appendRecord(nil, &r))
			wantSame(t, r, again, err)
		}
		if l, err := decodeLetter("f", "1", row); err == nil {
			again, err := decodeLetter("f", "1", encodeLetter(&l))
			wantSame(t, l, again, err)
		}
		if a, err := decodeAttempts(row); err == nil {
			again, err := decodeAttempts(encodeAttempts(a))
			wantSame(t, a, again, err)
		}
	})
}

func wantSame(t interface {
	Helper()
	Fatalf(format string, args ...any)
}, want, got any, err error,
) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Fatalf("%v (-want +got):\n%s", err, diff)
	}
}

func drawRecord(t *rapid.T) port.Record {
	text := func(label string) string { return rapid.String().Draw(t, label) }
	value := func(label string) document.Value {
		if rapid.Bool().Draw(t, label+" is nil") {
			return nil
		}
		return document.Value(rapid.SliceOf(rapid.Byte()).Draw(t, label))
	}
	r := port.Record{
		Position: rapid.Uint64().Draw(t, "position"),
		Cause:    port.Cause{Root: text("root")},
		Target:   text("target"),
	}
	if chain := rapid.SliceOf(rapid.String()).Draw(t, "chain"); len(chain) > 0 {
		r.Cause.Chain = chain
	}
	switch rapid.IntRange(0, 2).Draw(t, "kind") {
	case 0:
		r.Change = &port.Change{
			Collection: port.Collection(text("collection")), Key: text("key"), Old: value("old"), New: value("new"),
			Version: rapid.Int64().Draw(t, "version"), Expired: rapid.Bool().Draw(t, "expired"),
		}
	case 1:
		r.Event = &port.Event{
			Group: port.Collection(text("group")), Item: text("item"), Type: text("type"), Data: value("data"),
		}
	default:
		r.Call = &port.Call{
			ID: text("id"), Function: text("function"), Payload: value("payload"),
			Group: text("group"), NotBefore: rapid.Int64().Draw(t, "not before"),
		}
	}
	return r
}

// drawTime includes the zero time.
func drawTime(t *rapid.T) time.Time {
	if rapid.Bool().Draw(t, "zero") {
		return time.Time{}
	}
	return time.Unix(rapid.Int64Range(0, 1<<40).Draw(t, "seconds"), rapid.Int64Range(0, 999_999_999).Draw(t, "ns")).UTC()
}
