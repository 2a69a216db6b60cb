// Command proof draws the application of package proof as infra draws the one that ships. local/localstack deploys it.
package main

import (
	"fmt"
	"os"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/jsii-runtime-go"

	"github.com/eddyhq/eddy/functions/testdata/proof"
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
	if _, err := stack.New(app, proof.App(), props); err != nil {
		return err
	}
	app.Synth(nil)
	return nil
}
