package conformance

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"
)

// letter is a dead letter, as much of it as the cases look at.
type letter struct {
	ID       string
	Function string `json:"function_id"`
	Payload  struct{ Journal, Text, Key string }
	Message  string
	Chain    []string
	First    time.Time `json:"first_at"`
	Last     time.Time `json:"last_at"`
	text     json.RawMessage
}

// letters walks through the dead letters that a query (members of the payload) selects, in pages of a size.
func (s *suite) letters(t *testing.T, query string, limit int) (all []letter) {
	t.Helper()
	for cursor := ""; ; {
		var page struct {
			Items  []json.RawMessage
			Cursor string
		}
		decode(t, s.must(t, "queue::dead_letters", fmt.Sprintf(`{%s,"limit":%d,"cursor":%q}`, query, limit, cursor)), &page)
		for _, text := range page.Items {
			l := letter{text: text}
			decode(t, text, &l)
			all = append(all, l)
		}
		if cursor = page.Cursor; cursor == "" {
			return all
		}
	}
}

// letterOf returns the letter of a text in a list; the zero letter when there is none.
func letterOf(all []letter, text string) letter {
	if i := slices.IndexFunc(all, func(l letter) bool { return l.Payload.Text == text }); i >= 0 {
		return all[i]
	}
	return letter{}
}

// deadLetters has messages fail for the last time, and puts them back or discards them in every way there is.
func (s *suite) deadLetters(t *testing.T) {
	s.needs(t, "proof::stumble")
	const queue, function = `"queue":"proof-stumbles"`, `"function_id":"proof::stumble"`
	s.settleAll(t, "queue::discard", queue) // what an earlier run left
	began, name := time.Now().Add(-time.Minute), unique("journal")
	journal := func(i int) string { return fmt.Sprint(name, "-", i) }
	fails := func(i int) string { return fmt.Sprint("fails ", i) }
	const messages = 6
	deliveries := make([]string, messages)
	for i := range messages {
		deliveries[i] = s.stumble(t, stumbling(journal(i), fails(i), 3))
	}
	s.stumble(t, stumbling(journal(0), "behind it", 0))
	var all []letter
	eventually(t, "the messages are dead letters", func() error {
		if all = s.letters(t, queue, 4); len(all) != messages {
			return fmt.Errorf("there are %d, want %d", len(all), messages)
		}
		return nil
	})
	id := func(i int) string { return letterOf(all, fails(i)).ID }
	s.letterShape(t, letterOf(all, fails(0)), journal(0), deliveries[0], began)
	if got := s.wantLines(t, journal(0), 1); got[0].Text != "behind it" {
		t.Errorf("the journal has %v, want what is behind the dead letter", got)
	}
	if byFunction := s.letters(t, function, 1000); len(byFunction) != messages {
		t.Errorf("%d dead letters of the function, %d of its queue", len(byFunction), messages)
	}
	s.letterFaults(t, id(0))

	steps := []struct{ call, payload, want string }{
		{"queue::redrive", `{` + queue + `,"id":"` + id(0) + `"}`, `{"redriven":1}`},
		{"queue::redrive", `{` + function + `,"ids":["` + id(1) + `","` + id(2) + `","none"]}`, `{"redriven":2}`},
		{"queue::discard", `{` + queue + `,"id":"` + id(3) + `"}`, `{"discarded":1}`},
		{"queue::discard", `{` + queue + `,"id":"` + id(3) + `"}`, `{"discarded":0}`},
		{"queue::redrive", `{` + queue + `,"id":"` + id(3) + `"}`, `{"redriven":0}`},
		{"queue::redrive", `{` + queue + `,"all":true}`, `{"redriven":2}`},
	}
	for _, step := range steps {
		s.invoke(t, step.call, step.payload).wantJSON(t, 200, step.want)
	}
	for i := range messages {
		lines := map[int]int{0: 2, 3: 0}
		want, special := lines[i]
		if !special {
			want = 1
		}
		if got := s.wantLines(t, journal(i), want); want > 0 && got[want-1] != (line{fails(i), deliveries[i]}) {
			t.Errorf("the journal %d has %v, want what was redriven, by %s", i, got, deliveries[i])
		}
	}
	if left := s.letters(t, queue, 1000); len(left) > 0 {
		t.Errorf("there are still dead letters: %s", left[0].text)
	}
	s.invoke(t, "queue::redrive", `{`+queue+`,"all":true}`).wantJSON(t, 200, `{"redriven":0}`)
}

func (s *suite) letterShape(t *testing.T, l letter, journal, delivery string, began time.Time) {
	t.Helper()
	want := fmt.Sprintf(`{"id":%q,"function_id":"proof::stumble","queue":"proof-stumbles",
		"payload":{"journal":%q,"text":"fails 0","failures":3},"code":"unavailable","message":"<string>","attempts":3,
		"first_at":"<time>","last_at":"<time>"}`, delivery, journal)
	if err := match(l.text, want); err != nil {
		t.Errorf("%v\n got: %s\nwant: %s", err, l.text, want)
	}
	if l.First.Before(began) || l.Last.Before(l.First) || l.Last.After(time.Now().Add(time.Minute)) {
		t.Errorf("the attempts were from %s to %s", l.First, l.Last)
	}
}

func (s *suite) letterFaults(t *testing.T, id string) {
	t.Helper()
	for _, c := range []struct{ call, payload, field string }{
		{"queue::dead_letters", `{"queue":"nowhere"}`, "queue"},
		{"queue::dead_letters", `{"queue":"proof-stumbles","function_id":"proof::stumble"}`, "queue"},
		{"queue::dead_letters", `{"limit":0}`, "limit"},
		{"queue::dead_letters", `{"cursor":"garbage"}`, "cursor"},
		{"queue::redrive", `{"id":"` + id + `"}`, "function_id"},
		{"queue::redrive", `{"queue":"proof-stumbles"}`, "id"},
		{"queue::redrive", `{"queue":"proof-stumbles","all":true,"id":"` + id + `"}`, "id"},
		{"queue::redrive", `{"queue":"proof-stumbles","ids":[]}`, "ids"},
		{"queue::discard", `{"queue":"proof-stumbles","every":true}`, "every"},
	} {
		s.invoke(t, c.call, c.payload).wantError(t, "invalid_argument", c.field)
	}
}

// settleAll redrives or discards every dead letter that a query selects.
func (s *suite) settleAll(t *testing.T, call, query string) {
	t.Helper()
	for cursor := ""; ; {
		var done struct{ Cursor string }
		decode(t, s.must(t, call, fmt.Sprintf(`{%s,"all":true,"cursor":%q}`, query, cursor)), &done)
		if cursor = done.Cursor; cursor == "" {
			return
		}
	}
}
