package dynamo_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/eddyhq/eddy/shared/aws/dynamo"
	"github.com/eddyhq/eddy/shared/errs"
	"github.com/eddyhq/eddy/shared/port"
)

// dying is the item of a document that is to expire, dead of one that has, a second before it is asked for.
func dying(version int64, value string) string {
	return with(stored(version, value), `"expires":{"N":"1800000000"}`)
}

func dead(version int64, value string) string {
	return with(stored(version, value), `"expires":{"N":"1699999999"}`)
}

// with returns an item with another attribute.
func with(item, attribute string) string { return strings.Replace(item, "{", "{"+attribute+",", 1) }

func until(w port.Write, ttl time.Duration) port.Write {
	w.TTL = ttl
	return w
}

func check() port.Write { return port.Write{Op: port.Check, Collection: scope, Key: "k"} }

const (
	unexpired = "(attribute_not_exists(#expires) OR #expires > :v" // what a plan demands that was made without reading
	lapse     = "#lapsed = :v"                                     // what a write over an expired document notes
)

func TestWritesOverWhatHasExpired(t *testing.T) {
	t.Parallel()
	playCases(t, []commitCase{
		{"a set finds nothing, and counts the expiry", alone(set(`1`)), []exchange{
			knownCollection, conditionFails(dead(41, seven)).of("UpdateItem", unexpired),
			says("UpdateItem", "", lapse, `"42"`, `+ :v`, `{"N":"2"}`, "#version = :v", `{"N":"41"}`),
		}, outcome{result: result("", `1`, 43)}},
		{"an increment begins anew", alone(increment("n", 2)), []exchange{
			conditionFails(dead(41, seven)).of("UpdateItem", unexpired), knownCollection,
			says("UpdateItem", "", lapse, `{"M":{"n":{"N":"2"}}}`),
		}, outcome{result: result("", `{"n":2}`, 43)}},
		{"a merge begins anew", alone(merge(`{"a":1}`)), []exchange{
			says("GetItem", found(dead(41, seven))), knownCollection, says("UpdateItem", "", lapse),
		}, outcome{result: result("", `{"a":1}`, 43)}},
		{"a creation is one", alone(ifVersion(set(`1`), 0)), []exchange{
			knownCollection, conditionFails(dead(41, seven)).of("UpdateItem", unexpired, "attribute_not_exists(#value)"),
			says("UpdateItem", "", lapse),
		}, outcome{result: result("", `1`, 43)}},
		{"a set at the version that it had is a conflict with nothing", alone(ifVersion(set(`1`), 41)), []exchange{
			conditionFails(dead(41, seven)).of("UpdateItem", unexpired, "#version = :v"),
		}, outcome{conflict: &port.ConflictError{}}},
		{"an increment at the version that it had is a conflict with nothing", alone(ifVersion(increment("n", 1), 41)), []exchange{
			conditionFails(dead(41, seven)).of("UpdateItem", unexpired),
		}, outcome{conflict: &port.ConflictError{}}},
		{"a delete has nothing to do", alone(remove()), []exchange{
			conditionFails(dead(41, seven)).of("UpdateItem", unexpired),
		}, outcome{}},
		{"a delete at the version that it had is a conflict with nothing", alone(ifVersion(remove(), 41)), []exchange{
			conditionFails(dead(41, seven)).of("UpdateItem", unexpired),
		}, outcome{conflict: &port.ConflictError{}}},
		{"a check for nothing holds", alone(ifVersion(check(), 0)), []exchange{
			says("GetItem", found(dead(41, seven))),
		}, outcome{}},
		{"a check for the version that it had does not", alone(ifVersion(check(), 41)), []exchange{
			says("GetItem", found(dead(41, seven))),
		}, outcome{conflict: &port.ConflictError{}}},
		{"a tombstone that is due for removal goes on with its version", alone(set(`1`)), []exchange{
			knownCollection, conditionFails(with(tombstone("other", 41), `"expires":{"N":"1699999999"}`)).of("UpdateItem", unexpired),
			says("UpdateItem", "", `{"N":"1"}`),
		}, outcome{result: result("", `1`, 42)}},
		{"one that was removed meanwhile is planned anew", alone(set(`1`)), []exchange{
			knownCollection, conditionFails(dead(41, seven)).of("UpdateItem"), conditionFails("").of("UpdateItem", lapse),
			says("UpdateItem", "", "attribute_not_exists(#pk)"),
		}, outcome{result: result("", `1`, started)}},
	})
}

