package stack

import (
	"encoding/json"

	"github.com/aws/aws-cdk-go/awscdk/v2/awsapigatewayv2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awslambda"
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"

	"github.com/eddyhq/eddy/shared/eddy"
)

// HTTP APIs end a request after 30 seconds.
const maxIntegrationMillis = 30_000

// corsMaxAge is how many seconds a browser may remember a preflight, as on a local gateway.
const corsMaxAge = 600

// drawHTTP draws the HTTP API without its routes: functions and the edge add theirs.
func (d *drawing) drawHTTP() {
	props := &awsapigatewayv2.CfnApiProps{
		Name:         jsii.String(d.props.Name),
		ProtocolType: jsii.String("HTTP"),
		Description:  jsii.String("The functions of " + d.props.Name),
	}
	if origins := d.app.AllowedOrigins(); len(origins) > 0 {
		props.CorsConfiguration = &awsapigatewayv2.CfnApi_CorsProperty{
			AllowOrigins:  jsii.Strings(origins...),
			AllowMethods:  jsii.Strings("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"),
			AllowHeaders:  jsii.Strings("*"),
			ExposeHeaders: jsii.Strings("X-Request-Id", "X-Next-Cursor", "Retry-After", "Idempotent-Replayed"),
			MaxAge:        jsii.Number(corsMaxAge),
		}
	}
	scope := constructs.NewConstruct(d.root, jsii.String("HTTP"))
	d.http = awsapigatewayv2.NewCfnApi(scope, jsii.String("API"), props)
	logs := d.drawLogGroup(scope, "AccessLogs", "/aws/vendedlogs/"+d.props.Name+"-http")
	d.stage = awsapigatewayv2.NewCfnStage(scope, jsii.String("Stage"), &awsapigatewayv2.CfnStageProps{
		ApiId:      d.http.Ref(),
		StageName:  jsii.String("$default"),
		AutoDeploy: jsii.Bool(true),
		DefaultRouteSettings: &awsapigatewayv2.CfnStage_RouteSettingsProperty{
			ThrottlingRateLimit:  jsii.Number(d.props.RequestRate),
			ThrottlingBurstLimit: jsii.Number(d.props.RequestBurst),
		},
		AccessLogSettings: &awsapigatewayv2.CfnStage_AccessLogSettingsProperty{
			DestinationArn: logs.AttrArn(),
			Format:         jsii.String(accessLog()),
		},
	})
	if settings := routeSettings(d.app); len(settings) > 0 {
		d.stage.SetRouteSettings(settings)
	}
}

// accessLog is a line of the access log: what is asked and answered, and no query, header or body.
func accessLog() string {
	line, err := json.Marshal(map[string]string{
		"time":              "$context.requestTime",
		"request_id":        "$context.requestId",
		"ip":                "$context.identity.sourceIp",
		"route":             "$context.routeKey",
		"method":            "$context.httpMethod",
		"path":              "$context.path",
		"status":            "$context.status",
		"bytes":             "$context.responseLength",
		"milliseconds":      "$context.responseLatency",
		"integration_error": "$context.integrationErrorMessage",
	})
	if err != nil {
		panic(err) // a map of strings always has a JSON form
	}
	return string(line)
}

// route is a route of the HTTP API.
type route struct {
	construct string
	key       string // "GET /todos/{id}"
	signed    bool   // only for whoever signs with IAM credentials that may
}

// drawRoutes sends routes of the HTTP API to a Lambda.
func (d *drawing) drawRoutes(scope constructs.Construct, to awslambda.CfnFunction, l lambda, routes []route) {
	props := &awsapigatewayv2.CfnIntegrationProps{
		ApiId:                d.http.Ref(),
		IntegrationType:      jsii.String("AWS_PROXY"),
		IntegrationUri:       to.AttrArn(),
		PayloadFormatVersion: jsii.String("2.0"),
		TimeoutInMillis:      jsii.Number(min(l.timeout.Milliseconds(), maxIntegrationMillis)),
	}
	integration := awsapigatewayv2.NewCfnIntegration(scope, jsii.String("Integration"), props)
	for _, r := range routes {
		authorization := "NONE"
		if r.signed {
			authorization = "AWS_IAM"
		}
		awsapigatewayv2.NewCfnRoute(scope, jsii.String(r.construct), &awsapigatewayv2.CfnRouteProps{
			ApiId:             d.http.Ref(),
			RouteKey:          jsii.String(r.key),
			AuthorizationType: jsii.String(authorization),
			Target:            jsii.String("integrations/" + *integration.Ref()),
		})
	}
	d.drawPermission(scope, to, d.names.requests(d.http, "/*"))
}

// routeSettings are those of the stage for the routes that say how many requests they let through, by route key.
func routeSettings(app *eddy.App) map[string]any {
	settings := make(map[string]any)
	for _, r := range app.Routes() {
		if r.Rate > 0 {
			settings[r.String()] = map[string]any{"ThrottlingRateLimit": r.Rate, "ThrottlingBurstLimit": r.Burst}
		}
	}
	return settings
}

// drawPermission lets requests of an API invoke a Lambda.
func (d *drawing) drawPermission(scope constructs.Construct, to awslambda.CfnFunction, requests string) {
	awslambda.NewCfnPermission(scope, jsii.String("Permission"), &awslambda.CfnPermissionProps{
		Action:       jsii.String("lambda:InvokeFunction"),
		FunctionName: to.AttrArn(),
		Principal:    jsii.String("apigateway.amazonaws.com"),
		SourceArn:    jsii.String(requests),
	})
}
