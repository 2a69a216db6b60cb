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
	var deliveries []*reaction.Delivery
	for i := range m.Records {
		record := &m.Records[i].Record
		if !registered {
			if err := c.Bury(ctx, *record, m.Function, unregistered(m.Function)); err != nil {
				return err
			}
			continue
		}
		if d := c.router.RouteTo(f, record); d != nil {
			deliveries = append(deliveries, d)
		}
	}
	standings, err := c.standings(ctx, deliveries)
	if err != nil {
		return err
	}
	for _, d := range deliveries {
		if err := c.bury(ctx, d, standings[d.Cursor.Name]); err != nil {
			return err
		}
	}
	return nil
}

// standing is how the cursor of some deliveries stands.
type standing struct {
	taken    int64
	attempts port.Attempts
	within   bool // it was taken by one of them
}

// standings returns how the cursors of the deliveries stand, by name.
func (c *Crashed) standings(ctx context.Context, deliveries []*reaction.Delivery) (map[string]standing, error) {
	standings := make(map[string]standing)
	for _, d := range deliveries {
		s, known := standings[d.Cursor.Name]
		if !known {
			var err error
			if s.taken, s.attempts, err = c.Ledger.Standing(ctx, d.Cursor.Name); err != nil {
				return nil, err
			}
		}
		s.within = s.within || s.taken == d.Cursor.Version
		standings[d.Cursor.Name] = s
	}
	return standings, nil
}

// bury keeps one delivery, unless it has taken effect.
//
// A cursor that was taken by this message says how far that was done with. One that is above it does not: the lane has
// gone on since. Most likely the delivery has not taken effect, so it is kept nevertheless, once.
func (c *Crashed) bury(ctx context.Context, d *reaction.Delivery, s standing) error {
	overtaken := d.Cursor.Version <= s.taken
	if overtaken && s.within {
		return nil
	}
	var attempts port.Attempts
	if s.attempts.Version == d.Cursor.Version {
		attempts = s.attempts
	}
	burial := d.Burial(attempts, crashed(d.Function.ID, deployed.MaxReceives(d.Function.MaxAttempts)), c.Now())
	if overtaken {
		burial.Cursors = []port.Cursor{{Name: d.Function.ID + "/overtaken/" + d.ID, Version: 1}}
		burial.Failed[0].Message += "; later deliveries of its lane have overtaken it, so it may have taken effect before"
	}
	_, err := c.Documents.Commit(ctx, burial)
	switch {
	case overtaken && errors.Is(err, port.ErrStale):
		return nil // it is kept already
	case err == nil:
		c.Logger.ErrorContext(ctx, "a delivery that crashed its function was kept as a dead letter",
			"function", d.Function.ID, "dead_letter", d.ID)
	}
	return err
}
