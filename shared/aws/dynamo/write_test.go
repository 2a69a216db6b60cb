package dynamo_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/eddyhq/eddy/shared/aws/dynamo"
	"github.com/eddyhq/eddy/shared/document"
	"github.com/eddyhq/eddy/shared/errs"
	"github.com/eddyhq/eddy/shared/port"
)

// outcome is what a commit came to, to compare by.
type outcome struct {
	result   port.Result // of the first write
	code     errs.Code
	conflict *port.ConflictError
	stale    bool
}

func commit(t *testing.T, s *dynamo.Store, c port.Commit) (o outcome) {
	t.Helper()
	results, err := s.Commit(t.Context(), c)
	switch {
	case errors.As(err, &o.conflict):
	case errors.Is(err, port.ErrStale):
		o.stale = true
	case err != nil:
		o.code = errs.CodeOf(err)
		if message := errs.From(err).Message; strings.Contains(message, "Exception") || strings.Contains(message, "https") {
			t.Errorf("the message tells what AWS said: %s", message)
		}
	case len(results) > 0:
		o.result = results[0]
	}
	return o
}

func result(before, after string, version int64) port.Result {
	r := port.Result{Version: version}
	if before != "" {
		r.Old = document.Value(before)
	}
	if after != "" {
		r.New = document.Value(after)
	}
	return r
}

type commitCase struct {
	name      string
	commit    port.Commit
	exchanges []exchange
	want      outcome
}

func playCases(t *testing.T, cases []commitCase) {
	t.Helper()
	for _, test := range cases {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			play(t, test.exchanges, func(t *testing.T, s *dynamo.Store) {
				got := commit(t, s, test.commit)
				if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(outcome{})); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			})
		})
	}
}

const seven = `{"M":{"n":{"N":"7"}}}`

