// Command bench measures the bootstrap beside a Lambda with aws-lambda-go alone, in the same run: how long a process takes
// from its start to its first poll, and what one invocation takes. It needs no AWS: it is the Runtime API of both.
//
//	go run ./shared/aws/host/bench
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"text/tabwriter"
	"time"
)

// What the bootstrap is held to.
const (
	startTarget    = 1.5                    // times the start of the bare one
	overheadTarget = 300 * time.Microsecond // more than an invocation of the bare one
)

func main() {
	starts := flag.Int("starts", 31, "`number` of processes of each")
	invokes := flag.Int("invokes", 2000, "`number` of invocations of a warm process of each")
	flag.Parse()
	if *starts < 1 || *invokes < 1 || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	if err := run(context.Background(), os.Stdout, *starts, *invokes); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer, starts, invokes int) error {
	dir, err := os.MkdirTemp("", "eddy-bench-lambda-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	ours, err := build(ctx, dir, "./functions/bootstrap")
	if err != nil {
		return err
	}
	bare, err := build(ctx, dir, "./shared/aws/host/bench/bare")
	if err != nil {
		return err
	}
	var started [2][]time.Duration
	for range starts { // in turn, so that what else the machine does falls on both
		for i, program := range []string{ours, bare} {
			seen, err := live(ctx, program, 1)
			if err != nil {
				return err
			}
			started[i] = append(started[i], seen.start)
		}
	}
	var invoked [2]time.Duration
	for i, program := range []string{ours, bare} {
		seen, err := live(ctx, program, invokes)
		if err != nil {
			return err
		}
		invoked[i] = median(seen.invokes[len(seen.invokes)/10:])
	}
	return report(out, median(started[0]), median(started[1]), invoked[0], invoked[1], size(ours))
}

// build makes a program as it is deployed, but for this machine.
func build(ctx context.Context, dir, target string) (string, error) {
	program := filepath.Join(dir, filepath.Base(target))
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-tags", "lambda.norpc",
		"-ldflags", "-s -w", "-o", program, target)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", errors.Join(fmt.Errorf("build %s", target), err, errors.New(string(text)))
	}
	return program, nil
}

func median(of []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(of))
	return sorted[len(sorted)/2]
}

func size(program string) int64 {
	info, err := os.Stat(program)
	if err != nil {
		return 0
	}
	return info.Size()
}

func report(out io.Writer, start, bareStart, invoke, bareInvoke time.Duration, bytes int64) error {
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	ratio, overhead := float64(start)/float64(bareStart), invoke-bareInvoke
	fmt.Fprintln(t, "what\tbootstrap\tbare\t\ttarget\t")
	fmt.Fprintf(t, "process start to first poll, ms\t%.2f\t%.2f\t%.2f ×\t≤ %.1f ×\t%s\n",
		milliseconds(start), milliseconds(bareStart), ratio, startTarget, verdict(ratio <= startTarget))
	fmt.Fprintf(t, "one invocation, ms\t%.3f\t%.3f\t+ %.3f\t≤ + %.1f\t%s\n",
		milliseconds(invoke), milliseconds(bareInvoke), milliseconds(overhead), milliseconds(overheadTarget),
		verdict(overhead <= overheadTarget))
	fmt.Fprintf(t, "binary, MB\t%.1f\t\t\t\t\n", float64(bytes)/1e6)
	return t.Flush()
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func verdict(met bool) string {
	if met {
		return "met"
	}
	return "missed"
}
