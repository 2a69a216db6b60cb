package fifo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/aws/aws-lambda-go/events"

	"github.com/eddyhq/eddy/shared/aws/message"
	"github.com/eddyhq/eddy/shared/document"
	"github.com/eddyhq/eddy/shared/errs"
	"github.com/eddyhq/eddy/shared/port"
)

// open reads the messages of a batch into its lanes.
func (b *batch) open(ctx context.Context) {
	for i := range b.messages {
		m, err := openMessage(ctx, b.messages[i].Body, b.GetBlob)
		switch {
		case err == nil:
			b.add(i, m)
		case isPoison(err):
			if err := b.buryBody(ctx, b.messages[i].Body, err); err != nil {
				b.unread = append(b.unread, i)
			}
		default:
			b.Logger.ErrorContext(ctx, "a message cannot be read now and will come again", "function", b.function.ID, "error", err)
			l := b.lane(m.Lane)
			l.tasks = append(l.tasks, task{message: i, unread: true})
		}
	}
}

// poison is an error of a message that stays as it is.
type poison struct{ error }

func (e poison) Unwrap() error { return e.error }

// isPoison reports whether reading a message again cannot help.
func isPoison(err error) bool {
	_, ok := errors.AsType[poison](err)
	return ok
}

// openMessage returns the message of a body, the one in its blob if it has one. When that cannot be read now, the
// message says at least of which lane it is.
func openMessage(
	ctx context.Context, body string, getBlob func(context.Context, string) ([]byte, error),
) (m message.Message, err error) {
	if err := json.Unmarshal([]byte(body), &m); err != nil {
		return m, poison{fmt.Errorf("the body: %w", err)}
	}
	if m.Blob == "" {
		return m, complete(&m)
	}
	data, err := getBlob(ctx, m.Blob)
	switch {
	case errs.CodeOf(err) == errs.NotFound:
		return m, poison{err}
	case err != nil:
		return m, err
	}
	whole := message.Message{}
	if err := json.Unmarshal(data, &whole); err != nil {
		return m, poison{fmt.Errorf("the blob %s: %w", m.Blob, err)}
	}
	return whole, complete(&whole)
}

func complete(m *message.Message) error {
	if len(m.Records) == 0 && m.Socket == nil {
		return poison{errors.New("the message holds nothing")}
	}
	return nil
}

// add puts the deliveries of a message into its lane.
func (b *batch) add(index int, m message.Message) {
	times := received(&b.messages[index])
	l := b.lane(m.Lane)
	for i := range m.Records {
		if d := b.router.RouteTo(b.function, &m.Records[i].Record); d != nil {
			l.tasks = append(l.tasks, task{message: index, delivery: d, received: times})
		}
	}
}

// buryBody keeps a message that cannot be read as a dead letter, as if it were a call with the text of it.
func (b *batch) buryBody(ctx context.Context, body string, reason error) error {
	id := port.Digest(b.QueueURL, body)
	record := port.Record{Target: b.function.ID, Call: &port.Call{ID: id, Function: b.function.ID}}
	payload, err := document.From(body)
	if err == nil {
		record.Call.Payload = payload
		reason = errs.New(errs.Internal, "a message of the queue cannot be read: %w", reason)
		err = b.Bury(ctx, record, b.function.ID, reason)
	}
	if err != nil {
		b.Logger.ErrorContext(ctx, "a message that cannot be read could not be kept and will come again",
			"function", b.function.ID, "error", err)
		return err
	}
	b.Logger.ErrorContext(ctx, "a message that cannot be read was kept as a dead letter",
		"function", b.function.ID, "dead_letter", id, "error", reason)
	return nil
}

// received returns how often a message was handed out; 0 when the queue does not say.
func received(m *events.SQSMessage) int {
	n, err := strconv.Atoi(m.Attributes["ApproximateReceiveCount"])
	if err != nil {
		return 0
	}
	return n
}
