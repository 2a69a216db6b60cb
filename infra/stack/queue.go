package stack

import (
	"time"

	"github.com/aws/aws-cdk-go/awscdk/v2/awslambda"
	"github.com/aws/aws-cdk-go/awscdk/v2/awssqs"
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"

	"github.com/eddyhq/eddy/shared/deployed"
)

const (
	retention = 14 * 24 * time.Hour // the longest that SQS offers

	// visibilityFactor times the timeout of its Lambda is how long a message is hidden: what AWS asks for, since a batch
	// can wait for a Lambda that is free.
	visibilityFactor = 6

	crashedReceives   = 10
	batchOfDeliveries = 10 // the most that a FIFO queue hands out at once
	partialResponses  = "ReportBatchItemFailures"
)

// The bounds of how many Lambdas one queue keeps busy, as AWS has them.
const (
	minPollers = 2
	maxPollers = 1_000
)

// queue is what differs between queues.
type queue struct {
	name       string // ends in .fifo where order matters
	standard   bool   // no order
	visibility time.Duration
	failed     *string // the ARN of the queue of what was received too often; nil: this is where it ends
	receives   int
}

// drawQueue draws an encrypted queue that refuses whoever does not use TLS.
func (d *drawing) drawQueue(scope constructs.Construct, q queue) awssqs.CfnQueue {
	props := &awssqs.CfnQueueProps{
		QueueName:              jsii.String(q.name),
		MessageRetentionPeriod: jsii.Number(retention.Seconds()),
		SqsManagedSseEnabled:   jsii.Bool(true),
	}
	if !q.standard {
		props.FifoQueue = jsii.Bool(true)
		props.DeduplicationScope = jsii.String("messageGroup") // these two: throughput grows with the number of lanes
		props.FifoThroughputLimit = jsii.String("perMessageGroupId")
	}
	if q.visibility > 0 {
		props.VisibilityTimeout = jsii.Number(q.visibility.Seconds())
	}
	if q.failed != nil {
		props.RedrivePolicy = map[string]any{"deadLetterTargetArn": *q.failed, "maxReceiveCount": q.receives}
	}
	drawn := awssqs.NewCfnQueue(scope, jsii.String("Queue"), props)
	awssqs.NewCfnQueuePolicy(scope, jsii.String("QueuePolicy"), &awssqs.CfnQueuePolicyProps{
		Queues: &[]*string{drawn.Ref()},
		PolicyDocument: policy([]statement{{
			"Sid":       "OnlyTLS",
			"Effect":    "Deny",
			"Principal": "*",
			"Action":    "sqs:*",
			"Resource":  *drawn.AttrArn(),
			"Condition": map[string]any{"Bool": map[string]any{"aws:SecureTransport": "false"}},
		}}),
	})
	return drawn
}

// drawDeliveries draws the queue of a function or of the lanes, and what takes its messages to the Lambda.
func (d *drawing) drawDeliveries(
	scope constructs.Construct, to awslambda.CfnFunction, l lambda, attempts, concurrency int,
) awssqs.CfnQueue {
	q := d.drawQueue(scope, queue{
		name:       deployed.QueueName(d.props.Name, l.id),
		visibility: visibilityFactor * l.timeout,
		failed:     d.crashed.AttrArn(),
		receives:   deployed.MaxReceives(attempts),
	})
	d.drawQueueMapping(scope, "Deliveries", q, to, concurrency)
	return q
}

// drawQueueMapping takes the messages of a queue to a Lambda.
func (d *drawing) drawQueueMapping(
	scope constructs.Construct, construct string, from awssqs.CfnQueue, to awslambda.CfnFunction, concurrency int,
) {
	awslambda.NewCfnEventSourceMapping(scope, jsii.String(construct), &awslambda.CfnEventSourceMappingProps{
		FunctionName:          to.Ref(),
		EventSourceArn:        from.AttrArn(),
		BatchSize:             jsii.Number(batchOfDeliveries),
		FunctionResponseTypes: jsii.Strings(partialResponses),
		ScalingConfig: &awslambda.CfnEventSourceMapping_ScalingConfigProperty{
			MaximumConcurrency: jsii.Number(min(max(concurrency, minPollers), maxPollers)),
		},
	})
}

// drawSharedQueues draws the queues of what went wrong beyond what the code keeps as dead letters.
func (d *drawing) drawSharedQueues() {
	scope := func(name string) constructs.Construct { return constructs.NewConstruct(d.root, jsii.String(name)) }
	d.failures = d.drawQueue(scope("StreamFailures"), queue{name: d.props.Name + streamFailuresSuffix, standard: true})
	d.again = d.drawQueue(scope("CrashedAgain"), queue{name: d.props.Name + crashedAgainSuffix})
	d.crashed = d.drawQueue(scope("Crashed"), queue{
		name:       deployed.CrashedQueueName(d.props.Name),
		visibility: visibilityFactor * routerTimeout,
		failed:     d.again.AttrArn(),
		receives:   crashedReceives,
	})
}
