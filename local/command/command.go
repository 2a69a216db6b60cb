// Package command is the command line beside serving: backup and restore of a data directory, export and import of documents,
// and dead letters.
//
//	arguments -> Find -> Command.Run -> remote.Client -> the application that runs, here or on AWS
//	                                 -> pebblestore, where none runs
package command

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/eddyhq/eddy/local/remote"
)

// The exit codes of commands.
const (
	OK     = 0
	Failed = 1
	Misuse = 2 // a mistake on the command line
)

// DefaultURL is where `go run ./local` serves when nothing else is said.
const DefaultURL = "http://127.0.0.1:3111"

// Environment is what a command sees of the process that runs it.
type Environment struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Getenv         func(string) string
	Now            func() time.Time
}

// Command is one of the command line.
type Command struct {
	Name, Arguments, Summary string

	about string // what -help says beside Arguments and flags
	run   func(c *call) error
}

// Commands returns all commands, in the order in which the help lists them.
func Commands() []Command {
	return []Command{backupCommand(), restoreCommand(), exportCommand(), importCommand(), lettersCommand()}
}

// Find returns the command of a name.
func Find(name string) (Command, bool) {
	for _, c := range Commands() {
		if c.Name == name {
			return c, true
		}
	}
	return Command{}, false
}

// Run runs the command and returns the exit code. What it made is on Stdout or in a file, everything else on Stderr.
func (c Command) Run(ctx context.Context, args []string, environment Environment) int {
	call := &call{Environment: environment, command: c, ctx: ctx, args: args}
	call.flags = flag.NewFlagSet(c.Name, flag.ContinueOnError)
	call.flags.SetOutput(io.Discard)
	err := c.run(call)
	var misuse *misuseError
	switch {
	case err == nil:
		return OK
	case errors.Is(err, flag.ErrHelp):
		call.help()
		return OK
	case errors.As(err, &misuse):
		fmt.Fprintf(call.Stderr, "%s: %s\nSee: go run ./local %s -help\n", c.Name, misuse, c.Name)
		return Misuse
	default:
		fmt.Fprintf(call.Stderr, "%s: %v\n", c.Name, err)
		return Failed
	}
}

// misuseError is a mistake on the command line.
type misuseError struct{ problem string }

func (e *misuseError) Error() string { return e.problem }

func misuse(format string, args ...any) error { return &misuseError{fmt.Sprintf(format, args...)} }

// call is one run of a command.
type call struct {
	Environment
	command Command
	ctx     context.Context //nolint:containedctx // it lives as long as the run
	args    []string
	flags   *flag.FlagSet
}

// parse reads flags and arguments, which may stand in any order, and returns the arguments: at least one, and at most so many.
func (c *call) parse(most int) ([]string, error) {
	var arguments []string
	for rest := c.args; ; {
		if err := c.flags.Parse(rest); err != nil {
			if errors.Is(err, flag.ErrHelp) {
				return nil, err
			}
			return nil, misuse("%v", err)
		}
		if rest = c.flags.Args(); len(rest) == 0 {
			break
		}
		arguments, rest = append(arguments, rest[0]), rest[1:]
	}
	if n := len(arguments); n == 0 || n > most {
		return nil, misuse("it takes %s", c.command.Arguments)
	}
	return arguments, nil
}

// given reports whether a flag stands on the command line.
func (c *call) given(name string) bool {
	found := false
	c.flags.Visit(func(f *flag.Flag) { found = found || f.Name == name })
	return found
}

// orEnvironment returns the value of a flag, or of a variable where the flag is not given.
func (c *call) orEnvironment(name, value, variable string) string {
	if v := c.Getenv(variable); v != "" && !c.given(name) {
		return v
	}
	return value
}

// help prints what the command does and takes.
func (c *call) help() {
	fmt.Fprintf(c.Stdout, "%s.\n\nUsage: go run ./local %s %s [flags]\n", c.command.Summary, c.command.Name, c.command.Arguments)
	if c.command.about != "" {
		fmt.Fprintf(c.Stdout, "\n%s\n", strings.TrimSpace(c.command.about))
	}
	fmt.Fprint(c.Stdout, "\nFlags:\n")
	c.flags.SetOutput(c.Stdout)
	c.flags.PrintDefaults()
}

// application is the flags that say which application a command asks.
type application struct{ url, token, region *string }

func (c *call) applicationFlags() application {
	return application{
		url:    c.flags.String("url", DefaultURL, "base `URL` of the application, a gateway or a deployment on AWS; or EDDY_URL"),
		token:  c.flags.String("token", "", "admin `token` of a gateway that asks for one; or EDDY_ADMIN_TOKEN"),
		region: c.flags.String("sign", "", "sign requests for API Gateway in this `region` of AWS; its own URLs say it themselves"),
	}
}

// connect returns the client of the application that the flags name, once they are parsed.
func (c *call) connect(a application) (*remote.Client, error) {
	client, err := remote.New(remote.Options{
		URL: c.orEnvironment("url", *a.url, "EDDY_URL"), Token: c.orEnvironment("token", *a.token, "EDDY_ADMIN_TOKEN"),
		Region: *a.region, Getenv: c.Getenv, Now: c.Now, Wait: remote.Wait,
	})
	if err != nil {
		return nil, misuse("%v", err)
	}
	return client, nil
}

// ask does what a command with one argument does with the application that the flags name.
func (c *call) ask(a application, do func(client *remote.Client, argument string) error) error {
	arguments, err := c.parse(1)
	if err != nil {
		return err
	}
	client, err := c.connect(a)
	if err != nil {
		return err
	}
	defer client.Close()
	return explain(do(client, arguments[0]), client.URL)
}

// explain adds to an error what to do about it.
func explain(err error, url string) error {
	if remote.IsNobody(err) {
		return fmt.Errorf("nothing answers at %s: start the application (go run ./local), or say where it is with -url", url)
	}
	return err
}
