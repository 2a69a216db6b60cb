package idempotency_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/eddyhq/eddy/shared/document"
	"github.com/eddyhq/eddy/shared/eddy"
	"github.com/eddyhq/eddy/shared/errs"
	"github.com/eddyhq/eddy/shared/idempotency"
	"github.com/eddyhq/eddy/shared/pebblestore"
	"github.com/eddyhq/eddy/shared/pebblestore/pebbletest"
	"github.com/eddyhq/eddy/shared/port"
)

// open is a store in memory, with the number of calls that were committed.
func open(t pebbletest.TB) (store *pebblestore.Store, calls func() int) {
	t.Helper()
	return openAt(t, time.Now)
}

// openAt is open with a clock.
func openAt(t pebbletest.TB, now func() time.Time) (store *pebblestore.Store, calls func() int) {
	t.Helper()
	var count, position atomic.Uint64
	store = pebbletest.Open(t, pebblestore.Options{Now: now, Published: func(records []port.Record) {
		for _, r := range records {
			if r.Call != nil {
				count.Add(1)
			}
			position.Store(r.Position)
		}
	}})
	return store, func() int {
		for position.Load() < store.Head() { // records are published soon after they are durable
			runtime.Gosched()
		}
		return int(count.Load())
	}
}

var scope = port.Scope("s")

// increment adds to the document at key, and to no other, and answers with what it left.
func increment(key string) idempotency.Run {
	return func(ctx context.Context, d port.Documents) (idempotency.Answer, error) {
		ops := []document.Op{{Type: document.OpIncrement, Path: []string{"n"}, By: 1}}
		results, err := d.Commit(ctx, port.Commit{
			Writes: []port.Write{{Op: port.Update, Collection: scope, Key: key, Ops: ops}},
			Calls:  []port.Call{{ID: key, Function: "f"}},
		})
		if err != nil {
			return idempotency.Answer{}, err
		}
		return idempotency.Answer{Status: 200, Header: http.Header{"X": {"y"}}, Body: []byte(results[0].New)}, nil
	}
}

func request(key, digest string) *idempotency.Request {
	return &idempotency.Request{Function: "f", Key: key, Caller: "c", Digest: digest}
}

func valueOf(t testing.TB, store port.Documents, key string) string {
	t.Helper()
	found, err := store.Get(t.Context(), scope, key)
	if err != nil {
		t.Fatal(err)
	}
	return string(found.Value)
}

// faulty is a store whose commits fail now and then: before they take effect, or after, when the answer is lost.
type faulty struct {
	port.Documents
	fate func() fate
}

type fate int

const (
	fine fate = iota
	refused
	answerLost
)

func (f faulty) Commit(ctx context.Context, commit port.Commit) ([]port.Result, error) {
	lost := errs.New(errs.Unavailable, "no answer")
	what := f.fate()
	if what == refused {
		return nil, lost
	}
	results, err := f.Documents.Commit(ctx, commit)
	if what == answerLost && err == nil {
		return nil, lost
	}
	return results, err
}

func TestRepeatsHaveOneEffectAndOneAnswerWhateverIsLost(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		store, calls := open(t)
		keys := rapid.IntRange(1, 3).Draw(t, "keys")
		clients := rapid.IntRange(1, 6).Draw(t, "clients of each key")
		shared := rapid.Bool().Draw(t, "all keys change one document")
		seed := rapid.Uint64().Draw(t, "seed")
		answers := make([][]idempotency.Answer, keys)
		var wait sync.WaitGroup
		for k := range keys {
			answers[k] = make([]idempotency.Answer, clients)
			name := fmt.Sprint("key-", k)
			target := name
			if shared {
				target = "one"
			}
			for c := range clients {
				random := rand.New(rand.NewPCG(seed, uint64(k*100+c)))
				flaky := faulty{store, func() fate { return fate(random.IntN(3)) }}
				wait.Go(func() {
					for {
						answer, _, err := idempotency.Do(context.Background(), flaky, request(name, "d"), increment(target))
						if err == nil {
							answers[k][c] = answer
							return
						}
						if errs.CodeOf(err) != errs.Unavailable {
							t.Error(err)
							return
						}
					}
				})
			}
		}
		wait.Wait()
		distinct := make(map[string]bool)
		for k := range keys {
			for c := range clients {
				if diff := cmp.Diff(answers[k][0], answers[k][c]); diff != "" {
					t.Errorf("two answers to one request:\n%s", diff)
				}
			}
			distinct[string(answers[k][0].Body)] = true
		}
		if got := calls(); got != keys {
			t.Errorf("%d calls for %d requests", got, keys)
		}
		if shared && len(distinct) != keys {
			t.Errorf("%d requests that added one after the other have the answers %v", keys, distinct)
		}
	})
}

