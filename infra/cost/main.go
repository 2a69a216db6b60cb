// Command cost estimates what a month of an application costs on AWS: `make cost`, or
//
//	go run ./infra/cost -requests 5e6 -writes 1e6 -subscribers 500
//
// Prices are data, with their date and sources: prices.json. What Eddy does for a request, a write, a reaction and a
// push is in estimate.go.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/eddyhq/eddy/functions"
)

func main() { os.Exit(run(os.Args[1:], len(functions.App().Functions()), os.Stdout, os.Stderr)) }

// run prints the estimate and returns the exit code: 2 for a mistake on the command line.
func run(args []string, registered int, stdout, stderr io.Writer) int {
	l, err := parse(args, registered, stdout)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintln(stderr, err)
		return 2
	}
	p, err := readPrices(priceList)
	if err == nil {
		err = printBill(stdout, p, estimate(l))
	}
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	return 0
}

// number is the value of a flag: not negative, and written as 1000000, 1e6 or 1_000_000.
type number struct{ of *float64 }

func (n number) String() string {
	if n.of == nil {
		return ""
	}
	return grouped(*n.of)
}

func (n number) Set(text string) error {
	var value float64
	text = strings.NewReplacer("_", "", ",", "").Replace(text)
	if _, err := fmt.Sscanf(text+"\n", "%g\n", &value); err != nil {
		return errors.New("write a number, such as 1000000, 1,000,000 or 1e6")
	}
	if value < 0 || math.IsInf(value, 0) || math.IsNaN(value) {
		return errors.New("it must be a number that is not below zero")
	}
	*n.of = value
	return nil
}

func parse(args []string, registered int, stdout io.Writer) (load, error) {
	var l load
	flags := flag.NewFlagSet("cost", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	for _, f := range []struct {
		value    *float64
		name     string
		standard float64
		usage    string
	}{
		{&l.requests, "requests", 1e6, "HTTP requests a month"},
		{&l.writes, "writes", 2e5, "those of them that write a document"},
		{&l.reactions, "reactions", 2, "runs of reactions for each write"},
		{&l.ticks, "ticks", 0, "ticks of schedules: of one that is due every minute, 43,800 a month"},
		{&l.subscribers, "subscribers", 50, "WebSockets that are open, on average"},
		{&l.pushes, "pushes", 1e7, "frames to subscribers a month: events times those who hear them"},
		{&l.functions, "functions", float64(registered), "functions: each has a queue, which is polled also when it is idle"},
		{&l.memory, "memory", 256, "MB of a function"},
		{&l.millis, "millis", 15, "milliseconds that a function runs"},
		{&l.document, "document", 1, "KB of a document, and of an answer"},
		{&l.frame, "frame", 1, "KB of a frame"},
		{&l.batch, "batch", 1, "records or deliveries that one run is given: 1 where traffic is low, up to 10"},
		{&l.stored, "stored", 1, "GB of documents"},
		{&l.logged, "logged", 600, "bytes that a run logs, Lambda's own lines among them"},
		{&l.kept, "kept", 0.25, "months that logs are kept: 0.25 in a development stack, 3 in one that keeps its data"},
		{&l.pollers, "pollers", 5, "pollers of an idle queue: AWS begins with five"},
	} {
		*f.value = f.standard
		flags.Var(number{f.value}, f.name, f.usage)
	}
	err := flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprintln(stdout, "cost estimates a month of the application on AWS, in US dollars.")
		flags.SetOutput(stdout)
		flags.PrintDefaults()
		return l, err
	case err != nil:
		return l, err
	case flags.NArg() > 0:
		return l, fmt.Errorf("%q is no flag; see -help", flags.Arg(0))
	}
	return l, l.validate()
}

// printBill writes the bill as a table: what, how many, at what price, and the dollars.
func printBill(w io.Writer, p prices, lines []line) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "\ta month\t\tat $\tper\t$\t")
	var sum float64
	var sources []string
	for _, l := range lines {
		one, ok := p.Prices[l.price]
		if !ok {
			return fmt.Errorf("the prices lack %s", l.price)
		}
		cost := l.quantity / one.Per * one.Dollars
		sum += cost
		fmt.Fprintf(table, "%s\t%s\t%s\t%v\t%s\t%.2f\t\n",
			one.What, grouped(l.quantity), one.Of, one.Dollars, grouped(one.Per), cost)
		if !slices.Contains(sources, one.Source) {
			sources = append(sources, one.Source)
		}
	}
	fmt.Fprintf(table, "together\t\t\t\t\t%.2f\t\n", sum)
	if err := table.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(w, "\nPrices of %s, as of %s. %s\n", p.Region, p.Date, p.Note)
	fmt.Fprintf(w, "Reads of the documents' stream by the router are free.\n")
	for _, source := range sources {
		fmt.Fprintln(w, " ", source)
	}
	return nil
}

// grouped writes a number as people read it: 1,000,000, and below 100 with two digits at most.
func grouped(n float64) string {
	if n < 100 {
		return strings.TrimSuffix(strings.TrimRight(fmt.Sprintf("%.2f", n), "0"), ".")
	}
	digits := fmt.Sprintf("%.0f", n)
	var b strings.Builder
	for i, digit := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(digit)
	}
	return b.String()
}
