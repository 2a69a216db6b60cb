package eddy_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/eddyhq/eddy/shared/eddy"
)

var update = flag.Bool("update", false, "write the golden files anew")

type page[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next,omitempty"`
}

type createNode struct {
	Name  string  `json:"name" jsonschema:"minLength=1,description=What it is called"`
	Kids  []*node `json:"kids,omitempty"`
	Level uint8   `json:"level,omitempty"`
}

type editNode struct {
	ID   string  `json:"id"`
	Name *string `json:"name"`
	Tree *node   `json:"tree"`
}

type listNodes struct {
	Parent string    `json:"parent"`
	Limit  *int      `json:"limit"`
	Names  []string  `json:"names,omitempty"`
	Since  time.Time `json:"since,omitzero"`
}

type byID struct {
	ID string `json:"id"`
}

// nodes is an app with something of everything that is described.
func nodes() *eddy.App {
	scope, live := eddy.Scope[node]("nodes"), eddy.Stream[node]("nodes-live")
	app := eddy.New()
	eddy.Register(app, "nodes::create", func(context.Context, createNode) (node, error) { return node{}, nil },
		eddy.HTTP("POST /nodes", eddy.Status(201), eddy.Rate(50, 100)), eddy.Uses(scope, eddy.Enqueues("mail")), eddy.Memory(512), eddy.Timeout(5*time.Second))
	eddy.Register(app, "nodes::edit", func(context.Context, editNode) (node, error) { return node{}, nil },
		eddy.HTTP("PATCH /nodes/{id}"), eddy.Uses(scope))
	eddy.Register(app, "nodes::list", func(context.Context, listNodes) (page[node], error) { return page[node]{}, nil },
		eddy.HTTP("GET /nodes/{parent}/kids"), eddy.HTTP("GET /kids/{parent}"), eddy.Uses(scope.ReadOnly()))
	eddy.Register(app, "nodes::remove", func(context.Context, byID) (eddy.None, error) { return eddy.None{}, nil },
		eddy.HTTP("DELETE /nodes/{id}", eddy.Status(204)), eddy.Uses(scope, eddy.Invokes("nodes::sweep")))
	eddy.Register(app, "nodes::sweep", none, eddy.Cron("0 3 * * SUN"), eddy.Every(6*time.Hour))
	eddy.Register(app, "nodes::mail", takes[createNode], eddy.Queue("mail", eddy.FIFO("name"), eddy.Delay(time.Minute)),
		eddy.Backoff(time.Second, time.Hour))
	eddy.React(app, "nodes::on-change", reacts[node], scope.Changes(), eddy.Uses(live), eddy.MaxAttempts(3))
	eddy.React(app, "nodes::on-item", reacts[node], live.Changes(), eddy.Concurrency(1))
	return app
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	var indented bytes.Buffer
	if err := json.Indent(&indented, got, "", "  "); err != nil {
		t.Fatalf("%v: %s", err, got)
	}
	indented.WriteByte('\n')
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, indented.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), indented.String()); diff != "" {
		t.Errorf("run the test with -update when this is meant:\n%s", diff)
	}
}

func TestDescribe(t *testing.T) {
	t.Parallel()
	app := nodes()
	if err := app.Validate(); err != nil {
		t.Fatal(err)
	}
	golden(t, "functions.json", eddy.Describe(app))
	if got := eddy.Describe(eddy.New()); string(got) != "[]" {
		t.Errorf("an empty app: %s", got)
	}
}

func TestOpenAPI(t *testing.T) {
	t.Parallel()
	text := eddy.OpenAPI(nodes(), "1.2.3")
	golden(t, "openapi.json", text)

	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("openapi.json", document); err != nil {
		t.Fatal(err)
	}
	found := 0
	walk(document, "", func(pointer string) {
		found++
		if _, err := compiler.Compile("openapi.json#" + pointer); err != nil {
			t.Errorf("%s: %v", pointer, err)
		}
	})
	if found < 20 {
		t.Errorf("only %d schemas", found)
	}
}

