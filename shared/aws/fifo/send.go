package fifo

import (
	"context"
	"strconv"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/eddyhq/eddy/shared/aws/message"
	"github.com/eddyhq/eddy/shared/port"
)

const (
	// maxBody is the longest body that travels through a queue; a longer one is a blob. All servers take it, and ten of
	// them are far from the 6 MB of an event.
	maxBody = 200_000
	// maxBatch is how long the bodies of one call may be together.
	maxBatch = 250_000
)

// envelope is the first parcel of a line as it is sent.
type envelope struct {
	line      *line
	body      string
	duplicate string // the deduplication id
}

// send sends what a queue is to get, in rounds: each sends one message of every lane, and the next begins when SQS has
// said what became of them. A lane with a failure is not sent any further.
func (r *Router) send(ctx context.Context, q *queue) {
	for {
		round := r.round(ctx, q)
		if len(round) == 0 {
			return
		}
		var sending sync.WaitGroup
		for len(round) > 0 {
			n := batchLength(round)
			batch := round[:n]
			round = round[n:]
			r.calls <- struct{}{}
			sending.Go(func() {
				defer func() { <-r.calls }()
				r.sendBatch(ctx, q, batch)
			})
		}
		sending.Wait()
	}
}

// round returns the next message of each lane that has one and is not stopped.
func (r *Router) round(ctx context.Context, q *queue) []envelope {
	var round []envelope
	for _, l := range q.order {
		if l.stopped || len(l.parcels) == 0 {
			continue
		}
		e, err := r.envelope(ctx, q, l)
		if err != nil {
			r.stop(ctx, q, l, err.Error())
			continue
		}
		round = append(round, e)
	}
	return round
}

// envelope makes a message of the first parcel of a lane.
func (r *Router) envelope(ctx context.Context, q *queue, l *line) (envelope, error) {
	p := &l.parcels[0]
	head := message.Message{Function: q.id, Lane: l.name}
	body, err := message.Pack(head, p.records)
	if err != nil {
		return envelope{}, err
	}
	duplicate := port.Digest(append([]string{q.id, l.name}, p.ids...)...)
	if len(body) > maxBody {
		head.Blob = q.id + "/" + duplicate
		if err := r.PutBlob(ctx, head.Blob, body); err != nil {
			return envelope{}, err
		}
		if body, err = message.Pack(head, nil); err != nil {
			return envelope{}, err
		}
	}
	return envelope{line: l, body: string(body), duplicate: duplicate}, nil
}

// batchLength returns how many of the messages go into one call.
func batchLength(round []envelope) int {
	size := 0
	for i, e := range round[:min(len(round), perCall)] {
		if size += len(e.body); size > maxBatch && i > 0 {
			return i
		}
	}
	return min(len(round), perCall)
}

// sendBatch sends messages of different lanes. Those that SQS says it has leave their lanes; the lanes of the others stop.
func (r *Router) sendBatch(ctx context.Context, q *queue, batch []envelope) {
	input := &sqs.SendMessageBatchInput{QueueUrl: aws.String(r.QueueURL(q.id))}
	for i := range batch {
		input.Entries = append(input.Entries, types.SendMessageBatchRequestEntry{
			Id:                     aws.String(strconv.Itoa(i)),
			MessageBody:            &batch[i].body,
			MessageGroupId:         aws.String(port.Digest(batch[i].line.name)),
			MessageDeduplicationId: &batch[i].duplicate,
		})
	}
	output, err := r.Client.SendMessageBatch(ctx, input)
	if err != nil {
		for _, e := range batch {
			r.stop(ctx, q, e.line, err.Error())
		}
		return
	}
	reasons := make(map[string]string, len(output.Failed))
	for _, f := range output.Failed {
		reasons[aws.ToString(f.Id)] = aws.ToString(f.Code) + ": " + aws.ToString(f.Message)
	}
	sent := make(map[string]bool, len(batch))
	for _, s := range output.Successful {
		sent[aws.ToString(s.Id)] = true
	}
	for i, e := range batch {
		if id := strconv.Itoa(i); !sent[id] {
			r.stop(ctx, q, e.line, reasons[id])
			continue
		}
		e.line.parcels = e.line.parcels[1:]
	}
}

// stop ends what is sent of a lane in this invocation.
func (r *Router) stop(ctx context.Context, q *queue, l *line, reason string) {
	l.stopped = true
	r.Logger.WarnContext(ctx, "records could not be sent and will be given again",
		"queue", q.id, "lane", l.name, "reason", reason)
}
