package host

import (
	"context"
	"errors"
	"time"

	"github.com/aws/aws-lambda-go/events"

	"github.com/eddyhq/eddy/shared/aws/dynamo"
	"github.com/eddyhq/eddy/shared/aws/fifo"
	"github.com/eddyhq/eddy/shared/aws/message"
	"github.com/eddyhq/eddy/shared/deployed"
	"github.com/eddyhq/eddy/shared/document"
	"github.com/eddyhq/eddy/shared/errs"
	"github.com/eddyhq/eddy/shared/port"
	"github.com/eddyhq/eddy/shared/reaction"
)

// router is the Lambda on the stream of the table of documents, and on the queue of deliveries that crashed their Lambda.
type router struct {
	engine  *engine
	router  *fifo.Router
	crashed *fifo.Crashed
}

// handle implements handler.
func (r *router) handle(ctx context.Context, payload []byte) (any, error) {
	if !isStream(payload) {
		batch, err := read[events.SQSEvent](payload)
		if err != nil {
			return nil, err
		}
		return r.crashed.Receive(ctx, batch), nil
	}
	batch, err := read[events.DynamoDBEvent](payload)
	if err != nil {
		return nil, err
	}
	return r.route(ctx, batch.Records), nil
}

// route takes a batch of the stream to the queues. The answer names the first record that has to be given again: whatever
// comes after it in the shard comes again too, and what was sent of that already is dropped by its ids.
func (r *router) route(ctx context.Context, batch []events.DynamoDBEventRecord) events.DynamoDBEventResponse {
	records := make([]message.Record, 0, len(batch))
	sequence := make([]string, 0, len(batch)) // of records
	for i := range batch {
		told, err := dynamo.RecordsOf(batch[i])
		if err != nil {
			if err = r.buryUnread(ctx, &batch[i], err); err != nil {
				sequence = append(sequence, batch[i].Change.SequenceNumber)
				break // what lies behind comes again with it
			}
		}
		for _, record := range told {
			records = append(records, record)
			sequence = append(sequence, batch[i].Change.SequenceNumber)
		}
	}
	done := r.router.Route(ctx, records)
	if done == len(sequence) {
		return events.DynamoDBEventResponse{BatchItemFailures: []events.DynamoDBBatchItemFailure{}}
	}
	return events.DynamoDBEventResponse{
		BatchItemFailures: []events.DynamoDBBatchItemFailure{{ItemIdentifier: sequence[done]}},
	}
}

// bury keeps a record that no function can take as a dead letter.
func (e *engine) bury(ctx context.Context, record port.Record, function string, reason error) error {
	orphan := reaction.Orphan(&record, function, reason, e.Now())
	_, err := e.Commit(ctx, orphan)
	if errors.Is(err, port.ErrStale) {
		return nil
	}
	if err == nil {
		e.logger.ErrorContext(ctx, "a record that cannot be delivered was kept as a dead letter",
			"function", function, "dead_letter", orphan.Failed[0].ID, "error", reason)
	}
	return err
}

// buryUnread keeps the names of a row that cannot be read; the row itself stays in its table.
func (r *router) buryUnread(ctx context.Context, row *events.DynamoDBEventRecord, reason error) error {
	keys := map[string]string{"sequence_number": row.Change.SequenceNumber, "event_name": row.EventName}
	for name, value := range row.Change.Keys {
		if value.DataType() == events.DataTypeString {
			keys[name] = value.String()
		}
	}
	payload, err := document.From(keys)
	if err != nil {
		return err
	}
	call := &port.Call{ID: port.Digest(row.Change.SequenceNumber), Function: deployed.RoleRouter, Payload: payload}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return r.engine.bury(ctx, port.Record{Target: deployed.RoleRouter, Call: call}, deployed.RoleRouter,
		errs.New(errs.Internal, "a record of the stream cannot be read: %w", reason))
}
