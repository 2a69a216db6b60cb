package dynamo_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/eddyhq/eddy/shared/aws/dynamo"
	"github.com/eddyhq/eddy/shared/document"
	"github.com/eddyhq/eddy/shared/errs"
	"github.com/eddyhq/eddy/shared/port"
)

const (
	failed   = "ConditionalCheckFailed"
	conflict = "TransactionConflict"
)

func TestTransactions(t *testing.T) {
	t.Parallel()
	count := noResult(increment("n", 1))
	playCases(t, []commitCase{
		{"a reaction that counts is one request: its cursor and its increment", together(count), []exchange{
			says("TransactWriteItems", "", `"cursor/a::b/`, "attribute_not_exists(#version) OR #version < :v0",
				"REMOVE #attempts", "if_not_exists(#value.#f", `"ClientRequestToken"`),
		}, outcome{}},
		{"a cursor that is taken is stale, whatever else there is", together(ifVersion(count, 3)), []exchange{
			cancelled(because(failed, ""), because(failed, stored(41, seven))).of("TransactWriteItems"),
		}, outcome{stale: true}},
		{"a version that is another is a conflict", together(noResult(ifVersion(set(`1`), 3))), []exchange{
			cancelled(none, because(failed, stored(41, seven))).of("TransactWriteItems"),
		}, outcome{conflict: &port.ConflictError{Version: 41}}},
		{"a version of what was deleted is a conflict with nothing", together(noResult(ifVersion(count, 41))), []exchange{
			cancelled(none, because(failed, tombstone("other", 41))).of("TransactWriteItems"),
		}, outcome{conflict: &port.ConflictError{}}},
		{"an increment that does not fit is planned anew on what was found", together(count), []exchange{
			cancelled(none, because(failed, "")).of("TransactWriteItems"), knownCollection,
			says("TransactWriteItems", "", "attribute_not_exists(#pk)", `{"M":{"n":{"N":"1"}}}`),
		}, outcome{}},
		{"an increment that lost a race with its beginning is blind again", together(count), []exchange{
			cancelled(none, because(failed, "")).of("TransactWriteItems"), knownCollection,
			cancelled(none, because(failed, stored(41, seven))).of("TransactWriteItems"),
			says("TransactWriteItems", "", "if_not_exists(#value.#f"),
		}, outcome{}},
		{"a path that DynamoDB does not take is read", together(count), []exchange{
			cancelled(none, because("ValidationError", "")).of("TransactWriteItems"),
			says("GetItem", found(stored(41, seven))),
			says("TransactWriteItems", "", `{"M":{"n":{"N":"8"}}}`, "#version = :v"),
		}, outcome{}},
		{"results are read first and hold while the version does", together(set(`1`)), []exchange{
			says("GetItem", found(stored(41, seven))), says("TransactWriteItems", "", "#version = :v"),
		}, outcome{result: result(`{"n":7}`, `1`, 42)}},
		{"results that no longer hold are taken from what was found", together(set(`1`)), []exchange{
			says("GetItem", found(stored(41, seven))),
			cancelled(none, because(failed, stored(50, `{"N":"5"}`))).of("TransactWriteItems"),
			says("TransactWriteItems", "", `"50"`),
		}, outcome{result: result(`5`, `1`, 51)}},
		{"a conflict that is read is no transaction", together(ifVersion(set(`1`), 3)), []exchange{
			says("GetItem", found(stored(41, seven))),
		}, outcome{conflict: &port.ConflictError{Version: 41}}},
		{"a delete of nothing is a condition", together(noResult(remove())), []exchange{
			says("GetItem", ""), says("TransactWriteItems", "", `"ConditionCheck"`, "attribute_not_exists(#value)"),
		}, outcome{}},
		{"a check is a condition", together(noResult(ifVersion(port.Write{Op: port.Check, Collection: scope, Key: "k"}, 3))), []exchange{
			says("TransactWriteItems", "", `"ConditionCheck"`, "#version = :v"),
		}, outcome{}},
		{"what others have in hand is waited for", together(count), []exchange{
			cancelled(because(conflict, ""), none).of("TransactWriteItems"),
			cancelled(none, because("ThrottlingError", "")).of("TransactWriteItems"),
			cancelled(none, because("ProvisionedThroughputExceeded", "")).of("TransactWriteItems"),
			refusal(400, "TransactionInProgressException", "").of("TransactWriteItems"),
			says("TransactWriteItems", ""),
		}, outcome{}},
		{"a race that is lost while others are in hand is planned anew", together(count, noResult(port.Write{
			Op: port.Set, Collection: port.Scope("t"), Key: "k", Value: document.Value(`1`),
		})), []exchange{
			knownCollection,
			cancelled(none, because(failed, ""), because(conflict, "")).of("TransactWriteItems"), knownCollection,
			says("TransactWriteItems", ""),
		}, outcome{}},
		{"a reason that nobody foresaw is internal", together(count), []exchange{
			cancelled(none, because("ItemCollectionSizeLimitExceeded", "")).of("TransactWriteItems"),
		}, outcome{code: errs.Internal}},
		{"an item that is too large", together(noResult(set(`1`))), []exchange{
			knownCollection,
			cancelled(none, `{"Code":"ValidationError","Message":"Item size to update has exceeded the maximum allowed size"}`).
				of("TransactWriteItems"),
		}, outcome{code: errs.TooLarge}},
		{"an invalid request", together(count), []exchange{invalid("no").of("TransactWriteItems")}, outcome{code: errs.Internal}},
	})
}

