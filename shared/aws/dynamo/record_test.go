package dynamo_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/aws/aws-lambda-go/events"
	"github.com/google/go-cmp/cmp"

	"github.com/eddyhq/eddy/shared/aws/dynamo"
	"github.com/eddyhq/eddy/shared/aws/message"
	"github.com/eddyhq/eddy/shared/document"
	"github.com/eddyhq/eddy/shared/port"
)

// told is the text of an event: what the stream says of a row.
func told(name, pk, before, after string) string {
	text := `{"eventID":"e","eventName":"` + name + `","eventSource":"aws:dynamodb","dynamodb":{"SequenceNumber":"1",` +
		`"Keys":{"pk":{"S":"` + pk + `"},"sk":{"S":"k"}}`
	if before != "" {
		text += `,"OldImage":` + before
	}
	if after != "" {
		text += `,"NewImage":` + after
	}
	return text + `}}`
}

// recordsOf reads the text of an event.
func recordsOf(t *testing.T, text string) ([]message.Record, error) {
	t.Helper()
	var e events.DynamoDBEventRecord
	if err := json.Unmarshal([]byte(text), &e); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return dynamo.RecordsOf(e)
}

const (
	lapsedAt42 = `"lapsed":{"N":"42"}`
	silentBy   = `"silent":{"S":"w"}`
)

// removal is the event of a removed row, in a second of the Unix epoch, by somebody.
func removal(before, by, second string) string {
	text := strings.Replace(told("REMOVE", "state/s", before, ""), `"Keys"`, `"ApproximateCreationDateTime":`+second+`,"Keys"`, 1)
	if by != "" {
		text = with(text, `"userIdentity":`+by)
	}
	return text
}

// itself is who removes what has expired: DynamoDB.
const itself = `{"type":"Service","principalId":"dynamodb.amazonaws.com"}`

func expiry(old string, version int64) *message.Record {
	c := &port.Change{Collection: scope, Key: "k", Old: document.Value(old), Version: version, Expired: true}
	return &message.Record{ID: c.ID(), Record: port.Record{Change: c}}
}

// grouped is the record of a message of the group g.
func grouped(id string) *message.Record {
	call := &port.Call{ID: id, Function: "a::b", Payload: document.Value(`1`), Group: "g", NotBefore: 5}
	return &message.Record{ID: id, Record: port.Record{Target: "a::b", Call: call}}
}

// group is the outbox row of the group g after messages were sent.
func group(t *testing.T, ids ...string) string {
	t.Helper()
	var kept []string
	for _, id := range ids {
		text, err := message.Encode(grouped(id))
		if err != nil {
			t.Fatal(err)
		}
		quoted, err := json.Marshal(string(text))
		if err != nil {
			t.Fatal(err)
		}
		kept = append(kept, `{"M":{"id":{"S":"`+id+`"},"record":{"S":`+string(quoted)+`}}}`)
	}
	return `{"records":{"L":[` + strings.Join(kept, ",") + `]}}`
}

