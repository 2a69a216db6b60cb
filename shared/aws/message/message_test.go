package message_test

import (
	"bytes"
	"encoding/json"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/eddyhq/eddy/shared/aws/message"
	"github.com/eddyhq/eddy/shared/document"
	"github.com/eddyhq/eddy/shared/port"
)

func drawMessage(t *rapid.T) message.Message {
	m := message.Message{
		Function: rapid.StringMatching("([a-z]+::[a-z]+)?").Draw(t, "function"),
		Lane:     rapid.String().Draw(t, "lane"),
		Blob:     rapid.StringMatching("[a-z/]*").Draw(t, "blob"),
	}
	for range rapid.IntRange(0, 3).Draw(t, "records") {
		text := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"\uFFFE", "a\uFFFF}", "\x7f\u2028"})).Draw(t, "text")
		value, err := document.From(map[string]string{"text": text})
		if err != nil {
			t.Fatal(err)
		}
		change := port.Change{Collection: port.Scope("s"), Key: text, New: value, Version: 1}
		m.Records = append(m.Records, message.Record{ID: text, Record: port.Record{Change: &change}})
	}
	return m
}

func TestAMessageIsTheSamePackedAndEncoded(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		sent := rapid.Custom(drawMessage).Draw(t, "message")
		whole, err := message.Encode(sent)
		if err != nil {
			t.Fatal(err)
		}
		var records [][]byte
		for _, r := range sent.Records {
			record, err := message.Encode(r)
			if err != nil {
				t.Fatal(err)
			}
			records = append(records, record)
		}
		head := sent
		head.Records = nil
		packed, err := message.Pack(head, records)
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range [][]byte{whole, packed} {
			var got message.Message
			if err := json.Unmarshal(text, &got); err != nil {
				t.Fatalf("%s: %v", text, err)
			}
			if diff := cmp.Diff(sent, got); diff != "" {
				t.Fatalf("%s (-sent +got):\n%s", text, diff)
			}
		}
	})
}

func TestQueuesTakeEveryMessage(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text, err := message.Encode(rapid.Custom(drawMessage).Draw(t, "message"))
		if err != nil || !utf8.Valid(text) {
			t.Fatalf("%q, %v", text, err)
		}
		refused := bytes.IndexFunc(text, func(r rune) bool { return r < 0x20 || r == 0xFFFE || r == 0xFFFF })
		if refused >= 0 {
			t.Fatalf("a queue refuses %q at byte %d", text, refused)
		}
	})
}