func TestAFailureIsNotKeptAndHasNoEffect(t *testing.T) {
	t.Parallel()
	store, calls := open(t)
	work := increment("k")
	for name, run := range map[string]idempotency.Run{
		"an error": func(ctx context.Context, d port.Documents) (idempotency.Answer, error) {
			_, _ = work(ctx, d)
			return idempotency.Answer{}, errs.New(errs.ConditionNotMet, "no")
		},
		"an answer that tells one": func(ctx context.Context, d port.Documents) (idempotency.Answer, error) {
			answer, err := work(ctx, d)
			answer.Status = 422
			return answer, err
		},
	} {
		answer, replayed, err := idempotency.Do(t.Context(), store, request("k", "d"), run)
		if replayed || answer.Status != 422 && errs.CodeOf(err) != errs.ConditionNotMet {
			t.Errorf("%s: %+v, %v, %v", name, answer, replayed, err)
		}
	}
	if got := valueOf(t, store, "k"); got != "" || calls() != 0 {
		t.Errorf("failures left %s and %d calls", got, calls())
	}
	if answer, replayed, err := idempotency.Do(t.Context(), store, request("k", "d"), work); err != nil || replayed || string(answer.Body) != `{"n":1}` {
		t.Errorf("after them: %s, %v, %v", answer.Body, replayed, err)
	}
}

func TestAKeyIsForOneRequestOfOneCaller(t *testing.T) {
	t.Parallel()
	store, _ := open(t)
	do := func(r *idempotency.Request) (bool, error) {
		_, replayed, err := idempotency.Do(t.Context(), store, r, increment("k"))
		return replayed, err
	}
	other, function := request("k", "d"), request("k", "d")
	other.Caller, function.Function = "other", "g"
	for _, step := range []struct {
		name     string
		request  *idempotency.Request
		replayed bool
		code     errs.Code
	}{
		{"the first time", request("k", "d"), false, ""},
		{"again", request("k", "d"), true, ""},
		{"another request with the key", request("k", "e"), false, errs.ConditionNotMet},
		{"another caller", other, false, ""},
		{"another function", function, false, ""},
	} {
		if replayed, err := do(step.request); replayed != step.replayed || errs.CodeOf(err) != step.code {
			t.Errorf("%s: replayed %v, %v", step.name, replayed, err)
		}
	}
	if got := valueOf(t, store, "k"); got != `{"n":3}` {
		t.Errorf("the effects are %s", got)
	}
}

func TestAKeyIsFreeAfterADay(t *testing.T) {
	t.Parallel()
	now := time.Now()
	store, _ := openAt(t, func() time.Time { return now })
	for _, step := range []struct {
		name     string
		after    time.Duration
		digest   string
		replayed bool
	}{
		{"the first time", 0, "d", false},
		{"within the day", 23 * time.Hour, "d", true},
		{"another request after it", 2 * time.Hour, "e", false},
		{"and again", 0, "e", true},
	} {
		now = now.Add(step.after)
		if _, replayed, err := idempotency.Do(t.Context(), store, request("k", step.digest), increment("k")); err != nil || replayed != step.replayed {
			t.Errorf("%s: replayed %v, %v", step.name, replayed, err)
		}
	}
}

