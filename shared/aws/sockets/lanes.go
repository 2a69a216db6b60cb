package sockets

import (
	"context"
	"encoding/json"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/eddyhq/eddy/shared/aws/dynamo"
	"github.com/eddyhq/eddy/shared/aws/message"
	"github.com/eddyhq/eddy/shared/errs"
	"github.com/eddyhq/eddy/shared/port"
)

// LaneStore is what Lanes need of *dynamo.Lanes, which says what its methods promise.
type LaneStore interface {
	Load(ctx context.Context, group port.Collection) (dynamo.LaneState, error)
	Subscriptions(ctx context.Context, group port.Collection) (dynamo.Subscriptions, error)
	Snapshot(ctx context.Context, group port.Collection, item string, most int) ([]dynamo.Item, error)
	Save(ctx context.Context, group port.Collection, save dynamo.LaneSave) error
}

// Postponer is what Lanes need of *sqs.Client.
type Postponer interface {
	ChangeMessageVisibilityBatch(
		ctx context.Context, in *sqs.ChangeMessageVisibilityBatchInput, options ...func(*sqs.Options),
	) (*sqs.ChangeMessageVisibilityBatchOutput, error)
}

// LanesOptions are what Lanes need; all of them are required, but for Logger.
type LanesOptions struct {
	Store    LaneStore
	Push     func(ctx context.Context, deliveries []Delivery) (gone []string, err error) // Pusher.Push
	GetBlob  func(ctx context.Context, key string) ([]byte, error)
	Queue    Postponer
	QueueURL string        // of the queue of deployed.RoleLanes
	NewEpoch func() string // unique, URL-safe and without a dot; called by several goroutines
	Now      func() time.Time
	Logger   *slog.Logger // nil: nothing is logged
}

// Lanes handle what happens in live groups: they are the role deployed.RoleLanes. Receive is not called by several
// goroutines at a time.
type Lanes struct {
	options LanesOptions

	mu            sync.Mutex
	groups        map[port.Collection]*group // that nobody is handling now
	subscriptions int                        // of all of them
}

// NewLanes returns the Lanes of a Lambda.
func NewLanes(options LanesOptions) *Lanes {
	if options.Logger == nil {
		options.Logger = slog.New(slog.DiscardHandler)
	}
	return &Lanes{options: options, groups: map[port.Collection]*group{}}
}

// letter is a message of the queue.
type letter struct {
	*events.SQSMessage
	message message.Message
}

// Receive handles a batch of messages: groups side by side, those of one group in order. After one that fails, the
// rest of its group is left for later too; the answer names them all.
func (l *Lanes) Receive(ctx context.Context, event events.SQSEvent) events.SQSEventResponse {
	order, mail := l.sort(ctx, event)
	failed := make([][]letter, len(order))
	var running sync.WaitGroup
	for i, collection := range order {
		running.Go(func() { failed[i] = l.handle(ctx, collection, mail[collection]) })
	}
	running.Wait()
	response := events.SQSEventResponse{BatchItemFailures: []events.SQSBatchItemFailure{}}
	for _, letters := range failed {
		for _, left := range letters {
			response.BatchItemFailures = append(response.BatchItemFailures,
				events.SQSBatchItemFailure{ItemIdentifier: left.MessageId})
		}
	}
	return response
}

// sort returns the messages by their groups, and the groups in the order in which they appear. What cannot be read
// would not be read the next time either: it is dropped, and what it was about is in the table of documents.
func (l *Lanes) sort(ctx context.Context, event events.SQSEvent) (
	order []port.Collection, mail map[port.Collection][]letter,
) {
	mail = map[port.Collection][]letter{}
	for i := range event.Records {
		one := letter{SQSMessage: &event.Records[i]}
		err := json.Unmarshal([]byte(one.Body), &one.message)
		collection := port.Collection(one.message.Lane)
		if _, _, isGroup := collection.Group(); err != nil || !isGroup {
			l.options.Logger.ErrorContext(ctx, "a message of the lanes' queue is dropped: it is none of a live group",
				slog.String("message", one.MessageId), slog.Any("error", err))
			continue
		}
		if mail[collection] == nil {
			order = append(order, collection)
		}
		mail[collection] = append(mail[collection], one)
	}
	return order, mail
}

// handle handles messages of one group and returns those that failed.
func (l *Lanes) handle(ctx context.Context, collection port.Collection, letters []letter) (failed []letter) {
	done, err := l.handleInOrder(ctx, collection, letters)
	if err == nil {
		return nil
	}
	l.options.Logger.ErrorContext(ctx, "messages of a live group are left for later",
		slog.String("group", string(collection)), slog.Int("done", done), slog.Int("left", len(letters)-done),
		slog.Any("error", err))
	l.postpone(ctx, letters[done:])
	return letters[done:]
}

