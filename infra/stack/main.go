package stack

import (
	"fmt"
	"os"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/jsii-runtime-go"

	"github.com/eddyhq/eddy/shared/eddy"
)

// Main is the whole main function of a CDK app that draws the stack of app: its context says which, see FromContext. It ends
// with a message and the exit code 1 when the stack cannot be drawn.
func Main(app *eddy.App) {
	if err := draw(app); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// draw writes the stack to where the CDK expects it.
func draw(app *eddy.App) error {
	defer jsii.Close()
	scope := awscdk.NewApp(nil)
	props, err := FromContext(scope)
	if err != nil {
		return err
	}
	if _, err := New(scope, app, props); err != nil {
		return err
	}
	scope.Synth(nil)
	return nil
}
