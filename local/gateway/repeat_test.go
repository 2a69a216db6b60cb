package gateway

import (
	"context"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/eddyhq/eddy/shared/eddy"
)

// mailing is an app with a queue, a route and a function, which count what they do in one document.
func mailing(runs *atomic.Int64) *eddy.App {
	type counter struct {
		N int `json:"n"`
	}
	type mail struct {
		To string `json:"to"`
	}
	counters := eddy.Scope[counter]("counters")
	app := eddy.New()
	count := func(key string) func(context.Context, mail) (counter, error) {
		return func(ctx context.Context, in mail) (counter, error) {
			runs.Add(1)
			if in.To == "nobody" {
				return counter{}, eddy.NotFound("nobody is not there")
			}
			if err := counters.Increment(ctx, key, "n", 1); err != nil {
				return counter{}, err
			}
			return counters.Get(ctx, key)
		}
	}
	eddy.Register(app, "mail::send", count("sent"), eddy.Uses(counters), eddy.HTTP("POST /mails", eddy.Status(201)))
	eddy.Register(app, "mail::deliver", count("delivered"), eddy.Uses(counters), eddy.Queue("mails", eddy.FIFO("to"), eddy.Delay(time.Second)))
	return app
}

func counted(t *testing.T, g *Gateway, key string) string {
	t.Helper()
	return request(t, g, "POST", "/_eddy/invoke/state::get", `{"scope":"counters","key":"`+key+`"}`, "Content-Type", "application/json").Body.String()
}

func TestARequestWithAKeyHasOneEffectAndOneAnswer(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, path, body string
		headers          []string
		status           int
	}{
		{"a route", "/mails", `{"to":"a"}`, nil, 201},
		{"a function of the app", "/_eddy/invoke/mail::send", `{"to":"a"}`, nil, 200},
		{"an engine function", "/_eddy/invoke/state::update",
			`{"scope":"counters","key":"sent","ops":[{"type":"increment","path":"n","by":1}]}`, nil, 200},
		{"a void call", "/_eddy/invoke/mail::send", `{"to":"a"}`, []string{"X-Eddy-Action", "void"}, 202},
		{"a void call of an engine function", "/_eddy/invoke/state::update",
			`{"scope":"counters","key":"sent","ops":[{"type":"increment","path":"n","by":1}]}`, []string{"X-Eddy-Action", "void"}, 202},
		{"a message", "/_eddy/invoke/mail::deliver", `{"to":"a"}`, []string{"X-Eddy-Action", "enqueue:mails", "X-Eddy-Delay", "0"}, 202},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var runs atomic.Int64
			g := open(t, mailing(&runs), nil)
			send := func(body string, more ...string) *httptest.ResponseRecorder {
				headers := append([]string{"Content-Type", "application/json", "Idempotency-Key", "k"}, c.headers...)
				return request(t, g, "POST", c.path, body, append(headers, more...)...)
			}
			first, second := send(c.body), send(c.body)
			if first.Code != c.status || first.Header().Get("Idempotent-Replayed") != "" {
				t.Errorf("first %d %v %s", first.Code, first.Header(), first.Body)
			}
			if second.Code != c.status || second.Header().Get("Idempotent-Replayed") != "true" || second.Body.String() != first.Body.String() {
				t.Errorf("then %d %v %s, first %s", second.Code, second.Header(), second.Body, first.Body)
			}
			if other := send(strings.Replace(c.body, `"a"`, `"b"`, 1) + " "); other.Code != 422 || code(t, other) != "condition_not_met" {
				t.Errorf("another body: %d %s", other.Code, other.Body)
			}
			settled, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			if err := g.engine.Settle(settled); err != nil {
				t.Fatal(err)
			}
			if got := counted(t, g, "sent") + counted(t, g, "delivered"); got != `{"n":1}null` && got != `null{"n":1}` {
				t.Errorf("the effects are %s", got)
			}
		})
	}
}

