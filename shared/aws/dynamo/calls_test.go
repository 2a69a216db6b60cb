package dynamo_test

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/eddyhq/eddy/shared/aws/dynamo"
	"github.com/eddyhq/eddy/shared/document"
	"github.com/eddyhq/eddy/shared/port"
)

// counter is a DynamoDB in which the document and its collection are there, and a dead letter. It counts what it is asked.
type counter struct {
	mu    sync.Mutex
	calls []string
}

// Do implements aws.HTTPClient.
func (c *counter) Do(r *http.Request) (*http.Response, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	c.calls = append(c.calls, operation)
	switch operation {
	case "GetItem":
		return answer(0, found(strings.Replace(stored(41, seven), "{", `{"letter":{"S":"{}"},"record":{"S":`+
			`"{\"id\":\"1\",\"call\":{\"id\":\"1\",\"function\":\"a::b\"}}"},`, 1))), nil
	case "UpdateItem":
		return answer(0, replaced(stored(41, seven))), nil
	case "Query":
		return answer(0, pageOf("", "k")), nil
	default:
		return answer(0, ""), nil
	}
}

// TestCallsPerOperation is the price list: what each operation asks of DynamoDB, once the process has written to the
// collection before. The first time, a set asks the directory: one GetItem, and one PutItem if the collection is new (two
// for the first group of a stream).
func TestCallsPerOperation(t *testing.T) {
	t.Parallel()
	commit := func(c port.Commit) func(context.Context, *dynamo.Store) error {
		return func(ctx context.Context, s *dynamo.Store) error {
			_, err := s.Commit(ctx, c)
			return err
		}
	}
	other := noResult(set(`1`))
	other.Key = "other"
	event := port.Event{Group: port.Group("a", "b"), Type: "t", Data: document.Value(`1`)}
	call := port.Call{ID: "1", Function: "a::b"}
	merged := noResult(merge(`{"a":1}`))
	for _, test := range []struct {
		name string
		do   func(context.Context, *dynamo.Store) error
		want []string
	}{
		{"get", func(ctx context.Context, s *dynamo.Store) error {
			_, err := s.Get(ctx, scope, "k")
			return err
		}, []string{"GetItem"}},
		{"list, each page", func(ctx context.Context, s *dynamo.Store) error {
			_, err := s.List(ctx, scope, port.Query{Limit: 100})
			return err
		}, []string{"Query"}},
		{"list of scopes, of which there is one", func(ctx context.Context, s *dynamo.Store) error {
			_, err := s.Collections(ctx, port.StateSpace)
			return err
		}, []string{"Query", "Query"}},
		{"set", commit(alone(set(`1`))), []string{"UpdateItem"}},
		{"set at a version", commit(alone(ifVersion(set(`1`), 41))), []string{"UpdateItem"}},
		{"delete", commit(alone(remove())), []string{"UpdateItem"}},
		{"update of numbers and scalars", commit(alone(increment("n", 1))), []string{"UpdateItem"}},
		{"any other update", commit(alone(merge(`{"a":1}`))), []string{"GetItem", "UpdateItem"}},
		{"update without effect", commit(alone(merge(`1`))), []string{"GetItem"}},
		{"send of an event", commit(port.Commit{Events: []port.Event{event}}), []string{"PutItem"}},
		{"call without waiting", commit(port.Commit{Calls: []port.Call{call}}), []string{"PutItem"}},
		{"reaction that increments", commit(together(noResult(increment("n", 1)))), []string{"TransactWriteItems"}},
		{"reaction that sets, sends and calls", commit(port.Commit{
			Writes: []port.Write{noResult(set(`1`)), other}, Events: []port.Event{event}, Calls: []port.Call{call},
			Cursors: []port.Cursor{{Name: "a::b/c", Version: 1}},
		}), []string{"TransactWriteItems"}},
		{"reaction without effect", commit(port.Commit{Cursors: []port.Cursor{{Name: "a::b/c", Version: 1}}}),
			[]string{"TransactWriteItems"}},
		{"reaction that merges", commit(together(merged)), []string{"GetItem", "TransactWriteItems"}},
		{"transaction that tells results", commit(port.Commit{Writes: []port.Write{
			set(`1`), {Op: port.Delete, Collection: scope, Key: "other"},
		}}), []string{"BatchGetItem", "TransactWriteItems"}},
		{"failed attempt", func(ctx context.Context, s *dynamo.Store) error {
			return s.Attempted(ctx, "a::b/c", port.Attempts{Version: 1, Count: 1})
		}, []string{"UpdateItem"}},
		{"attempts so far", func(ctx context.Context, s *dynamo.Store) error {
			_, err := s.Attempts(ctx, "a::b/c")
			return err
		}, []string{"GetItem"}},
		{"dead letter", commit(port.Commit{
			Cursors: []port.Cursor{{Name: "a::b/c", Version: 1}}, Failed: []port.DeadLetter{{
				ID: "1", Function: "a::b", Record: port.Record{Call: &call},
			}},
		}), []string{"TransactWriteItems"}},
		{"redrive", func(ctx context.Context, s *dynamo.Store) error {
			_, err := s.Redrive(ctx, "a::b", "1")
			return err
		}, []string{"GetItem", "TransactWriteItems"}},
		{"discard", func(ctx context.Context, s *dynamo.Store) error {
			_, err := s.Discard(ctx, "a::b", "1")
			return err
		}, []string{"GetItem", "TransactWriteItems"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := &counter{}
			s := storeOver(t, c)
			warm := commit(port.Commit{Writes: []port.Write{noResult(set(`1`))}, Failed: []port.DeadLetter{{
				ID: "1", Function: "a::b", Record: port.Record{Call: &call},
			}}})
			if err := warm(t.Context(), s); err != nil {
				t.Fatal(err)
			}
			c.calls = nil
			if err := test.do(t.Context(), s); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, c.calls); diff != "" {
				t.Errorf("requests (-want +got):\n%s", diff)
			}
			t.Logf("%-40s %s", test.name, strings.Join(c.calls, ", "))
		})
	}
}
