package stack_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/jsii-runtime-go"

	"github.com/eddyhq/eddy/infra/stack"
	"github.com/eddyhq/eddy/shared/eddy"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if drew {
		jsii.Close()
	}
	os.Exit(code)
}

// The CDK runs in one process of Node.js, which serves one caller at a time.
var (
	cdk  sync.Mutex
	drew bool
)

// drawn is what a synthesis wrote.
type drawn struct {
	root      map[string]any
	resources []resource
	templates map[string][]byte // by file name, the root's first name being that of the stack
}

// resource is one of a template.
type resource struct {
	file, id, kind string
	properties     map[string]any
	whole          map[string]any
}

// draw synthesises the app. Props without a bootstrap get a small one.
func draw(t *testing.T, app *eddy.App, props stack.Props) drawn {
	t.Helper()
	folder := t.TempDir()
	props.Bootstrap = bootstrap(t)
	withCDK(t, func() {
		scope := awscdk.NewApp(&awscdk.AppProps{Outdir: jsii.String(folder)})
		if _, err := stack.New(scope, app, props); err != nil {
			t.Fatal(err)
		}
		scope.Synth(nil)
	})
	return read(t, folder, props.Name)
}

// withCDK runs a function that calls the CDK, when Node.js is there.
func withCDK(t *testing.T, do func()) {
	t.Helper()
	if _, err := exec.LookPath("node"); err != nil {
		t.Skipf("the CDK needs Node.js to draw a stack: %v", err)
	}
	cdk.Lock()
	defer cdk.Unlock()
	drew = true
	do()
}

// bootstrap is a folder with something to run.
func bootstrap(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "bootstrap"), []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return folder
}

func read(t *testing.T, folder, name string) drawn {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*.template.json"))
	if err != nil {
		t.Fatal(err)
	}
	d := drawn{templates: make(map[string][]byte)}
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Base(path)
		d.templates[file] = text
		var template map[string]any
		if err := json.Unmarshal(text, &template); err != nil {
			t.Fatal(err)
		}
		if file == name+".template.json" {
			d.root = template
		}
		for id, value := range template["Resources"].(map[string]any) {
			whole := value.(map[string]any)
			properties, _ := whole["Properties"].(map[string]any)
			d.resources = append(d.resources, resource{file, id, whole["Type"].(string), properties, whole})
		}
	}
	if d.root == nil {
		t.Fatalf("there is no root template among %v", files)
	}
	return d
}

// of returns the resources of a type.
func (d drawn) of(kind string) []resource {
	var found []resource
	for _, r := range d.resources {
		if r.kind == kind {
			found = append(found, r)
		}
	}
	return found
}

// text is a value as JSON.
func text(value any) string {
	var b strings.Builder
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return err.Error()
	}
	return strings.TrimSpace(b.String())
}

// at follows keys and indices into a value; nil where there is nothing.
func at(value any, path ...any) any {
	for _, step := range path {
		switch step := step.(type) {
		case string:
			object, _ := value.(map[string]any)
			value = object[step]
		case int:
			list, _ := value.([]any)
			if step >= len(list) {
				return nil
			}
			value = list[step]
		}
	}
	return value
}