func TestAFailedRequestCanBeSentAgainUnderItsKey(t *testing.T) {
	t.Parallel()
	var runs atomic.Int64
	g := open(t, mailing(&runs), nil)
	for i := range 2 {
		w := request(t, g, "POST", "/mails", `{"to":"nobody"}`, "Idempotency-Key", "k")
		if w.Code != 404 || code(t, w) != "not_found" || runs.Load() != int64(i+1) {
			t.Errorf("%d %s after %d runs", w.Code, w.Body, runs.Load())
		}
	}
	if w := request(t, g, "POST", "/mails", `{"to":"a"}`, "Idempotency-Key", "k"); w.Code != 201 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestInvokesThatCannotBeAreRefused(t *testing.T) {
	t.Parallel()
	var runs atomic.Int64
	g := open(t, mailing(&runs), nil)
	for _, c := range []struct {
		name, function string
		headers        []string
		status         int
		says           string
	}{
		{"a key for what lists dead letters", "queue::dead_letters", []string{"Idempotency-Key", "k"}, 400, "takes no Idempotency-Key"},
		{"an empty key", "mail::send", []string{"Idempotency-Key", ""}, 400, "1 to 255"},
		{"an unknown queue", "mail::deliver", []string{"X-Eddy-Action", "enqueue:letters"}, 404, "letters"},
		{"the queue of another function", "mail::send", []string{"X-Eddy-Action", "enqueue:mails"}, 404, "mail::deliver"},
		{"a delay that is none", "mail::deliver", []string{"X-Eddy-Action", "enqueue:mails", "X-Eddy-Delay", "1s"}, 400, "whole seconds"},
		{"a delay that is too long", "mail::deliver", []string{"X-Eddy-Action", "enqueue:mails", "X-Eddy-Delay", "901"}, 400, "delay"},
		{"a delay of a call", "mail::send", []string{"X-Eddy-Delay", "1"}, 400, "enqueue"},
		{"a delay of a void call", "mail::send", []string{"X-Eddy-Action", "void", "X-Eddy-Delay", "1"}, 400, "enqueue"},
		{"an unknown action", "mail::send", []string{"X-Eddy-Action", "later"}, 400, "void or enqueue"},
		{"a message without its group", "mail::deliver", []string{"X-Eddy-Action", "enqueue:mails"}, 400, "to"},
	} {
		body := `{"to":"a"}`
		if strings.HasPrefix(c.name, "a message without") {
			body = `{}`
		}
		w := request(t, g, "POST", "/_eddy/invoke/"+c.function, body, append(c.headers, "Content-Type", "application/json")...)
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.says) {
			t.Errorf("%s: %d %s", c.name, w.Code, w.Body)
		}
	}
	if runs.Load() != 0 {
		t.Errorf("functions ran %d times", runs.Load())
	}
}

func TestAMessageWaitsAsLongAsItIsTold(t *testing.T) {
	t.Parallel()
	var runs, clock atomic.Int64
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	g := open(t, mailing(&runs), func(c *Config) {
		c.Now = func() time.Time { return start.Add(time.Duration(clock.Load())) }
	})
	for _, delay := range []string{"", "60"} {
		headers := []string{"Content-Type", "application/json", "X-Eddy-Action", "enqueue:mails"}
		if delay != "" {
			headers = append(headers, "X-Eddy-Delay", delay)
		}
		if w := request(t, g, "POST", "/_eddy/invoke/mail::deliver", `{"to":"`+delay+`"}`, headers...); w.Code != 202 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
	}
	for _, step := range []struct {
		at   time.Duration
		want int64
	}{{0, 0}, {2 * time.Second, 1}, {61 * time.Second, 2}} {
		clock.Store(int64(step.at))
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		if err := g.engine.Settle(ctx); err != nil {
			t.Fatal(err)
		}
		cancel()
		if runs.Load() != step.want {
			t.Errorf("%s after the messages %d were handled", step.at, runs.Load())
		}
	}
}
