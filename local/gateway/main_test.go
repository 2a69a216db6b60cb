package gateway

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/eddyhq/eddy/functions"
	"github.com/eddyhq/eddy/local/command"
)

var update = flag.Bool("update", false, "write the golden files anew")

// commandLine runs a command line and returns its exit code and what it said.
func commandLine(args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = run(functions.App(), args, command.Environment{
		Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs, Getenv: func(string) string { return "" }, Now: time.Now,
	})
	return code, out.String(), errs.String()
}

func TestHelp(t *testing.T) {
	t.Parallel()
	for name, lines := range map[string][]string{"help": {"help"}, "serve": {"-help", "serve -h", "help serve"}} {
		golden := filepath.Join("testdata", name+".txt")
		for _, line := range lines {
			code, stdout, stderr := commandLine(strings.Fields(line)...)
			if *update {
				if err := os.WriteFile(golden, []byte(stdout), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), stdout); code != command.OK || stderr != "" || diff != "" {
				t.Errorf("%s: exit code %d, %s\n(-want +got):\n%s", line, code, stderr, diff)
			}
		}
	}
	if code, stdout, _ := commandLine("help", "backup"); code != command.OK || !strings.Contains(stdout, "backup FILE") {
		t.Errorf("help of a command: exit code %d\n%s", code, stdout)
	}
}

func TestMistakesOnTheCommandLine(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, line, says string }{
		{"an unknown command", "migrate", `unknown command "migrate"`},
		{"help of an unknown command", "help migrate", `unknown command "migrate"`},
		{"an unknown flag", "-nothing", "-nothing"},
		{"an argument of serve", "serve now", `unknown argument "now"`},
		{"a number that is none", "-max-connections many", "-max-connections"},
		{"a number below zero", "-client-rate -1", "-client-rate: -1 is below zero"},
		{"a mistake of another command", "restore", "it takes FILE"},
	} {
		code, stdout, stderr := commandLine(strings.Fields(c.line)...)
		if code != command.Misuse || !strings.Contains(stderr, c.says) || stdout != "" {
			t.Errorf("%s: exit code %d\n%s%s", c.name, code, stdout, stderr)
		}
	}
}
