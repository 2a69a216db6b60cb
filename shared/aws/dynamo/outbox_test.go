package dynamo_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/eddyhq/eddy/shared/aws/dynamo"
	"github.com/eddyhq/eddy/shared/document"
	"github.com/eddyhq/eddy/shared/port"
)

func callOf(id, function, group string) port.Call {
	return port.Call{ID: id, Function: function, Payload: document.Value(`1`), Group: group}
}

// rowsIn returns the rows that a request puts into the table of documents: of each its key, and the ids of its records in a group.
func rowsIn(t *testing.T, body string) (rows []string) {
	t.Helper()
	type text struct{ S string }
	type row struct {
		PK      text
		SK      text
		Records struct {
			L []struct {
				M struct {
					ID     text
					Record text
					Blob   text
				}
			}
		}
	}
	var request struct {
		Item          row
		TransactItems []struct{ Put struct{ Item row } }
	}
	if err := json.Unmarshal([]byte(body), &request); err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	all := []row{request.Item}
	for _, part := range request.TransactItems {
		all = append(all, part.Put.Item)
	}
	for _, r := range all {
		if r.PK.S == "" {
			continue
		}
		name := r.PK.S + " " + r.SK.S
		for _, kept := range r.Records.L {
			name += " " + kept.M.ID.S
			if kept.M.Record.S == "" {
				name += "*" // in a blob
			}
		}
		rows = append(rows, name)
	}
	return rows
}

func TestTheCallsOfAGroupAreInOneRow(t *testing.T) {
	t.Parallel()
	g, h := " group/"+port.Digest("g"), " group/"+port.Digest("h")
	large := callOf("large", "a::b", "g")
	large.Payload = document.Value(`"` + strings.Repeat("x", 200<<10) + `"`)
	larger := large
	larger.ID = "larger"
	blob := says("PutItem", "", `"blob/a::b/`)
	for _, test := range []struct {
		name      string
		calls     []port.Call
		exchanges []exchange
		want      []string
	}{
		{"one that is all of a commit is put", []port.Call{callOf("1", "a::b", "g")},
			[]exchange{says("PutItem", "", `"docs"`, `"expires":{"N":"1700086400"}`)}, []string{"call/a::b" + g + " 1"}},
		{"several of one group in their order", []port.Call{callOf("2", "a::b", "g"), callOf("1", "a::b", "g")},
			[]exchange{says("TransactWriteItems", "")}, []string{"call/a::b" + g + " 2 1"}},
		{"each group and function for itself, and a call of no group too",
			[]port.Call{callOf("1", "a::b", "g"), callOf("2", "a::b", "h"), callOf("3", "c::d", "g"), callOf("4", "a::b", ""),
				callOf("5", "a::b", "g")},
			[]exchange{says("TransactWriteItems", "")},
			[]string{"call/a::b" + g + " 1 5", "call/a::b" + h + " 2", "call/c::d" + g + " 3", "call/a::b 4"}},
		{"what the row has no room for is in a blob", []port.Call{large, callOf("1", "a::b", "g"), larger, callOf("2", "a::b", "g")},
			[]exchange{blob, says("TransactWriteItems", "")}, []string{"call/a::b" + g + " large 1 larger* 2"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			bodies := played(t, test.exchanges, func(t *testing.T, s *dynamo.Store) {
				if _, err := s.Commit(t.Context(), port.Commit{Calls: test.calls}); err != nil {
					t.Error(err)
				}
			})
			if diff := cmp.Diff(test.want, rowsIn(t, bodies[len(bodies)-1])); diff != "" {
				t.Errorf("rows (-want +got):\n%s", diff)
			}
		})
	}
}

// A hundred calls is what a commit has at most, and 400 KB what an item has.
func TestAHundredCallsOfAGroupFitIntoTheirRow(t *testing.T) {
	t.Parallel()
	var calls []port.Call
	exchanges := []exchange{}
	for i := range 100 {
		call := callOf(strings.Repeat("i", 36)+string(rune('a'+i%26))+string(rune('a'+i/26)), "a::b", "g")
		call.Payload = document.Value(`"` + strings.Repeat("x", 20<<10) + `"`)
		calls = append(calls, call)
		if i >= 14 { // of 20 KB each, in 300
			exchanges = append(exchanges, says("PutItem", "", `"blob/a::b/`))
		}
	}
	bodies := played(t, append(exchanges, says("TransactWriteItems", "")), func(t *testing.T, s *dynamo.Store) {
		if _, err := s.Commit(t.Context(), port.Commit{Calls: calls}); err != nil {
			t.Error(err)
		}
	})
	if size := len(bodies[len(bodies)-1]); size > 400_000 {
		t.Errorf("the row has %d bytes", size)
	}
}

func TestWritesThatAreToldToNobodySaySo(t *testing.T) {
	t.Parallel()
	other := noResult(set(`1`))
	other.Key = "other"
	for _, test := range []struct {
		name      string
		writes    []port.Write
		exchanges []exchange
	}{
		{"a set", []port.Write{set(`1`)}, []exchange{knownCollection, says("UpdateItem", "")}},
		{"a set over what has expired", []port.Write{set(`1`)},
			[]exchange{knownCollection, conditionFails(dead(41, seven)).of("UpdateItem"), says("UpdateItem", "", lapse)}},
		{"a delete", []port.Write{remove()}, []exchange{says("UpdateItem", replaced(stored(41, seven)))}},
		{"an increment", []port.Write{increment("n", 1)}, []exchange{says("UpdateItem", replaced(stored(41, seven)))}},
		{"several of one collection, which is entered once", []port.Write{noResult(set(`1`)), other}, []exchange{knownCollection, says("TransactWriteItems", "")}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			for _, silent := range []bool{true, false} {
				bodies := played(t, test.exchanges, func(t *testing.T, s *dynamo.Store) {
					if o := commit(t, s, port.Commit{Writes: test.writes, Silent: silent}); o.code != "" {
						t.Errorf("it came to %+v", o)
					}
				})
				want := 0
				if silent {
					want = len(test.writes)
				}
				last := bodies[len(bodies)-1]
				if marks := strings.Count(last, `#silent = :v`); marks != want {
					t.Errorf("silent %t: it is marked %d times, want %d: %s", silent, marks, want, last)
				}
			}
		})
	}
}
