package dynamo_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/eddyhq/eddy/shared/aws/dynamo"
	"github.com/eddyhq/eddy/shared/document"
	"github.com/eddyhq/eddy/shared/errs"
	"github.com/eddyhq/eddy/shared/port"
)

var live = port.Group("s", "g")

// later is a state, and the one after it.
var (
	former = dynamo.LaneState{Epoch: "e", Sequence: 7, Stamp: 70, Revision: 3, Subscriptions: 1, Seen: []byte("seen"), Handled: []byte("h")}
	latter = dynamo.LaneState{Epoch: "e", Sequence: 8, Stamp: 80, Revision: 4, Subscriptions: 2, Seen: []byte("more"), Handled: []byte("i")}
)

func subscription(connection, id string) dynamo.Subscription {
	return dynamo.Subscription{
		SubscriptionKey: dynamo.SubscriptionKey{Connection: connection, ID: id},
		ConnectedAt:     time.UnixMilli(clock / 1000), Item: "i", From: 5, Revision: 4,
	}
}

func TestSavingALane(t *testing.T) {
	t.Parallel()
	lone := dynamo.LaneSave{Was: former, Is: latter}
	joins := dynamo.LaneSave{Was: former, Is: latter, Joined: []dynamo.Subscription{subscription("c", "1")}}
	leaves := dynamo.LaneSave{Was: former, Is: latter, Left: []dynamo.SubscriptionKey{{Connection: "c", ID: "1"}}}
	fence := []string{`"sys"`, `"lane/stream/s/g"`, `"#epoch = :`, `"N":"7"`, `"N":"3"`}
	var manyGone []dynamo.SubscriptionKey
	for i := range 13 {
		manyGone = append(manyGone, dynamo.SubscriptionKey{Connection: "c", ID: fmt.Sprint(i)})
	}
	for _, test := range []struct {
		name   string
		save   dynamo.LaneSave
		script []exchange
		code   errs.Code
	}{
		{"a state alone is one put", lone, []exchange{says("PutItem", "", fence...)}, ""},
		{"the first state must be the first", dynamo.LaneSave{Is: latter},
			[]exchange{says("PutItem", "", `attribute_not_exists`)}, ""},
		{"somebody else was quicker", lone, []exchange{conditionFails("").of("PutItem")}, errs.Conflict},
		{"a throttled put is sent again", lone, []exchange{throttled().of("PutItem"), says("PutItem", "")}, ""},
		{"a put whose reply was lost finds itself, and is done again by whoever asks", lone,
			[]exchange{replyLost.of("PutItem"), conditionFails("").of("PutItem")}, errs.Conflict},
		{"a put that is refused", lone, []exchange{invalid("no").of("PutItem")}, errs.Internal},
		{"a join is one transaction", joins, []exchange{says("TransactWriteItems", "", append(fence,
			`"subscription/c/1"`, `"connection/c"`, `"from":{"N":"5"}`, `"revision":{"N":"4"}`, `"ClientRequestToken"`)...)}, ""},
		{"a leave is one transaction", leaves, []exchange{says("TransactWriteItems", "", `"Delete"`, `"subscription/c/1"`)}, ""},
		{"somebody else was quicker than a join", joins,
			[]exchange{cancelled(because("ConditionalCheckFailed", ""), none, none).of("TransactWriteItems")}, errs.Conflict},
		{"a join that met another transaction is sent again", joins, []exchange{
			cancelled(none, because("TransactionConflict", ""), none).of("TransactWriteItems"), says("TransactWriteItems", "")}, ""},
		{"a join whose reply was lost is sent again with its token", joins,
			[]exchange{replyLost.of("TransactWriteItems", `"id-1"`), says("TransactWriteItems", "", `"id-1"`)}, ""},
		{"a join that is refused", joins,
			[]exchange{cancelled(none, because("ValidationError", ""), none).of("TransactWriteItems")}, errs.Internal},
		{"what is gone is removed once the state is saved", dynamo.LaneSave{Was: former, Is: latter, Gone: manyGone[:2]},
			[]exchange{says("PutItem", ""), says("BatchWriteItem", "", `"subscription/c/0"`, `"subscription/c/1"`)}, ""},
		{"what is gone is not removed when it is not", dynamo.LaneSave{Was: former, Is: latter, Gone: manyGone[:2]},
			[]exchange{conditionFails("").of("PutItem")}, errs.Conflict},
		{"what was not removed is removed in another go", dynamo.LaneSave{Was: former, Is: latter, Gone: manyGone[:1]},
			[]exchange{says("PutItem", ""), says("BatchWriteItem", `{"UnprocessedItems":{"sys":[{"DeleteRequest":{"Key":`+
				`{"pk":{"S":"connection/c"},"sk":{"S":"left"}}}}]}}`), says("BatchWriteItem", "", `"left"`)}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			play(t, test.script, func(t *testing.T, s *dynamo.Store) {
				if err := dynamo.NewLanes(s).Save(t.Context(), live, test.save); errs.CodeOf(err) != test.code {
					t.Errorf("the error is %v, want %q", err, test.code)
				}
			})
		})
	}
	t.Run("twenty-six rows are removed by two requests", func(t *testing.T) {
		t.Parallel()
		bodies := played(t, []exchange{says("PutItem", ""), says("BatchWriteItem", ""), says("BatchWriteItem", "")},
			func(t *testing.T, s *dynamo.Store) {
				save := dynamo.LaneSave{Was: former, Is: latter, Gone: manyGone}
				if err := dynamo.NewLanes(s).Save(t.Context(), live, save); err != nil {
					t.Error(err)
				}
			})
		deletes := []int{strings.Count(bodies[1], "DeleteRequest"), strings.Count(bodies[2], "DeleteRequest")}
		slices.Sort(deletes)
		if !slices.Equal(deletes, []int{1, 25}) {
			t.Errorf("the requests delete %d rows", deletes)
		}
	})
}

