package stack

import (
	"slices"
	"strconv"
	"time"

	"github.com/aws/aws-cdk-go/awscdk/v2/awsiam"
	"github.com/aws/aws-cdk-go/awscdk/v2/awslambda"
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"

	"github.com/eddyhq/eddy/shared/deployed"
	"github.com/eddyhq/eddy/shared/port"
)

// What the Lambdas of the roles get. Memory buys CPU too.
const (
	edgeMemory   = 256
	routerMemory = 512
	lanesMemory  = 512
	socketMemory = 256

	edgeTimeout   = 30 * time.Second
	routerTimeout = 60 * time.Second
	lanesTimeout  = 60 * time.Second
	socketTimeout = 30 * time.Second

	lanesAttempts    = 32
	lanesConcurrency = 100
	crashConcurrency = minPollers
)

func (d *drawing) drawRoles() {
	d.drawEdge()
	d.drawRouter()
	d.drawLanes()
	d.drawSocket()
}

// scopeOf is where the constructs of a role lie.
func (d *drawing) scopeOf(construct string) constructs.Construct {
	return constructs.NewConstruct(d.root, jsii.String(construct))
}

// drawEdge draws what answers where no function has a route. It may do what an operator may: /_eddy/ is signed.
func (d *drawing) drawEdge() {
	scope := d.scopeOf("Edge")
	l := lambda{
		id: deployed.RoleEdge, memory: edgeMemory, timeout: edgeTimeout,
		statements: []statement{
			allow("Items", []string{*d.documents.AttrArn(), *d.system.AttrArn()}, everything()...),
		},
		policies: d.drawPolicies(scope, "Invoke", "lambda:InvokeFunction", d.each(d.names.lambda)),
	}
	edge := d.drawLambda(scope, l)
	d.drawRoutes(scope, edge, l, []route{
		{construct: "Default", key: "$default"},
		{construct: "Admin", key: deployed.RouteAdmin, signed: true},
		{construct: "Health", key: deployed.RouteHealth},
	})
}

// drawRouter draws what takes records from the stream of documents to queues, and crashed deliveries to dead letters.
func (d *drawing) drawRouter() {
	scope := d.scopeOf("Router")
	queues := append(d.each(d.names.queue), d.names.queue(deployed.RoleLanes))
	router := d.drawLambda(scope, lambda{
		id: deployed.RoleRouter, memory: routerMemory, timeout: routerTimeout,
		statements: []statement{
			allow("Follow", *d.documents.AttrStreamArn(), "dynamodb:DescribeStream", "dynamodb:GetRecords",
				"dynamodb:GetShardIterator", "dynamodb:ListStreams"),
			allow("Items", *d.system.AttrArn(), everything()...),
			allow("LeaveBehind", *d.failures.AttrArn(), "sqs:SendMessage"),
			receive("Crashed", *d.crashed.AttrArn()),
		},
		policies: d.drawPolicies(scope, "Send", "sqs:SendMessage", queues),
	})
	d.drawStreamMapping(scope, router)
	d.drawQueueMapping(scope, "Crashed", d.crashed, router, crashConcurrency)
}

// How long the router tries a batch of the stream before it leaves it behind: as long as the stream remembers it. It
// tells which record failed, so attempts are spent on that one alone.
const (
	maxStreamAge      = 24 * time.Hour
	maxStreamAttempts = 10_000
)

func (d *drawing) drawStreamMapping(scope constructs.Construct, router awslambda.CfnFunction) {
	var criteria []any
	for _, pattern := range filters(d.app) {
		criteria = append(criteria, &awslambda.CfnEventSourceMapping_FilterProperty{Pattern: jsii.String(pattern)})
	}
	awslambda.NewCfnEventSourceMapping(scope, jsii.String("Stream"), &awslambda.CfnEventSourceMappingProps{
		FunctionName:               router.Ref(),
		EventSourceArn:             d.documents.AttrStreamArn(),
		StartingPosition:           jsii.String("TRIM_HORIZON"),
		BatchSize:                  jsii.Number(d.props.RouterBatch),
		ParallelizationFactor:      jsii.Number(d.props.RouterParallel),
		BisectBatchOnFunctionError: jsii.Bool(true),
		FunctionResponseTypes:      jsii.Strings(partialResponses),
		MaximumRecordAgeInSeconds:  jsii.Number(maxStreamAge.Seconds()),
		MaximumRetryAttempts:       jsii.Number(maxStreamAttempts),
		FilterCriteria:             &awslambda.CfnEventSourceMapping_FilterCriteriaProperty{Filters: criteria},
		DestinationConfig: &awslambda.CfnEventSourceMapping_DestinationConfigProperty{
			OnFailure: &awslambda.CfnEventSourceMapping_OnFailureProperty{Destination: d.failures.AttrArn()},
		},
	})
}

