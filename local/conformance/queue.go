package conformance

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"
)

// queues checks messages, with the queues of the proof app: what is put into them, when and how often they are handled, and
// what becomes of those that fail.
func (s *suite) queues(t *testing.T) {
	s.parallel(t, []area{
		{"a queue is one of the function that is named", s.queueNames},
		{"what cannot be a message is refused", s.messageFaults},
		{"a message is accepted, and then handled once", s.message},
		{"messages at once are all handled once", s.messagesAtOnce},
		{"messages of one group are handled in their order, whatever others do", s.fifo},
		{"a delayed message waits, and others do not", s.delayed},
		{"what is behind a delayed message of its group waits with it", s.delayedGroup},
		{"a message that fails is tried again, and holds up those behind it", s.retried},
		{"a handler that panics has failed", s.panicked},
		{"dead letters", s.deadLetters},
	})
}

// enqueue puts a message into a queue of a function, and returns the id of its delivery. A delay is in seconds; "" is none.
func (s *suite) enqueue(t *testing.T, function, queue, payload, delay string) string {
	t.Helper()
	header := http.Header{"X-Eddy-Action": {"enqueue:" + queue}}
	if delay != "" {
		header.Set("X-Eddy-Delay", delay)
	}
	a := s.invokeWith(t, function, payload, header)
	a.wantJSON(t, 202, `{"delivery_id":"<string>"}`)
	var delivery struct {
		ID string `json:"delivery_id"`
	}
	decode(t, a.body, &delivery)
	return delivery.ID
}

func message(journal, text string) string {
	return fmt.Sprintf(`{"journal":%q,"text":%q}`, journal, text)
}

// texts returns the texts of lines.
func texts(lines []line) []string {
	list := make([]string, len(lines))
	for i, l := range lines {
		list[i] = l.Text
	}
	return list
}

func (s *suite) queueNames(t *testing.T) {
	s.needs(t, "proof::note")
	for _, c := range []struct{ function, queue string }{
		{"proof::note", "nowhere"}, {"proof::note", ""}, {"proof::note", "proof-records"}, {"todos::toggle", "proof-notes"},
		{"nobody::knows", "proof-notes"}, {"state::set", "proof-notes"},
	} {
		header := http.Header{"X-Eddy-Action": {"enqueue:" + c.queue}}
		a := s.invokeWith(t, c.function, message(unique("journal"), "lost"), header)
		if a.status != 404 {
			t.Errorf("%s in the queue %q: status %d, want 404: %s", c.function, c.queue, a.status, a.body)
		}
	}
}

func (s *suite) messageFaults(t *testing.T) {
	s.needs(t, "proof::record")
	journal := unique("journal")
	for _, c := range []struct {
		name, payload, action, delay string
		fields                       []string
	}{
		{"no JSON", `{"journal":`, "enqueue:proof-records", "", nil},
		{"without the member that is the group", `{"text":"lost"}`, "enqueue:proof-records", "", []string{"journal"}},
		{"with null for the member that is the group", `{"journal":null,"text":"lost"}`, "enqueue:proof-records", "", []string{"journal"}},
		{"with an object for the member that is the group", `{"journal":{},"text":"lost"}`, "enqueue:proof-records", "", []string{"journal"}},
		{"with a delay that is no number", message(journal, "lost"), "enqueue:proof-records", "soon", nil},
		{"with a delay before now", message(journal, "lost"), "enqueue:proof-records", "-1", nil},
		{"with a delay of more than 15 minutes", message(journal, "lost"), "enqueue:proof-records", "901", nil},
		{"a void call with a delay", message(journal, "lost"), "void", "1", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			header := http.Header{"X-Eddy-Action": {c.action}}
			if c.delay != "" {
				header.Set("X-Eddy-Delay", c.delay)
			}
			s.invokeWith(t, "proof::record", c.payload, header).wantError(t, "invalid_argument", c.fields...)
		})
	}
}

func (s *suite) message(t *testing.T) {
	s.needs(t, "proof::note")
	for function, queue := range map[string]string{"proof::note": "proof-notes", "proof::record": "proof-records"} {
		journal := unique("journal")
		delivery := s.enqueue(t, function, queue, message(journal, "one"), "")
		if lines := s.wantLines(t, journal, 1); lines[0] != (line{"one", delivery}) {
			t.Errorf("the journal has %v, want one by %s", lines, delivery)
		}
	}
}