func TestRecordsOfTheStream(t *testing.T) {
	t.Parallel()
	change := func(before, after string, version int64) *message.Record {
		c := &port.Change{Collection: scope, Key: "k", Version: version}
		if before != "" {
			c.Old = document.Value(before)
		}
		if after != "" {
			c.New = document.Value(after)
		}
		return &message.Record{ID: c.ID(), Record: port.Record{Change: c}}
	}
	caused := change(`{"n":7}`, `1`, 42)
	caused.Cause = port.Cause{Root: "r", Chain: []string{"a::b", "c::d"}}
	event := &message.Record{ID: "id-1", Record: port.Record{Event: &port.Event{
		Group: port.Group("a", "b"), Type: "t", Data: document.Value(`1`),
	}}}
	eventText, err := message.Encode(event)
	if err != nil {
		t.Fatal(err)
	}
	quotedEvent, err := json.Marshal(string(eventText))
	if err != nil {
		t.Fatal(err)
	}
	outbox := `{"pk":{"S":"event/a/b"},"sk":{"S":"k"},"record":{"S":` + string(quotedEvent) + `}}`
	because := strings.Replace(stored(42, `{"N":"1"}`), "{", `{"root":{"S":"r"},"chain":{"L":[{"S":"a::b"},{"S":"c::d"}]},`, 1)
	for _, test := range []struct {
		name, text string
		want       []*message.Record
	}{
		{"a creation", told("INSERT", "state/s", "", stored(41, seven)), []*message.Record{change("", `{"n":7}`, 41)}},
		{"an update, with its cause", told("MODIFY", "state/s", stored(41, seven), because), []*message.Record{caused}},
		{"a value that is null", told("MODIFY", "state/s", stored(41, seven), stored(42, `{"NULL":true}`)), []*message.Record{change(`{"n":7}`, `null`, 42)}},
		{"a deletion", told("MODIFY", "state/s", stored(41, seven), tombstone("x", 42)), []*message.Record{change(`{"n":7}`, "", 42)}},
		{"a creation over a tombstone", told("MODIFY", "state/s", tombstone("x", 41), stored(42, seven)), []*message.Record{change("", `{"n":7}`, 42)}},
		{"a number as DynamoDB writes it", told("INSERT", "state/s", "", stored(41, `{"N":"1E+21"}`)), []*message.Record{change("", `1e+21`, 41)}},
		{"a removal", told("REMOVE", "state/s", tombstone("x", 41), ""), nil},
		{"a removal of a document that was to live", told("REMOVE", "state/s", stored(41, seven), ""), nil},
		{"a removal of a document by somebody else", removal(stored(41, seven), `{"type":"IAMUser","principalId":"x"}`, "1800000000"), nil},
		{"a removal of a document by DynamoDB itself", removal(dying(41, seven), itself, "1800000123"),
			[]*message.Record{expiry(`{"n":7}`, 42)}},
		{"such a removal that is stamped too early", removal(dying(41, seven), itself, "1799999999"),
			[]*message.Record{expiry(`{"n":7}`, 42)}},
		{"a removal of a document after its time", removal(dying(41, seven), "", "1800000000"),
			[]*message.Record{expiry(`{"n":7}`, 42)}},
		{"a removal of a document before its time", removal(dying(41, seven), "", "1799999999"), nil},
		{"a removal of a tombstone", removal(with(tombstone("x", 41), `"expires":{"N":"1"}`), itself, "1800000000"), nil},
		{"the expiry of a document that was written silently",
			removal(with(with(storedBy("w", 41, seven), silentBy), `"expires":{"N":"1"}`), itself, "1800000000"),
			[]*message.Record{expiry(`{"n":7}`, 42)}},
		{"a write over a document whose time was up", told("MODIFY", "state/s", dying(41, seven), with(stored(43, `{"N":"1"}`), lapsedAt42)),
			[]*message.Record{expiry(`{"n":7}`, 42), change("", `1`, 43)}},
		{"a write after one that was over such a document",
			told("MODIFY", "state/s", stored(43, seven), with(stored(44, `{"N":"1"}`), lapsedAt42)),
			[]*message.Record{change(`{"n":7}`, `1`, 44)}},
		{"a silent write", told("MODIFY", "state/s", stored(41, seven), with(storedBy("w", 42, seven), silentBy)), nil},
		{"a silent write over a document whose time was up",
			told("MODIFY", "state/s", dying(41, seven), with(with(storedBy("w", 43, seven), silentBy), lapsedAt42)),
			[]*message.Record{expiry(`{"n":7}`, 42)}},
		{"a write after a silent one", told("MODIFY", "state/s", stored(41, seven), with(storedBy("x", 42, `{"N":"1"}`), silentBy)),
			[]*message.Record{change(`{"n":7}`, `1`, 42)}},
		{"what is Eddy's own", told("INSERT", "own/schedules/a", "", stored(41, seven)), nil},
		{"the first messages of a group", told("INSERT", "call/a::b", "", group(t, "c", "d")),
			[]*message.Record{grouped("c"), grouped("d")}},
		{"the next message of a group", told("MODIFY", "call/a::b", group(t, "c", "d"), group(t, "e")), []*message.Record{grouped("e")}},
		{"a message of a group that was sent twice", told("MODIFY", "call/a::b", group(t, "c"), group(t, "c")), nil},
		{"a group that is removed", told("REMOVE", "call/a::b", group(t, "c"), ""), nil},
		{"a tombstone over nothing", told("INSERT", "state/s", "", tombstone("x", 41)), nil},
		{"a tombstone over a tombstone", told("MODIFY", "state/s", tombstone("x", 41), tombstone("x", 42)), nil},
		{"an update of something else", told("MODIFY", "state/s", stored(41, seven), storedBy("x", 41, seven)), nil},
		{"an event", told("INSERT", "event/a/b", "", outbox), []*message.Record{event}},
		{"an event that was sent twice", told("MODIFY", "event/a/b", outbox, outbox), nil},
		{"a call in a blob", told("INSERT", "call/a::b", "", `{"blob":{"S":"a::b/d"}}`), []*message.Record{{ID: "k", Blob: "a::b/d"}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got, err := recordsOf(t, test.text)
			if err != nil {
				t.Fatal(err)
			}
			if len(got) != len(test.want) {
				t.Fatalf("it tells of %d records, want %d: %+v", len(got), len(test.want), got)
			}
			for i := range got {
				if diff := cmp.Diff(*test.want[i], got[i]); diff != "" {
					t.Errorf("record %d (-want +got):\n%s", i, diff)
				}
			}
		})
	}
}

