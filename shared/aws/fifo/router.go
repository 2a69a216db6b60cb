package fifo

import (
	"context"
	"log/slog"
	"math"
	"strconv"
	"sync"

	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/eddyhq/eddy/shared/aws/message"
	"github.com/eddyhq/eddy/shared/deployed"
	"github.com/eddyhq/eddy/shared/eddy"
	"github.com/eddyhq/eddy/shared/port"
	"github.com/eddyhq/eddy/shared/reaction"
)

const (
	// foldBytes is how much one message holds of several records.
	foldBytes = 100_000
	// foldRecords is how many records one message holds for a function. A message is received again for each failure in
	// it, and there is an end to that, see deployed.MaxReceives: so they are few.
	foldRecords = 10

	// maxCalls is how many calls of a Router are under way at a time.
	maxCalls = 16
)

// Sender is what a Router uses of *sqs.Client.
type Sender interface {
	SendMessageBatch(context.Context, *sqs.SendMessageBatchInput, ...func(*sqs.Options)) (*sqs.SendMessageBatchOutput, error)
}

// RouterOptions are what a Router needs. All but Logger are required.
type RouterOptions struct {
	Client   Sender
	QueueURL func(id string) string // of the queue of a function or role
	PutBlob  func(ctx context.Context, key string, data []byte) error
	// Resolve reads a record that was too large for its row; it returns any other as it is.
	Resolve func(ctx context.Context, r message.Record) (message.Record, error)
	Bury    Bury // of what is for a function that the app does not have
	Logger  *slog.Logger
}

// Router sends what the stream of documents tells to the queues of whom it concerns. It is safe for concurrent use, as
// long as no two calls have records of one lane.
type Router struct {
	RouterOptions
	router *reaction.Router
	calls  chan struct{} // has an element for each call of SQS that is under way
}

// NewRouter returns the Router of an app.
func NewRouter(app *eddy.App, o RouterOptions) *Router {
	o.Logger = orDiscard(o.Logger)
	return &Router{RouterOptions: o, router: reaction.NewRouter(app), calls: make(chan struct{}, maxCalls)}
}

// Route sends the records, which are in the order of the stream, to the queues of the functions and of the live groups
// they concern. It returns how many of them, from the start, are done with: what comes after is to be given again, from
// there or from any earlier record. That sends some of them twice, in the order of their lanes still.
func (r *Router) Route(ctx context.Context, records []message.Record) (done int) {
	p := plan{router: r, queues: make(map[string]*queue), done: len(records)}
	for i := range records {
		if err := p.take(ctx, i, &records[i]); err != nil {
			r.Logger.ErrorContext(ctx, "a record could not be routed and will be given again", "record", records[i].ID, "error", err)
			p.done = i
			break
		}
	}
	var sending sync.WaitGroup
	for _, q := range p.queues {
		sending.Go(func() { r.send(ctx, q) })
	}
	sending.Wait()
	for _, q := range p.queues {
		p.done = min(p.done, q.unsent())
	}
	return p.done
}

// plan is what one invocation has to send.
type plan struct {
	router *Router
	queues map[string]*queue
	done   int // records before it are in the queues below, or need none
}

// queue is what is to be sent to the queue of one function or role.
type queue struct {
	id    string
	lanes map[string]*line
	order []*line // by their first record
}

// line is what is to be sent of one lane. Its parcels go one after the other.
type line struct {
	name    string
	parcels []parcel // those that are not acknowledged yet
	stopped bool
}

// parcel is what becomes one message: records of one lane that follow each other in it.
type parcel struct {
	first   int // the index of its first record
	ids     []string
	records [][]byte // as JSON
	size    int
}

// take finds out whom a record concerns.
func (p *plan) take(ctx context.Context, index int, record *message.Record) error {
	whole, err := p.router.Resolve(ctx, *record)
	if err != nil {
		return err
	}
	record = &whole
	deliveries, err := p.router.router.Route(&record.Record)
	if err != nil {
		return p.router.Bury(ctx, record.Record, record.Target, err)
	}
	group, live := liveGroup(&record.Record)
	if len(deliveries) == 0 && !live {
		return nil
	}
	text, err := record.MarshalJSON()
	if err != nil {
		return err
	}
	// A record that is redriven has a position of its own each time, which SQS must not take for a repetition.
	id := record.ID + "/" + strconv.FormatUint(record.Position, 10)
	for _, d := range deliveries {
		p.add(index, d.Function.ID, d.Lane, id, text, d.NotBefore > 0)
	}
	if live {
		p.add(index, deployed.RoleLanes, string(group), id, text, false)
	}
	return nil
}

// liveGroup returns the group whose subscribers the record is for. A record with a target is for nobody else.
func liveGroup(r *port.Record) (group port.Collection, ok bool) {
	switch {
	case r.Target != "":
		return "", false
	case r.Event != nil:
		return r.Event.Group, true
	case r.Change != nil:
		_, _, ok := r.Change.Collection.Group()
		return r.Change.Collection, ok
	default:
		return "", false
	}
}

// add puts a record into the last message of its lane, or into a new one. One that is held back begins a message: each wait
// has its message received once more, and there is an end to that.
func (p *plan) add(index int, id, lane, recordID string, text []byte, heldBack bool) {
	q := p.queues[id]
	if q == nil {
		q = &queue{id: id, lanes: make(map[string]*line)}
		p.queues[id] = q
	}
	l := q.lanes[lane]
	if l == nil {
		l = &line{name: lane}
		q.lanes[lane] = l
		q.order = append(q.order, l)
	}
	last := len(l.parcels) - 1
	if last < 0 || heldBack || l.parcels[last].size+len(text) > foldBytes || len(l.parcels[last].records) == q.mostRecords() {
		l.parcels = append(l.parcels, parcel{first: index})
		last++
	}
	to := &l.parcels[last]
	to.ids = append(to.ids, recordID)
	to.records = append(to.records, text)
	to.size += len(text)
}

// mostRecords is how many records one message holds. The lanes handle theirs as one, so that bytes are all that counts.
func (q *queue) mostRecords() int {
	if q.id == deployed.RoleLanes {
		return math.MaxInt
	}
	return foldRecords
}

// unsent returns the index of the first record that has something unsent, math.MaxInt when none has.
func (q *queue) unsent() int {
	first := math.MaxInt
	for _, l := range q.order {
		if len(l.parcels) > 0 {
			first = min(first, l.parcels[0].first)
		}
	}
	return first
}
