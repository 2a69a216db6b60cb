package dynamo_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/eddyhq/eddy/shared/aws/dynamo"
	"github.com/eddyhq/eddy/shared/document"
	"github.com/eddyhq/eddy/shared/port"
)

// pageOf is the answer to a query: documents with these keys, and the key at which it ended if that is not "".
func pageOf(last string, keys ...string) string {
	items := make([]string, len(keys))
	for i, key := range keys {
		items[i] = fmt.Sprintf(`{"sk":{"S":%q},"version":{"N":"41"},"value":{"N":"1"}}`, key)
	}
	text := `{"Items":[` + strings.Join(items, ",") + `]`
	if last != "" {
		text += fmt.Sprintf(`,"LastEvaluatedKey":{"pk":{"S":"state/s"},"sk":{"S":%q}}`, last)
	}
	return text + "}"
}

func TestPages(t *testing.T) {
	t.Parallel()
	documents := func(keys ...string) (list []port.Document) {
		for _, key := range keys {
			list = append(list, port.Document{Key: key, Value: document.Value(`1`), Version: 41})
		}
		return list
	}
	const startKey = `"ExclusiveStartKey"`
	for _, test := range []struct {
		name     string
		query    port.Query
		exchange exchange
		not      string // what is not asked
		want     port.Page
	}{
		{"the last page has no next", port.Query{Limit: 2},
			says("Query", pageOf("", "a", "b"), `"Limit":3`, `"ConsistentRead":true`), startKey,
			port.Page{Documents: documents("a", "b")}},
		{"a page that is followed by more ends at its limit", port.Query{Limit: 2}, says("Query", pageOf("c", "a", "b", "c")), startKey,
			port.Page{Documents: documents("a", "b"), More: true, Next: "b"}},
		{"a page that DynamoDB ends goes on where it ended", port.Query{Limit: 9}, says("Query", pageOf("q", "a")), startKey,
			port.Page{Documents: documents("a"), More: true, Next: "q"}},
		{"a page of nothing but deletions goes on", port.Query{Limit: 9}, says("Query", pageOf("q"), "attribute_exists(#value)"), startKey,
			port.Page{More: true, Next: "q"}},
		{"a prefix is a condition", port.Query{Limit: 9, Prefix: "a/"},
			says("Query", pageOf("", "a/1"), "begins_with(#sk, :v1)"), startKey, port.Page{Documents: documents("a/1")}},
		{"a key within the prefix is the start", port.Query{Limit: 9, Prefix: "a/", After: "a/1"},
			says("Query", pageOf("", "a/2"), "begins_with", startKey, `{"S":"a/1"}`), "#sk >", port.Page{Documents: documents("a/2")}},
		{"a key below the prefix is no start", port.Query{Limit: 9, Prefix: "b", After: "a"},
			says("Query", pageOf("", "b"), "begins_with"), startKey, port.Page{Documents: documents("b")}},
		{"a key without prefix is the start", port.Query{Limit: 9, After: "a"},
			says("Query", pageOf("", "b"), startKey), "begins_with", port.Page{Documents: documents("b")}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			bodies := played(t, []exchange{test.exchange}, func(t *testing.T, s *dynamo.Store) {
				got, err := s.List(t.Context(), scope, test.query)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(test.want, got); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			})
			if strings.Contains(bodies[0], test.not) {
				t.Errorf("the request says %s: %s", test.not, bodies[0])
			}
		})
	}
}

func TestAPageThatMustBeEmptyIsNotAskedFor(t *testing.T) {
	t.Parallel()
	for _, query := range []port.Query{
		{Limit: 9, Prefix: "b", After: "c"}, {Limit: 9, Prefix: "b", After: "ca"}, {Limit: 9, Prefix: strings.Repeat("x", 1025)},
	} {
		play(t, nil, func(t *testing.T, s *dynamo.Store) {
			if page, err := s.List(t.Context(), scope, query); err != nil || page.More || page.Documents != nil {
				t.Errorf("%+v, %v", page, err)
			}
		})
	}
}

func TestCollectionsAreThoseOfTheDirectoryThatHoldSomething(t *testing.T) {
	t.Parallel()
	names := func(last string, names ...string) string {
		return strings.ReplaceAll(pageOf(last, names...), "state/s", "directory/state")
	}
	play(t, []exchange{
		says("Query", names("a", "a"), `"sys"`, "directory/state"),
		says("Query", names("", "b"), "ExclusiveStartKey"),
		says("Query", pageOf("t1"), `"docs"`, `"Limit":1`),
		says("Query", pageOf("t2")),
		says("Query", pageOf("", "k")),
		says("Query", pageOf("")),
	}, func(t *testing.T, s *dynamo.Store) {
		got, err := s.Collections(t.Context(), port.StateSpace)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != 1 {
			t.Errorf("collections: %v", got)
		}
	})
}

func TestCollectionsThatMayNotBeReadAreLeftOut(t *testing.T) {
	t.Parallel()
	denied := refusal(400, "AccessDeniedException", `,"Message":"User is not authorized"`).of("Query")
	play(t, []exchange{
		says("Query", strings.ReplaceAll(pageOf("", "a"), "state/s", "directory/state")), denied,
	}, func(t *testing.T, s *dynamo.Store) {
		if got, err := s.Collections(t.Context(), port.StateSpace); err != nil || len(got) > 0 {
			t.Errorf("collections %v, error %v", got, err)
		}
	})
}
