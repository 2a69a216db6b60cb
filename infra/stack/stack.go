// Package stack draws an application as a CloudFormation stack. It reads the registry and runs no function, so adding a
// function to the registry is all it takes to get its Lambda, routes, queue and permissions.
//
//	eddy.App -> New -+-> root stack: both tables, both APIs, the Lambdas of the roles, alarms, outputs
//	                 +-> nested stacks, one for each area of ids: for each function its Lambda, queue, routes, IAM
//
// What the drawn stack does with data:
//
//	HTTP API -> Lambda of a function -> documents -> stream -> router -+-> queue of a function -> its Lambda
//	WebSocket API -> socket -> queue of the lanes                      +-> queue of the lanes -> lanes -> @connections
//	schedules of a function -> its queue
//
// Functions, queues and log groups have names that follow from the stack and the id (package deployed). So whoever may
// send to a queue or invoke a Lambda is told its name, not a reference, and no nested stack waits for another. Tables
// and roles are named by CloudFormation.
//
// Nothing runs in a VPC, and nothing costs while nothing is called but alarms, logs that are kept and the polling of
// queues.
package stack

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsapigatewayv2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsdynamodb"
	"github.com/aws/aws-cdk-go/awscdk/v2/awslambda"
	"github.com/aws/aws-cdk-go/awscdk/v2/awssqs"
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"

	"github.com/eddyhq/eddy/shared/eddy"
)

// Props are what is not in the registry. FromContext reads them from the command line of the CDK.
type Props struct {
	// Name of the stack, such as "eddy-dev": 1 to 32 lower-case letters, digits and dashes, the first a letter. Physical
	// names begin with it.
	Name string

	// Bootstrap is the folder that holds the one executable of all Lambdas, "bootstrap" for Linux on arm64.
	Bootstrap string

	// Keep protects what is stored: tables and logs outlive the stack. Without it, destroying the stack destroys them.
	Keep bool

	// Env is the account and region to deploy to. Nil: those of whoever deploys.
	Env *awscdk.Environment

	// AlarmTopic is the ARN of the SNS topic that alarms are sent to. "": they only change their state.
	AlarmTopic string

	// RequestRate and RequestBurst bound what the HTTP API lets through, in requests per second and at once. 0: 1,000 and
	// 500.
	RequestRate, RequestBurst int

	// RouterBatch is the most records of the stream that the router gets at once, RouterParallel how many batches of one
	// shard it works on at a time. 0: 100 and 1.
	RouterBatch, RouterParallel int

	// Shards is the least number of nested stacks that each area is spread over, a power of two. 0: 1. Ids decide by their
	// digest, so that a new function moves no other. But a change of Shards moves functions that are deployed, and
	// CloudFormation refuses that: choose it before the first deployment.
	Shards int

	// MaxRoutes is the account's quota of routes per API. 0: 300, what AWS gives without being asked.
	MaxRoutes int

	// Concurrency is the account's quota of Lambdas that run at a time. 0: 10, what a new account has.
	Concurrency int
}

// The defaults of Props.
const (
	defaultRequestRate    = 1_000
	defaultRequestBurst   = 500
	defaultRouterBatch    = 100
	defaultRouterParallel = 1
	defaultShards         = 1
	defaultMaxRoutes      = 300
	defaultConcurrency    = 10
)

func (p Props) withDefaults() Props {
	for _, field := range []struct {
		value    *int
		standard int
	}{
		{&p.RequestRate, defaultRequestRate},
		{&p.RequestBurst, defaultRequestBurst},
		{&p.RouterBatch, defaultRouterBatch},
		{&p.RouterParallel, defaultRouterParallel},
		{&p.Shards, defaultShards},
		{&p.MaxRoutes, defaultMaxRoutes},
		{&p.Concurrency, defaultConcurrency},
	} {
		if *field.value == 0 {
			*field.value = field.standard
		}
	}
	return p
}

