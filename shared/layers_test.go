// Package shared_test holds the rules of who imports whom, for the whole module.
package shared_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const module = "github.com/eddyhq/eddy"

// A layer is a set of packages with a rule for what they import. Tests are free.
//
// A pattern is an import path, or one with "/..." for it and all below it. A path that starts with "./" lies in this
// module.
type layer struct {
	of     []string
	except []string

	only  []string // when not nil: what they may import from this module, each other included
	never []string // what must not be among their dependencies, however far away
	why   string
}

var (
	aws    = below("github.com/aws", "aws-sdk-go-v2", "aws-lambda-go", "smithy-go")
	cdk    = below("github.com/aws", "aws-cdk-go", "constructs-go", "jsii-runtime-go")
	stores = below("github.com/cockroachdb", "pebble")

	// services is what talks to AWS. The rest of the SDK signs requests.
	services = below("github.com/aws", "aws-lambda-go", "aws-sdk-go-v2/config", "aws-sdk-go-v2/credentials",
		"aws-sdk-go-v2/feature", "aws-sdk-go-v2/service")
)

var layers = []layer{
	{
		of:     []string{"./functions/..."},
		except: []string{"./functions/bootstrap"},
		only:   []string{"./functions/...", "./shared/eddy"},
		why:    "functions run unchanged wherever eddy does: all they know of it is shared/eddy",
	},
	{
		of: []string{
			"./shared/errs", "./shared/payload", "./shared/port", "./shared/document", "./shared/state",
			"./shared/stream", "./shared/transaction", "./shared/idempotency", "./shared/transfer", "./shared/reaction", "./shared/queue", "./shared/door", "./shared/operator", "./shared/eddy/...",
		},
		never: slices.Concat(aws, cdk, stores, []string{"./local/...", "./infra/..."}),
		why:   "semantics know ports, not what implements them",
	},
	{
		of:   []string{"./shared/errs"},
		only: []string{},
		why:  "errors lie under everything",
	},
	{
		of:   []string{"./shared/payload"},
		only: []string{"./shared/errs"},
		why:  "reading JSON from outside knows nothing of what is read",
	},
	{
		of:   []string{"./shared/document"},
		only: []string{"./shared/errs", "./shared/payload"},
		why:  "data flows one way: documents know nothing of where they are kept",
	},
	{
		of:   []string{"./shared/port"},
		only: []string{"./shared/errs", "./shared/document"},
		why:  "data flows one way: a port knows neither its users nor its adapters",
	},
	{
		of:    []string{"./shared/state", "./shared/stream"},
		never: []string{"./shared/eddy", "./shared/reaction"},
		why:   "data flows one way: the engine functions lie under what functions import",
	},
	{
		of:    []string{"./shared/eddy/..."},
		never: []string{"./shared/reaction"},
		why:   "data flows one way: what runs functions lies above what functions import",
	},
	{
		of:    []string{"./shared/pebblestore"},
		only:  []string{"./shared/pebblestore/...", "./shared/errs", "./shared/document", "./shared/port"},
		never: slices.Concat(aws, cdk),
		why:   "an adapter implements ports and knows nothing above them",
	},
	{
		of:   []string{"./shared/deployed"},
		only: []string{},
		why:  "names lie under both sides of a deployment",
	},
	{
		of:    []string{"./shared/aws/dynamo", "./shared/aws/message"},
		never: []string{"./shared/eddy", "./shared/reaction", "./shared/pebblestore"},
		why:   "an adapter implements ports and knows nothing above them",
	},
	{
		of:    []string{"./shared/aws/..."},
		never: slices.Concat(cdk, stores, []string{"./local/...", "./infra/..."}),
		why:   "a Lambda carries what it needs and nothing of the other host",
	},
	{
		of:   []string{"./local/conformance"},
		only: []string{},
		why:  "the suite is an independent reading of the wire: it shares no code with what it judges",
	},
	{
		of:    []string{"./local/..."},
		never: slices.Concat(services, cdk, []string{"./infra/..."}),
		why:   "one machine needs no cloud: its command line signs what it asks of one, and that is all",
	},
	{
		of:    []string{"./..."},
		never: cdk,
		why:   "only infra draws stacks: nothing else needs Node.js to build",
	},
}

// pkg is what `go list` says of a package.
type pkg struct {
	ImportPath string
	Dir        string
	GoFiles    []string
	Imports    []string // directly
	Deps       []string // directly or not
}

func TestPackagesImportOnlyWhatTheirLayerAllows(t *testing.T) {
	t.Parallel()
	packages := list(t)
	for _, fault := range faults(packages, layers) {
		t.Error(fault)
	}
}