func TestOneWrite(t *testing.T) {
	t.Parallel()
	playCases(t, []commitCase{
		{"a set of something new is one request, besides the directory", alone(set(`{"n":1}`)), []exchange{
			knownCollection,
			says("UpdateItem", "", `if_not_exists(#version, :v0) + :v1`, `"ALL_OLD"`, `{"M":{"n":{"N":"1"}}}`),
		}, outcome{result: result("", `{"n":1}`, started)}},
		{"a set tells what it replaced", alone(set(`1`)), []exchange{
			knownCollection, says("UpdateItem", replaced(stored(41, seven))),
		}, outcome{result: result(`{"n":7}`, `1`, 42)}},
		{"a set over a tombstone goes on with its version", alone(set(`1`)), []exchange{
			knownCollection, says("UpdateItem", replaced(tombstone("other", 41)), "REMOVE", "#expires"),
		}, outcome{result: result("", `1`, 42)}},
		{"a collection that is new enters the directory first", alone(set(`1`)), []exchange{
			says("GetItem", "", "directory/state"), says("PutItem", "", "directory/state", `"s"`), says("UpdateItem", ""),
		}, outcome{result: result("", `1`, started)}},
		{"a set at a version cannot begin a collection", alone(ifVersion(set(`1`), 41)), []exchange{
			says("UpdateItem", replaced(stored(41, seven)), "attribute_exists(#value) AND #version = :v"),
		}, outcome{result: result(`{"n":7}`, `1`, 42)}},
		{"a set at another version is a conflict that tells the one that is there", alone(ifVersion(set(`1`), 40)), []exchange{
			conditionFails(stored(41, seven)).of("UpdateItem"),
		}, outcome{conflict: &port.ConflictError{Version: 41}}},
		{"a set at a version of what was deleted is a conflict with nothing", alone(ifVersion(set(`1`), 41)), []exchange{
			conditionFails(tombstone("other", 41)).of("UpdateItem"),
		}, outcome{conflict: &port.ConflictError{}}},
		{"a creation of what is there is a conflict", alone(ifVersion(set(`1`), 0)), []exchange{
			knownCollection, conditionFails(stored(41, seven)).of("UpdateItem", "attribute_not_exists(#value)"),
		}, outcome{conflict: &port.ConflictError{Version: 41}}},

		{"a delete leaves a tombstone", alone(remove()), []exchange{
			says("UpdateItem", replaced(stored(41, seven)), "REMOVE", "#value", "#expires = :v3", "1700086400"),
		}, outcome{result: result(`{"n":7}`, "", 42)}},
		{"a delete of nothing is no change", alone(remove()), []exchange{
			conditionFails("").of("UpdateItem"),
		}, outcome{}},
		{"a delete of what was deleted is no change", alone(remove()), []exchange{
			conditionFails(tombstone("other", 41)).of("UpdateItem"),
		}, outcome{}},
		{"a delete at another version is a conflict", alone(ifVersion(remove(), 40)), []exchange{
			conditionFails(stored(41, seven)).of("UpdateItem"),
		}, outcome{conflict: &port.ConflictError{Version: 41}}},
		{"a delete of what must not exist reads", alone(ifVersion(remove(), 0)), []exchange{
			says("GetItem", found(stored(41, seven)), `"ConsistentRead":true`),
		}, outcome{conflict: &port.ConflictError{Version: 41}}},

		{"an increment is one request", alone(increment("n", 2)), []exchange{
			says("UpdateItem", replaced(stored(41, seven)), "if_not_exists(#value.#f", `"9223372036854775805"`, "#size <= "),
		}, outcome{result: result(`{"n":7}`, `{"n":9}`, 42)}},
		{"an increment of nothing begins the document", alone(increment("n", 2)), []exchange{
			conditionFails("").of("UpdateItem"), knownCollection, says("UpdateItem", "", "attribute_not_exists(#pk)"),
		}, outcome{result: result("", `{"n":2}`, started)}},
		{"an increment beyond 64 bits is skipped", alone(increment("n", 2)), []exchange{
			conditionFails(stored(41, `{"M":{"n":{"N":"9223372036854775807"}}}`)).of("UpdateItem"),
		}, outcome{result: port.Result{
			Old: document.Value(`{"n":9223372036854775807}`), New: document.Value(`{"n":9223372036854775807}`), Version: 41,
			Faults: []document.Fault{{Code: "increment.not_number", Message: `"n" is 9223372036854775807: a change by 2 is beyond ` +
				`what 64-bit integers, or fractions of 38 digits, can hold`}},
		}}},
		{"a path that DynamoDB does not take is applied here", alone(increment("n", 2)), []exchange{
			invalid("The document path provided in the update expression is invalid for update").of("UpdateItem"),
			says("GetItem", found(stored(41, seven))),
			says("UpdateItem", "", "#version = :v", `{"M":{"n":{"N":"9"}}}`),
		}, outcome{result: result(`{"n":7}`, `{"n":9}`, 42)}},
		{"an increment at another version is a conflict", alone(ifVersion(increment("n", 2), 40)), []exchange{
			conditionFails(stored(41, seven)).of("UpdateItem"),
		}, outcome{conflict: &port.ConflictError{Version: 41}}},
		{"a merge reads and writes what it read", alone(merge(`{"a":1}`)), []exchange{
			says("GetItem", found(stored(41, seven))), says("UpdateItem", "", `"41"`, `#version = :v`),
		}, outcome{result: result(`{"n":7}`, `{"a":1,"n":7}`, 42)}},
		{"a merge that lost the race goes on with what won", alone(merge(`{"a":1}`)), []exchange{
			says("GetItem", found(stored(41, seven))),
			conditionFails(stored(50, `{"M":{}}`)).of("UpdateItem"),
			says("UpdateItem", "", `"50"`),
		}, outcome{result: result(`{}`, `{"a":1}`, 51)}},
		{"an update without effect is read and not written", alone(merge(`[]`)), []exchange{
			says("GetItem", found(stored(41, seven))),
		}, outcome{result: port.Result{
			Old: document.Value(`{"n":7}`), New: document.Value(`{"n":7}`), Version: 41,
			Faults: []document.Fault{{Code: "merge.value.not_an_object", Message: "the value to merge is an array, it must be an object"}},
		}}},
		{"a check is a read", alone(ifVersion(port.Write{Op: port.Check, Collection: scope, Key: "k"}, 40)), []exchange{
			says("GetItem", found(stored(41, seven))),
		}, outcome{conflict: &port.ConflictError{Version: 41}}},
	})
}

