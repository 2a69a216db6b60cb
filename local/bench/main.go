// Command bench measures the local gateway beside bare baselines: `make bench`, or `go run ./local/bench -help`.
//
// It builds the gateway as its users do, runs it as a child process, and alternates it with servers that do the least
// that is possible for the same work: net/http over Pebble with group commit, and net/http with gws broadcasting a
// prebuilt frame. Both get the same requests from the same load generator, over loopback, and share the machine with it.
// What the table says is the ratio of the two; absolute figures move with the machine.
//
// Nothing is enforced: a missed target is printed as missed and the exit code is 0. It needs Linux, whose /proc says what
// the servers use.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// baselineCommand as first argument turns this program into the baseline server.
const baselineCommand = "baseline"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if len(args) > 0 {
		switch args[0] {
		case baselineCommand:
			return serveBaseline(ctx, args[1:])
		case profiledCommand:
			return serveProfiled(ctx, args[1:])
		case besideCommand:
			return serveBeside(ctx, args[1:])
		}
	}
	o, err := parseOptions(args, stderr)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp(o.dir, "eddy-bench-")
	if err != nil {
		return fmt.Errorf("make a scratch directory: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()

	began := time.Now()
	b := &bench{sizes: o.sizes(), dir: dir, progress: stderr}
	if err := b.prepare(ctx, o); err != nil {
		return err
	}
	before, err := observeMachine()
	if err != nil {
		return err
	}
	rows, err := b.runAll(ctx, o.only)
	printTable(stdout, rows)
	others, unknown := before.takenByOthers()
	fmt.Fprintf(stdout, "\nMedians of %d rounds, gateway and baseline in turn, in %s. "+
		"Bytes are write_bytes of /proc/PID/io.\n"+
		"Other processes took %.0f %% of the machine's CPU meanwhile; the less, the better the figures.\n",
		b.rounds, time.Since(began).Round(time.Second), others*100)
	return errors.Join(err, unknown)
}

// options are what the command line says.
type options struct {
	short   bool
	rounds  int
	only    []string
	dir     string
	gateway string
	profile string
}

func parseOptions(args []string, stderr io.Writer) (options, error) {
	var o options
	var only string
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.BoolVar(&o.short, "short", false, "a quick look: one short round and small sizes, about half a minute")
	flags.IntVar(&o.rounds, "rounds", 3, "rounds of each measurement; the table shows their medians")
	flags.StringVar(&only, "only", "", "comma-separated measurements to run: "+strings.Join(experimentNames(), ", "))
	flags.StringVar(&o.dir, "dir", "", "where the servers keep data during the run (default: the temporary directory)")
	flags.StringVar(&o.gateway, "gateway", "", "measure this gateway binary instead of building ./local")
	flags.StringVar(&o.profile, "profile", "", "write a CPU profile of each run of the gateway into this directory")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if flags.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q; see -help", flags.Arg(0))
	}
	if o.rounds < 1 {
		return o, fmt.Errorf("-rounds %d: must be at least 1", o.rounds)
	}
	if only != "" {
		o.only = strings.Split(only, ",")
	}
	for _, name := range o.only {
		if !slices.Contains(experimentNames(), name) {
			return o, fmt.Errorf("-only %q: choose from %s", name, strings.Join(experimentNames(), ", "))
		}
	}
	if o.short && !isSet(flags, "rounds") {
		o.rounds = 1
	}
	return o, nil
}

func isSet(flags *flag.FlagSet, name string) bool {
	found := false
	flags.Visit(func(f *flag.Flag) { found = found || f.Name == name })
	return found
}

// sizes say how much of everything a run does.
type sizes struct {
	rounds      int
	warm        time.Duration // before a measured time
	measured    time.Duration // of a closed loop
	sustained   time.Duration // of creates with their reactions, and of the writes they are compared to
	subscribers int
	idle        int // sockets whose memory is measured
	documents   int // on disk at a restart
	unflushed   int // documents written before a kill
}

func (o options) sizes() sizes {
	if o.short {
		return sizes{
			rounds: o.rounds, warm: 200 * time.Millisecond, measured: 600 * time.Millisecond, sustained: time.Second,
			subscribers: 1000, idle: 2000, documents: 20_000, unflushed: 2000,
		}
	}
	return sizes{
		rounds: o.rounds, warm: 400 * time.Millisecond, measured: 2 * time.Second, sustained: 5 * time.Second,
		subscribers: 1000, idle: 5000, documents: 100_000, unflushed: 10_000,
	}
}

// bench is one run: its sizes and the programs it measures.
type bench struct {
	sizes
	dir      string // scratch; gone at the end
	self     string // this program
	binary   string // what `go build ./local` makes
	gateway  program
	stored   program // the baseline with Pebble
	logged   program // the baseline with a preallocated log
	bare     program // the baseline that stores nothing
	progress io.Writer
}

// prepare builds the gateway and sees that each program starts, so that what is wrong with one is said at once.
func (b *bench) prepare(ctx context.Context, o options) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find the baseline's program: %w", err)
	}
	b.self, b.binary = self, o.gateway
	if b.binary == "" {
		b.binary = filepath.Join(b.dir, "gateway")
		b.say("building ./local")
		if err := buildGateway(ctx, b.binary); err != nil {
			return err
		}
	}
	b.stored = program{name: "net/http + gws + Pebble", path: self, args: storedArgs}
	b.logged = program{name: "net/http + preallocated log", path: self, args: loggedArgs}
	b.bare = program{name: "net/http + gws", path: self, args: bareArgs}
	b.gateway = program{name: "gateway", path: b.binary, args: gatewayArgs}
	for _, p := range []program{b.gateway, b.stored, b.logged, b.bare} {
		if err := b.check(ctx, p); err != nil {
			return err
		}
	}
	if o.profile == "" {
		return nil
	}
	b.gateway = profiled(self, o.profile)
	return os.MkdirAll(o.profile, 0o755)
}

// runAll runs the named experiments, or all of them, and returns the rows of those that succeeded beside the errors.
func (b *bench) runAll(ctx context.Context, only []string) ([]row, error) {
	var rows []row
	var failed []error
	for _, e := range experiments() {
		if len(only) > 0 && !slices.Contains(only, e.name) {
			continue
		}
		b.say("%s", e.name)
		found, err := e.run(ctx, b)
		if err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", e.name, err))
			b.say("%v", failed[len(failed)-1])
		}
		rows = append(rows, found...)
		if ctx.Err() != nil {
			break
		}
	}
	return rows, errors.Join(failed...)
}

func (b *bench) say(format string, args ...any) {
	fmt.Fprintf(b.progress, "bench: "+format+"\n", args...)
}