func TestLostRepliesAboutWhatHasExpired(t *testing.T) {
	t.Parallel()
	playCases(t, []commitCase{
		{"a set over it that was done", alone(set(`1`)), []exchange{
			knownCollection, conditionFails(dead(41, seven)).of("UpdateItem"), replyLost.of("UpdateItem"),
			says("GetItem", found(storedBy("id-1", 43, `{"N":"1"}`))),
		}, outcome{result: result("", `1`, 43)}},
		{"a set over it that was not done is done again", alone(set(`1`)), []exchange{
			knownCollection, conditionFails(dead(41, seven)).of("UpdateItem"), replyLost.of("UpdateItem"),
			says("GetItem", found(dead(41, seven))), says("UpdateItem", "", lapse),
		}, outcome{result: result("", `1`, 43)}},
		{"a set at a version that expired since may yet be done: unavailable, no conflict", alone(ifVersion(set(`1`), 41)), []exchange{
			replyLost.of("UpdateItem"), says("GetItem", found(dead(41, seven))),
		}, outcome{code: errs.Unavailable}},
		{"a merge of what expired since may yet be done: unavailable", alone(merge(`{"a":1}`)), []exchange{
			says("GetItem", found(stored(41, seven))), replyLost.of("UpdateItem"), says("GetItem", found(dead(41, seven))),
		}, outcome{code: errs.Unavailable}},
	})
}

func TestTransactionsOverWhatHasExpired(t *testing.T) {
	t.Parallel()
	const isAt41 = `{"N":"41"}`
	playCases(t, []commitCase{
		{"an increment begins anew", together(noResult(increment("n", 1))), []exchange{
			cancelled(none, because(failed, dead(41, seven))).of("TransactWriteItems", unexpired), knownCollection,
			says("TransactWriteItems", "", lapse, `{"M":{"n":{"N":"1"}}}`, "#version = :v", isAt41),
		}, outcome{}},
		{"a set tells that it found nothing", together(set(`1`)), []exchange{
			says("GetItem", found(dead(41, seven))), knownCollection, says("TransactWriteItems", "", lapse, isAt41),
		}, outcome{result: result("", `1`, 43)}},
		{"a creation is one", together(noResult(ifVersion(set(`1`), 0))), []exchange{
			knownCollection, cancelled(none, because(failed, dead(41, seven))).of("TransactWriteItems", unexpired),
			says("TransactWriteItems", "", lapse, isAt41),
		}, outcome{}},
		{"a check for nothing holds while the row stays", together(noResult(ifVersion(check(), 0))), []exchange{
			cancelled(none, because(failed, dead(41, seven))).of("TransactWriteItems", `"ConditionCheck"`, unexpired),
			says("TransactWriteItems", "", `"ConditionCheck"`, "#version = :v", isAt41),
		}, outcome{}},
		{"a check for the version that it had does not hold", together(noResult(ifVersion(check(), 41))), []exchange{
			cancelled(none, because(failed, dead(41, seven))).of("TransactWriteItems", unexpired),
		}, outcome{conflict: &port.ConflictError{}}},
		{"a delete has nothing to do while the row stays", together(noResult(remove())), []exchange{
			says("GetItem", found(dead(41, seven))), says("TransactWriteItems", "", `"ConditionCheck"`, "#version = :v", isAt41),
		}, outcome{}},
	})
}

