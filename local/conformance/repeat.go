package conformance

import (
	"bytes"
	"maps"
	"net/http"
	"strings"
	"testing"
)

// repeats checks requests that are sent again with the same Idempotency-Key.
func (s *suite) repeats(t *testing.T) {
	s.parallel(t, []area{
		{"a request of a route has one effect and one answer", s.repeatRoute},
		{"a call by id has one effect and one answer", s.repeatInvoke},
		{"an engine function has one effect and one answer, versions included", s.repeatEngine},
		{"a void call is one delivery", func(t *testing.T) { s.repeatDelivery(t, "proof::note", "void") }},
		{"a message is one delivery", func(t *testing.T) { s.repeatDelivery(t, "proof::record", "enqueue:proof-records") }},
		{"requests at once with one key have one effect and one answer", s.repeatAtOnce},
		{"what failed is not kept", s.repeatFailure},
		{"the same key of another function is another key", s.repeatElsewhere},
		{"a GET heeds no key", func(t *testing.T) {
			for range 2 {
				a := s.send(t, request{method: "GET", path: "/todos?limit=1", header: http.Header{"Idempotency-Key": {"same"}}})
				if a.status != 200 || a.header.Get("Idempotent-Replayed") != "" {
					t.Errorf("status %d, %v", a.status, a.header)
				}
			}
		}},
		{"keys that are none are refused", s.keys},
	})
}

// keyed sends a POST with a key.
func (s *suite) keyed(t *testing.T, path, body, key string, more http.Header) answer {
	t.Helper()
	header := http.Header{"Idempotency-Key": {key}}
	maps.Copy(header, more)
	return s.send(t, request{method: "POST", path: path, body: body, header: header})
}

// wantReplay wants the second answer to be the first one, and to say so.
func wantReplay(t *testing.T, first, second answer) {
	t.Helper()
	if first.header.Get("Idempotent-Replayed") != "" {
		t.Errorf("the first answer says that it is none: %v", first.header)
	}
	if second.header.Get("Idempotent-Replayed") != "true" {
		t.Errorf("the second answer does not say that it was given before: %d %s, %v", second.status, second.body, second.header)
	}
	if first.status != second.status || !bytes.Equal(first.body, second.body) {
		t.Errorf("the answers differ: %d %s, then %d %s", first.status, first.body, second.status, second.body)
	}
}

// counter returns the path of a counter of the proof app that nobody uses, and what reads it.
func (s *suite) counter(t *testing.T) (path, name string, count func() int) {
	t.Helper()
	s.needs(t, "proof::count")
	name = unique("counter")
	return "/proof/counters/" + name, name, func() int {
		var counter struct{ Count int }
		decode(t, s.must(t, "state::get", `{"scope":"proof-counters","key":"`+name+`"}`), &counter)
		return counter.Count
	}
}

func (s *suite) repeatRoute(t *testing.T) {
	path, _, count := s.counter(t)
	key := unique("key")
	first := s.keyed(t, path, `{"by":3}`, key, nil)
	first.wantJSON(t, 201, `{"count":3}`)
	for range 3 {
		again := s.keyed(t, path, `{"by":3}`, key, nil)
		wantReplay(t, first, again)
		if a, b := first.header.Get("X-Proof-Count"), again.header.Get("X-Proof-Count"); a != "3" || b != "3" {
			t.Errorf("the function's header is %q, then %q", a, b)
		}
	}
	s.keyed(t, path, `{"by":4}`, key, nil).wantError(t, "condition_not_met")
	s.keyed(t, path+"?x=1", `{"by":3}`, key, nil).wantError(t, "condition_not_met")
	if n := count(); n != 3 {
		t.Errorf("the counter is at %d, want 3", n)
	}
	s.keyed(t, path, `{"by":3}`, unique("key"), nil).wantJSON(t, 201, `{"count":6}`)
	s.post(t, path, `{"by":3}`).wantJSON(t, 201, `{"count":9}`)
}

func (s *suite) repeatInvoke(t *testing.T) {
	_, name, count := s.counter(t)
	key, payload := unique("key"), `{"counter":"`+name+`","by":2}`
	first := s.keyed(t, "/_eddy/invoke/proof::count", payload, key, nil)
	first.wantJSON(t, 200, `{"count":2}`)
	wantReplay(t, first, s.keyed(t, "/_eddy/invoke/proof::count", payload, key, nil))
	s.keyed(t, "/_eddy/invoke/proof::count", strings.Replace(payload, "2", "3", 1), key, nil).wantError(t, "condition_not_met")
	s.keyed(t, "/_eddy/invoke/proof::count", payload, key, http.Header{"X-Eddy-Action": {"void"}}).
		wantError(t, "condition_not_met")
	if n := count(); n != 2 {
		t.Errorf("the counter is at %d, want 2", n)
	}
}

