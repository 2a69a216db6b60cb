package stack

import (
	"strconv"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"

	"github.com/eddyhq/eddy/shared/eddy"
)

// drawFunctions draws a nested stack for each group.
func (d *drawing) drawFunctions(groups []group) {
	all := constructs.NewConstruct(d.root, jsii.String("Functions"))
	for _, g := range groups {
		nested := awscdk.NewNestedStack(all, jsii.String(g.name), &awscdk.NestedStackProps{
			Description: jsii.String("The functions of " + g.name),
		})
		for _, f := range g.functions {
			d.drawFunction(constructs.NewConstruct(nested, jsii.String(f.ID)), f)
		}
		if g.throttles() {
			d.stage.AddDependency(nested.NestedStackResource()) // a stage has settings for no route that is not there yet
		}
	}
}

// lambdasFor returns how many Lambdas at a time keep to the Concurrency of a function, or the fewest that a queue keeps
// busy: each takes a batch, and runs the deliveries of it side by side.
func lambdasFor(concurrency int) int {
	return max(minPollers, concurrency/batchOfDeliveries)
}

// sideBySide returns how many deliveries of a function run at a time.
func sideBySide(concurrency int) int {
	return lambdasFor(concurrency) * min(concurrency, batchOfDeliveries)
}

// drawFunction draws everything of one function.
func (d *drawing) drawFunction(scope constructs.Construct, f *eddy.Function) {
	l := lambda{
		id: f.ID, memory: f.Memory, timeout: lambdaTimeout(f.Timeout),
		statements: functionPolicy(d.app, f, resources{
			documents: *d.documents.AttrArn(),
			system:    *d.system.AttrArn(),
			queue:     d.names.queue(f.ID),
			lambda:    d.names.lambda,
		}),
	}
	drawn := d.drawLambda(scope, l)
	d.drawSchedules(scope, f, d.drawDeliveries(scope, drawn, l, f.MaxAttempts, lambdasFor(f.Concurrency)))
	if len(f.Routes) == 0 {
		return
	}
	routes := make([]route, len(f.Routes))
	for i, r := range f.Routes {
		routes[i] = route{construct: "Route" + strconv.Itoa(i+1), key: r.String()}
	}
	d.drawRoutes(scope, drawn, l, routes)
}

// warn says what may go wrong. Each warning can be acknowledged by its id, with awscdk.Annotations.
func (d *drawing) warn(groups []group) {
	for _, w := range warnings(groups, d.props) {
		awscdk.Annotations_Of(d.root).AddWarningV2(jsii.String(w.id), jsii.String(w.text))
	}
}