// TestWhatWritesDoToTheTimeOfADocument reads the expressions of updates. What the time is, is among their values.
func TestWhatWritesDoToTheTimeOfADocument(t *testing.T) {
	t.Parallel()
	absolute := set(`1`)
	absolute.Expires = 1_900_000_000
	for _, test := range []struct {
		name      string
		write     port.Write
		exchanges []exchange
		want      string // set to, removed or left
	}{
		{"a set for a while sets it, to whole seconds above", until(set(`1`), 1500*time.Millisecond),
			[]exchange{knownCollection, says("UpdateItem", "")}, "1700000002"},
		{"a set until a time sets it", absolute, []exchange{knownCollection, says("UpdateItem", "")}, "1900000000"},
		{"any other set removes it", set(`1`), []exchange{knownCollection, says("UpdateItem", "")}, "removed"},
		{"a set at a version removes it", ifVersion(set(`1`), 41), []exchange{says("UpdateItem", replaced(dying(41, seven)))}, "removed"},
		{"an increment leaves it", increment("n", 1), []exchange{says("UpdateItem", replaced(dying(41, seven)))}, "left"},
		{"a merge leaves it", merge(`{"a":1}`), []exchange{says("GetItem", found(dying(41, seven))), says("UpdateItem", "")}, "left"},
		{"a merge over a tombstone removes that of the tombstone", merge(`{"a":1}`),
			[]exchange{says("GetItem", found(tombstone("other", 41))), knownCollection, says("UpdateItem", "")}, "removed"},
		{"a merge over what has expired removes it", merge(`{"a":1}`),
			[]exchange{says("GetItem", found(dead(41, seven))), knownCollection, says("UpdateItem", "")}, "removed"},
		{"a set for a while over what has expired sets it", until(set(`1`), time.Minute),
			[]exchange{knownCollection, conditionFails(dead(41, seven)).of("UpdateItem"), says("UpdateItem", "")}, "1700000060"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			bodies := played(t, test.exchanges, func(t *testing.T, s *dynamo.Store) {
				if o := commit(t, s, alone(test.write)); o.code != "" || o.conflict != nil {
					t.Errorf("it came to %+v", o)
				}
			})
			if got := timeIn(t, bodies[len(bodies)-1]); got != test.want {
				t.Errorf("the time is %s, want %s: %s", got, test.want, bodies[len(bodies)-1])
			}
		})
	}
}

// timeIn returns what a request to update a row sets the row's time to: a number, "removed" or "left".
func timeIn(t *testing.T, body string) string {
	t.Helper()
	var request struct {
		UpdateExpression          string
		ExpressionAttributeValues map[string]struct{ N string }
	}
	if err := json.Unmarshal([]byte(body), &request); err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	sets, removes, _ := strings.Cut(request.UpdateExpression, " REMOVE ")
	if strings.Contains(removes, "#expires") {
		return "removed"
	}
	_, rest, ok := strings.Cut(sets, "#expires = ")
	if !ok {
		return "left"
	}
	placeholder, _, _ := strings.Cut(rest, ",")
	return request.ExpressionAttributeValues[placeholder].N
}

func TestReadsOfWhatExpires(t *testing.T) {
	t.Parallel()
	living := port.Document{Key: "k", Value: []byte(`{"n":7}`), Version: 41, Expires: 1_800_000_000}
	for name, test := range map[string]struct {
		item string
		want port.Document
	}{
		"one that lives tells when it will": {dying(41, seven), living},
		"one that is dead is none":          {dead(41, seven), port.Document{Key: "k"}},
		"one whose time is now is none":     {with(stored(41, seven), `"expires":{"N":"1700000000"}`), port.Document{Key: "k"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			play(t, []exchange{
				says("GetItem", found(test.item)), says("Query", `{"Items":[`+test.item+`]}`, unexpired, "#expires"),
			}, func(t *testing.T, s *dynamo.Store) {
				got, err := s.Get(t.Context(), scope, "k")
				if diff := cmp.Diff(test.want, got); diff != "" || err != nil {
					t.Errorf("got %v (-want +got):\n%s", err, diff)
				}
				page, err := s.List(t.Context(), scope, port.Query{Limit: 9})
				var want port.Page
				if test.want.Exists() {
					want.Documents = []port.Document{test.want}
				}
				if diff := cmp.Diff(want, page); diff != "" || err != nil {
					t.Errorf("listed %v (-want +got):\n%s", err, diff)
				}
			})
		})
	}
}

func TestASnapshotHasNoValueOfWhatHasExpired(t *testing.T) {
	t.Parallel()
	updated := `"updated":{"N":"1690000000000000"}`
	item := with(dead(41, seven), updated)
	play(t, []exchange{says("GetItem", found(item)), says("Query", `{"Items":[`+item+`]}`, "#expires")}, func(t *testing.T, s *dynamo.Store) {
		want := []dynamo.Item{{Key: "k", Version: 41, Updated: time.Unix(1_690_000_000, 0)}}
		for _, item := range []string{"k", ""} {
			got, err := dynamo.NewLanes(s).Snapshot(t.Context(), live, item, 1)
			if diff := cmp.Diff(want, got); diff != "" || err != nil {
				t.Errorf("of %q: %v (-want +got):\n%s", item, err, diff)
			}
		}
	})
}
