package fifo_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/eddyhq/eddy/shared/aws/fifo"
	"github.com/eddyhq/eddy/shared/aws/message"
	"github.com/eddyhq/eddy/shared/document"
	"github.com/eddyhq/eddy/shared/eddy"
	"github.com/eddyhq/eddy/shared/errs"
	"github.com/eddyhq/eddy/shared/pebblestore"
	"github.com/eddyhq/eddy/shared/port"
	"github.com/eddyhq/eddy/shared/reaction"
)

// notes is what the reactions of these tests keep.
type notes struct {
	Sum  int   `json:"sum"`
	Seen []int `json:"seen,omitempty"`
}

var (
	things = eddy.Scope[thing]("things")
	kept   = eddy.Scope[notes]("kept")
)

// world is a Lambda of one function, with a store and a queue that tell what was asked of them.
type world struct {
	*pebblestore.Store
	app      *eddy.App
	function *eddy.Function
	receiver *fifo.Receiver

	mu      sync.Mutex
	taken   map[string]int64 // by cursor
	asked   int              // of the ledger
	blobs   map[string]error // of GetBlob, by key
	visible map[string]int32 // the waits that the queue was told of, by receipt
	fail    func() fate      // of each commit, and of each attempt that is recorded; nil: none fails
}

// newWorld runs one reaction to the scope "things".
func newWorld(t fataler, react func(context.Context, eddy.Change[thing]) error,
	opts []eddy.TriggerOption[thing], more ...eddy.Option) *world {
	app := eddy.New()
	eddy.React(app, "test::react", react, things.Changes(opts...), append(more, eddy.Uses(kept))...)
	return worldOf(t, app, "test::react")
}