func TestRowsThatAreNoneOfOursAreErrors(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"no keys":                   `{"eventName":"INSERT","dynamodb":{}}`,
		"a key that is no string":   `{"eventName":"INSERT","dynamodb":{"Keys":{"pk":{"N":"1"},"sk":{"S":"k"}}}}`,
		"no sort key":               `{"eventName":"INSERT","dynamodb":{"Keys":{"pk":{"S":"state/s"}}}}`,
		"another partition":         told("INSERT", "letter/a::b", "", `{}`),
		"no version":                told("INSERT", "state/s", "", `{"value":{"N":"1"}}`),
		"a version that is none":    told("INSERT", "state/s", "", `{"value":{"N":"1"},"version":{"S":"1"}}`),
		"a version of digits":       told("INSERT", "state/s", "", `{"value":{"N":"1"},"version":{"N":"1.5"}}`),
		"a value that is none":      told("INSERT", "state/s", "", stored(41, `{"SS":["a"]}`)),
		"an old value that is none": told("MODIFY", "state/s", stored(40, `{"B":"AA=="}`), stored(41, seven)),
		"an old version of text":    told("MODIFY", "state/s", `{"version":{"S":"1"}}`, stored(41, seven)),
		"a cause that is none":      told("INSERT", "state/s", "", `{"value":{"N":"1"},"version":{"N":"1"},"root":{"N":"1"}}`),
		"a chain that is none":      told("INSERT", "state/s", "", `{"value":{"N":"1"},"version":{"N":"1"},"chain":{"N":"1"}}`),
		"a chain of numbers":        told("INSERT", "state/s", "", `{"value":{"N":"1"},"version":{"N":"1"},"chain":{"L":[{"N":"1"}]}}`),
		"an outbox row of nothing":  told("INSERT", "call/a::b", "", `{}`),
		"an outbox row of rubbish":  told("INSERT", "call/a::b", "", `{"record":{"S":"{}"}}`),
		"a blob without name":       told("INSERT", "call/a::b", "", `{"blob":{"N":"1"}}`),
		"a group of nothing":        told("INSERT", "call/a::b", "", `{"records":{"L":[]}}`),
		"a group that is none":      told("INSERT", "call/a::b", "", `{"records":{"S":"x"}}`),
		"a group of texts":          told("INSERT", "call/a::b", "", `{"records":{"L":[{"S":"x"}]}}`),
		"a message without id":      told("INSERT", "call/a::b", "", `{"records":{"L":[{"M":{}}]}}`),
		"a message of rubbish":      told("INSERT", "call/a::b", "", `{"records":{"L":[{"M":{"id":{"S":"x"}}}]}}`),
		"a lapse that is none":      told("INSERT", "state/s", "", with(stored(41, seven), `"lapsed":{"S":"x"}`)),
		"a lapse of nothing":        told("INSERT", "state/s", "", with(stored(41, seven), `"lapsed":{"N":"40"}`)),
		"an expired value of bytes": removal(dying(41, `{"B":"AA=="}`), itself, "1"),
		"an expiry of no version":   removal(with(`{"value":{"N":"1"}}`, `"expires":{"N":"1"}`), itself, "1"),
		"an expiry at no time":      removal(with(stored(41, seven), `"expires":{"S":"x"}`), "", "1"),
	} {
		if records, err := recordsOf(t, text); err == nil {
			t.Errorf("%s was read as %+v", name, records)
		}
	}
}

func FuzzRecordsOf(f *testing.F) {
	f.Add([]byte(told("INSERT", "state/s", "", stored(41, seven))))
	f.Add([]byte(told("MODIFY", "stream/a/b", stored(41, `{"L":[{"M":{}},{"BOOL":true},{"NULL":true}]}`), tombstone("x", 42))))
	f.Add([]byte(told("MODIFY", "state/s", dying(41, seven), with(stored(43, seven), lapsedAt42))))
	f.Add([]byte(removal(dying(41, seven), itself, "1800000123")))
	f.Add([]byte(removal(dying(41, seven), "", "1800000123")))
	f.Add([]byte(told("MODIFY", "state/s", dying(41, seven), with(storedBy("w", 42, seven), silentBy))))
	f.Add([]byte(told("INSERT", "call/a::b", "", `{"record":{"S":"{\"id\":\"1\",\"call\":{\"id\":\"1\",\"function\":\"a::b\"}}"}}`)))
	f.Add([]byte(told("INSERT", "call/a::b", "", `{"records":{"L":[{"M":{"id":{"S":"1"},"blob":{"S":"a/b"}}}]}}`)))
	f.Add([]byte(told("INSERT", "event/a/b", "", `{"blob":{"S":"a/b"}}`)))
	f.Fuzz(func(t *testing.T, text []byte) {
		var e events.DynamoDBEventRecord
		if json.Unmarshal(text, &e) != nil {
			return
		}
		records, err := dynamo.RecordsOf(e)
		if err != nil {
			return
		}
		for _, r := range records {
			if r.Blob != "" {
				continue
			}
			if r.Change == nil && r.Event == nil && r.Call == nil {
				t.Errorf("a record of nothing: %+v", r)
			}
			if c := r.Change; c != nil && (c.Old == nil && c.New == nil || c.Expired && c.Kind() != port.Deleted) {
				t.Errorf("a change of nothing: %+v", c)
			}
			if _, err := message.Encode(r); err != nil {
				t.Errorf("a record that cannot travel: %v: %+v", err, r)
			}
		}
	})
}
