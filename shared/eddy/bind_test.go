package eddy_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/eddyhq/eddy/shared/eddy"
	"github.com/eddyhq/eddy/shared/errs"
)

type base struct {
	Tenant string `json:"tenant,omitempty"`
}

type line struct {
	SKU string `json:"sku"`
	Qty uint8  `json:"qty"`
}

type node struct {
	Name string  `json:"name"`
	Kids []*node `json:"kids,omitempty"`
}

type color string

func (c *color) UnmarshalText(text []byte) error {
	if string(text) != "red" {
		return errors.New("must be red")
	}
	*c = color(text)
	return nil
}

// order has a field of every kind.
type order struct {
	base
	ID     string           `json:"id"`
	Count  int8             `json:"count,omitempty"`
	Big    int64            `json:"big,omitempty"`
	Ratio  float64          `json:"ratio,omitempty"`
	Open   bool             `json:"open,omitempty"`
	Note   *string          `json:"note"`
	At     time.Time        `json:"at,omitzero"`
	Tags   []string         `json:"tags,omitempty"`
	Nums   []int            `json:"nums,omitempty"`
	Lines  []line           `json:"lines,omitempty"`
	Pair   [2]int           `json:"pair,omitempty"`
	Labels map[string]int   `json:"labels,omitempty"`
	ByNum  map[int]string   `json:"by_num,omitempty"`
	Any    any              `json:"any,omitempty"`
	Raw    json.RawMessage  `json:"raw,omitempty"`
	Bytes  []byte           `json:"bytes,omitempty"`
	Color  color            `json:"color,omitempty"`
	Quoted int              `json:"quoted,omitempty,string"`
	Number json.Number      `json:"number,omitempty"`
	Tree   *node            `json:"tree"`
	Inner  map[string]*line `json:"inner,omitempty"`
	hidden string
}

func details(err error) string {
	var e *eddy.Error
	if !errors.As(err, &e) || len(e.Details) == 0 {
		return fmt.Sprint(err)
	}
	var lines []string
	for _, d := range e.Details {
		lines = append(lines, d.Field+": "+d.Problem)
	}
	return string(e.Code) + "\n" + strings.Join(lines, "\n")
}