// worldOf is a Lambda of one function of an app.
func worldOf(t fataler, app *eddy.App, id string) *world {
	store, err := pebblestore.Open("data", pebblestore.Options{FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	if err := app.Validate(); err != nil {
		t.Fatal(err)
	}
	w := &world{Store: store, app: app, taken: map[string]int64{}, visible: map[string]int32{}, blobs: map[string]error{}}
	w.function, _ = app.Function(id)
	w.receiver = fifo.NewReceiver(w.function, fifo.ReceiverOptions{
		App: app, Runner: reaction.NewRunner(w, slog.New(slog.DiscardHandler)), Ledger: w, Client: w,
		QueueURL: "https://sqs/" + id, GetBlob: w.getBlob, Bury: w.bury,
	})
	return w
}

type fataler interface{ Fatal(...any) }

// start is newWorld for a test, which closes it.
func start(t *testing.T, react func(context.Context, eddy.Change[thing]) error, more ...eddy.Option) *world {
	w := newWorld(t, react, nil, more...)
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

func (w *world) Commit(ctx context.Context, c port.Commit) ([]port.Result, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	fate := taken
	if w.fail != nil {
		fate = w.fail()
	}
	if fate == refused {
		return nil, errs.New(errs.Unavailable, "throttled")
	}
	results, err := w.Store.Commit(ctx, c)
	if err != nil {
		return nil, err
	}
	for _, cursor := range c.Cursors {
		w.taken[cursor.Name] = cursor.Version
	}
	if fate == lostReply {
		return nil, errs.New(errs.Unavailable, "the reply is lost")
	}
	return results, nil
}

func (w *world) Attempted(ctx context.Context, cursor string, a port.Attempts) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fail != nil && w.fail() != taken {
		return errs.New(errs.Unavailable, "throttled")
	}
	return w.Store.Attempted(ctx, cursor, a)
}

func (w *world) Standing(ctx context.Context, cursor string) (int64, port.Attempts, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked++
	attempts, err := w.Attempts(ctx, cursor)
	return w.taken[cursor], attempts, err
}

func (w *world) getBlob(_ context.Context, key string) ([]byte, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return nil, cmp.Or(w.blobs[key], error(errs.New(errs.NotFound, "no blob %s", key)))
}

func (w *world) bury(ctx context.Context, record port.Record, function string, reason error) error {
	letter := port.DeadLetter{
		ID: record.ID(), Function: function, Record: record, Code: string(errs.CodeOf(reason)), Message: reason.Error(),
	}
	_, err := w.Commit(ctx, port.Commit{Failed: []port.DeadLetter{letter}})
	return err
}

func (w *world) Call(context.Context, string, document.Value, port.Cause, string) (document.Value, error) {
	return nil, errors.New("no other function here")
}
func (w *world) Now() time.Time { return time.Now() }
func (w *world) NewID() string  { return "an id" }

func (w *world) Run(ctx context.Context, f *eddy.Function, work func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, f.Timeout)
	defer cancel()
	if err := work(ctx); err != nil {
		return err
	}
	return ctx.Err()
}

func (w *world) ChangeMessageVisibilityBatch(
	_ context.Context, in *sqs.ChangeMessageVisibilityBatchInput, _ ...func(*sqs.Options),
) (*sqs.ChangeMessageVisibilityBatchOutput, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := &sqs.ChangeMessageVisibilityBatchOutput{}
	for _, e := range in.Entries {
		w.visible[aws.ToString(e.ReceiptHandle)] = e.VisibilityTimeout
		out.Successful = append(out.Successful, types.ChangeMessageVisibilityBatchResultEntry{Id: e.Id})
	}
	return out, nil
}

// receive gives the function a batch, as Lambda does: it has a second more than the function's timeout.
func (w *world) receive(ctx context.Context, messages ...events.SQSMessage) (failed []string) {
	ctx, cancel := context.WithTimeout(ctx, w.function.Timeout+time.Second)
	defer cancel()
	for _, f := range w.receiver.Receive(ctx, events.SQSEvent{Records: messages}).BatchItemFailures {
		failed = append(failed, f.ItemIdentifier)
	}
	return failed
}

// body returns the message of a lane with the records, as a Router sends it.
func body(lane string, records ...message.Record) string {
	text, err := message.Encode(message.Message{Function: "test::react", Lane: lane, Records: records})
	if err != nil {
		panic(err)
	}
	return string(text)
}

// event is a message as Lambda gives it to a function, received for the n-th time; 0: it does not say.
func event(id, text string, n int) events.SQSMessage {
	m := events.SQSMessage{MessageId: id, ReceiptHandle: "receipt of " + id, Body: text}
	if n > 0 {
		m.Attributes = map[string]string{"ApproximateReceiveCount": strconv.Itoa(n)}
	}
	return m
}

// number is a change of a thing to a number.
func number(key string, version int64, n int) message.Record {
	value, err := document.From(thing{N: n})
	if err != nil {
		panic(err)
	}
	c := &port.Change{Collection: port.Scope("things"), Key: key, New: value, Version: version}
	return message.Record{ID: c.ID(), Record: port.Record{Change: c}}
}

// note adds the number of the change to the sum of all, and to what was seen of its document.
func note(ctx context.Context, c eddy.Change[thing]) error {
	if err := kept.Increment(ctx, "all", "sum", int64(c.New.N)); err != nil {
		return err
	}
	_, err := kept.Update(ctx, c.Key, eddy.Append(c.New.N, "seen"))
	return err
}

func (w *world) kept(t fataler, key string) string {
	found, err := w.Get(context.Background(), port.Scope("kept"), key)
	if err != nil {
		t.Fatal(err)
	}
	return string(found.Value)
}

func (w *world) letters(t fataler) []port.DeadLetter {
	found, _, err := w.DeadLetters(context.Background(), "", port.LetterID{}, 1000)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func seen(numbers ...int) string {
	text, err := document.From(notes{Seen: numbers}.Seen)
	if err != nil {
		panic(err)
	}
	return fmt.Sprintf(`{"seen":%s}`, text)
}
