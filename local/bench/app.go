package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/eddyhq/eddy/functions"
	"github.com/eddyhq/eddy/local/gateway"
	"github.com/eddyhq/eddy/shared/eddy"
)

// besideCommand as first argument turns this program into the gateway of the todo app with functions of its own beside it.
const besideCommand = "beside"

// beside is that gateway, with one reaction to what is written into the scope "bench-beside": a key of reactions, or "" for none.
func (b *bench) beside(reaction string) program {
	return program{name: "gateway beside " + reaction, path: b.self, args: func(addr, data string) []string {
		return append([]string{besideCommand, "-reaction", reaction}, gatewayArgs(addr, data)...)
	}}
}

func serveBeside(ctx context.Context, args []string) error {
	config := gateway.DefaultConfig()
	flags := gatewayFlags(besideCommand, &config)
	reaction := flags.String("reaction", "", "what the reaction does")
	if err := flags.Parse(args); err != nil {
		return err
	}
	app, err := appBeside(*reaction)
	if err != nil {
		return err
	}
	return serveGateway(ctx, app, config)
}

// gatewayFlags are the flags of gatewayArgs.
func gatewayFlags(command string, config *gateway.Config) *flag.FlagSet {
	flags := flag.NewFlagSet(command, flag.ContinueOnError)
	flags.StringVar(&config.HTTP, "http", config.HTTP, "as the gateway's")
	flags.StringVar(&config.Stream, "stream", config.Stream, "as the gateway's")
	flags.StringVar(&config.Data, "data", config.Data, "as the gateway's")
	return flags
}

// serveGateway runs a gateway until ctx ends.
func serveGateway(ctx context.Context, app *eddy.App, config gateway.Config) error {
	config.Log = os.Stderr
	g, err := gateway.Run(app, config)
	if err != nil {
		return err
	}
	<-ctx.Done()
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), gateway.DrainTime)
	defer cancel()
	return g.Close(ending)
}

// thing is what is written, and sent, to the functions of appBeside.
type thing struct {
	Client string `json:"client"`
	Number string `json:"number"`
}

type tally struct {
	Handled int64 `json:"handled"`
}

// appBeside is the todo app, two queues whose messages are counted, and the reaction.
func appBeside(reaction string) (*eddy.App, error) {
	app := functions.App()
	tallies := eddy.Scope[tally]("bench-tallies")
	count := func(ctx context.Context, _ thing) (eddy.None, error) {
		return eddy.None{}, tallies.Increment(ctx, "all", "handled", 1)
	}
	eddy.Register(app, "bench::handle", count, eddy.Queue("bench"), eddy.Uses(tallies))
	eddy.Register(app, "bench::handle-in-order", count, eddy.Queue("bench-in-order", eddy.FIFO("client")), eddy.Uses(tallies))

	changes := eddy.Scope[thing]("bench-beside").Changes()
	switch reaction {
	case "":
	case "fails":
		eddy.React(app, "bench::beside", func(context.Context, eddy.Change[thing]) error { return errors.New("always") }, changes)
	case "hangs":
		eddy.React(app, "bench::beside", func(ctx context.Context, _ eddy.Change[thing]) error {
			<-ctx.Done()
			return ctx.Err()
		}, changes, eddy.Timeout(time.Second))
	case "panics":
		eddy.React(app, "bench::beside", func(context.Context, eddy.Change[thing]) error { panic("always") }, changes)
	case "counts":
		eddy.React(app, "bench::beside", func(ctx context.Context, _ eddy.Change[thing]) error {
			return tallies.Increment(ctx, "changes", "handled", 1)
		}, changes, eddy.Uses(tallies))
	default:
		return nil, fmt.Errorf("no reaction %q", reaction)
	}
	return app, nil
}
