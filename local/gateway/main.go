package gateway

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/eddyhq/eddy/shared/eddy"
)

// DrainTime is how long a gateway that was told to stop waits for what is running.
const DrainTime = 9 * time.Second

// Main is the whole main function of a program that serves app: it reads flags and environment, serves until SIGINT or
// SIGTERM, drains and exits: 0 after a clean stop, 1 when it could not serve, 2 for a mistake on the command line. A
// second signal ends it at once.
func Main(app *eddy.App) { os.Exit(run(app, os.Args[1:], os.Getenv, os.Stdout, os.Stderr)) }

func run(app *eddy.App, args []string, getenv func(string) string, stdout, stderr io.Writer) int {
	config, err := parse(args, getenv, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintln(stderr, err)
		return 2
	}
	config.Log = stderr
	interrupted, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	g, err := Run(app, config)
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	g.greet(stdout)
	select {
	case <-interrupted.Done():
	case <-g.failed:
		fmt.Fprintln(stderr, "a door closed unexpectedly; stopping")
	}
	stop() // from here on a signal has its usual effect
	draining, cancel := context.WithTimeout(context.Background(), DrainTime)
	defer cancel()
	if err := g.Close(draining); err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	fmt.Fprintln(stdout, "Stopped; everything acknowledged is on disk.")
	return 0
}

// greet prints where the gateway listens and what to try.
func (g *Gateway) greet(w io.Writer) {
	fmt.Fprintf(w, "Eddy %s is serving.\n  HTTP       %s\n  WebSocket  %s\n", eddy.Version, g.URL(), g.WebSocketURL())
	if g.stream != nil {
		fmt.Fprintf(w, "             %s\n", g.StreamURL())
	}
	fmt.Fprintf(w, "  data       %s\n\nTry:\n", g.config.Data)
	for _, command := range g.examples() {
		fmt.Fprintf(w, "  %s\n", command)
	}
	fmt.Fprintln(w)
}

// examples are three commands that do something with this app: write and read by its first routes that take no
// parameters in their path, and list its functions.
func (g *Gateway) examples() []string {
	var examples []string
	for _, method := range []string{http.MethodPost, http.MethodGet} {
		for _, route := range g.engine.App().Routes() {
			if route.Method != method || len(route.Parameters()) > 0 {
				continue
			}
			command := "curl " + g.URL() + route.Path
			if method == http.MethodPost {
				command += " -d '" + route.Function.Example() + "'"
			}
			examples = append(examples, command)
			break
		}
	}
	return append(examples, "curl "+g.URL()+"/_eddy/functions")
}