// stackName leaves room for what physical names have behind it.
var stackName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,31}$`)

// The bounds of what AWS takes.
const (
	maxRouterBatch    = 1_000
	maxRouterParallel = 10
	maxShards         = 64
)

// validate returns everything that is wrong with the props.
func (p Props) validate() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if !stackName.MatchString(p.Name) {
		fault("the name of the stack is %q: it takes 1 to 32 lower-case letters, digits and dashes, a letter first", p.Name)
	}
	if err := checkBootstrap(p.Bootstrap); err != nil {
		faults = append(faults, err)
	}
	upTo := func(most int, what string, value int) {
		if value < 1 || value > most {
			fault("%s is %d: it must be from 1 to %d", what, value, most)
		}
	}
	upTo(math.MaxInt32, "the rate of requests", p.RequestRate)
	upTo(math.MaxInt32, "the burst of requests", p.RequestBurst)
	upTo(maxRouterBatch, "the batch of the router", p.RouterBatch)
	upTo(maxRouterParallel, "the parallel batches of the router", p.RouterParallel)
	upTo(math.MaxInt32, "the quota of routes", p.MaxRoutes)
	upTo(math.MaxInt32, "the quota of concurrent Lambdas", p.Concurrency)
	upTo(maxShards, "the number of shards", p.Shards)
	if p.Shards&(p.Shards-1) != 0 {
		fault("the number of shards is %d: it must be a power of two", p.Shards)
	}
	return errors.Join(faults...)
}

// checkBootstrap returns what is wrong with the folder of the executable. Lambda would say so only when it starts it.
func checkBootstrap(folder string) error {
	file := filepath.Join(folder, handler)
	info, err := os.Stat(file)
	switch {
	case err != nil:
		return fmt.Errorf("the executable of the Lambdas is not there, build it first: %w", err)
	case !info.Mode().IsRegular() || info.Mode()&0o111 == 0:
		return fmt.Errorf("%s is no executable file", file)
	}
	return nil
}

// drawing is a stack that is being drawn.
type drawing struct {
	app   *eddy.App
	props Props
	names names
	root  awscdk.Stack

	code      *awslambda.CfnFunction_CodeProperty
	documents awsdynamodb.CfnTable
	system    awsdynamodb.CfnTable
	http      awsapigatewayv2.CfnApi
	stage     awsapigatewayv2.CfnStage // of http
	sockets   awsapigatewayv2.CfnApi
	crashed   awssqs.CfnQueue
	again     awssqs.CfnQueue // what the router crashed on
	failures  awssqs.CfnQueue // what is left of batches of the stream that the router crashed on
}

// New draws the stack of the app in scope, a CDK app or stage. It fails when the registry has mistakes, naming each,
// when the props are wrong, and when the app is larger than what CloudFormation, IAM or API Gateway take.
func New(scope constructs.Construct, app *eddy.App, props Props) (awscdk.Stack, error) {
	props = props.withDefaults()
	if err := errors.Join(app.Validate(), props.validate()); err != nil {
		return nil, err
	}
	d := &drawing{app: app, props: props, names: newNames(props.Name)}
	groups, err := plan(app, props)
	if err := errors.Join(err, checkPolicies(app, d.names)); err != nil {
		return nil, err
	}
	d.root = awscdk.NewStack(scope, jsii.String(props.Name), &awscdk.StackProps{
		StackName:             jsii.String(props.Name),
		Description:           jsii.String("Eddy: functions, state, streams and reactions"),
		Env:                   props.Env,
		AnalyticsReporting:    jsii.Bool(false), // it would put a list of all regions into every template
		TerminationProtection: jsii.Bool(props.Keep),
	})
	d.drawCode()
	d.drawTables()
	d.drawSharedQueues()
	d.drawHTTP()
	d.drawSockets()
	d.drawRoles()
	d.drawFunctions(groups)
	d.drawAlarms()
	d.drawOutputs()
	d.warn(groups)
	return d.root, nil
}

// removal is what becomes of stored data when the stack goes.
func (d *drawing) removal() awscdk.RemovalPolicy {
	if d.props.Keep {
		return awscdk.RemovalPolicy_RETAIN
	}
	return awscdk.RemovalPolicy_DESTROY
}

func (d *drawing) drawOutputs() {
	for _, output := range []struct{ name, value, description string }{
		{"HttpUrl", "https://" + d.names.host(d.http), "The HTTP API"},
		{"WebSocketUrl", "wss://" + d.names.host(d.sockets) + "/" + socketStage, "The WebSocket API"},
		{"DocumentsTable", *d.documents.Ref(), "The table of documents"},
		{"SystemTable", *d.system.Ref(), "The table of everything else: dead letters, cursors, subscriptions"},
		{"Region", *awscdk.Aws_REGION(), "Where all of it runs"},
	} {
		awscdk.NewCfnOutput(d.root, jsii.String(output.name), &awscdk.CfnOutputProps{
			Value:       jsii.String(output.value),
			Description: jsii.String(output.description),
		})
	}
}
