package gateway

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"

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

	// Published, when not nil, sees every record of the log in order, once it is durable. It must return at once.
	Published func(records []port.Record)
}

// DefaultConfig is what `go run ./local` uses when nothing is said.
func DefaultConfig() Config {
	return Config{HTTP: "127.0.0.1:3111", Stream: "127.0.0.1:3112", Data: ".eddy", LogFormat: "text"}
}

// parse reads the flags; one that is not given is taken from its environment variable, then from the default.
func parse(args []string, getenv func(string) string, usage io.Writer) (Config, error) {
	config := DefaultConfig()
	flags := flag.NewFlagSet("local", flag.ContinueOnError)
	flags.SetOutput(usage)
	options := []struct {
		name, usage string
		value       *string
	}{
		{"http", "`address` for HTTP and WebSocket", &config.HTTP},
		{"stream", "`address` for WebSocket alone; empty for none", &config.Stream},
		{"data", "`directory` of the durable data", &config.Data},
		{"admin-token", "`token` asked for by /_eddy/*; without one only this machine may use it", &config.AdminToken},
		{"log-format", "`format` of the log: text or json", &config.LogFormat},
	}
	for _, o := range options {
		variable := "EDDY_" + strings.ToUpper(strings.ReplaceAll(o.name, "-", "_"))
		if v := getenv(variable); v != "" {
			*o.value = v
		}
		shown := *o.value
		flags.StringVar(o.value, o.name, *o.value, o.usage+"; or "+variable)
		if o.name == "admin-token" && shown != "" {
			flags.Lookup(o.name).DefValue = "taken from " + variable // never print a secret
		}
	}
	flags.Usage = func() {
		fmt.Fprintf(usage, "Serves the application on this machine, durably, until it is interrupted.\n\nUsage: %s [flags]\n\n",
			flags.Name())
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); err != nil {
		return Config{}, err
	}
	if flags.NArg() > 0 {
		return Config{}, fmt.Errorf("unknown argument %q: see -help", flags.Arg(0))
	}
	return config, config.validate()
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
	return errors.Join(mistakes...)
}
