package stack_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/eddyhq/eddy/infra/stack"
	"github.com/eddyhq/eddy/shared/aws/message"
	"github.com/eddyhq/eddy/shared/deployed"
	"github.com/eddyhq/eddy/shared/eddy"
	"github.com/eddyhq/eddy/shared/port"
	"github.com/eddyhq/eddy/shared/reaction"
)

const scheduleKind = "AWS::Scheduler::Schedule"

func TestSchedulesAreDueAsTheyWereRegistered(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name     string
		schedule eddy.Option
		want     string
	}{
		{"every minute", eddy.Every(time.Minute), "cron(* * * * ? *)"},
		{"a period that divides the hour", eddy.Every(5 * time.Minute), "cron(0/5 * * * ? *)"},
		{"every hour", eddy.Every(time.Hour), "cron(0 * * * ? *)"},
		{"a period that divides the day", eddy.Every(6 * time.Hour), "cron(0 0/6 * * ? *)"},
		{"every day", eddy.Every(24 * time.Hour), "cron(0 0 * * ? *)"},
		{"minutes that do not", eddy.Every(7 * time.Minute), "rate(7 minutes)"},
		{"minutes that divide the day, which no expression says", eddy.Every(90 * time.Minute), "rate(90 minutes)"},
		{"hours that do not", eddy.Every(5 * time.Hour), "rate(5 hours)"},
		{"days", eddy.Every(48 * time.Hour), "rate(2 days)"},
		{"all five fields open", eddy.Cron("* * * * *"), "cron(* * * * ? *)"},
		{"steps", eddy.Cron("*/15 */12 * * *"), "cron(0,15,30,45 0,12 * * ? *)"},
		{"lists and ranges", eddy.Cron("0,10-12,59 9-17 * * *"), "cron(0,10-12,59 9-17 * * ? *)"},
		{"a day of the month", eddy.Cron("0 0 1,15 JAN-MAR *"), "cron(0 0 1,15 1-3 ? *)"},
		{"days of the week, which begin with Sunday as 1", eddy.Cron("30 6 * * MON-FRI"), "cron(30 6 ? * 2-6 *)"},
		{"Sunday", eddy.Cron("0 0 * * 0"), "cron(0 0 ? * 1 *)"},
		{"the longest there is", eddy.Cron("0-1,3-4,6-7,9-10,12-13,15-16,18-19,21-22,24-25,27-28,30-31,33-34,36-37,39-40,42-43,45-46,48-49,51-52,54-55,57-58 " +
			"0-1,3-4,6-7,9-10,12-13,15-16,18-19,21-22 1-2,4-5,7-8,10-11,13-14,16-17,19-20,22-23,25-26,28-29 1-2,4-5,7-8,10-11 *"),
			"cron(0-1,3-4,6-7,9-10,12-13,15-16,18-19,21-22,24-25,27-28,30-31,33-34,36-37,39-40,42-43,45-46,48-49,51-52,54-55,57-58 " +
				"0-1,3-4,6-7,9-10,12-13,15-16,18-19,21-22 1-2,4-5,7-8,10-11,13-14,16-17,19-20,22-23,25-26,28-29 1-2,4-5,7-8,10-11 ? *)"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			app := eddy.New()
			eddy.Register(app, "a::f", none, test.schedule)
			if err := app.Validate(); err != nil {
				t.Fatal(err)
			}
			f, _ := app.Function("a::f")
			got := stack.ScheduleExpression(f.Schedules[0])
			if diff := cmp.Diff(test.want, got); diff != "" || len(got) > 256 {
				t.Errorf("%d characters (-want +got):\n%s", len(got), diff)
			}
		})
	}
}