// walk calls visit with the JSON pointer of every schema in an OpenAPI document.
func walk(v any, pointer string, visit func(pointer string)) {
	members, ok := v.(map[string]any)
	if list, isList := v.([]any); isList {
		for i, element := range list {
			walk(element, pointer+"/"+string(rune('0'+i)), visit)
		}
	}
	if !ok {
		return
	}
	for name, member := range members {
		at := pointer + "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
		if name == "schema" || pointer == "/components/schemas" {
			visit(at)
		}
		walk(member, at, visit)
	}
}

func schemaOf(t *testing.T, text json.RawMessage) *jsonschema.Schema {
	t.Helper()
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("schema.json", document); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile("schema.json")
	if err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return schema
}

func TestSchemasSayWhatBindingDoes(t *testing.T) {
	t.Parallel()
	app := eddy.New()
	eddy.Register(app, "test::order", func(_ context.Context, in order) (order, error) { return in, nil })
	f, _ := app.Function("test::order")
	input, output := schemaOf(t, f.InputSchema()), schemaOf(t, f.OutputSchema())
	for payload, fits := range map[string]bool{
		f.Example():                           true,
		`{"id":"a"}`:                          true,
		`{}`:                                  false,
		`[]`:                                  false,
		`{"id":null}`:                         false,
		`{"id":1}`:                            false,
		`{"ID":"a"}`:                          false,
		`{"id":"a","x":1}`:                    false,
		`{"id":"a","tenant":"t","note":null}`: true,
		`{"id":"a","note":1}`:                 false,
		`{"id":"a","count":127}`:              true,
		`{"id":"a","count":128}`:              false,
		`{"id":"a","count":null}`:             false,
		`{"id":"a","ratio":1.5}`:              true,
		`{"id":"a","tags":[]}`:                true,
		`{"id":"a","tags":null}`:              false,
		`{"id":"a","lines":[{"sku":"s","qty":1}]}`:             true,
		`{"id":"a","lines":[{"sku":"s"}]}`:                     false,
		`{"id":"a","lines":[{"sku":"s","qty":256}]}`:           false,
		`{"id":"a","lines":[{"sku":"s","qty":1,"x":1}]}`:       false,
		`{"id":"a","pair":[1]}`:                                false,
		`{"id":"a","labels":{"x":1}}`:                          true,
		`{"id":"a","labels":{"x":"1"}}`:                        false,
		`{"id":"a","by_num":{"1":"x"}}`:                        true,
		`{"id":"a","any":[{}],"raw":[{}]}`:                     true,
		`{"id":"a","bytes":"aGk="}`:                            true,
		`{"id":"a","color":"red"}`:                             true,
		`{"id":"a","color":1}`:                                 false,
		`{"id":"a","quoted":"5"}`:                              true,
		`{"id":"a","quoted":5}`:                                false,
		`{"id":"a","number":1.5}`:                              true,
		`{"id":"a","number":"1.5"}`:                            false,
		`{"id":"a","tree":{"name":"x","kids":[{"name":"y"}]}}`: true,
		`{"id":"a","tree":{"kids":[]}}`:                        false,
	} {
		value, err := jsonschema.UnmarshalJSON(strings.NewReader(payload))
		if err != nil {
			t.Fatal(err)
		}
		if err := input.Validate(value); (err == nil) != fits {
			t.Errorf("the schema on %s: %v", payload, err)
		}
		result, err := f.Invoke(t.Context(), newMemory(app).invocation(), []byte(payload))
		if (err == nil) != fits {
			t.Errorf("the binding of %s: %v", payload, err)
		}
		if err != nil {
			continue
		}
		if value, err = jsonschema.UnmarshalJSON(bytes.NewReader(result)); err != nil {
			t.Fatal(err)
		}
		if err := output.Validate(value); err != nil {
			t.Errorf("the schema on the result %s: %v", result, err)
		}
	}
}
