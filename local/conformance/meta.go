package conformance

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// meta checks what a deployment says about itself, and how functions are called by id.
func (s *suite) meta(t *testing.T) {
	areas := []area{
		{"health is ok", func(t *testing.T) {
			s.get(t, "/_eddy/health").wantJSON(t, 200, `{"status":"ok","version":"<string>"}`)
		}},
		{"functions are listed with their triggers, options and schemas", s.functions},
		{"OpenAPI describes every route", s.openAPI},
		{"calls by id", s.calls},
		{"a void call is accepted, and then done", s.void},
		{"engine functions can be called void", func(t *testing.T) {
			at := `"scope":"` + unique("conformance") + `","key":"k"`
			s.invokeWith(t, "state::set", `{`+at+`,"value":1}`, http.Header{"X-Eddy-Action": {"void"}}).
				wantJSON(t, 202, `{"delivery_id":"<string>"}`)
			eventually(t, "the value is set", func() error {
				return match(s.must(t, "state::get", `{`+at+`}`), `1`)
			})
		}},
	}
	if s.Local {
		areas = append(areas, []area{
			{"metrics are Prometheus text", s.prometheus},
			{"invoke is a POST", func(t *testing.T) {
				a := s.get(t, "/_eddy/invoke/state::get")
				a.wantError(t, "method_not_allowed")
				if !slices.Equal(allowed(a), []string{"POST"}) {
					t.Errorf("Allow is %q, want POST", a.header.Values("Allow"))
				}
			}},
			{"the id in an invoke is percent-decoded", func(t *testing.T) {
				s.post(t, "/_eddy/invoke/state%3A%3Aget", `{"scope":"`+unique("s")+`","key":"k"}`).wantJSON(t, 200, `null`)
			}},
			{"an answer to an invoke is JSON", func(t *testing.T) {
				a := s.post(t, "/_eddy/invoke/state::get", `{"scope":"`+unique("s")+`","key":"k"}`)
				if kind := a.header.Get("Content-Type"); !strings.HasPrefix(kind, "application/json") {
					t.Errorf("Content-Type is %q", kind)
				}
			}},
		}...)
	}
	s.parallel(t, areas)
}

// todoFunctions are the functions of the app, each with the type of its triggers.
var todoFunctions = map[string][]string{
	"todos::create":         {"http"},
	"todos::list":           {"http"},
	"todos::get":            {"http"},
	"todos::edit":           {"http"},
	"todos::remove":         {"http"},
	"todos::toggle":         {"http"},
	"todos::delete":         {"http"},
	"todos::get-metrics":    {"http", "http"},
	"todos::on-change":      {"state"},
	"todos::update-metrics": {"state"},
}

func (s *suite) functions(t *testing.T) {
	a := s.get(t, "/_eddy/functions")
	a.wantJSON(t, 200, `"<any>"`)
	var all []struct {
		ID           string
		Triggers     []struct{ Type string }
		Options      map[string]any
		InputSchema  json.RawMessage `json:"input_schema"`
		OutputSchema json.RawMessage `json:"output_schema"`
	}
	decode(t, a.body, &all)
	found := map[string]int{}
	for _, function := range all {
		want, ours := todoFunctions[function.ID]
		if !ours {
			continue
		}
		found[function.ID]++
		var triggers []string
		for _, trigger := range function.Triggers {
			triggers = append(triggers, trigger.Type)
		}
		if !slices.Equal(triggers, want) {
			t.Errorf("%s has the triggers %q, want %q", function.ID, triggers, want)
		}
		if len(function.Options) == 0 || len(function.InputSchema) == 0 || len(function.OutputSchema) == 0 {
			t.Errorf("%s has no options or schemas", function.ID)
		}
	}
	for id := range todoFunctions {
		if found[id] != 1 {
			t.Errorf("%s is listed %d times", id, found[id])
		}
	}
}

