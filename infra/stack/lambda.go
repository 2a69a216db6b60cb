package stack

import (
	"maps"
	"math"
	"time"

	"github.com/aws/aws-cdk-go/awscdk/v2/awsiam"
	"github.com/aws/aws-cdk-go/awscdk/v2/awslambda"
	"github.com/aws/aws-cdk-go/awscdk/v2/awslogs"
	"github.com/aws/aws-cdk-go/awscdk/v2/awss3assets"
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"

	"github.com/eddyhq/eddy/shared/deployed"
)

const (
	runtime = "provided.al2023"
	arm64   = "arm64"
	handler = "bootstrap"
)

// Days that logs are kept.
const (
	daysOfLogs     = 7
	daysOfKeptLogs = 90
)

// maxLambdaSeconds is the longest that Lambda lets one run take.
const maxLambdaSeconds = 900

// lambdaTimeout gives a run one second more than the host does, so that it is the host that answers.
func lambdaTimeout(run time.Duration) time.Duration {
	seconds := math.Ceil(run.Seconds()) + 1
	return time.Duration(min(seconds, maxLambdaSeconds)) * time.Second
}

// drawCode makes the one asset of all Lambdas.
func (d *drawing) drawCode() {
	asset := awss3assets.NewAsset(d.root, jsii.String("Bootstrap"), &awss3assets.AssetProps{
		Path: jsii.String(d.props.Bootstrap),
	})
	d.code = &awslambda.CfnFunction_CodeProperty{S3Bucket: asset.S3BucketName(), S3Key: asset.S3ObjectKey()}
}

// lambda is what differs between Lambdas.
type lambda struct {
	id          string // of the function or role
	memory      int    // MB
	timeout     time.Duration
	environment map[string]string // beside what every Lambda gets
	statements  []statement
	policies    []*string // managed ones
}

// drawLambda draws a Lambda with its role and its logs.
func (d *drawing) drawLambda(scope constructs.Construct, l lambda) awslambda.CfnFunction {
	logs := d.drawLogs(scope, l.id)
	role := awsiam.NewCfnRole(scope, jsii.String("Role"), &awsiam.CfnRoleProps{
		Description: jsii.String("Runs " + l.id),
		AssumeRolePolicyDocument: policy([]statement{{
			"Effect":    "Allow",
			"Action":    "sts:AssumeRole",
			"Principal": map[string]any{"Service": "lambda.amazonaws.com"},
		}}),
		ManagedPolicyArns: managed(l.policies),
		Policies: []any{&awsiam.CfnRole_PolicyProperty{
			PolicyName: jsii.String("eddy"),
			PolicyDocument: policy(append([]statement{
				allow("Log", d.names.arn("logs", "log-group:"+d.names.logGroup(l.id)+":*"),
					"logs:CreateLogStream", "logs:PutLogEvents"),
			}, l.statements...)),
		}},
	})
	environment := map[string]string{
		deployed.EnvFunction:  l.id,
		deployed.EnvStack:     d.props.Name,
		deployed.EnvDocuments: *d.documents.Ref(),
		deployed.EnvSystem:    *d.system.Ref(),
		deployed.EnvQueues:    d.names.queues(),
		deployed.EnvLambdas:   d.names.lambdas(),
	}
	maps.Copy(environment, l.environment)
	return awslambda.NewCfnFunction(scope, jsii.String("Lambda"), &awslambda.CfnFunctionProps{
		FunctionName:  jsii.String(deployed.LambdaName(d.props.Name, l.id)),
		Description:   jsii.String(l.id),
		Code:          d.code,
		Runtime:       jsii.String(runtime),
		Architectures: jsii.Strings(arm64),
		Handler:       jsii.String(handler),
		Role:          role.AttrArn(),
		MemorySize:    jsii.Number(l.memory),
		Timeout:       jsii.Number(l.timeout.Seconds()),
		Environment:   &awslambda.CfnFunction_EnvironmentProperty{Variables: environment},
		LoggingConfig: &awslambda.CfnFunction_LoggingConfigProperty{LogGroup: logs.Ref()},
	})
}

func managed(policies []*string) *[]*string {
	if len(policies) == 0 {
		return nil
	}
	return &policies
}

// keptAsDeadLetter is what the log says when a delivery has failed for the last time.
const keptAsDeadLetter = `"kept as a dead letter"`

const deadLetters = "DeadLetters"

// metrics is the namespace of the stack's own metrics.
func (d *drawing) metrics() string { return "Eddy/" + d.props.Name }

// drawLogs draws the log group of a Lambda, with the count of dead letters it tells of.
func (d *drawing) drawLogs(scope constructs.Construct, id string) awslogs.CfnLogGroup {
	logs := d.drawLogGroup(scope, "Logs", d.names.logGroup(id))
	awslogs.NewCfnMetricFilter(scope, jsii.String("DeadLetters"), &awslogs.CfnMetricFilterProps{
		LogGroupName:  logs.Ref(),
		FilterPattern: jsii.String(keptAsDeadLetter),
		MetricTransformations: []any{&awslogs.CfnMetricFilter_MetricTransformationProperty{
			MetricNamespace: jsii.String(d.metrics()),
			MetricName:      jsii.String(deadLetters),
			MetricValue:     jsii.String("1"),
		}},
	})
	return logs
}

func (d *drawing) drawLogGroup(scope constructs.Construct, construct, name string) awslogs.CfnLogGroup {
	days := daysOfLogs
	if d.props.Keep {
		days = daysOfKeptLogs
	}
	logs := awslogs.NewCfnLogGroup(scope, jsii.String(construct), &awslogs.CfnLogGroupProps{
		LogGroupName:    jsii.String(name),
		RetentionInDays: jsii.Number(days),
	})
	logs.ApplyRemovalPolicy(d.removal(), nil)
	return logs
}