func TestATransactionIsSentAgainWithItsToken(t *testing.T) {
	t.Parallel()
	bodies := played(t, []exchange{
		replyLost.of("TransactWriteItems"), serverError.of("TransactWriteItems"), throttled().of("TransactWriteItems"),
		cancelled(because(conflict, ""), none).of("TransactWriteItems"), says("TransactWriteItems", ""),
	}, func(t *testing.T, s *dynamo.Store) {
		if o := commit(t, s, together(noResult(increment("n", 1)))); o.code != "" {
			t.Errorf("it came to %+v", o)
		}
	})
	tokens := map[string]bool{}
	for _, body := range bodies {
		tokens[regexp.MustCompile(`"ClientRequestToken":"([0-9a-f]{32})"`).FindString(body)] = true
	}
	if len(tokens) != 1 || tokens[""] {
		t.Errorf("tokens: %v", tokens)
	}
}

func TestATransactionThatIsPlannedAnewHasAnotherToken(t *testing.T) {
	t.Parallel()
	bodies := played(t, []exchange{
		cancelled(none, because(failed, "")).of("TransactWriteItems"), knownCollection, says("TransactWriteItems", ""),
	}, func(t *testing.T, s *dynamo.Store) { commit(t, s, together(noResult(increment("n", 1)))) })
	token := regexp.MustCompile(`"ClientRequestToken":"([0-9a-f]{32})"`)
	if first, second := token.FindString(bodies[0]), token.FindString(bodies[2]); first == second || first == "" || second == "" {
		t.Errorf("tokens %s and %s", first, second)
	}
}

func TestAConflictNamesItsWrite(t *testing.T) {
	t.Parallel()
	other := noResult(ifVersion(set(`2`), 9))
	other.Key = "other"
	playCases(t, []commitCase{{
		"beside a cursor and other writes", together(noResult(increment("n", 1)), other), []exchange{
			cancelled(none, none, because(failed, stored(41, seven))).of("TransactWriteItems"),
		}, outcome{conflict: &port.ConflictError{Index: 1, Version: 41}},
	}})
}

func TestSeveralRowsAreReadWithOneRequestAndWhatIsLeftOfIt(t *testing.T) {
	t.Parallel()
	row := func(key string, version int) string {
		return fmt.Sprintf(`{"pk":{"S":"state/s"},"sk":{"S":%q},"version":{"N":"%d"},"value":{"N":"1"}}`, key, version)
	}
	unprocessed := func(responses, keys string) string {
		return `{"Responses":{"docs":[` + responses + `]},"UnprocessedKeys":{"docs":{"Keys":[` + keys + `]}}}`
	}
	keyOf := func(key string) string { return `{"pk":{"S":"state/s"},"sk":{"S":"` + key + `"}}` }
	var c port.Commit
	for _, key := range []string{"a", "b", "c"} {
		c.Writes = append(c.Writes, port.Write{Op: port.Set, Collection: scope, Key: key, Value: document.Value(`2`)})
	}
	play(t, []exchange{
		says("BatchGetItem", unprocessed("", keyOf("a")+","+keyOf("b")+","+keyOf("c")), `"ConsistentRead":true`),
		says("BatchGetItem", unprocessed(row("b", 20), keyOf("c")+","+keyOf("a"))),
		says("BatchGetItem", unprocessed(row("a", 10), "")),
		knownCollection, says("TransactWriteItems", ""),
	}, func(t *testing.T, s *dynamo.Store) {
		got, err := s.Commit(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		want := []port.Result{result(`1`, `2`, 11), result(`1`, `2`, 21), result("", `2`, started)}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

func TestACommitHasLimits(t *testing.T) {
	t.Parallel()
	sets := func(n int, value string) (c port.Commit) {
		for i := range n {
			c.Writes = append(c.Writes, noResult(ifVersion(port.Write{
				Op: port.Set, Collection: scope, Key: fmt.Sprint(i), Value: document.Value(value),
			}, 1)))
		}
		return c
	}
	tooMany := sets(90, `1`)
	for i := range 11 {
		tooMany.Calls = append(tooMany.Calls, port.Call{ID: fmt.Sprint(i), Function: "a::b"})
	}
	twice := sets(2, `1`)
	twice.Writes[1].Key = "0"
	playCases(t, []commitCase{
		{"100 parts", tooMany, nil, outcome{code: errs.InvalidArgument}},
		{"4 MB", sets(12, `"`+strings.Repeat("x", 390_000)+`"`), nil, outcome{code: errs.TooLarge}},
		{"a document once", twice, nil, outcome{code: errs.InvalidArgument}},
		{"a cursor once", port.Commit{Cursors: []port.Cursor{{Name: "c"}, {Name: "c"}}}, nil, outcome{code: errs.InvalidArgument}},
		{"a value for a set", alone(port.Write{Op: port.Set, Collection: scope, Key: "k"}), nil, outcome{code: errs.InvalidArgument}},
		{"an operation that exists", alone(port.Write{Op: "x", Collection: scope, Key: "k"}), nil, outcome{code: errs.InvalidArgument}},
	})
}
