package stack

import (
	"strings"

	"github.com/aws/aws-cdk-go/awscdk/v2/awsapigatewayv2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awslambda"
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"

	"github.com/eddyhq/eddy/shared/deployed"
)

// socketStage is the path of the WebSocket API's one stage.
const socketStage = "live"

// drawSockets draws the WebSocket API without its routes, which lead to the Lambda that is told of the API. It must
// choose routes by something that clients send. All lead to one Lambda, which goes by what happened, not by the route.
func (d *drawing) drawSockets() {
	scope := constructs.NewConstruct(d.root, jsii.String("WebSocket"))
	d.sockets = awsapigatewayv2.NewCfnApi(scope, jsii.String("API"), &awsapigatewayv2.CfnApiProps{
		Name:                     jsii.String(d.props.Name + "-live"),
		ProtocolType:             jsii.String("WEBSOCKET"),
		Description:              jsii.String("The streams of " + d.props.Name),
		RouteSelectionExpression: jsii.String("$request.body.type"),
	})
}

// drawSocketRoutes sends everything that happens on a WebSocket to a Lambda. No route responds: one that does sends a frame
// for each that it gets, an empty one where the Lambda has nothing to say. The Lambda pushes what it has to say.
func (d *drawing) drawSocketRoutes(scope constructs.Construct, to awslambda.CfnFunction) {
	props := &awsapigatewayv2.CfnIntegrationProps{
		ApiId:             d.sockets.Ref(),
		IntegrationType:   jsii.String("AWS_PROXY"),
		IntegrationMethod: jsii.String("POST"),
		IntegrationUri: jsii.String("arn:" + d.names.partition + ":apigateway:" + d.names.region +
			":lambda:path/2015-03-31/functions/" + *to.AttrArn() + "/invocations"),
	}
	integration := awsapigatewayv2.NewCfnIntegration(scope, jsii.String("Integration"), props)
	var routes []awsapigatewayv2.CfnRoute
	for _, key := range []string{deployed.RouteConnect, deployed.RouteDisconnect, deployed.RouteDefault} {
		props := &awsapigatewayv2.CfnRouteProps{
			ApiId:             d.sockets.Ref(),
			RouteKey:          jsii.String(key),
			AuthorizationType: jsii.String("NONE"),
			Target:            jsii.String("integrations/" + *integration.Ref()),
		}
		construct := "Route" + strings.TrimPrefix(key, "$")
		routes = append(routes, awsapigatewayv2.NewCfnRoute(scope, jsii.String(construct), props))
	}
	d.drawPermission(scope, to, d.names.requests(d.sockets, "/"+socketStage+"/*"))
	d.drawSocketStage(scope, routes)
}

// drawSocketStage draws the stage once its routes are there: API Gateway does not deploy a WebSocket API without any.
func (d *drawing) drawSocketStage(scope constructs.Construct, routes []awsapigatewayv2.CfnRoute) {
	stage := awsapigatewayv2.NewCfnStage(scope, jsii.String("Stage"), &awsapigatewayv2.CfnStageProps{
		ApiId:      d.sockets.Ref(),
		StageName:  jsii.String(socketStage),
		AutoDeploy: jsii.Bool(true),
		DefaultRouteSettings: &awsapigatewayv2.CfnStage_RouteSettingsProperty{
			ThrottlingRateLimit:  jsii.Number(d.props.RequestRate),
			ThrottlingBurstLimit: jsii.Number(d.props.RequestBurst),
		},
	})
	for _, route := range routes {
		stage.AddDependency(route)
	}
}
