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

// recordOf reads the text of an event.
func recordOf(t *testing.T, text string) (message.Record, bool, error) {
	t.Helper()
	var e events.DynamoDBEventRecord
	if err := json.Unmarshal([]byte(text), &e); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return dynamo.RecordOf(e)
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
		want       *message.Record
	}{
		{"a creation", told("INSERT", "state/s", "", stored(41, seven)), change("", `{"n":7}`, 41)},
		{"an update, with its cause", told("MODIFY", "state/s", stored(41, seven), because), caused},
		{"a value that is null", told("MODIFY", "state/s", stored(41, seven), stored(42, `{"NULL":true}`)), change(`{"n":7}`, `null`, 42)},
		{"a deletion", told("MODIFY", "state/s", stored(41, seven), tombstone("x", 42)), change(`{"n":7}`, "", 42)},
		{"a creation over a tombstone", told("MODIFY", "state/s", tombstone("x", 41), stored(42, seven)), change("", `{"n":7}`, 42)},
		{"a number as DynamoDB writes it", told("INSERT", "state/s", "", stored(41, `{"N":"1E+21"}`)), change("", `1e+21`, 41)},
		{"a removal", told("REMOVE", "state/s", tombstone("x", 41), ""), nil},
		{"a removal of a document", told("REMOVE", "state/s", stored(41, seven), ""), nil},
		{"a tombstone over nothing", told("INSERT", "state/s", "", tombstone("x", 41)), nil},
		{"a tombstone over a tombstone", told("MODIFY", "state/s", tombstone("x", 41), tombstone("x", 42)), nil},
		{"an update of something else", told("MODIFY", "state/s", stored(41, seven), storedBy("x", 41, seven)), nil},
		{"an event", told("INSERT", "event/a/b", "", outbox), event},
		{"an event that was sent twice", told("MODIFY", "event/a/b", outbox, outbox), nil},
		{"a call in a blob", told("INSERT", "call/a::b", "", `{"blob":{"S":"a::b/d"}}`), &message.Record{ID: "k", Blob: "a::b/d"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got, ok, err := recordOf(t, test.text)
			if err != nil {
				t.Fatal(err)
			}
			if ok != (test.want != nil) {
				t.Fatalf("it tells of something: %t", ok)
			}
			if test.want == nil {
				return
			}
			if diff := cmp.Diff(*test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
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
	} {
		if record, ok, err := recordOf(t, text); err == nil {
			t.Errorf("%s was read as %+v, %t", name, record, ok)
		}
	}
}

func FuzzRecordOf(f *testing.F) {
	f.Add([]byte(told("INSERT", "state/s", "", stored(41, seven))))
	f.Add([]byte(told("MODIFY", "stream/a/b", stored(41, `{"L":[{"M":{}},{"BOOL":true},{"NULL":true}]}`), tombstone("x", 42))))
	f.Add([]byte(told("INSERT", "call/a::b", "", `{"record":{"S":"{\"id\":\"1\",\"call\":{\"id\":\"1\",\"function\":\"a::b\"}}"}}`)))
	f.Add([]byte(told("INSERT", "event/a/b", "", `{"blob":{"S":"a/b"}}`)))
	f.Fuzz(func(t *testing.T, text []byte) {
		var e events.DynamoDBEventRecord
		if json.Unmarshal(text, &e) != nil {
			return
		}
		r, ok, err := dynamo.RecordOf(e)
		switch {
		case err != nil && ok:
			t.Errorf("an error with a record: %v, %+v", err, r)
		case !ok || r.Blob != "":
			return
		case r.Change == nil && r.Event == nil && r.Call == nil:
			t.Errorf("a record of nothing: %+v", r)
		}
		if _, err := message.Encode(r); err != nil {
			t.Errorf("a record that cannot travel: %v: %+v", err, r)
		}
	})
}
