package eddy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/invopop/jsonschema"
)

type openAPI struct {
	OpenAPI    string                           `json:"openapi"`
	Info       openAPIInfo                      `json:"info"`
	Paths      map[string]map[string]*operation `json:"paths"` // by path and lower-case method
	Components openAPIComponents                `json:"components"`
}

type openAPIInfo struct {
	Title   string `json:"title"`
	Version string `json:"version"`
}

type openAPIComponents struct {
	Schemas   map[string]*jsonschema.Schema `json:"schemas"`
	Responses map[string]openAPIResponse    `json:"responses"`
}

type operation struct {
	ID          string                     `json:"operationId"`
	Tags        []string                   `json:"tags,omitempty"`
	Parameters  []parameter                `json:"parameters,omitempty"`
	RequestBody *openAPIBody               `json:"requestBody,omitempty"`
	Responses   map[string]openAPIResponse `json:"responses"`
}

type parameter struct {
	Name     string             `json:"name"`
	In       string             `json:"in"`
	Required bool               `json:"required"`
	Schema   *jsonschema.Schema `json:"schema"`
}

type openAPIBody struct {
	Required bool      `json:"required"`
	Content  mediaType `json:"content"`
}

type openAPIResponse struct {
	Ref         string                   `json:"$ref,omitempty"`
	Description string                   `json:"description,omitempty"`
	Headers     map[string]openAPISchema `json:"headers,omitempty"`
	Content     mediaType                `json:"content,omitempty"`
}

// mediaType is the content of a body, by its media type.
type mediaType map[string]openAPISchema

type openAPISchema struct {
	Schema *jsonschema.Schema `json:"schema"`
}

func jsonContent(schema *jsonschema.Schema) mediaType {
	return mediaType{"application/json": {schema}}
}

// openAPIWriter gathers the schemas of inputs and outputs while the operations are written.
type openAPIWriter struct{ inputs, outputs *schemas }

// OpenAPI returns the OpenAPI 3.1 description of the routes of a valid app, version being the app's own: the body of
// GET /_eddy/openapi.json. The operationId of a function's first route is its id.
func OpenAPI(app *App, version string) json.RawMessage {
	w := &openAPIWriter{inputs: newSchemas(reading), outputs: newSchemas(writing)}
	w.inputs.suffix = "Input"
	w.inputs.taken = w.outputs.taken
	w.outputs.claim(reflect.TypeFor[envelope](), "Error")
	w.outputs.claim(reflect.TypeFor[envelopeError](), "ErrorContent")
	w.outputs.claim(reflect.TypeFor[Detail](), "ErrorDetail")
	w.outputs.claim(reflect.TypeFor[toldCode](), "ErrorCode")
	document := openAPI{
		OpenAPI: "3.1.0",
		Info:    openAPIInfo{Title: "Eddy application", Version: version},
		Paths:   make(map[string]map[string]*operation),
	}
	for _, f := range app.Functions() {
		for i, r := range f.Routes {
			operations := document.Paths[r.Path]
			if operations == nil {
				operations = make(map[string]*operation)
				document.Paths[r.Path] = operations
			}
			operations[strings.ToLower(r.Method)] = w.operation(r, i)
		}
	}
	document.Components = w.components()
	return bytes.ReplaceAll(document.prune(), []byte(`"$ref":"#/$defs/`), []byte(`"$ref":"#/components/schemas/`))
}

// prune returns the document as JSON, without the schemas that nothing refers to.
func (o *openAPI) prune() json.RawMessage {
	for {
		text, before := mustEncode(o), len(o.Components.Schemas)
		maps.DeleteFunc(o.Components.Schemas, func(name string, _ *jsonschema.Schema) bool {
			return !bytes.Contains(text, []byte(`"$ref":"#/$defs/`+name+`"`))
		})
		if len(o.Components.Schemas) == before {
			return text
		}
	}
}

