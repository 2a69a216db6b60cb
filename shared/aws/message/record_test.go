package message_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/eddyhq/eddy/shared/aws/message"
	"github.com/eddyhq/eddy/shared/document"
	"github.com/eddyhq/eddy/shared/port"
)

func TestRecordsArriveAsTheyWereSent(t *testing.T) {
	t.Parallel()
	null, object := document.Value(`null`), document.Value(`{"html":"<b>&","n":12345678901234567890.5}`)
	for _, test := range []struct {
		name   string
		record port.Record
	}{
		{"a creation", port.Record{Change: &port.Change{Collection: port.Scope("s/x"), Key: "k", New: object, Version: 7}}},
		{"a value that is null is no absence", port.Record{Change: &port.Change{Collection: port.Scope("s"), Key: "k",
			Old: null, New: object, Version: 7}}},
		{"a deletion, addressed to one function", port.Record{Position: 5, Target: "a::b",
			Cause:  port.Cause{Root: "r", Chain: []string{"a::b", "c::d"}},
			Change: &port.Change{Collection: port.Scope("s"), Key: "k", Old: object, Version: 8}}},
		{"an expiry", port.Record{Change: &port.Change{Collection: port.Scope("s"), Key: "k", Old: null, Version: 8, Expired: true}}},
		{"an event", port.Record{Event: &port.Event{Group: port.Group("a", "b"), Item: "i", Type: "t", Data: null}}},
		{"a call", port.Record{Target: "a::b", Call: &port.Call{ID: "c", Function: "a::b", Payload: object}}},
		{"a call of a group, for later", port.Record{Target: "a::b", Call: &port.Call{ID: "c", Function: "a::b", Payload: null,
			Group: "g/h", NotBefore: 1_700_000_000_000}}},
		{"a call without payload", port.Record{Target: "a::b", Call: &port.Call{ID: "c", Function: "a::b"}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			sent := message.Message{Lane: "l", Records: []message.Record{{ID: "id", Record: test.record}}}
			text, err := message.Encode(sent)
			if err != nil {
				t.Fatal(err)
			}
			var got message.Message
			if err := json.Unmarshal(text, &got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(sent, got); diff != "" {
				t.Errorf("%s (-sent +got):\n%s", text, diff)
			}
		})
	}
}

func TestARecordCarriesExactlyOneThing(t *testing.T) {
	t.Parallel()
	for _, text := range []string{`{}`, `{"id":"x"}`, `[]`, `{"event":{},"call":{}}`, `{"change":{"old":{"a":1e999}}}`} {
		var r message.Record
		if err := json.Unmarshal([]byte(text), &r); err == nil {
			t.Errorf("%s was read as %+v", text, r)
		}
	}
}

func TestEverythingEncodedIsTakenByAQueue(t *testing.T) {
	t.Parallel()
	value, err := document.From("\x00\x1f\x7f\ufffd\ufffe\uffff\U0001fffe<&>")
	if err != nil {
		t.Fatal(err)
	}
	sent := message.Record{ID: "id", Record: port.Record{Call: &port.Call{ID: "c", Function: "a::b", Payload: value}}}
	text, err := message.Encode(message.Message{Records: []message.Record{sent}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range string(text) {
		if c != '\t' && c != '\n' && c != '\r' && (c < 0x20 || c > 0xfffd && c < 0x10000) {
			t.Errorf("%q holds %U", text, c)
		}
	}
	var got message.Message
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]message.Record{sent}, got.Records); diff != "" {
		t.Errorf("records (-sent +got):\n%s", diff)
	}
}
