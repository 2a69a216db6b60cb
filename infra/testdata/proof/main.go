// Command proof draws the application of package proof as infra draws the one that ships. local/localstack deploys it.
package main

import (
	"github.com/eddyhq/eddy/functions/testdata/proof"
	"github.com/eddyhq/eddy/infra/stack"
)

func main() { stack.Main(proof.App()) }
