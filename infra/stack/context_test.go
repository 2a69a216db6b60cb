package stack_test

import (
	"strings"
	"testing"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/google/go-cmp/cmp"

	"github.com/eddyhq/eddy/infra/stack"
)

func TestContext(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		context map[string]any
		want    stack.Props
		faults  []string
	}{
		{"none is a development stack", nil, stack.Props{Name: "eddy-dev", Bootstrap: "dist/bootstrap"}, nil},
		{"prod keeps its data", map[string]any{"stage": "prod"}, stack.Props{Name: "eddy-prod", Bootstrap: "dist/bootstrap", Keep: true}, nil},
		{"another stage does not", map[string]any{"stage": "anna"}, stack.Props{Name: "eddy-anna", Bootstrap: "dist/bootstrap"}, nil},
		{"texts of the command line and numbers of cdk.json", map[string]any{
			"bootstrap": "b", "alarms": "arn:t", "rate": "1", "burst": 2, "router-batch": "3", "router-parallel": 4, "shards": "8", "max-routes": 6, "concurrency": "7",
		}, stack.Props{
			Name: "eddy-dev", Bootstrap: "b", AlarmTopic: "arn:t", RequestRate: 1, RequestBurst: 2, RouterBatch: 3, RouterParallel: 4, Shards: 8, MaxRoutes: 6, Concurrency: 7,
		}, nil},
		{"what is no number", map[string]any{"rate": "fast", "shards": "-1", "stage": true}, stack.Props{}, []string{
			`the context rate must be a number, not "fast"`, `the context shards must be a number, not "-1"`, "the context stage must be a text or a number, not true"}},
	} {
		withCDK(t, func() {
			props, err := stack.FromContext(awscdk.NewApp(&awscdk.AppProps{Context: &test.context}))
			for _, fault := range test.faults {
				if err == nil || !strings.Contains(err.Error(), fault) {
					t.Errorf("%s: %v does not say %q", test.name, err, fault)
				}
			}
			if test.faults != nil {
				return
			}
			if diff := cmp.Diff(test.want, props); diff != "" || err != nil {
				t.Errorf("%s: %v (-want +got):\n%s", test.name, err, diff)
			}
		})
	}
}
