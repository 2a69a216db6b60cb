package sockets_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/google/go-cmp/cmp"

	"github.com/eddyhq/eddy/shared/aws/message"
	"github.com/eddyhq/eddy/shared/document"
	"github.com/eddyhq/eddy/shared/errs"
	"github.com/eddyhq/eddy/shared/port"
	"github.com/eddyhq/eddy/shared/stream"
)

// stage is a world of one group and one Lambda.
type stage struct {
	*testing.T
	*process
	room *room
}

func newStage(t *testing.T) *stage {
	w := newWorld("g")
	return &stage{T: t, process: w.start(), room: w.rooms[port.Group("s", "g")]}
}

// receive handles what is in the queue, all of which has to succeed, and returns the calls that this took.
func (s *stage) receive() map[string]int {
	s.Helper()
	s.calls = map[string]int{}
	for len(s.room.queue) > 0 {
		n := min(len(s.room.queue), 10)
		s.clock = s.clock.Add(time.Millisecond)
		handled, err := s.run(s.Context(), map[port.Collection]int{s.room.group: n})
		if err != nil || handled[s.room.group] != n {
			s.Fatalf("%d of %d messages were handled: %v", handled[s.room.group], n, err)
		}
		s.room.handled(n)
	}
	return s.calls
}

func (s *stage) ask(kind message.SocketKind, connection, id string) {
	s.room.ask(message.Socket{Kind: kind, Connection: connection, ConnectedAt: s.clock.UnixMilli(), SubscriptionID: id})
}

// join subscribes a connection that is open.
func (s *stage) join(connection, id string) {
	s.open[connection] = true
	s.ask(message.Join, connection, id)
}

func (s *stage) write(key string, n int) {
	s.room.write(s.clock, key, document.Value(fmt.Sprintf(`{"id":%q,"n":%d}`, key, n)))
	s.room.route(1, 1)
}

func TestRequestsPerOperation(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	step := func(what string, want map[string]int) {
		t.Helper()
		got := s.receive()
		t.Logf("%s: %v", what, got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	s.write("x", 1)
	step("a change in a group without subscribers", map[string]int{"Load": 1})
	s.join("a", "1")
	step("the first join", map[string]int{"Load": 1, "Snapshot": 1, "Push": 1, "frames": 1, "Save": 1})
	for i := range 9 {
		s.join(fmt.Sprint("b", i), "1")
	}
	step("nine joins that come together",
		map[string]int{"Load": 1, "Snapshot": 1, "Push": 1, "frames": 9, "Save": 1})
	s.write("x", 2)
	step("a change with ten subscribers", map[string]int{"Load": 1, "Push": 1, "frames": 10, "Save": 1})
	for n := range 5 {
		s.write("x", 3+n)
	}
	step("five changes that come together", map[string]int{"Load": 1, "Push": 1, "frames": 50, "Save": 1})
	s.ask(message.Leave, "b0", "1")
	step("a leave", map[string]int{"Load": 1, "Save": 1})
	s.ask(message.Leave, "b0", "never joined")
	step("a leave of nothing", map[string]int{"Load": 1})
	s.ask(message.Gone, "b1", "")
	step("a disconnect", map[string]int{"Load": 1, "Save": 1})
	s.process = s.start()
	s.write("x", 9)
	step("a change after a cold start", map[string]int{"Load": 1, "Subscriptions": 1, "Push": 1, "frames": 8, "Save": 1})
	delete(s.open, "b2")
	s.write("x", 10)
	step("a change that finds a connection gone", map[string]int{"Load": 1, "Push": 1, "frames": 7, "Save": 1})
	if len(s.room.subs) != 7 {
		t.Errorf("%d subscriptions are left, want 7", len(s.room.subs))
	}
	s.room.routed = 0
	s.room.route(len(s.room.records), 3)
	step("records that come again", map[string]int{"Load": 1})
}

func TestAnItemThatNobodyJoinedIsNotPushed(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.open["a"] = true
	s.room.ask(message.Socket{Kind: message.Join, Connection: "a", Item: "x", SubscriptionID: "1"})
	s.receive()
	s.write("y", 1)
	if diff := cmp.Diff(map[string]int{"Load": 1}, s.receive()); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

func TestAJoinThatFailsIsToldSo(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		failing error
		code    string
	}{
		{"a fault", errors.New("secret"), "internal"},
		{"a table that is busy", errs.New(errs.Unavailable, "try again"), "unavailable"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t)
			s.failing = test.failing
			s.join("a", "1")
			s.receive()
			if s.refused["a"] != test.code || len(s.room.subs) > 0 {
				t.Errorf("the connection was told %q, and there are %d subscriptions", s.refused["a"], len(s.room.subs))
			}
		})
	}
}

