package stack

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-cdk-go/awscdk/v2/awsiam"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsscheduler"
	"github.com/aws/aws-cdk-go/awscdk/v2/awssqs"
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"

	"github.com/eddyhq/eddy/shared/aws/fifo"
	"github.com/eddyhq/eddy/shared/deployed"
	"github.com/eddyhq/eddy/shared/eddy"
	"github.com/eddyhq/eddy/shared/port"
)

const (
	scheduledTime = "<aws.scheduler.scheduled-time>" // EventBridge Scheduler puts the time of a tick in its place

	// How long a tick that cannot be sent is tried: the most that EventBridge Scheduler offers.
	maxTickAge      = 24 * time.Hour
	maxTickAttempts = 185
)

// drawSchedules draws what sends the ticks of a function to its queue. A tick has the same text each time that it is sent,
// which is by what the queue, and after it the cursor of the delivery, drops repetitions.
func (d *drawing) drawSchedules(scope constructs.Construct, f *eddy.Function, to awssqs.CfnQueue) {
	if len(f.Schedules) == 0 {
		return
	}
	to.SetContentBasedDeduplication(jsii.Bool(true))
	role := awsiam.NewCfnRole(scope, jsii.String("ScheduleRole"), &awsiam.CfnRoleProps{
		Description: jsii.String("Sends the ticks of " + f.ID),
		AssumeRolePolicyDocument: policy([]statement{{
			"Effect":    "Allow",
			"Action":    "sts:AssumeRole",
			"Principal": map[string]any{"Service": "scheduler.amazonaws.com"},
			"Condition": map[string]any{"StringEquals": map[string]any{"aws:SourceAccount": d.names.account}},
		}}),
		Policies: []any{&awsiam.CfnRole_PolicyProperty{
			PolicyName: jsii.String("eddy"),
			PolicyDocument: policy([]statement{
				allow("Send", []string{d.names.queue(f.ID), *d.failures.AttrArn()}, "sqs:SendMessage"),
			}),
		}},
	})
	for i, s := range f.Schedules {
		body, lane, err := fifo.Tick(d.app, f, s, scheduledTime)
		if err != nil {
			panic(err) // names and times always have a JSON form
		}
		number := i + 1
		awsscheduler.NewCfnSchedule(scope, jsii.String("Schedule"+strconv.Itoa(number)), &awsscheduler.CfnScheduleProps{
			Name:                       jsii.String(deployed.ScheduleName(d.props.Name, f.ID, number)),
			Description:                jsii.String(f.ID + ": " + s.Expression),
			ScheduleExpression:         jsii.String(scheduleExpression(s)),
			ScheduleExpressionTimezone: jsii.String("UTC"),
			FlexibleTimeWindow:         &awsscheduler.CfnSchedule_FlexibleTimeWindowProperty{Mode: jsii.String("OFF")},
			Target: &awsscheduler.CfnSchedule_TargetProperty{
				Arn:              to.AttrArn(),
				RoleArn:          role.AttrArn(),
				Input:            jsii.String(string(body)),
				SqsParameters:    &awsscheduler.CfnSchedule_SqsParametersProperty{MessageGroupId: jsii.String(port.Digest(lane))},
				DeadLetterConfig: &awsscheduler.CfnSchedule_DeadLetterConfigProperty{Arn: d.failures.AttrArn()},
				RetryPolicy: &awsscheduler.CfnSchedule_RetryPolicyProperty{
					MaximumEventAgeInSeconds: jsii.Number(maxTickAge.Seconds()),
					MaximumRetryAttempts:     jsii.Number(maxTickAttempts),
				},
			},
		})
	}
}

// scheduleExpression is when a schedule is due, as EventBridge Scheduler has it.
func scheduleExpression(s *eddy.Schedule) string {
	if s.Every > 0 {
		return everyExpression(int(s.Every / time.Minute))
	}
	days, weekdays := cronField(s.Fields.Days, 0), "?" // one of the two has to be left open
	if s.Fields.Weekdays != nil {
		days, weekdays = "?", cronField(s.Fields.Weekdays, 1) // Sunday is 1 there
	}
	return fmt.Sprintf("cron(%s %s %s %s %s *)",
		cronField(s.Fields.Minutes, 0), cronField(s.Fields.Hours, 0), days, cronField(s.Fields.Months, 0), weekdays)
}

const (
	minutesInHour = 60
	hoursInDay    = 24
	minutesInDay  = hoursInDay * minutesInHour
)

// everyExpression is a period of so many minutes. One that divides the hour or the day is aligned to them, as it is on one
// machine. Any other one begins when it is deployed. None is a single unit, of which a rate speaks in the singular.
func everyExpression(minutes int) string {
	switch hours := minutes / minutesInHour; {
	case minutesInHour%minutes == 0:
		return "cron(" + cronStep(minutes, minutesInHour) + " * * * ? *)"
	case minutesInDay%minutes == 0 && minutes%minutesInHour == 0:
		return "cron(0 " + cronStep(hours, hoursInDay) + " * * ? *)"
	case minutes%minutesInDay == 0:
		return fmt.Sprintf("rate(%d days)", minutes/minutesInDay)
	case minutes%minutesInHour == 0:
		return fmt.Sprintf("rate(%d hours)", hours)
	default:
		return fmt.Sprintf("rate(%d minutes)", minutes)
	}
}

// cronStep selects every so many of the values of a field.
func cronStep(step, values int) string {
	switch step {
	case 1:
		return "*"
	case values:
		return "0"
	default:
		return "0/" + strconv.Itoa(step)
	}
}

// cronField is a field of a cron expression that selects values in ascending order, nil for all of them, each counted from
// first on instead of 0. Values that follow each other are a range: a schedule has room for 256 characters.
func cronField(values []int, first int) string {
	if values == nil {
		return "*"
	}
	var parts []string
	for len(values) > 0 {
		n := 1
		for n < len(values) && values[n] == values[0]+n {
			n++
		}
		part := strconv.Itoa(values[0] + first)
		if n > 1 {
			part += "-" + strconv.Itoa(values[n-1]+first)
		}
		parts, values = append(parts, part), values[n:]
	}
	return strings.Join(parts, ",")
}