func (s *suite) openAPI(t *testing.T) {
	a := s.get(t, "/_eddy/openapi.json")
	a.wantJSON(t, 200, `"<any>"`)
	var api struct {
		OpenAPI string
		Info    struct{ Title, Version string }
		Paths   map[string]map[string]struct {
			OperationID string
			Responses   map[string]any
		}
	}
	decode(t, a.body, &api)
	if !strings.HasPrefix(api.OpenAPI, "3.1.") || api.Info.Title == "" || api.Info.Version == "" {
		t.Errorf("openapi is %q of %q %q, want 3.1.x and both", api.OpenAPI, api.Info.Title, api.Info.Version)
	}
	for _, c := range []struct{ method, path, status string }{
		{"get", "/todos", "200"}, {"post", "/todos", "201"},
		{"get", "/todos/{id}", "200"}, {"patch", "/todos/{id}", "200"}, {"delete", "/todos/{id}", "204"},
		{"post", "/todos/toggle", "200"}, {"post", "/todos/delete", "200"},
		{"get", "/todos/metrics", "200"}, {"get", "/metrics", "200"},
	} {
		operation, ok := api.Paths[c.path][c.method]
		if _, described := operation.Responses[c.status]; !ok || !described {
			t.Errorf("%s %s with the answer %s is not described", c.method, c.path, c.status)
		}
	}
}

func (s *suite) calls(t *testing.T) {
	cases := []struct {
		name, function, payload string
		action                  string
		codes                   []string
	}{
		{"an unknown function", "nobody::knows", `{}`, "", []string{"not_found"}},
		{"an unknown engine function", "state::nothing", `{}`, "", []string{"not_found"}},
		{"an unknown function, void", "nobody::knows", `{}`, "void", []string{"not_found"}},
		{"an unknown queue", "todos::toggle", `{"id":"none"}`, "enqueue:nowhere",
			[]string{"not_found", "invalid_argument"}},
		{"an unknown action", "todos::toggle", `{"id":"none"}`, "later", []string{"invalid_argument"}},
		{"a fault of the function", "todos::get", `{"id":"none"}`, "", []string{"not_found"}},
		{"a fault of the payload", "todos::get", `{}`, "", []string{"invalid_argument"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			header := http.Header{}
			if c.action != "" {
				header.Set("X-Eddy-Action", c.action)
			}
			a := s.invokeWith(t, c.function, c.payload, header)
			for _, code := range c.codes {
				if a.status == statusOf[code] {
					a.wantError(t, code)
					return
				}
			}
			t.Errorf("status %d, want one of %q: %s", a.status, c.codes, clip(string(a.body)))
		})
	}
}

func (s *suite) void(t *testing.T) {
	made := s.create(t, "toggled later")
	header := http.Header{"X-Eddy-Action": {"void"}}
	seen := map[string]bool{}
	for _, completed := range []bool{true, false} {
		a := s.invokeWith(t, "todos::toggle", `{"id":"`+made.ID+`"}`, header)
		a.wantJSON(t, 202, `{"delivery_id":"<string>"}`)
		seen[string(a.body)] = true
		eventually(t, "the call is done", func() error {
			var now todo
			decode(t, s.get(t, "/todos/"+made.ID).body, &now)
			if now.Completed != completed {
				return fmt.Errorf("completed is %t", now.Completed)
			}
			return nil
		})
	}
	if len(seen) != 2 {
		t.Error("two calls have one delivery id")
	}
}

func (s *suite) prometheus(t *testing.T) {
	a := s.get(t, "/_eddy/metrics")
	if kind := a.header.Get("Content-Type"); a.status != 200 || !strings.HasPrefix(kind, "text/plain") {
		t.Errorf("status %d with Content-Type %q, want 200 with text/plain", a.status, kind)
	}
	if !strings.Contains(string(a.body), "\n# TYPE ") && !strings.HasPrefix(string(a.body), "# TYPE ") {
		t.Errorf("no metric has a type: %s", clip(string(a.body)))
	}
}