func TestPayloadsAreReadStrictly(t *testing.T) {
	t.Parallel()
	app := eddy.New()
	var got order
	eddy.Register(app, "test::order", func(_ context.Context, in order) (eddy.None, error) {
		got = in
		if in.hidden != "" {
			return eddy.None{}, errors.New("a field that is not exported was set")
		}
		return eddy.None{}, nil
	})
	f, _ := app.Function("test::order")
	for _, test := range []struct{ name, payload, want string }{
		{"the least", `{"id":"a"}`, `{"id":"a","note":null,"pair":[0,0],"tree":null}`},
		{"everything", `{"id":"a","tenant":"t","count":-128,"big":9223372036854775807,"ratio":1e2,"open":true,"note":"n",
			"at":"2026-01-02T03:04:05Z","tags":["x"],"nums":[1,2],"lines":[{"sku":"s","qty":255}],"pair":[1,2],
			"labels":{"l":1},"by_num":{"7":"seven"},"any":{"x":[1]},"raw":[true],"bytes":"aGk=","color":"red","quoted":"5",
			"number":1.50,"tree":{"name":"r","kids":[{"name":"k"}]},"inner":{"i":{"sku":"s","qty":0},"n":null}}`,
			`{"tenant":"t","id":"a","count":-128,"big":9223372036854775807,"ratio":100,"open":true,"note":"n",` +
				`"at":"2026-01-02T03:04:05Z","tags":["x"],"nums":[1,2],"lines":[{"sku":"s","qty":255}],"pair":[1,2],` +
				`"labels":{"l":1},"by_num":{"7":"seven"},"any":{"x":[1]},"raw":[true],"bytes":"aGk=","color":"red",` +
				`"quoted":"5","number":1.50,"tree":{"name":"r","kids":[{"name":"k"}]},"inner":{"i":{"sku":"s","qty":0},"n":null}}`},
		{"escapes in names and texts", `{"\u0069d":"\u00e9\n"}`, `{"id":"é\n","note":null,"pair":[0,0],"tree":null}`},
		{"an empty list is a list", `{"id":"a","any":[],"tags":[]}`, `{"id":"a","note":null,"pair":[0,0],"any":[],"tree":null}`},

		{"nothing", ``, "invalid_argument\nid: is required"},
		{"null", `null`, "invalid_argument\nid: is required"},
		{"another kind of value", `[]`, "invalid_argument\n: must be an object"},
		{"a null that is no pointer", `{"id":null,"tags":null,"at":null}`,
			"invalid_argument\nid: must be a string, not null\ntags: must be an array, not null\nat: must be a string, not null"},
		{"every fault at once", `{"title":1,"id":2,"count":128,"ratio":"x","open":1,"at":"soon","tags":["a",1],
			"lines":[{"sku":"s","qty":256},{"qty":-1,"more":0}],"pair":[1],"labels":{"l":"x"},"color":"blue","bytes":"?"}`,
			`invalid_argument
title: is not a known field
id: must be a string
count: must be an integer from -128 to 127
ratio: must be a number
open: must be true or false
at: must be an RFC 3339 time
tags[1]: must be a string
lines[0].qty: must be an integer from 0 to 255
lines[1].qty: must be an integer from 0 to 255
lines[1].more: is not a known field
lines[1].sku: is required
pair: must have 2 elements
labels.l: must be an integer
color: must be red
bytes: must be a string of base64`},
		{"a name given twice", `{"id":"a","id":"b","labels":{"l":1,"l":2},"any":{"x":1,"x":2},"raw":{"x":1,"x":2}}`,
			"invalid_argument\nid: is given twice\nlabels.l: is given twice\nany: must not give a name twice\n" +
				"raw: must not give a name twice"},
		{"names are exact", `{"ID":"a"}`, "invalid_argument\nID: is not a known field\nid: is required"},
		{"a fraction for an integer", `{"id":"a","big":1.5,"count":1e1}`,
			"invalid_argument\nbig: must be an integer from -9223372036854775808 to 9223372036854775807\n" +
				"count: must be an integer from -128 to 127"},
		{"too much for a float", `{"id":"a","ratio":1e999}`, "invalid_argument\nratio: must be a number that fits a float of 64 bits"},
		{"a fault in a tree", `{"id":"a","tree":{"name":"r","kids":[{"name":1}]}}`,
			"invalid_argument\ntree.kids[0].name: must be a string"},
		{"a field that is not exported", `{"id":"a","hidden":"x"}`, "invalid_argument\nhidden: is not a known field"},
		{"text that ends early", `{"id":"a"`, "invalid_argument\n: malformed JSON at byte 9: unexpected EOF"},
		{"text that is no JSON", `{"id":a}`, "invalid_argument\n: malformed JSON at byte 6: invalid character 'a' at start of value"},
		{"two values", `{"id":"a"} {}`, "invalid_argument\n: malformed JSON: there is more after the end of the value"},
		{"text that is no UTF-8", "{\"id\":\"\xff\"}", "invalid_argument\n: malformed JSON at byte 7: invalid UTF-8"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got = order{}
			_, err := f.Invoke(t.Context(), newMemory(app).invocation(), []byte(test.payload))
			answer := details(err)
			if err == nil {
				text, err := json.Marshal(got)
				if err != nil {
					t.Fatal(err)
				}
				answer = string(text)
			}
			if diff := cmp.Diff(test.want, answer); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestThousandsOfFaultsAreNotAllListed(t *testing.T) {
	t.Parallel()
	app := eddy.New()
	eddy.Register(app, "test::order", func(context.Context, order) (eddy.None, error) { return eddy.None{}, nil })
	f, _ := app.Function("test::order")
	payload := `{"lines":[` + strings.Repeat(`{},`, 5000) + `{}]}`
	_, err := f.Invoke(t.Context(), newMemory(app).invocation(), []byte(payload))
	var e *eddy.Error
	if !errors.As(err, &e) || len(e.Details) != 100 {
		t.Errorf("got %d details: %v", len(e.Details), eddy.CodeOf(err))
	}
}

type search struct {
	ID    string    `json:"id"`
	Query string    `json:"q"`
	Limit *int      `json:"limit"`
	Tags  []string  `json:"tags,omitempty"`
	Days  []int     `json:"days,omitempty"`
	Exact bool      `json:"exact,omitempty"`
	Since time.Time `json:"since,omitzero"`
	Lines []line    `json:"lines,omitempty"`
}

func TestRequestsAreBoundFromPathQueryAndBody(t *testing.T) {
	t.Parallel()
	app := eddy.New()
	eddy.Register(app, "test::search", func(_ context.Context, in search) (search, error) { return in, nil },
		eddy.HTTP("POST /search/{id}"))
	if err := app.Validate(); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, query, body, contentType, want string
	}{
		{"a query string without a body", "q=x&limit=3&tags=a&tags=b&days=1&exact=true&since=2026-01-02T03:04:05Z&utm=1", "", "",
			`{"id":"a/b","q":"x","limit":3,"tags":["a","b"],"days":[1],"exact":true,"since":"2026-01-02T03:04:05Z"}`},
		{"an empty text is a text", "q=", "", "", `{"id":"a/b","q":"","limit":null}`},
		{"a body, and then no query string", "q=y&limit=z", `{"q":"x"}`, "application/json; charset=utf-8",
			`{"id":"a/b","q":"x","limit":null}`},
		{"a body of no type", "", `{"q":"x"}`, "", `{"id":"a/b","q":"x","limit":null}`},

		{"faults in a query string", "limit=1.5&days=1&days=b&exact=yes&since=now&lines=1", "", "", `invalid_argument
limit: must be an integer from -9223372036854775808 to 9223372036854775807
days[1]: must be an integer from -9223372036854775808 to 9223372036854775807
exact: must be true or false
since: must be an RFC 3339 time
lines: cannot be given in a query string: send a JSON body
q: is required`},
		{"text that is no UTF-8", "q=%ff", "", "", "invalid_argument\nq: must be UTF-8"},
		{"a query name given twice", "q=a&q=b", "", "", "invalid_argument\nq: is given twice"},
		{"a name in path and query", "id=1&q=a", "", "", "invalid_argument\nid: is given in the path and in the query string"},
		{"a name in path and body", "", `{"id":"b","q":"x","x":1}`, "",
			"invalid_argument\nid: is given in the path and in the body\nx: is not a known field"},
		{"a body that is a form", "", `q=x`, "application/x-www-form-urlencoded",
			"invalid_argument\n: malformed JSON at byte 0: invalid character 'q' at start of value"},
		{"a body that is null", "", `null`, "", "invalid_argument\n: must be an object, not null"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			query, err := url.ParseQuery(test.query)
			if err != nil {
				t.Fatal(err)
			}
			request := &eddy.HTTPRequest{
				Method: "POST", Path: "/search/a%2Fb", Route: "/search/{id}", PathValues: map[string]string{"id": "a/b"},
				Query: query, Header: http.Header{}, Body: []byte(test.body),
			}
			if test.contentType != "" {
				request.Header.Set("Content-Type", test.contentType)
			}
			response := app.Routes()[0].Serve(t.Context(), newMemory(app).invocation(), request)
			got := string(response.Body)
			if response.Status != http.StatusOK {
				got = told(t, response)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// told returns the error of a response the way details does.
func told(t *testing.T, response *eddy.HTTPResponse) string {
	t.Helper()
	var body struct {
		Error struct {
			Code    eddy.Code
			Message string
			Details []eddy.Detail
		}
	}
	if err := json.Unmarshal(response.Body, &body); err != nil {
		t.Fatalf("%v: %s", err, response.Body)
	}
	if want := body.Error.Code.HTTPStatus(); response.Status != want {
		t.Errorf("the status is %d, the code %s", response.Status, body.Error.Code)
	}
	return details(&eddy.Error{Code: body.Error.Code, Message: body.Error.Message, Details: body.Error.Details})
}

type checked struct {
	From int `json:"from"`
	To   int `json:"to"`
}

func (c checked) Validate() error {
	switch {
	case c.From < 0 && c.To < 0:
		return errors.Join(eddy.Invalid("from", "must not be negative"), eddy.Invalid("to", "must not be negative"))
	case c.From > c.To:
		return errors.New("from lies after to")
	case c.From == c.To:
		return eddy.ConditionNotMet("nothing lies between")
	}
	return nil
}

func TestValidateIsAskedOnceTheInputIsRead(t *testing.T) {
	t.Parallel()
	app := eddy.New()
	eddy.Register(app, "test::range", func(context.Context, checked) (eddy.None, error) { return eddy.None{}, nil })
	f, _ := app.Function("test::range")
	for payload, want := range map[string]string{
		`{"from":1,"to":2}`:    "<nil>",
		`{"from":3,"to":2}`:    "invalid_argument: from lies after to",
		`{"from":2,"to":2}`:    "condition_not_met: nothing lies between",
		`{"from":-1,"to":-2}`:  "invalid_argument\nfrom: must not be negative\nto: must not be negative",
		`{"from":"x","to":-2}`: "invalid_argument\nfrom: must be an integer",
	} {
		if _, err := f.Invoke(t.Context(), newMemory(app).invocation(), []byte(payload)); details(err) != want {
			t.Errorf("%s: got %s, want %s", payload, details(err), want)
		}
	}
}

func TestAnInputNeedNotBeAStruct(t *testing.T) {
	t.Parallel()
	app := eddy.New()
	eddy.Register(app, "test::sum", func(_ context.Context, in []int) (int, error) {
		sum := 0
		for _, n := range in {
			sum += n
		}
		return sum, nil
	})
	f, _ := app.Function("test::sum")
	result, err := f.Invoke(t.Context(), newMemory(app).invocation(), []byte(`[1,2]`))
	if err != nil || string(result) != "3" {
		t.Errorf("got %s, %v", result, err)
	}
}

func FuzzBind(f *testing.F) {
	for _, seed := range []string{`{"id":"a"}`, `{"id":"a","lines":[{"sku":"s","qty":1}],"any":{"x":1}}`, `{"id`, `[]`, `null`, ``,
		`{"tree":{"name":"","kids":[null]},"pair":[1,2,3],"quoted":"x","number":-0}`} {
		f.Add([]byte(seed), "id=x&tags=a&count=1", true)
	}
	app := eddy.New()
	eddy.Register(app, "test::order", func(_ context.Context, in order) (order, error) { return in, nil },
		eddy.HTTP("POST /order/{color}"))
	m := newMemory(app)
	f.Fuzz(func(t *testing.T, body []byte, query string, inPath bool) {
		values, _ := url.ParseQuery(query)
		request := &eddy.HTTPRequest{Method: "POST", Query: values, Body: body}
		if inPath {
			request.PathValues = map[string]string{"color": query}
		}
		response := app.Routes()[0].Serve(t.Context(), m.invocation(), request)
		if code := response.Status; code != 200 && code != 400 {
			t.Fatalf("%d: %s", code, response.Body)
		}
		function, _ := app.Function("test::order")
		_, err := function.Invoke(t.Context(), m.invocation(), body)
		if code := eddy.CodeOf(err); err != nil && code != errs.InvalidArgument {
			t.Fatalf("%v", err)
		}
	})
}

func BenchmarkServe(b *testing.B) {
	app := eddy.New()
	type todo struct {
		ID    string `json:"id"`
		Title string `json:"title"`
	}
	eddy.Register(app, "test::create", func(_ context.Context, in struct {
		Title string `json:"title"`
	}) (todo, error) {
		return todo{ID: "todo-1", Title: in.Title}, nil
	}, eddy.HTTP("POST /todos", eddy.Status(201)))
	route, inv := app.Routes()[0], newMemory(app).invocation()
	request := &eddy.HTTPRequest{Method: "POST", Header: http.Header{"Content-Type": {"application/json"}},
		Body: []byte(`{"title":"` + strings.Repeat("x", 100) + `"}`)}
	b.ReportAllocs()
	for b.Loop() {
		if response := route.Serve(b.Context(), inv, request); response.Status != 201 {
			b.Fatal(string(response.Body))
		}
	}
}

func BenchmarkUnmarshalOfEncodingJSON(b *testing.B) {
	body := []byte(`{"title":"` + strings.Repeat("x", 100) + `"}`)
	b.ReportAllocs()
	for b.Loop() {
		var in struct {
			Title string `json:"title"`
		}
		if err := json.Unmarshal(body, &in); err != nil {
			b.Fatal(err)
		}
	}
}
