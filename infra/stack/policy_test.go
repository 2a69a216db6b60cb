package stack_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/eddyhq/eddy/infra/stack"
	"github.com/eddyhq/eddy/shared/eddy"
)

// allowed lists what statements allow: for each action, each resource with each partition.
func allowed(t *testing.T, statements []map[string]any) []string {
	var all []string
	for _, s := range statements {
		partitions := []string{""}
		if condition, ok := s["Condition"].(map[string]any); ok {
			if text(condition["Null"]) != `{"dynamodb:LeadingKeys":"false"}` || len(condition) != 2 {
				t.Errorf("a request without keys is allowed: %s", text(s))
			}
			partitions = condition["ForAllValues:StringLike"].(map[string]any)["dynamodb:LeadingKeys"].([]string)
		}
		resources, ok := s["Resource"].([]string)
		if !ok {
			resources = []string{s["Resource"].(string)}
		}
		for _, action := range s["Action"].([]string) {
			for _, r := range resources {
				for _, p := range partitions {
					all = append(all, strings.TrimSpace(action[strings.Index(action, ":")+1:]+" "+r+" "+p))
				}
			}
		}
	}
	slices.Sort(all)
	return all
}

func TestAFunctionMayDoWhatItUses(t *testing.T) {
	t.Parallel()
	always := []string{
		"GetItem system cursor/a::f/*", "PutItem system cursor/a::f/*", "UpdateItem system cursor/a::f/*", "ConditionCheckItem system cursor/a::f/*",
		"GetItem system blob/a::f/*", "Query system blob/a::f/*", "PutItem system blob/a::f/*", "BatchWriteItem system blob/a::f/*",
		"PutItem system letter/", "PutItem system letter/a::f",
		"GetItem documents own/idempotency/a::f", "BatchGetItem documents own/idempotency/a::f", "Query documents own/idempotency/a::f", "ConditionCheckItem documents own/idempotency/a::f",
		"PutItem documents own/idempotency/a::f", "UpdateItem documents own/idempotency/a::f",
		"ReceiveMessage queue", "DeleteMessage queue", "ChangeMessageVisibility queue", "GetQueueAttributes queue",
	}
	reads := func(partition string) []string {
		return []string{"GetItem " + partition, "BatchGetItem " + partition, "Query " + partition, "ConditionCheckItem " + partition}
	}
	writes := func(partition string) []string { return []string{"PutItem " + partition, "UpdateItem " + partition} }
	finds := func(partition string) []string { return []string{"GetItem " + partition, "Query " + partition} }
	for _, test := range []struct {
		name string
		uses []eddy.Handle
		want []string
	}{
		{"nothing but its deliveries when it uses nothing", nil, nil},
		{"reads of a scope it only reads", []eddy.Handle{notes.ReadOnly()},
			slices.Concat(reads("documents state/notes"), finds("system directory/state"))},
		{"reads and writes of a scope it uses, once however often it says so", []eddy.Handle{notes.ReadOnly(), notes, notes},
			slices.Concat(reads("documents state/notes"), writes("documents state/notes"), finds("system directory/state"),
				[]string{"PutItem system directory/state"})},
		{"what a stream it uses stores and sends", []eddy.Handle{live},
			slices.Concat(reads("documents stream/notes-live/*"), writes("documents stream/notes-live/*"),
				finds("system directory/stream"), finds("system directory/stream/notes-live"),
				[]string{"PutItem documents event/notes-live/*", "PutItem system directory/stream", "PutItem system directory/stream/notes-live"})},
		{"no sends to a stream it only reads", []eddy.Handle{live.ReadOnly()},
			slices.Concat(reads("documents stream/notes-live/*"), finds("system directory/stream"), finds("system directory/stream/notes-live"))},
		{"the function it invokes, now or later, and no engine function", []eddy.Handle{eddy.Invokes("a::g"), eddy.Invokes("state::set")},
			[]string{"PutItem documents call/a::g", "InvokeFunction lambda a::g"}},
		{"messages in the queue it puts some into, and no call of its function", []eddy.Handle{eddy.Enqueues("letters")},
			[]string{"PutItem documents call/a::h"}},
		{"both once, where it calls that function too", []eddy.Handle{eddy.Enqueues("letters"), eddy.Invokes("a::h"), eddy.Invokes("a::h")},
			[]string{"PutItem documents call/a::h", "InvokeFunction lambda a::h"}},
		{"names with characters that mean something to IAM or to keys, and nothing else",
			[]eddy.Handle{eddy.Scope[note]("a*${b}?/c").ReadOnly(), eddy.Scope[note]("*").ReadOnly(), eddy.Stream[note]("x*?$").ReadOnly()},
			slices.Concat(reads("documents state/a${*}${$}{b}${?}%2Fc"), reads("documents state/${*}"), finds("system directory/state"),
				reads("documents stream/x${*}${?}${$}/*"), finds("system directory/stream"), finds("system directory/stream/x${*}${?}${$}"))},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			app := eddy.New()
			eddy.Register(app, "a::f", none, eddy.Uses(test.uses...))
			eddy.Register(app, "a::g", none)
			eddy.Register(app, "a::h", takes, eddy.Queue("letters"))
			if err := app.Validate(); err != nil {
				t.Fatal(err)
			}
			f, _ := app.Function("a::f")
			want := slices.Sorted(slices.Values(slices.Concat(always, test.want)))
			if diff := cmp.Diff(want, allowed(t, stack.FunctionPolicy(app, f))); diff != "" {
				t.Errorf("allowed (-want +got):\n%s", diff)
			}
		})
	}
}

func TestEachActionIsAllowedByOneStatement(t *testing.T) {
	t.Parallel()
	app := small()
	for _, f := range app.Functions() {
		seen := make(map[string]bool)
		for _, s := range stack.FunctionPolicy(app, f) {
			for _, action := range s["Action"].([]string) {
				if on := fmt.Sprint(action, s["Resource"]); seen[on] {
					t.Errorf("%s: a batch of what two statements allow is denied: %s", f.ID, on)
				} else {
					seen[on] = true
				}
			}
		}
	}
}