func (w *openAPIWriter) components() openAPIComponents {
	failure := w.outputs.reflect(reflect.TypeFor[envelope]())
	all := maps.Clone(w.outputs.definitions)
	maps.Copy(all, w.inputs.definitions)
	return openAPIComponents{
		Schemas: all,
		Responses: map[string]openAPIResponse{
			"Error": {Description: "What went wrong, under the status of its code.", Content: jsonContent(failure)},
		},
	}
}

// operation describes a route, the function's number n.
func (w *openAPIWriter) operation(r *Route, n int) *operation {
	f := r.Function
	op := &operation{ID: f.ID, Responses: map[string]openAPIResponse{"default": {Ref: "#/components/responses/Error"}}}
	if n > 0 {
		op.ID += "-" + strconv.Itoa(n+1)
	}
	if area, _, ok := strings.Cut(f.ID, "::"); ok {
		op.Tags = []string{area}
	}
	w.addInput(op, r)
	if r.Method != http.MethodGet {
		op.Parameters = append(op.Parameters, parameter{"Idempotency-Key", "header", false, idempotencyKeySchema()})
	}
	if r.Rate > 0 {
		op.Responses["429"] = openAPIResponse{
			Description: fmt.Sprintf("The route takes %d requests a second, and %d at once after a pause.", r.Rate, r.Burst),
			Headers:     map[string]openAPISchema{"Retry-After": {&jsonschema.Schema{Type: "integer"}}},
			Content:     jsonContent(w.schema(w.outputs, reflect.TypeFor[envelope]())),
		}
	}
	success := openAPIResponse{Description: http.StatusText(r.Status)}
	if r.Status != http.StatusNoContent {
		success.Content = jsonContent(w.schema(w.outputs, f.Output))
	}
	op.Responses[strconv.Itoa(r.Status)] = success
	return op
}

// idempotencyKeySchema is of the header that makes it safe to send a request again, see package idempotency.
func idempotencyKeySchema() *jsonschema.Schema {
	return &jsonschema.Schema{
		Type: "string", Pattern: "^[ -~]{1,255}$",
		Description: "Names the request. When it is sent again under this name, it is answered as before and does nothing.",
	}
}

// schema returns the schema of t without the dialect, which OpenAPI states for the whole.
func (w *openAPIWriter) schema(s *schemas, t reflect.Type) *jsonschema.Schema {
	schema := s.reflect(t)
	schema.Version = ""
	return schema
}

// addInput describes where a route takes its input from: its path, and a body, or a query string for the methods whose
// requests have no body.
func (w *openAPIWriter) addInput(op *operation, r *Route) {
	reference := w.schema(w.inputs, r.Function.Input)
	definition := w.inputs.definitions[w.inputs.names[r.Function.Input]]
	if definition == nil || definition.Properties == nil {
		return
	}
	inQuery := r.Method == http.MethodGet || r.Method == http.MethodDelete
	for _, field := range r.Function.input().object.fields {
		property, ok := definition.Properties.Get(field.name)
		if !ok {
			continue
		}
		switch inPath := slices.Contains(r.params, field.name); {
		case inPath:
			op.Parameters = append(op.Parameters, parameter{field.name, "path", true, withoutNull(property)})
		case inQuery && (field.parse != nil || field.parseOne != nil):
			op.Parameters = append(op.Parameters, parameter{field.name, "query", field.required, withoutNull(property)})
		}
	}
	if inQuery || definition.Properties.Len() == len(r.params) {
		return
	}
	if len(r.params) > 0 {
		reference = pathless(definition, r.params)
	}
	required := len(reference.Required) > 0 || len(r.params) == 0 && len(definition.Required) > 0
	op.RequestBody = &openAPIBody{Required: required, Content: jsonContent(reference)}
}

// withoutNull returns the schema of a parameter, which is text and never null.
func withoutNull(property *jsonschema.Schema) *jsonschema.Schema {
	if len(property.AnyOf) == 2 && property.AnyOf[1].Type == "null" {
		return property.AnyOf[0]
	}
	return property
}
