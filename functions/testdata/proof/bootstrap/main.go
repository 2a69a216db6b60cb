// Command bootstrap is every Lambda of a deployment of the application of package proof.
package main

import (
	"github.com/eddyhq/eddy/functions/testdata/proof"
	"github.com/eddyhq/eddy/shared/aws/host"
)

func main() { host.Main(proof.App()) }
