package stack

import (
	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsapigatewayv2"

	"github.com/eddyhq/eddy/shared/deployed"
)

// names makes the ARNs and addresses that follow from names. They hold the CDK's tokens for partition, region and
// account, and are the same in every nested stack.
type names struct {
	stack                              string
	partition, region, account, suffix string
}

func newNames(stack string) names {
	return names{
		stack:     stack,
		partition: *awscdk.Aws_PARTITION(),
		region:    *awscdk.Aws_REGION(),
		account:   *awscdk.Aws_ACCOUNT_ID(),
		suffix:    *awscdk.Aws_URL_SUFFIX(),
	}
}

func (n names) arn(service, resource string) string {
	return "arn:" + n.partition + ":" + service + ":" + n.region + ":" + n.account + ":" + resource
}

// lambda is the ARN of the Lambda that runs a function or role.
func (n names) lambda(id string) string {
	return n.arn("lambda", "function:"+deployed.LambdaName(n.stack, id))
}

// queue is the ARN of the queue of a function or of the lanes.
func (n names) queue(id string) string { return n.queueNamed(deployed.QueueName(n.stack, id)) }

func (n names) queueNamed(name string) string { return n.arn("sqs", name) }

// queues is what a queue's URL is before its name.
func (n names) queues() string {
	return "https://sqs." + n.region + "." + n.suffix + "/" + n.account + "/"
}

// lambdas is the endpoint of Lambda.
func (n names) lambdas() string { return "https://lambda." + n.region + "." + n.suffix }

// logGroup is the name of the log group of a Lambda.
func (n names) logGroup(id string) string { return "/aws/lambda/" + deployed.LambdaName(n.stack, id) }

// host is the domain name of an API.
func (n names) host(api awsapigatewayv2.CfnApi) string {
	return *api.Ref() + ".execute-api." + n.region + "." + n.suffix
}

// requests is the ARN of everything below path in an API: of "/*", of all requests.
func (n names) requests(api awsapigatewayv2.CfnApi, path string) string {
	return n.arn("execute-api", *api.Ref()+path)
}

// The names of the queues that no id has.
const (
	crashedAgainSuffix   = "-crashed-again.fifo"
	streamFailuresSuffix = "-stream-failures"
)
