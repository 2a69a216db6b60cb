// Command local serves the application of package functions on this machine: `go run ./local`.
package main

import (
	"github.com/eddyhq/eddy/functions"
	"github.com/eddyhq/eddy/local/gateway"
)

func main() { gateway.Main(functions.App()) }
