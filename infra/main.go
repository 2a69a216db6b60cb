// Command infra draws the application of package functions as a CloudFormation stack. The CDK runs it: see cdk.json,
// and `make synth`, `make diff`, `make deploy`, `make destroy`.
//
//	npx --prefix infra cdk deploy                  the stack eddy-dev, whose data goes with it
//	npx --prefix infra cdk deploy -c stage=prod    the stack eddy-prod, which keeps its data
//
// Package stack says what else the context can say.
package main

import (
	"github.com/eddyhq/eddy/functions"
	"github.com/eddyhq/eddy/infra/stack"
)

func main() { stack.Main(functions.App()) }
