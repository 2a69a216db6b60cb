// Command bootstrap is every Lambda of a deployment of the application of package functions. EDDY_FUNCTION tells it which
// function it runs.
package main

import (
	"github.com/eddyhq/eddy/functions"
	"github.com/eddyhq/eddy/shared/aws/host"
)

func main() { host.Main(functions.App()) }