func TestAnAnswerThatCannotBeKeptHasNoEffect(t *testing.T) {
	t.Parallel()
	store, _ := open(t)
	_, _, err := idempotency.Do(t.Context(), store, request("k", "d"), func(ctx context.Context, d port.Documents) (idempotency.Answer, error) {
		answer, err := increment("k")(ctx, d)
		answer.Body = make([]byte, 300_000)
		return answer, err
	})
	if errs.CodeOf(err) != errs.TooLarge || !strings.Contains(err.Error(), "without the header") {
		t.Errorf("the error is %v", err)
	}
	if got := valueOf(t, store, "k"); got != "" {
		t.Errorf("it left %s", got)
	}
}

func TestARequestThatLosesEveryRaceIsAConflictThatNamesTheDocument(t *testing.T) {
	t.Parallel()
	store, _ := open(t)
	runs := 0
	_, _, err := idempotency.Do(t.Context(), store, request("k", "d"), func(ctx context.Context, d port.Documents) (idempotency.Answer, error) {
		answer, err := increment("hot")(ctx, d)
		runs++
		set := port.Write{Op: port.Set, Collection: scope, Key: "hot", Value: document.Value(`{}`)}
		if _, err := store.Commit(ctx, port.Commit{Writes: []port.Write{set}}); err != nil {
			t.Fatal(err)
		}
		return answer, err
	})
	if errs.CodeOf(err) != errs.Conflict || !strings.Contains(err.Error(), `"hot"`) || runs != 50 {
		t.Errorf("after %d runs: %v", runs, err)
	}
}

func engineFunction(t *testing.T, id string) func(store port.Documents, key, payload string) (string, bool, error) {
	f, ok := eddy.EngineFunction(id)
	if !ok {
		t.Fatalf("there is no %s", id)
	}
	return func(store port.Documents, key, payload string) (string, bool, error) {
		r := request(key, payload)
		r.Function = id
		text, replayed, err := idempotency.InvokeEngine(t.Context(), r, store, f, []byte(payload))
		return string(text), replayed, err
	}
}

func TestEngineFunctionsAnswerWithTheVersionThatTheDocumentHas(t *testing.T) {
	t.Parallel()
	store, _ := open(t)
	const document, item = `"scope":"s","key":"k"`, `"stream_name":"l","group_id":"g","item_id":"i"`
	for _, c := range []struct {
		function, payload string
		collection        port.Collection
		key               string
	}{
		{"state::set", `{` + document + `,"value":{"n":1}}`, scope, "k"},
		{"state::update", `{` + document + `,"ops":[{"type":"increment","path":"n","by":1}]}`, scope, "k"},
		{"stream::set", `{` + item + `,"data":{"n":1}}`, port.Group("l", "g"), "i"},
		{"stream::update", `{` + item + `,"ops":[{"type":"increment","path":"n","by":1}]}`, port.Group("l", "g"), "i"},
	} {
		invoke := engineFunction(t, c.function)
		first, replayed, err := invoke(store, c.function, c.payload)
		if err != nil || replayed {
			t.Fatalf("%s: replayed %v, %v", c.function, replayed, err)
		}
		found, err := store.Get(t.Context(), c.collection, c.key)
		if err != nil || !strings.Contains(first, fmt.Sprintf(`"version":%d`, found.Version)) {
			t.Errorf("%s answers %s; the document has version %d, %v", c.function, first, found.Version, err)
		}
		again, replayed, err := invoke(store, c.function, c.payload)
		if err != nil || !replayed || again != first {
			t.Errorf("%s answers %s, replayed %v, %v; first it was %s", c.function, again, replayed, err, first)
		}
	}
	for _, c := range []struct{ function, payload, want string }{
		{"state::get", `{` + document + `}`, `{"n":2}`},
		{"state::delete", `{` + document + `}`, `{"n":2}`},
		{"state::get", `{` + document + `, "with_version":false}`, `null`},
	} {
		if got, _, err := engineFunction(t, c.function)(store, c.payload, c.payload); err != nil || got != c.want {
			t.Errorf("%s answers %s, %v", c.function, got, err)
		}
	}
}