// handleInOrder handles messages of one group, and returns how many of them need not be handled again.
func (l *Lanes) handleInOrder(ctx context.Context, collection port.Collection, letters []letter) (done int, err error) {
	g, err := l.open(ctx, collection)
	if err != nil {
		return 0, err
	}
	for i := range letters {
		if err := l.handleOne(ctx, g, &letters[i]); err != nil {
			if putErr := g.put(ctx); putErr != nil {
				return done, putErr
			}
			l.keep(g)
			return i, err
		}
		if g.full() || i == len(letters)-1 {
			if err := g.put(ctx); err != nil {
				return done, err
			}
			done = i + 1
		}
	}
	l.keep(g)
	return done, nil
}

// handleOne handles a message. When it fails, what was handled before it can still be put down.
func (l *Lanes) handleOne(ctx context.Context, g *group, one *letter) error {
	if !g.isHandled(one.MessageId) {
		told, err := l.unpack(ctx, &one.message)
		if err != nil {
			return err
		}
		if err := g.handle(ctx, told); err != nil {
			return err
		}
	}
	g.note(one.MessageId)
	return nil
}

// unpack returns the message itself, or the one in the blob that it names.
func (l *Lanes) unpack(ctx context.Context, m *message.Message) (*message.Message, error) {
	if m.Blob == "" {
		return m, nil
	}
	text, err := l.options.GetBlob(ctx, m.Blob)
	if err != nil {
		return nil, err
	}
	var whole message.Message
	if err := json.Unmarshal(text, &whole); err != nil {
		return nil, errs.New(errs.Internal, "read the message in blob %s: %w", m.Blob, err)
	}
	return &whole, nil
}

// open returns the group as it is now. What is in memory of it is of use while nobody else changed its subscriptions.
func (l *Lanes) open(ctx context.Context, collection port.Collection) (*group, error) {
	state, err := l.options.Store.Load(ctx, collection)
	if err != nil {
		return nil, err
	}
	if g := l.take(collection); g != nil && g.continues(state) {
		return g, nil
	}
	var subscriptions dynamo.Subscriptions
	if state.Subscriptions > 0 {
		if subscriptions, err = l.options.Store.Subscriptions(ctx, collection); err != nil {
			return nil, err
		}
	}
	return newGroup(&l.options, collection, state, subscriptions), nil
}

// take returns what is in memory of a group, if anything, and forgets it: what is handled to its end is kept again.
func (l *Lanes) take(collection port.Collection) *group {
	l.mu.Lock()
	defer l.mu.Unlock()
	g := l.groups[collection]
	if g != nil {
		delete(l.groups, collection)
		l.subscriptions -= g.subscriptions
	}
	return g
}

// maxKept is how many subscriptions are kept in memory: some 50 MB.
const maxKept = 100_000

func (l *Lanes) keep(g *group) {
	if g.subscriptions == 0 {
		return // there is nothing to be read again
	}
	g.whole = nil
	l.mu.Lock()
	defer l.mu.Unlock()
	l.groups[g.collection] = g
	l.subscriptions += g.subscriptions
	for collection, other := range l.groups {
		if l.subscriptions <= maxKept {
			break
		}
		delete(l.groups, collection)
		l.subscriptions -= other.subscriptions
	}
}

// postpone has messages of one group come again after a wait that doubles with each time the first was received. A
// queue that is not told waits for longer.
func (l *Lanes) postpone(ctx context.Context, letters []letter) {
	const longest, doublings = 60, 6 // seconds
	received, err := strconv.Atoi(letters[0].Attributes["ApproximateReceiveCount"])
	if err != nil {
		received = 1 // not every server tells
	}
	wait := min(int32(1)<<min(max(received-1, 0), doublings), longest)
	in := &sqs.ChangeMessageVisibilityBatchInput{QueueUrl: &l.options.QueueURL}
	for i, left := range letters {
		in.Entries = append(in.Entries, types.ChangeMessageVisibilityBatchRequestEntry{
			Id: aws.String(strconv.Itoa(i)), ReceiptHandle: aws.String(left.ReceiptHandle), VisibilityTimeout: wait,
		})
	}
	out, err := l.options.Queue.ChangeMessageVisibilityBatch(ctx, in)
	if err != nil || len(out.Failed) > 0 {
		l.options.Logger.WarnContext(ctx, "messages come again later than they could", slog.Any("error", err))
	}
}
