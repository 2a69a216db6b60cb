package eddy

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/eddyhq/eddy/shared/document"
	"github.com/eddyhq/eddy/shared/errs"
	"github.com/eddyhq/eddy/shared/port"
)

// MaxDelay is how long a message can be held back: as long as SQS does.
const MaxDelay = 15 * time.Minute

// QueueTrigger runs a function for the messages of a queue.
type QueueTrigger struct {
	Name  string
	Group string        // the member of a message by which messages are in order; "" for no order
	Delay time.Duration // before a message is handed out
}

// QueueOption is an option of Queue: FIFO, Delay.
type QueueOption interface{ applyToQueue(*QueueTrigger) }

// Queue runs the function for each message of a queue: the function's input. A queue has one function, and a function at
// most one queue.
//
// A message is a delivery, as a change is to a reaction: it is durable before Enqueue returns, what the function does
// through Eddy is one transaction and takes effect exactly once, and a failure is retried, up to MaxAttempts, with the
// waits of Backoff; then the message is kept as a dead letter. Up to Concurrency messages are handled at a time. One that
// was handed out is hidden from others until its run has ended, or the function's Timeout is over.
//
// Without FIFO messages are handled in no order.
func Queue(name string, opts ...QueueOption) Option {
	return func(f *Function) {
		if f.Queue != nil {
			f.mistake("Queue(%q): the function has a queue already, %q: register another function", name, f.Queue.Name)
			return
		}
		f.Queue = &QueueTrigger{Name: name}
		f.checkName("queue", name, validQueue)
		for _, opt := range opts {
			switch opt {
			case nil:
				f.mistake("Queue(%q): an option is nil", name)
			case FIFO(""):
				f.mistake("Queue(%q): FIFO names no member", name)
			default:
				opt.applyToQueue(f.Queue)
			}
		}
		if d := f.Queue.Delay; d < 0 || d > MaxDelay {
			f.mistake("Queue(%q): Delay(%s) must be from 0 to %s", name, d, MaxDelay)
		}
	}
}

// maxQueueName is how many characters the name of a queue may have.
const maxQueueName = 80

func validQueue(name string) error {
	if !isFunctionID(name) || len(name) > maxQueueName {
		return errs.New(errs.InvalidArgument,
			"names of queues are words of letters, digits, - and _, joined by ::, of at most %d bytes", maxQueueName)
	}
	return nil
}

// FIFO puts the messages of a queue that have the same value in a first-level member, such as "customer_id", behind each
// other: they are handled one after the other, in the order they were enqueued in. A message that fails holds up those
// behind it until it succeeds or becomes a dead letter. The value is a string, a number or a boolean.
func FIFO(member string) QueueOption { return fifoOption(member) }

type fifoOption string

func (o fifoOption) applyToQueue(q *QueueTrigger) { q.Group = string(o) }

// DelayOption is what Delay returns: an option of Queue and of Enqueue.
type DelayOption time.Duration

// Delay holds messages back: of Queue, every message; of Enqueue, this one, in place of what the queue says. It is at
// most MaxDelay. In a queue with FIFO, those behind a message in its group wait with it.
func Delay(d time.Duration) DelayOption { return DelayOption(d) }

func (d DelayOption) applyToQueue(q *QueueTrigger) { q.Delay = time.Duration(d) }

func (d DelayOption) applyToMessage(delay *time.Duration) { *delay = time.Duration(d) }

// EnqueueOption is an option of Enqueue: Delay.
type EnqueueOption interface{ applyToMessage(delay *time.Duration) }

// Enqueue puts a message into a queue and returns the id of its delivery. In a reaction, or any other delivery, it is
// part of the transaction. The calling function declares it with Uses(Enqueues(queue)).
//
// It fails with not_found when there is no such queue, with invalid_argument for a delay that is out of range and for a
// message without the member that a FIFO queue goes by, and with permission_denied for a queue that is not declared.
func Enqueue(ctx context.Context, queue string, in any, opts ...EnqueueOption) (deliveryID string, err error) {
	r, err := current(ctx)
	if err != nil {
		return "", err
	}
	payload, err := document.From(in)
	if err != nil {
		return "", err
	}
	f, err := r.function.app.FindQueue(queue)
	if err != nil {
		return "", err
	}
	delay := f.Queue.Delay
	for _, opt := range opts {
		opt.applyToMessage(&delay)
	}
	call, err := f.Message(r.Engine.NewID(), payload, r.Engine.Now(), delay)
	if err != nil {
		return "", err
	}
	if _, err := r.guard().Commit(ctx, port.Commit{Calls: []port.Call{call}}); err != nil {
		return "", err
	}
	return call.ID, nil
}

// FindQueue returns the function that a queue runs; not_found when there is none.
func (a *App) FindQueue(name string) (*Function, error) {
	for _, f := range a.functions {
		if f.Queue != nil && f.Queue.Name == name {
			return f, nil
		}
	}
	return nil, NotFound("there is no queue %q; GET /_eddy/functions lists the functions with theirs", name)
}

// Message returns the call that is a message of the function's queue, held back for delay.
func (f *Function) Message(id string, payload document.Value, now time.Time, delay time.Duration) (port.Call, error) {
	call := port.Call{ID: id, Function: f.ID, Payload: payload}
	switch {
	case delay < 0 || delay > MaxDelay:
		return port.Call{}, Invalid("delay", fmt.Sprintf("must be from 0 to %s", MaxDelay))
	case delay > 0:
		call.NotBefore = now.Add(delay).UnixMilli()
	}
	if f.Queue.Group == "" {
		return call, nil
	}
	var err error
	call.Group, err = groupOf(payload, f.Queue.Group)
	return call, err
}

// groupOf returns the value of a message's member that a FIFO queue goes by.
func groupOf(payload document.Value, member string) (string, error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(payload, &members); err != nil {
		return "", errs.New(errs.InvalidArgument, "a message of a FIFO queue must be an object with the member %s", member)
	}
	text := string(members[member])
	switch {
	case text == "" || text == "null":
		return "", Invalid(member, "is required: the messages of the queue are in order by it")
	case text[0] == '{' || text[0] == '[':
		return "", Invalid(member, "must be a string, a number or a boolean: the messages of the queue are in order by it")
	}
	return text, nil // values of different types are different groups
}