func (s *suite) messagesAtOnce(t *testing.T) {
	s.needs(t, "proof::note")
	const messages = 20
	journal := unique("journal")
	want := make([]string, messages)
	atOnce(t, messages, func(i int) error {
		want[i] = fmt.Sprintf("%02d", i)
		return s.tryEnqueue(t, "proof::note", "proof-notes", message(journal, want[i]))
	})
	got := texts(s.wantLines(t, journal, messages))
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("handled were %q", got)
	}
}

// tryEnqueue is enqueue for goroutines.
func (s *suite) tryEnqueue(t *testing.T, function, queue, payload string) error {
	status, body, err := s.Invoke(t.Context(), function, []byte(payload), http.Header{"X-Eddy-Action": {"enqueue:" + queue}})
	if err == nil && status != 202 {
		err = fmt.Errorf("enqueue: status %d: %s", status, clip(string(body)))
	}
	return err
}

func (s *suite) fifo(t *testing.T) {
	s.needs(t, "proof::record")
	const groups, messages = 6, 8
	journals := make([]string, groups)
	for i := range journals {
		journals[i] = unique("journal")
	}
	want := make([]string, messages)
	for i := range want {
		want[i] = fmt.Sprint("message ", i)
	}
	atOnce(t, groups, func(i int) error {
		for _, text := range want {
			if err := s.tryEnqueue(t, "proof::record", "proof-records", message(journals[i], text)); err != nil {
				return err
			}
		}
		return nil
	})
	for _, journal := range journals {
		if got := texts(s.wantLines(t, journal, messages)); !slices.Equal(got, want) {
			t.Errorf("the journal has %q, want %q", got, want)
		}
	}
}

func (s *suite) delayed(t *testing.T) {
	s.needs(t, "proof::note")
	journal := unique("journal")
	began := time.Now()
	s.enqueue(t, "proof::note", "proof-notes", message(journal, "much later"), "900")
	s.enqueue(t, "proof::note", "proof-notes", message(journal, "later"), "4") // longer than a Lambda sits out
	s.enqueue(t, "proof::note", "proof-notes", message(journal, "now"), "0")
	got := texts(s.wantLines(t, journal, 2))
	if waited := time.Since(began); waited < 4*time.Second {
		t.Errorf("the delayed message was handled after %s", waited)
	}
	if want := []string{"now", "later"}; !slices.Equal(got, want) {
		t.Errorf("the journal has %q, want %q", got, want)
	}
}

func (s *suite) delayedGroup(t *testing.T) {
	s.needs(t, "proof::record")
	journal := unique("journal")
	s.enqueue(t, "proof::record", "proof-records", message(journal, "first"), "1")
	s.enqueue(t, "proof::record", "proof-records", message(journal, "second"), "")
	if got, want := texts(s.wantLines(t, journal, 2)), []string{"first", "second"}; !slices.Equal(got, want) {
		t.Errorf("the journal has %q, want %q", got, want)
	}
}

// stumbling is a message whose handler fails so many times.
func stumbling(journal, text string, failures int) string {
	return fmt.Sprintf(`{"journal":%q,"text":%q,"failures":%d}`, journal, text, failures)
}

func (s *suite) stumble(t *testing.T, payload string) string {
	t.Helper()
	return s.enqueue(t, "proof::stumble", "proof-stumbles", payload, "")
}

func (s *suite) retried(t *testing.T) {
	s.needs(t, "proof::stumble")
	journal := unique("journal")
	want := []line{
		{"fails twice", s.stumble(t, stumbling(journal, "fails twice", 2))},
		{"fails once", s.stumble(t, stumbling(journal, "fails once", 1))},
		{"never fails", s.stumble(t, stumbling(journal, "never fails", 0))},
	}
	if got := s.wantLines(t, journal, 3); !slices.Equal(got, want) {
		t.Errorf("the journal has %v, want %v", got, want)
	}
	s.wantTries(t, journal+"/fails twice", 3)
}

func (s *suite) panicked(t *testing.T) {
	s.needs(t, "proof::stumble")
	journal := unique("journal")
	s.stumble(t, fmt.Sprintf(`{"journal":%q,"text":"panics","failures":1,"panics":true}`, journal))
	s.wantLines(t, journal, 1)
	s.wantTries(t, journal+"/panics", 2)
}

// wantTries wants a message to have been tried so many times at least: a delivery may come once more, and find that it has
// taken effect.
func (s *suite) wantTries(t *testing.T, message string, least int) {
	t.Helper()
	var tries struct{ Count int }
	decode(t, s.must(t, "state::get", `{"scope":"proof-tries","key":"`+message+`"}`), &tries)
	if tries.Count < least {
		t.Errorf("the message was tried %d times, want %d", tries.Count, least)
	}
}
