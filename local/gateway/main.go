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
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/eddyhq/eddy/local/command"
	"github.com/eddyhq/eddy/shared/eddy"
)

// DrainTime is how long a gateway that was told to stop waits for what is running.
const DrainTime = 9 * time.Second

// Main is the whole main function of a program that serves app: `serve`, which is what it does when nothing is said, reads flags
// and environment, serves until SIGINT or SIGTERM, drains and exits: 0 after a clean stop, 1 when it could not serve, 2 for a
// mistake on the command line. A second signal ends it at once. The other commands are those of package command.
func Main(app *eddy.App) {
	os.Exit(run(app, os.Args[1:], command.Environment{
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Getenv: os.Getenv, Now: time.Now,
	}))
}

func run(app *eddy.App, args []string, environment command.Environment) int {
	interrupted, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	name, rest := "serve", args
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		name, rest = args[0], args[1:]
	}
	switch named, ok := command.Find(name); {
	case ok:
		return named.Run(interrupted, rest, environment)
	case name == "serve":
		return serveUntil(interrupted, stop, app, rest, environment)
	case name == "help":
		return help(app, rest, environment)
	default:
		fmt.Fprintf(environment.Stderr, "unknown command %q; see: go run ./local help\n", name)
		return command.Misuse
	}
}

// help lists the commands, or shows the help of one.
func help(app *eddy.App, args []string, environment command.Environment) int {
	if len(args) > 0 {
		return run(app, []string{args[0], "-help"}, environment)
	}
	out := environment.Stdout
	fmt.Fprint(out, "Usage: go run ./local [command] [flags]\n\nCommands:\n")
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "  serve\tServes the application on this machine; what is done when nothing is said")
	for _, c := range command.Commands() {
		fmt.Fprintf(table, "  %s\t%s\n", c.Name, c.Summary)
	}
	fmt.Fprintln(table, "  help COMMAND\tShows what a command takes")
	_ = table.Flush() // see errcheck's exceptions: whoever reads a terminal went away
	return command.OK
}

// serveUntil serves until interrupted.
func serveUntil(
	interrupted context.Context, stop func(), app *eddy.App, args []string, environment command.Environment,
) int {
	stdout, stderr := environment.Stdout, environment.Stderr
	config, err := parse(args, environment.Getenv, stdout)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return command.OK
	case err != nil:
		fmt.Fprintln(stderr, err)
		return command.Misuse
	}
	config.Log = stderr
	g, err := Run(app, config)
	if err != nil {
		fmt.Fprintln(stderr, err)
		return command.Failed
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
		return command.Failed
	}
	fmt.Fprintln(stdout, "Stopped; everything acknowledged is on disk.")
	return command.OK
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
