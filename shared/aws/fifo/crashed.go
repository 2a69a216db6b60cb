package fifo

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/aws/aws-lambda-go/events"

	"github.com/eddyhq/eddy/shared/aws/message"
	"github.com/eddyhq/eddy/shared/deployed"
	"github.com/eddyhq/eddy/shared/eddy"
	"github.com/eddyhq/eddy/shared/port"
	"github.com/eddyhq/eddy/shared/reaction"
)

// CrashedOptions are what a Crashed needs. All but Now and Logger are required.
type CrashedOptions struct {
	Documents port.Documents
	Ledger    Ledger
	GetBlob   func(ctx context.Context, key string) ([]byte, error)
	Bury      Bury             // of what was for a function that the app does not have
	Now       func() time.Time // nil: time.Now
	Logger    *slog.Logger
}

// Crashed makes dead letters of the messages that a queue handed out too often: of what their Lambda could not even fail
// at. It is safe for concurrent use.
type Crashed struct {
	CrashedOptions
	app    *eddy.App
	router *reaction.Router
}

// NewCrashed returns the Crashed of an app.
func NewCrashed(app *eddy.App, o CrashedOptions) *Crashed {
	o.Now, o.Logger = orTime(o.Now), orDiscard(o.Logger)
	return &Crashed{CrashedOptions: o, app: app, router: reaction.NewRouter(app)}
}

// Receive keeps what the messages hold and has not taken effect. The answer names those that come again. What the lanes
// could not do with is only logged: the records of it are in the table, and their subscribers find them when they join.
func (c *Crashed) Receive(ctx context.Context, event events.SQSEvent) events.SQSEventResponse {
	response := events.SQSEventResponse{BatchItemFailures: []events.SQSBatchItemFailure{}}
	failed := make(map[string]bool) // by function and lane: the letters of a lane are written in its order
	for i := range event.Records {
		m, err := openMessage(ctx, event.Records[i].Body, c.GetBlob)
		if m.Function == deployed.RoleLanes || m.Socket != nil {
			c.Logger.ErrorContext(ctx, "a live group was not told what happened in it", "group", m.Lane, "records", len(m.Records))
			continue
		}
		lane := m.Function + " " + m.Lane
		if err == nil && !failed[lane] {
			err = c.keep(ctx, &m)
		}
		if err != nil {
			c.Logger.ErrorContext(ctx, "a message of the crashed queue could not be kept and will come again",
				"function", m.Function, "message_id", event.Records[i].MessageId, "error", err)
			failed[lane] = true
		}
		if failed[lane] {
			failure := events.SQSBatchItemFailure{ItemIdentifier: event.Records[i].MessageId}
			response.BatchItemFailures = append(response.BatchItemFailures, failure)
		}
	}
	return response
}

// keep keeps the records of a message as dead letters.
func (c *Crashed) keep(ctx context.Context, m *message.Message) error {
	f, registered := c.app.Function(m.Function)
	for i := range m.Records {
		record := &m.Records[i].Record
		if !registered {
			if err := c.Bury(ctx, *record, m.Function, unregistered(m.Function)); err != nil {
				return err
			}
			continue
		}
		if d := c.router.RouteTo(f, record); d != nil {
			if err := c.bury(ctx, d); err != nil {
				return err
			}
		}
	}
	return nil
}

// bury keeps one delivery.
//
// The lane may have gone on in the meantime, and then its cursor is above the delivery and does not say whether that has
// taken effect: it most likely has not, so it is kept nevertheless, once.
func (c *Crashed) bury(ctx context.Context, d *reaction.Delivery) error {
	taken, attempts, err := c.Ledger.Standing(ctx, d.Cursor.Name)
	if err != nil {
		return err
	}
	if attempts.Version != d.Cursor.Version {
		attempts = port.Attempts{}
	}
	burial := d.Burial(attempts, crashed(d.Function.ID, deployed.MaxReceives(d.Function.MaxAttempts)), c.Now())
	overtaken := taken > d.Cursor.Version
	switch {
	case taken == d.Cursor.Version:
		return nil
	case overtaken:
		burial.Cursors = []port.Cursor{{Name: d.Function.ID + "/overtaken/" + d.ID, Version: 1}}
		burial.Failed[0].Message += "; later deliveries of its lane have overtaken it, so it may have taken effect before"
	}
	_, err = c.Documents.Commit(ctx, burial)
	switch {
	case overtaken && errors.Is(err, port.ErrStale):
		return nil // it is kept already
	case err == nil:
		c.Logger.ErrorContext(ctx, "a delivery that crashed its function was kept as a dead letter",
			"function", d.Function.ID, "dead_letter", d.ID)
	}
	return err
}