func TestATickGoesStraightToTheQueueOfItsFunction(t *testing.T) {
	t.Parallel()
	app := small()
	d := draw(t, app, dev())
	f, _ := app.Function("notes::import")
	router := reaction.NewRouter(app)
	deduplicated := map[string]bool{}
	for _, q := range d.of(queueKind) {
		if q.properties["ContentBasedDeduplication"] == true {
			deduplicated[q.file+q.id] = true
		}
	}
	schedules := d.of(scheduleKind)
	if len(schedules) != len(f.Schedules) || len(deduplicated) != 1 {
		t.Fatalf("%d schedules, %d queues that know a text again", len(schedules), len(deduplicated))
	}
	const due = "2026-11-25T06:30:00Z"
	for i, s := range f.Schedules {
		var drawn resource
		for _, r := range schedules {
			if r.properties["Name"] == deployed.ScheduleName("eddy-dev", f.ID, i+1) {
				drawn = r
			}
		}
		target := at(drawn.properties, "Target")
		queue, _ := at(target, "Arn", "Fn::GetAtt", 0).(string)
		input, _ := at(target, "Input").(string)
		if !deduplicated[drawn.file+queue] || drawn.properties["ScheduleExpressionTimezone"] != "UTC" ||
			at(drawn.properties, "FlexibleTimeWindow", "Mode") != "OFF" || at(target, "DeadLetterConfig", "Arn") == nil ||
			at(target, "RetryPolicy", "MaximumEventAgeInSeconds") != 86400. {
			t.Errorf("schedule %d: %s", i+1, text(drawn.properties))
		}
		var m message.Message
		if err := json.Unmarshal([]byte(strings.ReplaceAll(input, "<aws.scheduler.scheduled-time>", due)), &m); err != nil || len(m.Records) != 1 {
			t.Fatalf("%v: %s", err, input)
		}
		delivery, want := router.RouteTo(f, &m.Records[0].Record), f.Tick(s, due, 0)
		if delivery == nil || delivery.Lane != m.Lane || at(target, "SqsParameters", "MessageGroupId") != port.Digest(m.Lane) {
			t.Errorf("the lane is %q: %s", m.Lane, text(target))
		}
		if diff := cmp.Diff(&want, m.Records[0].Call); diff != "" {
			t.Errorf("the tick (-want +got):\n%s", diff)
		}
	}
}

func TestASchedulerMaySendToOneQueueAndWhereItLeavesWhatFails(t *testing.T) {
	t.Parallel()
	roles := 0
	for _, r := range draw(t, small(), dev()).of("AWS::IAM::Role") {
		trusts := at(r.properties, "AssumeRolePolicyDocument", "Statement", 0)
		if text(at(trusts, "Principal")) != `{"Service":"scheduler.amazonaws.com"}` {
			continue
		}
		roles++
		statements := statementsOf(r)
		resources := list(at(statements[0], "Resource"))
		if len(statements) != 1 || text(at(statements[0], "Action")) != `["sqs:SendMessage"]` || len(resources) != 2 ||
			joined(resources[0]) != "arn::sqs:::eddy-dev-notes__import.fifo" ||
			text(at(trusts, "Condition")) != `{"StringEquals":{"aws:SourceAccount":{"Ref":"AWS::AccountId"}}}` {
			t.Errorf("%s: %s", r.id, text(r.properties))
		}
	}
	if roles != 1 {
		t.Errorf("%d roles of schedulers", roles)
	}
}

func TestARouteLetsThroughWhatItsRateSays(t *testing.T) {
	t.Parallel()
	d := draw(t, small(), dev())
	for _, stage := range d.of("AWS::ApiGatewayV2::Stage") {
		if stage.properties["StageName"] != "$default" {
			continue
		}
		want := `{"POST /notes/import":{"ThrottlingBurstLimit":10,"ThrottlingRateLimit":5}}`
		if got := text(stage.properties["RouteSettings"]); got != want {
			t.Errorf("the settings are %s", got)
		}
		if after := text(stage.whole["DependsOn"]); !strings.Contains(after, "notes") || strings.Contains(after, "mail") {
			t.Errorf("the stage comes after %s, not after the route", after)
		}
	}
}