// drawLanes draws what keeps the groups of streams and pushes to connections.
func (d *drawing) drawLanes() {
	scope := d.scopeOf("Lanes")
	var documents, system items
	documents.below(port.StreamSpace, []string{getItem, batchGet, query})
	system.below(deployed.Lanes, everything())
	system.below(deployed.Connections, everything())
	system.below(deployed.Blobs+port.Segment(deployed.RoleLanes)+"/", []string{getItem, query})
	l := lambda{
		id: deployed.RoleLanes, memory: lanesMemory, timeout: lanesTimeout,
		environment: d.socketEnvironment(),
		statements: slices.Concat(
			documents.statements("Documents", *d.documents.AttrArn()),
			system.statements("System", *d.system.AttrArn()),
			[]statement{
				receive("Receive", d.names.queue(deployed.RoleLanes)),
				allow("Push", []string{
					d.names.requests(d.sockets, "/"+socketStage+"/POST/@connections/*"),
					d.names.requests(d.sockets, "/"+socketStage+"/DELETE/@connections/*"),
				}, "execute-api:ManageConnections"),
			},
		),
	}
	lanes := d.drawLambda(scope, l)
	d.drawDeliveries(scope, lanes, l, lanesAttempts, lanesConcurrency)
}

// drawSocket draws what hears of connections and hands on what they want.
func (d *drawing) drawSocket() {
	scope := d.scopeOf("Socket")
	var system items
	system.below(deployed.Connections, everything())
	socket := d.drawLambda(scope, lambda{
		id: deployed.RoleSocket, memory: socketMemory, timeout: socketTimeout,
		environment: d.socketEnvironment(),
		statements: append(
			system.statements("System", *d.system.AttrArn()),
			allow("Send", d.names.queue(deployed.RoleLanes), "sqs:SendMessage"),
			d.push(),
		),
	})
	d.drawSocketRoutes(scope, socket)
}

// push allows to say something to connections, and to end them.
func (d *drawing) push() statement {
	return allow("Push", []string{
		d.names.requests(d.sockets, "/"+socketStage+"/POST/@connections/*"),
		d.names.requests(d.sockets, "/"+socketStage+"/DELETE/@connections/*"),
	}, "execute-api:ManageConnections")
}

func (d *drawing) socketEnvironment() map[string]string {
	return map[string]string{deployed.EnvSockets: "https://" + d.names.host(d.sockets) + "/" + socketStage}
}

// each returns the ARN of something of every function.
func (d *drawing) each(arn func(id string) string) []string {
	var arns []string
	for _, f := range d.app.Functions() {
		arns = append(arns, arn(f.ID))
	}
	return arns
}

// namesInPolicy is how many ARNs, each of at most 140 characters, one managed policy takes within its 6,144.
const namesInPolicy = 40

// drawPolicies allows an action on each of the ARNs: as many managed policies as they need, of which a role takes ten.
func (d *drawing) drawPolicies(scope constructs.Construct, sid, action string, arns []string) []*string {
	var policies []*string
	for len(arns) > 0 {
		n := min(len(arns), namesInPolicy)
		construct := jsii.String(sid + strconv.Itoa(len(policies)+1))
		drawn := awsiam.NewCfnManagedPolicy(scope, construct, &awsiam.CfnManagedPolicyProps{
			Description:    jsii.String(sid + " by name"),
			PolicyDocument: policy([]statement{allow(sid, arns[:n], action)}),
		})
		policies, arns = append(policies, drawn.Ref()), arns[n:]
	}
	return policies
}
