package stack

import (
	"strconv"

	"github.com/aws/aws-cdk-go/awscdk/v2/awscloudwatch"
	"github.com/aws/aws-cdk-go/awscdk/v2/awssqs"
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"

	"github.com/eddyhq/eddy/shared/deployed"
)

// metric is one of CloudWatch's.
type metric struct {
	namespace, name string
	dimensions      map[string]string
}

// alarm goes off when the statistic of the sum of its metrics is above a bound for so many periods in a row.
type alarm struct {
	construct, description string
	metrics                []metric
	statistic              string
	bound                  float64
	minutes, periods       int // the length of a period, and their number
}

const secondsPerMinute = 60

// What the alarms hold for too much.
const (
	lateMillis   = 60_000 // of the stream, before the router has it
	failedAnswer = 5      // of the HTTP API within five minutes
)

// drawAlarms draws what somebody should be told of: few, and over all functions where that is enough.
func (d *drawing) drawAlarms() {
	scope := constructs.NewConstruct(d.root, jsii.String("Alarms"))
	waiting := func(queue awssqs.CfnQueue) []metric {
		name := map[string]string{"QueueName": *queue.AttrQueueName()}
		return []metric{{"AWS/SQS", "ApproximateNumberOfMessagesVisible", name}}
	}
	for _, a := range []alarm{
		{"DeadLetters", "A delivery failed for the last time and is kept as a dead letter",
			[]metric{{d.metrics(), deadLetters, nil}}, "Sum", 0, 1, 1},
		{"CrashedWaiting", "Deliveries that crashed their Lambda wait for the router for a quarter of an hour",
			waiting(d.crashed), "Maximum", 0, 5, 3},
		{"CrashedAgain", "Deliveries could not even be kept as dead letters: see " + d.props.Name + crashedAgainSuffix,
			waiting(d.again), "Maximum", 0, 1, 1},
		{"StreamFailures", "The router gave up records of the stream, or a schedule a tick: see " + d.props.Name + streamFailuresSuffix,
			waiting(d.failures), "Maximum", 0, 1, 1},
		{"StreamLate", "The router is more than a minute behind the stream of documents",
			[]metric{{"AWS/Lambda", "IteratorAge", d.lambdaDimension(deployed.RoleRouter)}}, "Maximum", lateMillis, 1, 5},
		{"LambdasThrottled", "AWS refused to run a Lambda that every function needs", d.throttledLambdas(), "Sum", 0, 5, 1},
		{"TablesThrottled", "DynamoDB refused requests: a partition is too hot", d.throttledTables(), "Sum", 0, 5, 1},
		{"ServerErrors", "The HTTP API answered with 5xx more than five times in five minutes",
			[]metric{{"AWS/ApiGateway", "5xx", map[string]string{"ApiId": *d.http.Ref()}}}, "Sum", failedAnswer, 5, 1},
	} {
		d.drawAlarm(scope, a)
	}
}

func (d *drawing) lambdaDimension(id string) map[string]string {
	return map[string]string{"FunctionName": deployed.LambdaName(d.props.Name, id)}
}

func (d *drawing) throttledLambdas() []metric {
	var metrics []metric
	for _, role := range deployed.Roles() {
		metrics = append(metrics, metric{"AWS/Lambda", "Throttles", d.lambdaDimension(role)})
	}
	return metrics
}

func (d *drawing) throttledTables() []metric {
	var metrics []metric
	for _, table := range []*string{d.documents.Ref(), d.system.Ref()} {
		for _, name := range []string{"ReadThrottleEvents", "WriteThrottleEvents"} {
			metrics = append(metrics, metric{"AWS/DynamoDB", name, map[string]string{"TableName": *table}})
		}
	}
	return metrics
}

func (d *drawing) drawAlarm(scope constructs.Construct, a alarm) {
	props := &awscloudwatch.CfnAlarmProps{
		AlarmDescription:   jsii.String(a.description),
		ComparisonOperator: jsii.String("GreaterThanThreshold"),
		Threshold:          jsii.Number(a.bound),
		EvaluationPeriods:  jsii.Number(a.periods),
		TreatMissingData:   jsii.String("notBreaching"),
	}
	if only := a.metrics[0]; len(a.metrics) == 1 {
		props.Namespace, props.MetricName = jsii.String(only.namespace), jsii.String(only.name)
		props.Dimensions = only.properties()
		props.Statistic, props.Period = jsii.String(a.statistic), jsii.Number(a.minutes*secondsPerMinute)
	} else {
		props.Metrics = a.sum()
	}
	if d.props.AlarmTopic != "" {
		props.AlarmActions = jsii.Strings(d.props.AlarmTopic)
		props.OkActions = jsii.Strings(d.props.AlarmTopic)
	}
	awscloudwatch.NewCfnAlarm(scope, jsii.String(a.construct), props)
}

// sum asks for the metrics of the alarm and compares their sum.
func (a alarm) sum() []any {
	var queries []any
	for i, m := range a.metrics {
		queries = append(queries, &awscloudwatch.CfnAlarm_MetricDataQueryProperty{
			Id:         jsii.String("m" + strconv.Itoa(i+1)),
			ReturnData: jsii.Bool(false),
			MetricStat: &awscloudwatch.CfnAlarm_MetricStatProperty{
				Stat:   jsii.String(a.statistic),
				Period: jsii.Number(a.minutes * secondsPerMinute),
				Metric: &awscloudwatch.CfnAlarm_MetricProperty{
					Namespace: jsii.String(m.namespace), MetricName: jsii.String(m.name), Dimensions: m.properties(),
				},
			},
		})
	}
	return append(queries, &awscloudwatch.CfnAlarm_MetricDataQueryProperty{
		Id:         jsii.String("sum"),
		Expression: jsii.String("SUM(METRICS())"),
		ReturnData: jsii.Bool(true),
	})
}

// properties are the dimensions as CloudFormation has them. No metric here has more than one.
func (m metric) properties() []any {
	var dimensions []any
	for name, value := range m.dimensions {
		dimensions = append(dimensions, &awscloudwatch.CfnAlarm_DimensionProperty{
			Name: jsii.String(name), Value: jsii.String(value),
		})
	}
	return dimensions
}
