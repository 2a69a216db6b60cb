// Package fifo is lanes on SQS FIFO queues: how what happened in the store comes to the functions, in order.
//
//	stream of documents -> Router -> queue of a function -> Receiver -> reaction.Runner
//	                             +-> queue of the lanes (package sockets)
//	schedule of a function -> Tick -> queue of the function
//	queue of a function -> what crashed too often -> Crashed -> dead letters
//
// A lane is a message group. The Router has at most one message of a lane under way, and after a failure sends nothing
// more of that lane, so that a queue receives the records of a lane in order: each of them once more after a failure, never
// one before its turn. The Receiver acknowledges a message once nothing in it is owed. Repetitions are dropped by the
// cursors of the store, not by the five minutes for which SQS remembers a message. A call that is held back waits in its queue,
// hidden, with what is behind it in its lane.
package fifo

import (
	"context"
	"log/slog"
	"time"

	"github.com/eddyhq/eddy/shared/port"
)

// perCall is how many messages SQS takes, or is told of, in one call.
const perCall = 10

// Bury keeps a record that no function can be given as a dead letter of the function it was for. It happens once.
type Bury func(ctx context.Context, record port.Record, function string, reason error) error

func orDiscard(logger *slog.Logger) *slog.Logger {
	if logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return logger
}

func orTime(now func() time.Time) func() time.Time {
	if now == nil {
		return time.Now
	}
	return now
}