func TestLostReplies(t *testing.T) {
	t.Parallel()
	mine := func(version int64, value string) string { return storedBy("id-1", version, value) }
	playCases(t, []commitCase{
		{"a set without result that was done is a success", alone(noResult(set(`1`))), []exchange{
			knownCollection, replyLost.of("UpdateItem"), says("GetItem", found(mine(42, `{"N":"1"}`)), `"ConsistentRead":true`),
		}, outcome{result: port.Result{Version: 42}}},
		{"an error of the server is as good as no reply", alone(noResult(set(`1`))), []exchange{
			knownCollection, serverError.of("UpdateItem"), says("GetItem", found(mine(42, `{"N":"1"}`))),
		}, outcome{result: port.Result{Version: 42}}},
		{"a set that was done, but not told what it replaced, is unavailable", alone(set(`1`)), []exchange{
			knownCollection, replyLost.of("UpdateItem"), says("GetItem", found(mine(42, `{"N":"1"}`))),
		}, outcome{code: errs.Unavailable}},
		{"a creation that was done replaced nothing", alone(ifVersion(set(`1`), 0)), []exchange{
			knownCollection, replyLost.of("UpdateItem"), says("GetItem", found(mine(42, `{"N":"1"}`))),
		}, outcome{result: result("", `1`, 42)}},
		{"a set of what is not there was not done, and is done on condition that it still is not", alone(set(`1`)), []exchange{
			knownCollection, replyLost.of("UpdateItem"), says("GetItem", ""), says("UpdateItem", "", "attribute_not_exists(#pk)"),
		}, outcome{result: result("", `1`, started)}},
		{"a set that landed after all is found by its id", alone(set(`1`)), []exchange{
			knownCollection, replyLost.of("UpdateItem"), says("GetItem", ""),
			conditionFails(mine(started, `{"N":"1"}`)).of("UpdateItem", "attribute_not_exists(#pk)"),
		}, outcome{result: result("", `1`, started)}},
		{"a set that may have been overwritten is unavailable", alone(set(`1`)), []exchange{
			knownCollection, replyLost.of("UpdateItem"), says("GetItem", ""), conditionFails(stored(43, seven)).of("UpdateItem"),
		}, outcome{code: errs.Unavailable}},
		{"a set whose document others wrote may have been done: unavailable", alone(set(`1`)), []exchange{
			knownCollection, replyLost.of("UpdateItem"), says("GetItem", found(stored(43, seven))),
		}, outcome{code: errs.Unavailable}},
		{"a set at a version that is still there is done again", alone(ifVersion(set(`1`), 41)), []exchange{
			replyLost.of("UpdateItem"), says("GetItem", found(stored(41, seven))), says("UpdateItem", "", "#version = :v"),
		}, outcome{result: result(`{"n":7}`, `1`, 42)}},
		{"a set at a version that is gone may have been done: unavailable, no conflict", alone(ifVersion(set(`1`), 41)), []exchange{
			replyLost.of("UpdateItem"), says("GetItem", found(stored(43, seven))),
		}, outcome{code: errs.Unavailable}},
		{"a creation that finds a tombstone may have been deleted again: unavailable", alone(ifVersion(set(`1`), 0)), []exchange{
			knownCollection, replyLost.of("UpdateItem"), says("GetItem", found(tombstone("other", 43))),
		}, outcome{code: errs.Unavailable}},
		{"an increment that was done is not done again", alone(noResult(increment("n", 1))), []exchange{
			replyLost.of("UpdateItem"), says("GetItem", found(mine(42, seven))),
		}, outcome{result: port.Result{Version: 42}}},
		{"an increment with result that was done is unavailable", alone(increment("n", 1)), []exchange{
			replyLost.of("UpdateItem"), says("GetItem", found(mine(42, seven))),
		}, outcome{code: errs.Unavailable}},
		{"an increment that may have been done is not done again", alone(noResult(increment("n", 1))), []exchange{
			replyLost.of("UpdateItem"), says("GetItem", found(stored(42, seven))),
		}, outcome{code: errs.Unavailable}},
		{"a merge that was not done is done again", alone(merge(`{"a":1}`)), []exchange{
			says("GetItem", found(stored(41, seven))), replyLost.of("UpdateItem"),
			says("GetItem", found(stored(41, seven))), says("UpdateItem", ""),
		}, outcome{result: result(`{"n":7}`, `{"a":1,"n":7}`, 42)}},
		{"a merge that was done tells what it did", alone(merge(`{"a":1}`)), []exchange{
			says("GetItem", found(stored(41, seven))), replyLost.of("UpdateItem"),
			says("GetItem", found(mine(42, `{"M":{"a":{"N":"1"},"n":{"N":"7"}}}`))),
		}, outcome{result: result(`{"n":7}`, `{"a":1,"n":7}`, 42)}},
		{"a merge whose document others wrote may have been done: unavailable", alone(merge(`{"a":1}`)), []exchange{
			says("GetItem", found(stored(41, seven))), replyLost.of("UpdateItem"), says("GetItem", found(stored(43, seven))),
		}, outcome{code: errs.Unavailable}},
		{"a delete of what is not there had nothing to do", alone(remove()), []exchange{
			replyLost.of("UpdateItem"), says("GetItem", ""),
		}, outcome{}},
		{"a delete without result that was done is a success", alone(noResult(remove())), []exchange{
			replyLost.of("UpdateItem"), says("GetItem", found(tombstone("id-1", 42))),
		}, outcome{result: port.Result{Version: 42}}},
	})
}

