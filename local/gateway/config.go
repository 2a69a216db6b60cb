package gateway

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/eddyhq/eddy/shared/port"
)

// Config says where a gateway listens and keeps its data. The zero value is not usable; begin with DefaultConfig.
type Config struct {
	HTTP       string    // address of the HTTP and WebSocket door
	Stream     string    // address of the door that is WebSocket alone; "" for none
	Data       string    // directory of the store; made when it is not there
	AdminToken string    // what /_eddy/* asks for; "" lets only this machine in
	LogFormat  string    // "text" or "json"
	Log        io.Writer // where logs go; nil discards them
	FS         vfs.FS    // where Data lies; nil is the disk

	ClientRate     int // requests a second of one client, and twice as many after a pause; 0: not limited
	MaxConnections int // at a time, WebSockets included, and half of them of one client; 0: 20,000
	MaxRequests    int // in flight, and half of them of one client; 0: 4,096

	Now func() time.Time // the clock of the application; nil: time.Now

	// DuplicateDeliveries is a test mode: every delivery is made twice, which changes nothing that can be seen.
	DuplicateDeliveries bool

	// Published, when not nil, sees every record of the log in order, once it is durable. It must return at once.
	Published func(records []port.Record)
}

// DefaultConfig is what `go run ./local` uses when nothing is said.
func DefaultConfig() Config {
	c := Config{HTTP: "127.0.0.1:3111", Stream: "127.0.0.1:3112", Data: ".eddy", LogFormat: "text"}
	return c.withDefaults()
}

// withDefaults returns the Config with what stands for a zero.
func (c Config) withDefaults() Config {
	c.MaxConnections = cmp.Or(c.MaxConnections, 20_000)
	c.MaxRequests = cmp.Or(c.MaxRequests, 4_096)
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

const serveAbout = `Serves the application on this machine, durably, until it is interrupted.

Usage: go run ./local [serve] [flags]

Flags:
`

// parse reads the flags; one that is not given is taken from its environment variable, then from the default.
func parse(args []string, getenv func(string) string, usage io.Writer) (Config, error) {
	config := DefaultConfig()
	flags := flag.NewFlagSet("serve", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&config.HTTP, "http", config.HTTP, "`address` for HTTP and WebSocket")
	flags.StringVar(&config.Stream, "stream", config.Stream, "`address` for WebSocket alone; empty for none")
	flags.StringVar(&config.Data, "data", config.Data, "`directory` of the durable data")
	flags.StringVar(&config.AdminToken, "admin-token", "",
		"`token` asked for by /_eddy/*; without one only this machine may use it")
	flags.StringVar(&config.LogFormat, "log-format", config.LogFormat, "`format` of the log: text or json")
	flags.IntVar(&config.ClientRate, "client-rate", 0,
		"`requests` a second that one client address may make, and twice as many after a pause; 0: not limited")
	flags.IntVar(&config.MaxConnections, "max-connections", config.MaxConnections,
		"`connections` at a time, WebSockets included; one client address gets half of them at most")
	flags.IntVar(&config.MaxRequests, "max-requests", config.MaxRequests,
		"`requests` in flight at a time; one client address gets half of them at most")
	flags.BoolVar(&config.DuplicateDeliveries, "duplicate-deliveries", false,
		"test mode: makes every delivery twice, which changes nothing that can be seen")
	mistakes := readEnvironment(flags, getenv)
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(usage, serveAbout)
		flags.SetOutput(usage)
		flags.PrintDefaults()
		return Config{}, err
	case err != nil:
		return Config{}, fmt.Errorf("%w: see -help", err)
	case flags.NArg() > 0:
		return Config{}, fmt.Errorf("unknown argument %q: see -help", flags.Arg(0))
	}
	return config, errors.Join(mistakes, config.validate())
}

// readEnvironment sets flags to what their environment variables say, and names these in the help.
func readEnvironment(flags *flag.FlagSet, getenv func(string) string) error {
	var mistakes []error
	flags.VisitAll(func(f *flag.Flag) {
		variable := "EDDY_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		f.Usage += "; or " + variable
		text := getenv(variable)
		if text == "" {
			return
		}
		if err := f.Value.Set(text); err != nil {
			mistakes = append(mistakes, fmt.Errorf("%s: %q: %w", variable, text, err))
			return
		}
		f.DefValue = text
		if f.Name == "admin-token" {
			f.DefValue = "taken from " + variable // never print a secret
		}
	})
	return errors.Join(mistakes...)
}

func (c Config) validate() error {
	var mistakes []error
	if c.HTTP == "" {
		mistakes = append(mistakes, errors.New("-http: an address is needed, such as 127.0.0.1:3111"))
	}
	if c.Data == "" {
		mistakes = append(mistakes, errors.New("-data: a directory is needed, such as .eddy"))
	}
	if c.LogFormat != "text" && c.LogFormat != "json" {
		mistakes = append(mistakes, fmt.Errorf("-log-format: %q is neither text nor json", c.LogFormat))
	}
	for _, limit := range []struct {
		flag  string
		value int
	}{{"client-rate", c.ClientRate}, {"max-connections", c.MaxConnections}, {"max-requests", c.MaxRequests}} {
		if limit.value < 0 {
			mistakes = append(mistakes, fmt.Errorf("-%s: %d is below zero", limit.flag, limit.value))
		}
	}
	return errors.Join(mistakes...)
}
