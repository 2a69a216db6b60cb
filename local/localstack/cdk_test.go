package localstack_test

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// root is the root of the module, where a user runs the CDK. The command line is the one that infra/package.json pins. What is
// drawn and built is the proof app.
const (
	root    = "../.."
	command = "infra/node_modules/.bin/cdk"
	drawing = "go run ./infra/testdata/proof"
	binary  = "./functions/testdata/proof/bootstrap"
)

// theStage is a stage of its own: a run on AWS touches no stack of a user, and may destroy its own.
const (
	theStage = "proof"
	theStack = "eddy-" + theStage
)

// cdk runs commands of the CDK on what was synthesised once.
type cdk struct {
	command     string // the path of the CDK's CLI
	folder      string // for what it writes
	environment []string
}

// newCDK builds the binary that is deployed and synthesises the stack.
func newCDK(t *testing.T, e endpoint) cdk {
	t.Helper()
	path, err := filepath.Abs(filepath.Join(root, command))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("the command line of the CDK is missing, run npm ci --prefix infra: %v", err)
	}
	c := cdk{command: path, folder: t.TempDir(), environment: append(os.Environ(),
		"AWS_REGION="+e.config.Region,
		"AWS_DEFAULT_REGION="+e.config.Region,
		"CDK_DISABLE_CLI_TELEMETRY=true",
		"JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION=20",
		"NO_COLOR=1",
	)}
	if e.url != "" {
		c.environment = append(c.environment, "AWS_ENDPOINT_URL="+e.url)
	}
	c.build(t, e.architecture())
	c.run(t, "synth", "--app", drawing, "--quiet", "--output", c.assembly(), "-c", "stage="+theStage, "-c", "bootstrap="+c.bootstrap())
	if e.kind == ministack {
		c.reduce(t)
	}
	return c
}

// resource is a resource of a template, as much of it as is looked at.
type resource struct {
	Type       string
	Properties map[string]json.RawMessage
}

// unknown reports whether the CloudFormation of ministack refuses the resource: an alarm over several metrics. The tests of
// the templates see to those.
func (r resource) unknown() bool {
	_, several := r.Properties["Metrics"]
	return r.Type == "AWS::CloudWatch::Alarm" && several
}

// reduce takes out of the templates what ministack refuses.
func (c cdk) reduce(t *testing.T) {
	t.Helper()
	templates, err := filepath.Glob(filepath.Join(c.assembly(), "*.template.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range templates {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		reduced, without, err := reduce(text)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if err := os.WriteFile(path, reduced, 0o600); err != nil {
			t.Fatal(err)
		}
		if len(without) > 0 {
			t.Logf("%s: ministack does without %s", filepath.Base(path), strings.Join(without, ", "))
		}
	}
}

// reduce returns a template without the resources that ministack refuses, and their names.
func reduce(text []byte) (reduced []byte, without []string, err error) {
	var template map[string]json.RawMessage
	if err := json.Unmarshal(text, &template); err != nil {
		return nil, nil, err
	}
	var resources map[string]json.RawMessage
	if err := json.Unmarshal(template["Resources"], &resources); err != nil {
		return nil, nil, err
	}
	for name, text := range resources {
		var r resource
		if err := json.Unmarshal(text, &r); err != nil {
			return nil, nil, err
		}
		if r.unknown() {
			without = append(without, name)
			delete(resources, name)
		}
	}
	if template["Resources"], err = json.Marshal(resources); err != nil {
		return nil, nil, err
	}
	reduced, err = json.Marshal(template)
	return reduced, without, err
}

// bootstrap is the folder of the binary, assembly that of the templates.
func (c cdk) bootstrap() string { return filepath.Join(c.folder, "bootstrap") }
func (c cdk) assembly() string  { return filepath.Join(c.folder, "cdk.out") }

// build builds the binary as `make dist` does, for an architecture; "" is that of this machine.
func (c cdk) build(t *testing.T, architecture string) {
	t.Helper()
	if architecture == "" {
		architecture = runtime.GOARCH
	}
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-buildvcs=false", "-tags", "lambda.norpc",
		"-ldflags", "-s -w", "-o", filepath.Join(c.bootstrap(), "bootstrap"), binary)
	build.Dir = root
	build.Env = append(os.Environ(), "GOOS=linux", "GOARCH="+architecture, "CGO_ENABLED=0")
	if said, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the bootstrap: %v\n%s", err, said)
	}
}

// run runs a command of the CDK to its end, wants it to succeed, and returns what it said.
func (c cdk) run(t *testing.T, arguments ...string) string {
	t.Helper()
	run := exec.CommandContext(context.WithoutCancel(t.Context()), c.command, append(arguments, "--no-notices", "--ci")...)
	run.Dir, run.Env = root, c.environment
	began := time.Now()
	said, err := run.CombinedOutput()
	t.Logf("cdk %s: %s", arguments[0], time.Since(began).Round(time.Second/10))
	if err != nil {
		t.Fatalf("cdk %s: %v\n%s", strings.Join(arguments, " "), err, said)
	}
	return string(said)
}

// deploy deploys what was synthesised and returns the outputs of the stack and what the CDK said.
func (c cdk) deploy(t *testing.T) (outputs map[string]string, said string) {
	t.Helper()
	file := filepath.Join(c.folder, "outputs.json")
	said = c.run(t, "deploy", theStack, "--app", c.assembly(), "--require-approval", "never", "--outputs-file", file)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var stacks map[string]map[string]string
	if err := json.Unmarshal(text, &stacks); err != nil {
		t.Fatalf("the outputs: %v: %s", err, text)
	}
	if stacks[theStack] == nil {
		t.Fatalf("no outputs of %s: %s", theStack, text)
	}
	return stacks[theStack], said
}