func TestEveryLayerHasPackages(t *testing.T) {
	t.Parallel()
	packages := list(t)
	for _, l := range layers {
		for _, pattern := range l.of {
			if !slices.ContainsFunc(packages, func(p pkg) bool { return matches(p.ImportPath, pattern) }) {
				t.Errorf("no package matches %s: the rule %q holds nothing", pattern, l.why)
			}
		}
	}
}

func TestFaultsAreFound(t *testing.T) {
	t.Parallel()
	const a, b, c = module + "/a", module + "/a/b", module + "/c"
	packages := []pkg{
		{ImportPath: a, Imports: []string{"fmt", b}, Deps: []string{"fmt", b, c, "example.org/sdk/s3"}},
		{ImportPath: b, Imports: []string{c}, Deps: []string{c, "example.org/sdk/s3"}},
		{ImportPath: c, Imports: []string{"example.org/sdk/s3"}, Deps: []string{"example.org/sdk/s3"}},
	}
	for _, test := range []struct {
		name  string
		layer layer
		want  []string
	}{
		{
			name:  "an import from this module that is not allowed",
			layer: layer{of: []string{"./a/..."}, only: []string{"./a/..."}, why: "reason"},
			want:  []string{b + " imports " + c + ": reason"},
		},
		{
			name:  "nothing of this module is allowed",
			layer: layer{of: []string{"./a"}, only: []string{}, why: "reason"},
			want:  []string{a + " imports " + b + ": reason"},
		},
		{
			name:  "a dependency that is far away",
			layer: layer{of: []string{"./a"}, never: []string{"example.org/sdk/..."}, why: "reason"},
			want:  []string{a + " depends on example.org/sdk/s3: reason"},
		},
		{
			name:  "a package of this module that is out of bounds",
			layer: layer{of: []string{"./a/b"}, never: []string{"./c"}, why: "reason"},
			want:  []string{b + " depends on " + c + ": reason"},
		},
		{
			name:  "an exception is free",
			layer: layer{of: []string{"./..."}, except: []string{"./a/...", "./c"}, never: []string{"example.org/sdk/..."}},
		},
		{
			name:  "a pattern without dots is one package",
			layer: layer{of: []string{"./a"}, never: []string{"example.org/sdk"}},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(test.want, faults(packages, []layer{test.layer})); diff != "" {
				t.Errorf("faults (-want +got):\n%s", diff)
			}
		})
	}
}

// below returns the patterns of all packages in the modules of an owner.
func below(owner string, modules ...string) []string {
	var patterns []string
	for _, name := range modules {
		patterns = append(patterns, owner+"/"+name+"/...")
	}
	return patterns
}

// faults returns what the packages import against the rules.
func faults(packages []pkg, layers []layer) []string {
	var found []string
	for _, l := range layers {
		for _, p := range packages {
			if !matchesAny(p.ImportPath, l.of) || matchesAny(p.ImportPath, l.except) {
				continue
			}
			for _, path := range p.Imports {
				if l.only != nil && matches(path, "./...") && !matchesAny(path, l.only) {
					found = append(found, fmt.Sprintf("%s imports %s: %s", p.ImportPath, path, l.why))
				}
			}
			for _, path := range p.Deps {
				if matchesAny(path, l.never) {
					found = append(found, fmt.Sprintf("%s depends on %s: %s", p.ImportPath, path, l.why))
				}
			}
		}
	}
	return found
}

func matchesAny(path string, patterns []string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool { return matches(path, pattern) })
}

func matches(path, pattern string) bool {
	if below, inModule := strings.CutPrefix(pattern, "./"); inModule {
		pattern = module + "/" + below
	}
	root, below := strings.CutSuffix(pattern, "/...")
	return path == root || below && strings.HasPrefix(path, root+"/")
}

// list returns the packages of this module.
func list(t *testing.T) []pkg {
	t.Helper()
	// Without infra, on which nothing may depend: listing it would download the CDK.
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "-json=ImportPath,Dir,GoFiles,Imports,Deps",
		"./functions/...", "./local/...", "./shared/...")
	cmd.Dir = ".."
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var packages []pkg
	for decoder := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatalf("read the output of go list: %v", err)
		}
		if matches(p.ImportPath, "./...") {
			dependsOn(t, p)
			packages = append(packages, p)
		}
	}
}

// dependsOn touches the files of p, so that `go test` does not answer from its cache when one of them has changed.
func dependsOn(t *testing.T, p pkg) {
	t.Helper()
	for _, file := range p.GoFiles {
		if _, err := os.Stat(filepath.Join(p.Dir, file)); err != nil {
			t.Errorf("%s: %v", p.ImportPath, err)
		}
	}
}