func TestARunThatEndsLeavesItsMessages(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.join("a", "1")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	handled, err := s.run(ctx, map[port.Collection]int{s.room.group: 1})
	if err != nil || handled[s.room.group] != 0 {
		t.Errorf("%d messages were handled: %v", handled[s.room.group], err)
	}
	if s.refused["a"] != "" {
		t.Errorf("the connection was told %q", s.refused["a"])
	}
	s.receive()
	if len(s.room.subs) != 1 {
		t.Errorf("there are %d subscriptions", len(s.room.subs))
	}
}

func TestALargeBatchIsPutDownInParts(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	for n := range 100 {
		s.room.write(s.clock, fmt.Sprint(n), document.Value(fmt.Sprintf(`{"id":"%d","text":%q}`, n, strings.Repeat("x", 90_000))))
	}
	s.unjudged = true // what does not fit into a sync is a matter of package stream
	s.room.route(100, 100)
	s.join("a", "1")
	s.join("b", "1")
	got := s.receive()
	if got["Push"] != 2 || got["Save"] != 2 {
		t.Errorf("two syncs of 9 MB were put down with %v", got)
	}
}

func TestAGroupBeyondAllMeasureIsRefused(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	text := strings.Repeat("x", 100_000)
	for n := range stream.MaxSync/len(text) + 1 {
		s.room.write(s.clock, fmt.Sprint(n), document.Value(fmt.Sprintf(`{"id":"%d","text":%q}`, n, text)))
	}
	s.join("a", "1")
	s.receive()
	if s.refused["a"] != "too_large" {
		t.Errorf("the connection was told %q", s.refused["a"])
	}
}

func TestSubscriptionsThatExpiredAreForgotten(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.join("a", "1")
	s.receive()
	clear(s.room.subs)
	s.process = s.start()
	s.write("x", 1)
	s.receive()
	s.write("x", 2)
	if diff := cmp.Diff(map[string]int{"Load": 1}, s.receive()); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

func TestPushesKnowWhenAConnectionWasMade(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	made := time.UnixMilli(s.clock.UnixMilli())
	s.join("a", "1")
	s.receive()
	if got := s.times["a"]; !got.Equal(made) {
		t.Errorf("the sync was for a connection of %s, want %s", got, made)
	}
	s.process = s.start()
	s.write("x", 1)
	s.receive()
	if got := s.times["a"]; !got.Equal(made) {
		t.Errorf("the change was for a connection of %s, want %s", got, made)
	}
}

func TestWhatCannotBeReadIsDropped(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	var batch events.SQSEvent
	for _, body := range []string{``, `{`, `[]`, `{}`, `{"lane":"state/s"}`, `{"lane":"stream/s/g","records":[{}]}`} {
		batch.Records = append(batch.Records, events.SQSMessage{MessageId: body, Body: body})
	}
	if got := s.lanes.Receive(t.Context(), batch); len(got.BatchItemFailures) > 0 {
		t.Errorf("failures: %v", got.BatchItemFailures)
	}
}

func TestAMessageWhoseBlobIsMissingHoldsItsGroupBack(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.open["a"] = true
	text := func(m message.Message) string {
		m.Lane = string(s.room.group)
		body, err := message.Encode(m)
		if err != nil {
			t.Fatal(err)
		}
		return string(body)
	}
	for received, wait := range map[string]int32{"": 1, "1": 1, "2": 2, "5": 16, "7": 60, "30": 60} {
		s.postponed = nil
		join := message.Socket{Kind: message.Join, Connection: "a", SubscriptionID: received}
		s.joins = map[port.Collection][]*joining{s.room.group: {{Socket: join}}}
		attributes := map[string]string{"ApproximateReceiveCount": received}
		got := s.lanes.Receive(t.Context(), events.SQSEvent{Records: []events.SQSMessage{
			{MessageId: "first" + received, Body: text(message.Message{Socket: &join})},
			{MessageId: "second", Body: text(message.Message{Blob: "eddy::lanes/missing"}), Attributes: attributes},
			{MessageId: "third", Body: text(message.Message{Socket: &join}), Attributes: attributes},
		}})
		want := events.SQSEventResponse{BatchItemFailures: []events.SQSBatchItemFailure{
			{ItemIdentifier: "second"}, {ItemIdentifier: "third"},
		}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]int32{wait, wait}, s.postponed); diff != "" {
			t.Errorf("waits after %q receives (-want +got):\n%s", received, diff)
		}
		s.clock = s.clock.Add(time.Second)
	}
	if len(s.room.subs) != 6 || s.broken() != nil {
		t.Errorf("there are %d subscriptions: %v", len(s.room.subs), s.broken())
	}
}