func TestReadingALane(t *testing.T) {
	t.Parallel()
	expired, valid := clock/1_000_000, clock/1_000_000+1
	row := func(id string, expires int) string {
		return fmt.Sprintf(`{"pk":{"S":"p"},"sk":{"S":"subscription/c/%[1]s"},"connection":{"S":"c"},"id":{"S":%[1]q},`+
			`"item":{"S":"i"},"connected_at":{"N":"%d"},"from":{"N":"5"},"revision":{"N":"4"},"expires":{"N":"%d"}}`,
			id, clock/1000, expires)
	}
	t.Run("a group that nobody joined has the zero state", func(t *testing.T) {
		t.Parallel()
		play(t, []exchange{says("GetItem", "", `"ConsistentRead":true`)}, func(t *testing.T, s *dynamo.Store) {
			got, err := dynamo.NewLanes(s).Load(t.Context(), live)
			if diff := cmp.Diff(dynamo.LaneState{}, got); diff != "" || err != nil {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
		})
	})
	t.Run("subscriptions come in pages, without those that expired", func(t *testing.T) {
		t.Parallel()
		play(t, []exchange{
			says("Query", `{"Items":[{"pk":{"S":"p"},"sk":{"S":"subscription"},"ahead":{"B":"YQ=="},"expires":{"N":"1"}},`+
				row("1", valid)+`],"LastEvaluatedKey":{"pk":{"S":"p"},"sk":{"S":"k"}}}`, `"ConsistentRead":true`),
			says("Query", `{"Items":[`+row("2", expired)+`,`+row("3", valid)+`]}`, `"ExclusiveStartKey"`),
		}, func(t *testing.T, s *dynamo.Store) {
			got, err := dynamo.NewLanes(s).Subscriptions(t.Context(), live)
			want := dynamo.Subscriptions{
				All: []dynamo.Subscription{subscription("c", "1"), subscription("c", "3")}, Ahead: []byte("a"),
			}
			if diff := cmp.Diff(want, got); diff != "" || err != nil {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
		})
	})
	t.Run("rows that nobody here wrote are a fault", func(t *testing.T) {
		t.Parallel()
		play(t, []exchange{says("GetItem", `{"Item":{"epoch":{"S":"e"}}}`), says("Query", `{"Items":[{"sk":{"S":"subscription/"}}]}`)},
			func(t *testing.T, s *dynamo.Store) {
				if _, err := dynamo.NewLanes(s).Load(t.Context(), live); errs.CodeOf(err) != errs.Internal {
					t.Errorf("the error is %v", err)
				}
				if _, err := dynamo.NewLanes(s).Subscriptions(t.Context(), live); errs.CodeOf(err) != errs.Internal {
					t.Errorf("the error is %v", err)
				}
			})
	})
	t.Run("a snapshot that becomes too large is given up", func(t *testing.T) {
		t.Parallel()
		page := `{"Items":[{"sk":{"S":"a"},"value":{"S":"123"},"version":{"N":"1"},"updated":{"N":"1"}}],` +
			`"LastEvaluatedKey":{"pk":{"S":"p"},"sk":{"S":"a"}}}`
		play(t, []exchange{says("Query", page), says("Query", page)}, func(t *testing.T, s *dynamo.Store) {
			if _, err := dynamo.NewLanes(s).Snapshot(t.Context(), live, "", 9); errs.CodeOf(err) != errs.TooLarge {
				t.Errorf("the error is %v", err)
			}
		})
	})
	t.Run("counting ends at what was asked", func(t *testing.T) {
		t.Parallel()
		page := `{"Count":600,"LastEvaluatedKey":{"pk":{"S":"p"},"sk":{"S":"a"}}}`
		play(t, []exchange{says("Query", page, `"COUNT"`, `"connection/c"`), says("Query", page)}, func(t *testing.T, s *dynamo.Store) {
			if got, err := dynamo.NewLanes(s).Joins(t.Context(), "c", 1000); got != 1200 || err != nil {
				t.Errorf("%d, %v", got, err)
			}
		})
	})
}

// The life of a group on a real table.
func TestLanes(t *testing.T) {
	t.Parallel()
	e := dial(t)
	store := e.store()
	l := dynamo.NewLanes(store)
	long := port.Group(strings.Repeat("s", 256), strings.Repeat("/", 250)) // as a collection it fills 1,014 bytes
	for _, group := range []port.Collection{live, long} {
		state, err := l.Load(t.Context(), group)
		if err != nil || state.Epoch != "" {
			t.Fatalf("%+v, %v", state, err)
		}
		a, b := subscription("a", strings.Repeat("1", 256)), subscription("b", "")
		save := func(s dynamo.LaneSave, want errs.Code) {
			t.Helper()
			if err := l.Save(t.Context(), group, s); errs.CodeOf(err) != want {
				t.Fatalf("the error is %v, want %q", err, want)
			}
		}
		has := func(state dynamo.LaneState, ahead string, want ...dynamo.Subscription) {
			t.Helper()
			got, err := l.Load(t.Context(), group)
			if diff := cmp.Diff(state, got, cmpopts.EquateEmpty()); diff != "" || err != nil {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
			subscriptions, err := l.Subscriptions(t.Context(), group)
			if diff := cmp.Diff(dynamo.Subscriptions{All: want, Ahead: []byte(ahead)}, subscriptions, cmpopts.EquateEmpty()); diff != "" || err != nil {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
		}
		first := dynamo.LaneState{Epoch: "e", Revision: 1, Subscriptions: 2}
		save(dynamo.LaneSave{Is: first, Joined: []dynamo.Subscription{a, b}, Ahead: []byte("x")}, "")
		has(first, "x", a, b)
		save(dynamo.LaneSave{Is: first, Joined: []dynamo.Subscription{a, b}}, errs.Conflict)

		save(dynamo.LaneSave{Was: first, Is: former}, "")
		save(dynamo.LaneSave{Was: first, Is: latter, Left: []dynamo.SubscriptionKey{a.SubscriptionKey}}, errs.Conflict)
		has(former, "x", a, b)

		second := a
		second.Item, second.Revision = "", 9
		save(dynamo.LaneSave{Was: former, Is: latter, Joined: []dynamo.Subscription{second},
			Left: []dynamo.SubscriptionKey{b.SubscriptionKey}}, "")
		has(latter, "x", second)
		if yes, err := l.Subscribed(t.Context(), group, a.SubscriptionKey); !yes || err != nil {
			t.Errorf("%v, %v", yes, err)
		}
		if yes, err := l.Subscribed(t.Context(), group, b.SubscriptionKey); yes || err != nil {
			t.Errorf("%v, %v", yes, err)
		}
	}
	joined, err := l.Joined(t.Context(), "a")
	slices.Sort(joined)
	if diff := cmp.Diff([]port.Collection{live, long}, joined, cmpopts.SortSlices(func(x, y port.Collection) bool { return x < y })); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if n, err := l.Joins(t.Context(), "a", 10); n != 2 || err != nil {
		t.Errorf("%d joins, %v", n, err)
	}
	for _, want := range []bool{false, true} {
		if got, err := l.Closed(t.Context(), "a"); got != want || err != nil {
			t.Errorf("closed is %v, %v", got, err)
		}
		if err := l.Close(t.Context(), "a"); err != nil {
			t.Error(err)
		}
	}
	last := latter
	last.Revision++
	gone := dynamo.LaneSave{Was: latter, Is: last, Gone: []dynamo.SubscriptionKey{subscription("a", strings.Repeat("1", 256)).SubscriptionKey}}
	if err := l.Save(t.Context(), live, gone); err != nil {
		t.Error(err)
	}
	if joined, err := l.Joined(t.Context(), "a"); !slices.Equal(joined, []port.Collection{long}) || err != nil {
		t.Errorf("joined %q, %v", joined, err)
	}
}

func TestSnapshot(t *testing.T) {
	t.Parallel()
	e := dial(t)
	store := e.store()
	commit := func(w port.Write) int64 {
		t.Helper()
		w.Collection = live
		results, err := store.Commit(t.Context(), port.Commit{Writes: []port.Write{w}})
		if err != nil {
			t.Fatal(err)
		}
		return results[0].Version
	}
	began := time.Now().Add(-time.Second)
	value := document.Value(`{"id":"a","n":1}`)
	a := commit(port.Write{Op: port.Set, Key: "a", Value: value})
	commit(port.Write{Op: port.Set, Key: "b", Value: value})
	b := commit(port.Write{Op: port.Delete, Key: "b"})

	l := dynamo.NewLanes(store)
	want := []dynamo.Item{{Key: "a", Value: value, Version: a}, {Key: "b", Version: b}}
	for item, want := range map[string][]dynamo.Item{"": want, "a": want[:1], "b": want[1:], "c": nil} {
		got, err := l.Snapshot(t.Context(), live, item, 1000)
		if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(dynamo.Item{}, "Updated")); diff != "" || err != nil {
			t.Errorf("of %q: %v (-want +got):\n%s", item, err, diff)
		}
		for _, one := range got {
			if one.Updated.Before(began) || one.Updated.After(time.Now().Add(time.Second)) {
				t.Errorf("%s was updated at %s", one.Key, one.Updated)
			}
		}
	}
	if _, err := l.Snapshot(t.Context(), live, "", 3); errs.CodeOf(err) != errs.TooLarge {
		t.Errorf("the error is %v", err)
	}
}

// Requests of each operation, for whoever adds up what a frame costs.
func TestRequestsOfLanes(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		do   func(ctx context.Context, l *dynamo.Lanes) error
		want []string
	}{
		{"load", func(ctx context.Context, l *dynamo.Lanes) error { _, err := l.Load(ctx, live); return err }, []string{"GetItem"}},
		{"subscriptions", func(ctx context.Context, l *dynamo.Lanes) error { _, err := l.Subscriptions(ctx, live); return err }, []string{"Query"}},
		{"snapshot of a group", func(ctx context.Context, l *dynamo.Lanes) error { _, err := l.Snapshot(ctx, live, "", 1); return err }, []string{"Query"}},
		{"snapshot of an item", func(ctx context.Context, l *dynamo.Lanes) error { _, err := l.Snapshot(ctx, live, "i", 1); return err }, []string{"GetItem"}},
		{"save of frames", func(ctx context.Context, l *dynamo.Lanes) error {
			return l.Save(ctx, live, dynamo.LaneSave{Was: former, Is: latter})
		}, []string{"PutItem"}},
		{"save of joins", func(ctx context.Context, l *dynamo.Lanes) error {
			return l.Save(ctx, live, dynamo.LaneSave{Was: former, Is: latter, Ahead: []byte("a"),
				Joined: []dynamo.Subscription{subscription("a", "1"), subscription("b", "1")}})
		}, []string{"TransactWriteItems"}},
		{"save of a disconnect", func(ctx context.Context, l *dynamo.Lanes) error {
			return l.Save(ctx, live, dynamo.LaneSave{Was: former, Is: latter, Gone: []dynamo.SubscriptionKey{{Connection: "a", ID: "1"}}})
		}, []string{"PutItem", "BatchWriteItem"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var operations []string
			l := dynamo.NewLanes(storeOver(t, requestsTo(func(operation string) { operations = append(operations, operation) })))
			if err := test.do(t.Context(), l); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, operations); diff != "" {
				t.Errorf("requests (-want +got):\n%s", diff)
			}
		})
	}
}

// requestsTo answers every request with nothing, and tells of it.
type requestsTo func(operation string)

// Do implements aws.HTTPClient.
func (tell requestsTo) Do(r *http.Request) (*http.Response, error) {
	_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	tell(operation)
	return answer(http.StatusOK, ""), nil
}
