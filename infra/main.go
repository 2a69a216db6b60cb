// Command infra draws the application of package functions as a CloudFormation stack. The CDK runs it: see cdk.json,
// and `make synth`, `make diff`, `make deploy`, `make destroy`.
//
//	npx --prefix infra cdk deploy                  the stack eddy-dev, whose data goes with it
//	npx --prefix infra cdk deploy -c stage=prod    the stack eddy-prod, which keeps its data
//
// Package stack says what else the context can say.
package main

import (
	"fmt"
	"os"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/jsii-runtime-go"

	"github.com/eddyhq/eddy/functions"
	"github.com/eddyhq/eddy/infra/stack"
)

func main() {
	if err := draw(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// draw writes the stack to where the CDK expects it.
func draw() error {
	defer jsii.Close()
	app := awscdk.NewApp(nil)
	props, err := stack.FromContext(app)
	if err != nil {
		return err
	}
	if _, err := stack.New(app, functions.App(), props); err != nil {
		return err
	}
	app.Synth(nil)
	return nil
}