func TestACrashBeforeTheAnswerIsAmendedLeavesOneAnswer(t *testing.T) {
	t.Parallel()
	store, _ := open(t)
	commits := 0
	crashing := faulty{store, func() fate {
		if commits++; commits == 2 {
			return refused
		}
		return fine
	}}
	invoke := engineFunction(t, "state::set")
	const payload = `{"scope":"s","key":"k","value":{"n":1}}`
	if _, _, err := invoke(crashing, "k", payload); errs.CodeOf(err) != errs.Unavailable {
		t.Fatalf("the first request: %v", err)
	}
	first, replayed, err := invoke(store, "k", payload)
	if err != nil || !replayed {
		t.Fatalf("the second request: replayed %v, %v", replayed, err)
	}
	found, _ := store.Get(t.Context(), scope, "k")
	var told struct{ Version int64 }
	if err := json.Unmarshal([]byte(first), &told); err != nil || told.Version > found.Version {
		t.Errorf("it answers %s of version %d: %v", first, found.Version, err)
	}
	if again, _, err := invoke(store, "k", payload); err != nil || again != first {
		t.Errorf("the third request: %s, %v", again, err)
	}
}

func TestADeliveryIsRecordedOnce(t *testing.T) {
	t.Parallel()
	store, calls := open(t)
	for i := range 3 {
		call := port.Call{ID: fmt.Sprint("id-", i), Function: "f", Payload: document.Value(`{}`)}
		id, replayed, err := idempotency.Record(t.Context(), request("k", "d"), store, call)
		if err != nil || id != "id-0" || replayed != (i > 0) {
			t.Errorf("time %d: %s, %v, %v", i, id, replayed, err)
		}
	}
	if calls() != 1 {
		t.Errorf("%d calls", calls())
	}
}

// host is the engine of these tests: a store and nothing more.
type host struct {
	eddy.Engine
	port.Documents
}

func (h host) Get(ctx context.Context, c port.Collection, key string) (port.Document, error) {
	return h.Documents.Get(ctx, c, key)
}

func (h host) List(ctx context.Context, c port.Collection, q port.Query) (port.Page, error) {
	return h.Documents.List(ctx, c, q)
}

func (h host) Collections(ctx context.Context, prefix string) ([]port.Collection, error) {
	return h.Documents.Collections(ctx, prefix)
}

func (h host) Commit(ctx context.Context, commit port.Commit) ([]port.Result, error) {
	return h.Documents.Commit(ctx, commit)
}

type orderInput struct {
	Fail bool `json:"fail,omitempty"`
}

type order struct {
	N int `json:"n"`
}

// shop is an app whose function counts in a document and says in a header how often it ran.
func shop(keys *[]string) *eddy.App {
	app := eddy.New()
	orders := eddy.Scope[order]("orders")
	runs := 0
	eddy.Register(app, "shop::order", func(ctx context.Context, in orderInput) (order, error) {
		runs++
		*keys = append(*keys, eddy.IdempotencyKey(ctx))
		eddy.SetHeader(ctx, "X-Runs", fmt.Sprint(runs))
		if err := orders.Increment(ctx, "all", "n", 1); err != nil {
			return order{}, err
		}
		if in.Fail {
			return order{}, eddy.NotFound("nothing to order")
		}
		return orders.Get(ctx, "all")
	}, eddy.HTTP("POST /orders"), eddy.HTTP("GET /orders"), eddy.Uses(orders))
	return app
}

