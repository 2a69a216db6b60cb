package dynamo_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/eddyhq/eddy/shared/aws/dynamo"
	"github.com/eddyhq/eddy/shared/aws/message"
	"github.com/eddyhq/eddy/shared/document"
	"github.com/eddyhq/eddy/shared/port"
)

func TestEndpointLargeRecordsAreKeptAndRedrivenWhole(t *testing.T) {
	t.Parallel()
	e := dial(t)
	s := e.store()
	large := document.Value(`"` + strings.Repeat("x", 390_000) + `"`)
	change := &port.Change{Collection: scope, Key: "k", Old: large, New: large, Version: 42}
	letter := port.DeadLetter{
		ID: "1", Function: "a::b", Code: "internal", Message: "no", Attempts: 3,
		First: time.Unix(1, 0).UTC(), Last: time.Unix(2, 0).UTC(), Record: port.Record{Change: change},
	}
	if _, err := s.Commit(t.Context(), port.Commit{Failed: []port.DeadLetter{letter}}); err != nil {
		t.Fatal(err)
	}
	letters, _, err := s.DeadLetters(t.Context(), "a::b", port.LetterID{}, 10)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]port.DeadLetter{letter}, letters); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if ok, err := s.Redrive(t.Context(), "a::b", "1"); !ok || err != nil {
		t.Fatal(ok, err)
	}
	told, err := e.told(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	if len(told) != 1 || told[0].Blob == "" {
		t.Fatalf("the stream tells %+v", told)
	}
	resolved, err := s.Resolve(t.Context(), told[0])
	if err != nil {
		t.Fatal(err)
	}
	if resolved.Position == 0 || resolved.Blob != "" {
		t.Errorf("the record has position %d and blob %q", resolved.Position, resolved.Blob)
	}
	want := message.Record{ID: told[0].ID, Record: port.Record{Target: "a::b", Position: resolved.Position, Change: change}}
	if diff := cmp.Diff(want, resolved); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// letterRow is a dead letter as it is stored.
const letterRow = `{"pk":{"S":"letter/a::b"},"sk":{"S":"1"},"letter":{"S":"{\"id\":\"1\",\"function_id\":\"a::b\"}"},` +
	`"record":{"S":"{\"id\":\"c\",\"call\":{\"id\":\"c\",\"function\":\"a::b\"}}"}}`

func TestRedriveIsOneTransaction(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name      string
		exchanges []exchange
		want      bool
	}{
		{"it takes the letter and puts its record into the outbox, at the time that it is", []exchange{
			says("GetItem", found(letterRow), "letter/a::b"),
			says("TransactWriteItems", "", `"Delete"`, "attribute_exists(#pk)", `"call/a::b"`, `\"position\":1700000000000000`,
				`\"target\":\"a::b\"`, `"id-1"`),
		}, true},
		{"one that somebody else has taken is none", []exchange{
			says("GetItem", found(letterRow)), cancelled(because(failed, ""), none).of("TransactWriteItems"),
		}, false},
		{"one that is not there is none", []exchange{says("GetItem", "")}, false},
		{"a reply that is lost is asked for again", []exchange{
			says("GetItem", found(letterRow)), replyLost.of("TransactWriteItems"), says("TransactWriteItems", ""),
		}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			play(t, test.exchanges, func(t *testing.T, s *dynamo.Store) {
				if got, err := s.Redrive(t.Context(), "a::b", "1"); err != nil || got != test.want {
					t.Errorf("%t, %v", got, err)
				}
			})
		})
	}
}

func TestALetterIsKeptHoweverLongItsMessage(t *testing.T) {
	t.Parallel()
	bodies := played(t, []exchange{says("PutItem", "", `"letter/"`), says("TransactWriteItems", "")},
		func(t *testing.T, s *dynamo.Store) {
			letter := port.DeadLetter{
				ID: "1", Function: "a::b", Message: strings.Repeat("ä", 300_000), Record: port.Record{Call: &port.Call{ID: "1"}},
			}
			if _, err := s.Commit(t.Context(), port.Commit{Failed: []port.DeadLetter{letter}}); err != nil {
				t.Error(err)
			}
		})
	if n := len(bodies[1]); n > 20_000 {
		t.Errorf("the request has %d bytes", n)
	}
}
