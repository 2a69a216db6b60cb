package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/pprof"
	"sync/atomic"

	"github.com/eddyhq/eddy/functions"
	"github.com/eddyhq/eddy/local/gateway"
)

// profiledCommand as first argument turns this program into the gateway, writing a CPU profile until it is stopped.
const profiledCommand = "gateway"

// profiled is the gateway inside this program. Each run of it leaves a profile in dir, numbered in their order.
func profiled(self, dir string) program {
	var runs atomic.Int64
	return program{name: "profiled gateway", path: self, args: func(addr, data string) []string {
		file := filepath.Join(dir, fmt.Sprintf("gateway-%03d.pprof", runs.Add(1)))
		return append([]string{profiledCommand, "-profile", file}, gatewayArgs(addr, data)...)
	}}
}

// serveProfiled runs the gateway until ctx ends.
func serveProfiled(ctx context.Context, args []string) (err error) {
	config := gateway.DefaultConfig()
	flags := gatewayFlags(profiledCommand, &config)
	profile := flags.String("profile", "", "file of the profile")
	if err := flags.Parse(args); err != nil {
		return err
	}
	file, err := os.Create(*profile)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if err := pprof.StartCPUProfile(file); err != nil {
		return err
	}
	defer pprof.StopCPUProfile()
	return serveGateway(ctx, functions.App(), config)
}
