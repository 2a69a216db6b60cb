package fifo

import (
	"context"
	"log/slog"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/eddyhq/eddy/shared/eddy"
	"github.com/eddyhq/eddy/shared/port"
	"github.com/eddyhq/eddy/shared/reaction"
)

const (
	// maxPause is the longest wait that a Lambda sits out. Longer ones are the queue's.
	maxPause = 2 * time.Second
	// reserve is kept of a Lambda's time to tell the queue what is left.
	reserve = 300 * time.Millisecond
	// maxVisibility is the longest wait that SQS knows.
	maxVisibility = 12 * time.Hour
)

// Keeper is what a Receiver uses of *sqs.Client.
type Keeper interface {
	ChangeMessageVisibilityBatch(
		context.Context, *sqs.ChangeMessageVisibilityBatchInput, ...func(*sqs.Options),
	) (*sqs.ChangeMessageVisibilityBatchOutput, error)
}

// Ledger is what a Receiver asks of what comes to it again.
type Ledger interface {
	// Standing returns the version up to which a cursor is taken, 0 when it is not, and what Attempted of port.Ledger
	// stored under its name.
	Standing(ctx context.Context, cursor string) (taken int64, attempts port.Attempts, err error)
}

// ReceiverOptions are what a Receiver needs. All but Now and Logger are required.
type ReceiverOptions struct {
	App      *eddy.App
	Runner   *reaction.Runner
	Ledger   Ledger
	Client   Keeper
	QueueURL string // of the function's queue
	GetBlob  func(ctx context.Context, key string) ([]byte, error)
	Bury     Bury             // of messages that cannot be read
	Now      func() time.Time // nil: time.Now
	Logger   *slog.Logger
}

// Receiver brings what comes through the queue of a function to the Runner. It is safe for concurrent use.
type Receiver struct {
	ReceiverOptions
	function *eddy.Function
	router   *reaction.Router
}

// NewReceiver returns the Receiver of a function.
func NewReceiver(f *eddy.Function, o ReceiverOptions) *Receiver {
	o.Now, o.Logger = orTime(o.Now), orDiscard(o.Logger)
	return &Receiver{ReceiverOptions: o, function: f, router: reaction.NewRouter(o.App)}
}

// Receive delivers a batch of messages: lanes side by side, the records of one lane one after the other. The answer names
// the messages in which something is still owed, which come again after the wait that it asks for.
//
// It ends a little before ctx does. Each lane gets an attempt, whatever happens, and further ones while there is time.
func (r *Receiver) Receive(ctx context.Context, event events.SQSEvent) events.SQSEventResponse {
	working, cancel := ctx, context.CancelFunc(func() {})
	if deadline, ok := ctx.Deadline(); ok {
		working, cancel = context.WithDeadline(ctx, deadline.Add(-reserve))
	}
	defer cancel()
	b := &batch{Receiver: r, messages: event.Records, byName: make(map[string]*lane)}
	b.open(working)
	b.run(working)
	return r.answer(ctx, event.Records, b.owed())
}

// answer names the messages that are still owed, and has the queue hide each of them for its wait. A message that cannot
// be hidden comes back when the queue's own time for it is over.
func (r *Receiver) answer(ctx context.Context, messages []events.SQSMessage, owed []owed) events.SQSEventResponse {
	response := events.SQSEventResponse{BatchItemFailures: []events.SQSBatchItemFailure{}}
	for _, o := range owed {
		failure := events.SQSBatchItemFailure{ItemIdentifier: messages[o.message].MessageId}
		response.BatchItemFailures = append(response.BatchItemFailures, failure)
	}
	for some := range slices.Chunk(owed, perCall) {
		input := &sqs.ChangeMessageVisibilityBatchInput{QueueUrl: aws.String(r.QueueURL)}
		for _, o := range some {
			input.Entries = append(input.Entries, types.ChangeMessageVisibilityBatchRequestEntry{
				Id:                aws.String(strconv.Itoa(o.message)),
				ReceiptHandle:     aws.String(messages[o.message].ReceiptHandle),
				VisibilityTimeout: seconds(o.wait),
			})
		}
		output, err := r.Client.ChangeMessageVisibilityBatch(ctx, input)
		if err != nil {
			r.Logger.WarnContext(ctx, "the queue could not be told how long to wait", "function", r.function.ID, "error", err)
			continue
		}
		for _, f := range output.Failed {
			r.Logger.WarnContext(ctx, "the queue could not be told how long to wait",
				"function", r.function.ID, "reason", aws.ToString(f.Code)+": "+aws.ToString(f.Message))
		}
	}
	return response
}

// seconds is a wait as SQS counts it. It is never 0: what just failed is not tried again at once.
func seconds(wait time.Duration) int32 {
	return int32(math.Ceil(min(max(wait, time.Second), maxVisibility).Seconds()))
}