func TestRequestsThatSurelyWereNotDoneAreMadeAgain(t *testing.T) {
	t.Parallel()
	playCases(t, []commitCase{
		{"throttled", alone(set(`1`)), []exchange{
			knownCollection, throttled().of("UpdateItem"), throttled().of("UpdateItem"), says("UpdateItem", ""),
		}, outcome{result: result("", `1`, started)}},
		{"too many requests in the account", alone(set(`1`)), []exchange{
			knownCollection, refusal(400, "RequestLimitExceeded", "").of("UpdateItem"), says("UpdateItem", ""),
		}, outcome{result: result("", `1`, started)}},
		{"in the hands of a transaction", alone(increment("n", 1)), []exchange{
			refusal(400, "TransactionConflictException", "").of("UpdateItem"), says("UpdateItem", replaced(stored(41, seven))),
		}, outcome{result: result(`{"n":7}`, `{"n":8}`, 42)}},
		{"not connected", alone(set(`1`)), []exchange{
			knownCollection, noContact.of("UpdateItem"), says("UpdateItem", ""),
		}, outcome{result: result("", `1`, started)}},
		{"reads, whatever the failure", alone(merge(`{"a":1}`)), []exchange{
			replyLost.of("GetItem"), serverError.of("GetItem"), throttled().of("GetItem"),
			says("GetItem", ""), knownCollection, says("UpdateItem", ""),
		}, outcome{result: result("", `{"a":1}`, started)}},
	})
}

func TestTriesEnd(t *testing.T) {
	t.Parallel()
	var exchanges []exchange
	for range 10 {
		exchanges = append(exchanges, throttled().of("UpdateItem"))
	}
	play(t, exchanges, func(t *testing.T, s *dynamo.Store) {
		begin := time.Now()
		if o := commit(t, s, alone(increment("n", 1))); o.code != errs.Unavailable {
			t.Errorf("the commit came to %+v", o)
		}
		if waited := time.Since(begin); waited > 5*time.Second {
			t.Errorf("it took %s", waited)
		}
	})
}

func TestRefusalsHaveACode(t *testing.T) {
	t.Parallel()
	large := "Item size to update has exceeded the maximum allowed size"
	playCases(t, []commitCase{
		{"an item that is too large", alone(noResult(increment("n", 1))), []exchange{
			invalid(large).of("UpdateItem"), says("GetItem", found(stored(41, seven))), invalid(large).of("UpdateItem"),
		}, outcome{code: errs.TooLarge}},
		{"no permission", alone(remove()), []exchange{
			refusal(400, "AccessDeniedException", `,"Message":"User is not authorized"`).of("UpdateItem"),
		}, outcome{code: errs.Internal}},
		{"no table", alone(remove()), []exchange{
			refusal(400, "ResourceNotFoundException", "").of("UpdateItem"),
		}, outcome{code: errs.Internal}},
		{"a row that is none of ours", alone(merge(`{"a":1}`)), []exchange{
			says("GetItem", `{"Item":{"pk":{"S":"state/s"},"sk":{"S":"k"}}}`),
		}, outcome{code: errs.Internal}},
		{"a value that is no document", alone(merge(`{"a":1}`)), []exchange{
			says("GetItem", found(stored(41, `{"SS":["a"]}`))),
		}, outcome{code: errs.Internal}},
		{"a name that is too long for a key", alone(port.Write{
			Op: port.Delete, Collection: port.Scope(strings.Repeat("/", 342)), Key: "k",
		}), nil, outcome{code: errs.InvalidArgument}},
		{"no key", alone(port.Write{Op: port.Delete, Collection: scope}), nil, outcome{code: errs.InvalidArgument}},
	})
}

func TestAContextThatEndsEndsTheTries(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	last := throttled().of("UpdateItem")
	last.during = cancel
	play(t, []exchange{throttled().of("UpdateItem"), last}, func(t *testing.T, s *dynamo.Store) {
		_, err := s.Commit(ctx, alone(increment("n", 1)))
		if errs.CodeOf(err) != errs.Unavailable || !errors.Is(err, context.Canceled) {
			t.Errorf("the commit ended with %v", err)
		}
	})
}

func TestAReplyThatDoesNotComeIsLost(t *testing.T) {
	t.Parallel()
	never := exchange{hangs: true}
	exchanges := []exchange{
		never.of("GetItem"), says("GetItem", found(stored(41, seven))),
		never.of("UpdateItem"), says("GetItem", found(stored(41, seven))), says("UpdateItem", ""),
	}
	play(t, exchanges, func(t *testing.T, s *dynamo.Store) {
		begin := time.Now()
		got := commit(t, s, alone(merge(`{"a":1}`)))
		want := outcome{result: result(`{"n":7}`, `{"a":1,"n":7}`, 42)}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(outcome{})); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if waited := time.Since(begin); waited < 20*time.Second || waited > 25*time.Second {
			t.Errorf("it took %s", waited)
		}
	})
}

func TestADeadlineIsATimeout(t *testing.T) {
	t.Parallel()
	never := exchange{hangs: true}
	play(t, []exchange{never.of("UpdateItem")}, func(t *testing.T, s *dynamo.Store) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := s.Commit(ctx, alone(increment("n", 1))); errs.CodeOf(err) != errs.Timeout {
			t.Errorf("the commit ended with %v", err)
		}
	})
}