func TestARequestOfARouteIsServedOnce(t *testing.T) {
	t.Parallel()
	store, _ := open(t)
	var keys []string
	app := shop(&keys)
	if err := app.Validate(); err != nil {
		t.Fatal(err)
	}
	routes := make(map[string]*eddy.Route)
	for _, route := range app.Routes() {
		routes[route.Method] = route
	}
	invocation := eddy.Invocation{Engine: host{Documents: store}, Logger: slog.New(slog.DiscardHandler), RequestID: "r"}
	for _, step := range []struct {
		name, method, body string
		key                []string
		status             int
		answer, replayed   string
		runs               int
	}{
		{"a failure is told", "POST", `{"fail":true}`, []string{"k"}, 404, "", "", 1},
		{"the key is free after it", "POST", `{}`, []string{"k"}, 200, `{"n":1}`, "", 2},
		{"the repetition gets the answer of the first, and its headers", "POST", `{}`, []string{"k"}, 200, `{"n":1}`, "true", 2},
		{"another body is refused", "POST", `{"fail":false}`, []string{"k"}, 422, "", "", 2},
		{"without a key it runs again", "POST", `{}`, nil, 200, `{"n":2}`, "", 3},
		{"a GET ignores the key", "GET", "", []string{"k"}, 200, `{"n":3}`, "", 4},
		{"and again", "GET", "", []string{"k"}, 200, `{"n":4}`, "", 5},
		{"an empty key", "POST", `{}`, []string{""}, 400, "", "", 5},
		{"two keys", "POST", `{}`, []string{"a", "b"}, 400, "", "", 5},
		{"a key that is too long", "POST", `{}`, []string{strings.Repeat("k", 256)}, 400, "", "", 5},
		{"a key of other characters", "POST", `{}`, []string{"ключ"}, 400, "", "", 5},
		{"the longest key", "POST", `{}`, []string{strings.Repeat("~", 255)}, 200, `{"n":5}`, "", 6},
	} {
		r := &eddy.HTTPRequest{Method: step.method, Path: "/orders", Header: http.Header{}, Body: []byte(step.body)}
		if step.key != nil {
			r.Header["Idempotency-Key"] = step.key
		}
		got := idempotency.Serve(t.Context(), invocation, routes[step.method], r)
		if got.Status != step.status || got.Header.Get("Idempotent-Replayed") != step.replayed ||
			step.answer != "" && string(got.Body) != step.answer || len(keys) != step.runs {
			t.Errorf("%s: %d %s %v after %d runs", step.name, got.Status, got.Body, got.Header, len(keys))
		}
		if step.replayed != "" && got.Header.Get("X-Runs") != "2" {
			t.Errorf("%s: the headers are %v", step.name, got.Header)
		}
	}
	if keys[0] == "" || keys[0] != keys[1] || keys[2] != "" || keys[3] != "" {
		t.Errorf("eddy.IdempotencyKey was %q", keys)
	}
}

func TestTheCallerIsTheCredential(t *testing.T) {
	t.Parallel()
	caller := func(authorization string) string {
		header := http.Header{"Idempotency-Key": {"k"}, "Authorization": {authorization}}
		r, err := idempotency.OfCall(header, "f", nil, "", "")
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(fmt.Sprint(*r), "secret") {
			t.Errorf("%v holds the credential", *r)
		}
		return r.Caller
	}
	const signed = "AWS4-HMAC-SHA256 Credential=%s/20260102/eu-west-1/execute-api/aws4_request, SignedHeaders=host, Signature=%s"
	for _, c := range []struct {
		name, a, b string
		same       bool
	}{
		{"a token is the caller", "Bearer secret", "Bearer secret", true},
		{"another token is another", "Bearer secret", "Bearer other", false},
		{"none is a caller of its own", "Bearer secret", "", false},
		{"a signature changes with each request", fmt.Sprintf(signed, "AKIA1", "aa"), fmt.Sprintf(signed, "AKIA1", "bb"), true},
		{"the access key does not", fmt.Sprintf(signed, "AKIA1", "aa"), fmt.Sprintf(signed, "AKIA2", "aa"), false},
	} {
		if got := caller(c.a) == caller(c.b); got != c.same {
			t.Errorf("%s: the same %v", c.name, got)
		}
	}
}

func TestARequestWithoutAKeyCostsNoAllocation(t *testing.T) { //nolint:paralleltest // it counts allocations
	route := &eddy.Route{Method: "POST", Function: &eddy.Function{ID: "f"}}
	r := &eddy.HTTPRequest{Method: "POST", Header: http.Header{"Content-Type": {"application/json"}}, Body: make([]byte, 100)}
	allocations := testing.AllocsPerRun(100, func() {
		ofRoute, err := idempotency.OfRoute(route, r)
		ofCall, err2 := idempotency.OfCall(r.Header, "f", r.Body, "void", "")
		if ofRoute != nil || ofCall != nil || errors.Join(err, err2) != nil {
			t.Fatal("it has a key")
		}
	})
	if allocations != 0 {
		t.Errorf("%v allocations", allocations)
	}
}