func (s *suite) repeatEngine(t *testing.T) {
	scope := unique("conformance")
	for _, c := range []struct{ function, payload, want string }{
		{"state::update", `{"scope":"` + scope + `","key":"k","ops":[{"type":"increment","path":"n","by":1}]}`,
			`{"old_value":null,"new_value":{"n":1},"version":"<version>"}`},
		{"state::set", `{"scope":"` + scope + `","key":"k","value":7}`,
			`{"old_value":{"n":1},"new_value":7,"version":"<version>"}`},
		{"state::transact", `{"writes":[{"op":"delete","scope":"` + scope + `","key":"k"},
			{"op":"set","scope":"` + scope + `","key":"l","value":1}]}`,
			`{"results":[{"old_value":7},{"old_value":null,"new_value":1,"version":"<version>"}]}`},
		{"state::delete", `{"scope":"` + scope + `","key":"l"}`, `1`},
		{"stream::set", `{"stream_name":"` + scope + `","group_id":"g","item_id":"i","data":{"n":1}}`, `"<any>"`},
	} {
		key := unique("key")
		first := s.keyed(t, "/_eddy/invoke/"+c.function, c.payload, key, nil)
		first.wantJSON(t, 200, c.want)
		wantReplay(t, first, s.keyed(t, "/_eddy/invoke/"+c.function, c.payload, key, nil))
		s.keyed(t, "/_eddy/invoke/"+c.function, strings.Replace(c.payload, scope, scope+"-2", 1), key, nil).
			wantError(t, "condition_not_met")
	}
}

func (s *suite) repeatDelivery(t *testing.T, function, action string) {
	s.needs(t, function)
	journal, key := unique("journal"), unique("key")
	path, header := "/_eddy/invoke/"+function, http.Header{"X-Eddy-Action": {action}}
	payload := `{"journal":"` + journal + `","text":"once"}`
	first := s.keyed(t, path, payload, key, header)
	first.wantJSON(t, 202, `{"delivery_id":"<string>"}`)
	for range 3 {
		wantReplay(t, first, s.keyed(t, path, payload, key, header))
	}
	s.keyed(t, path, strings.Replace(payload, "once", "twice", 1), key, header).wantError(t, "condition_not_met")
	last := `{"journal":"` + journal + `","text":"last"}`
	s.wantLines(t, journal, 1)
	s.keyed(t, path, last, unique("key"), header).wantJSON(t, 202, `{"delivery_id":"<string>"}`)
	lines := s.wantLines(t, journal, 2)
	var delivery struct {
		ID string `json:"delivery_id"`
	}
	decode(t, first.body, &delivery)
	if lines[0] != (line{"once", delivery.ID}) || lines[1].Text != "last" {
		t.Errorf("the journal has %v, want once by %s and last", lines, delivery.ID)
	}
}

func (s *suite) repeatAtOnce(t *testing.T) {
	path, _, count := s.counter(t)
	const requests = 8
	key := unique("key")
	answers := make([]answer, requests)
	atOnce(t, requests, func(i int) (err error) {
		answers[i], err = s.do(t.Context(), request{
			method: "POST", path: path, body: `{"by":1}`, header: http.Header{"Idempotency-Key": {key}},
		})
		return err
	})
	replayed := 0
	for _, a := range answers {
		a.wantJSON(t, 201, `{"count":1}`)
		if a.header.Get("Idempotent-Replayed") == "true" {
			replayed++
		}
	}
	if n := count(); n != 1 || replayed != requests-1 {
		t.Errorf("the counter is at %d and %d of %d answers were given before, want 1 and all but one", n, replayed, requests)
	}
}

func (s *suite) repeatFailure(t *testing.T) {
	path, _, count := s.counter(t)
	key := unique("key")
	for range 2 {
		a := s.keyed(t, path, `{"by":1,"fail":true}`, key, nil)
		a.wantError(t, "condition_not_met")
		if a.header.Get("Idempotent-Replayed") != "" {
			t.Errorf("a failure was kept: %v", a.header)
		}
	}
	s.keyed(t, path, `{"by":"one"}`, key, nil).wantError(t, "invalid_argument", "by")
	s.keyed(t, path, `{"by":1}`, key, nil).wantJSON(t, 201, `{"count":1}`)
	if n := count(); n != 1 {
		t.Errorf("the counter is at %d, want 1: a request with a key that fails leaves nothing", n)
	}
}

func (s *suite) repeatElsewhere(t *testing.T) {
	path, _, _ := s.counter(t)
	key := unique("key")
	s.keyed(t, path, `{"by":1}`, key, nil).wantJSON(t, 201, `{"count":1}`)
	a := s.keyed(t, "/_eddy/invoke/state::set", `{"scope":"`+unique("conformance")+`","key":"k","value":1}`, key, nil)
	a.wantJSON(t, 200, `"<any>"`)
	if a.header.Get("Idempotent-Replayed") != "" {
		t.Errorf("the answer is that of another function: %s", a.body)
	}
}

func (s *suite) keys(t *testing.T) {
	set := `{"scope":"` + unique("conformance") + `","key":"k","value":1}`
	for name, keys := range map[string][]string{
		"256 characters": {strings.Repeat("k", 256)}, "no ASCII": {"clé"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s.send(t, request{method: "POST", path: "/_eddy/invoke/state::set", body: set,
				header: http.Header{"Idempotency-Key": keys}}).wantError(t, "invalid_argument")
			s.send(t, request{method: "POST", path: "/todos/toggle", body: `{"id":"none"}`,
				header: http.Header{"Idempotency-Key": keys}}).wantError(t, "invalid_argument")
		})
	}
	s.keyed(t, "/_eddy/invoke/state::set", set, unique(strings.Repeat("k", 200)), nil).wantJSON(t, 200, `"<any>"`)
	s.keyed(t, "/_eddy/invoke/queue::dead_letters", `{}`, "k", nil).wantError(t, "invalid_argument")
}
