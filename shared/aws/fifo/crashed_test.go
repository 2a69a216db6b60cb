package fifo_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/google/go-cmp/cmp"

	"github.com/eddyhq/eddy/shared/aws/fifo"
	"github.com/eddyhq/eddy/shared/aws/message"
	"github.com/eddyhq/eddy/shared/deployed"
)

// crashed gives messages to the Crashed of the world, and returns the ids of those that come again.
func (w *world) crashed(t *testing.T, messages ...events.SQSMessage) (failed []string) {
	c := fifo.NewCrashed(w.app, fifo.CrashedOptions{
		Documents: w, Ledger: w, GetBlob: w.getBlob, Bury: w.bury, Now: func() time.Time { return time.Unix(5, 0) },
	})
	for _, f := range c.Receive(t.Context(), events.SQSEvent{Records: messages}).BatchItemFailures {
		failed = append(failed, f.ItemIdentifier)
	}
	return failed
}

// buried returns the versions of the changes that are dead letters.
func (w *world) buried(t *testing.T) (versions []int64) {
	for _, l := range w.letters(t) {
		if l.Record.Change != nil {
			versions = append(versions, l.Record.Change.Version)
		}
	}
	slices.Sort(versions)
	return versions
}

func TestWhatCrashedBecomesDeadLetters(t *testing.T) {
	t.Parallel()
	w := start(t, note)
	lost := event("1", body("a", number("a", 1, 1), number("a", 2, 2), number("a", 3, 3)), 1)
	for range 2 {
		w.receive(t.Context(), event("0", body("a", number("a", 1, 1)), 1))
		if failed := w.crashed(t, lost); failed != nil {
			t.Errorf("failed %q", failed)
		}
	}
	if diff := cmp.Diff([]int64{2, 3}, w.buried(t)); diff != "" {
		t.Errorf("the dead letters (-want +got):\n%s", diff)
	}
	letter := w.letters(t)[0]
	if letter.Code != "unavailable" || letter.Function != "test::react" || !letter.Last.Equal(time.Unix(5, 0)) ||
		letter.Message != "unavailable: test::react crashed, or ran out of time or memory, 100 times" {
		t.Errorf("the dead letter is %+v", letter)
	}
	w.receive(t.Context(), lost, event("2", body("a", number("a", 4, 4)), 1))
	if w.kept(t, "a") != seen(1, 4) {
		t.Errorf("kept %s: what is a dead letter took effect", w.kept(t, "a"))
	}
}

func TestWhatWasOvertakenIsKeptToo(t *testing.T) {
	t.Parallel()
	w := start(t, note)
	w.receive(t.Context(), event("0", body("a", number("a", 3, 3)), 1))
	for range 2 {
		if failed := w.crashed(t, event("1", body("a", number("a", 2, 2)), 1)); failed != nil {
			t.Errorf("failed %q", failed)
		}
	}
	if diff := cmp.Diff([]int64{2}, w.buried(t)); diff != "" || !strings.Contains(w.letters(t)[0].Message, "overtaken") {
		t.Errorf("the dead letters are %+v (-want +got):\n%s", w.letters(t), diff)
	}
}

func TestWhatCannotBeKeptComesAgainWithWhatIsBehindItInItsLane(t *testing.T) {
	t.Parallel()
	w := start(t, note)
	commits := 0
	w.fail = func() fate {
		if commits++; commits == 2 {
			return refused
		}
		return taken
	}
	failed := w.crashed(t,
		event("1", body("a", number("a", 1, 1)), 1),
		event("2", body("b", number("b", 2, 2)), 1),
		event("3", body("a", number("a", 3, 3)), 1),
		event("4", body("b", number("b", 4, 4)), 1),
		event("5", "no message", 1),
	)
	if diff := cmp.Diff([]string{"2", "4", "5"}, failed); diff != "" {
		t.Errorf("failed (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]int64{1, 3}, w.buried(t)); diff != "" {
		t.Errorf("the dead letters (-want +got):\n%s", diff)
	}
}

func TestWhatCrashedOfAFunctionThatIsGoneIsKept(t *testing.T) {
	t.Parallel()
	w := start(t, note)
	text := strings.Replace(body("a", number("a", 1, 1)), "test::react", "test::gone", 1)
	if failed := w.crashed(t, event("1", text, 1)); failed != nil {
		t.Errorf("failed %q", failed)
	}
	if letters := w.letters(t); len(letters) != 1 || letters[0].Function != "test::gone" || letters[0].Code != "not_found" {
		t.Errorf("the dead letters are %+v", letters)
	}
}

func TestWhatCrashedOfLiveGroupsIsNoDeadLetter(t *testing.T) {
	t.Parallel()
	w := start(t, note)
	var messages []events.SQSMessage
	for i, m := range []message.Message{
		{Function: deployed.RoleLanes, Lane: "stream/a/b", Records: []message.Record{number("a", 1, 1)}},
		{Function: deployed.RoleLanes, Lane: "stream/a/b", Blob: "eddy::lanes/gone"},
		{Lane: "stream/a/b", Socket: &message.Socket{Kind: message.Join, Connection: "c"}},
	} {
		text, err := message.Encode(m)
		if err != nil {
			t.Fatal(err)
		}
		messages = append(messages, event(fmt.Sprint(i), string(text), 1))
	}
	if failed := w.crashed(t, messages...); failed != nil || len(w.letters(t)) != 0 {
		t.Errorf("failed %q, dead letters %+v", failed, w.letters(t))
	}
}
