package port

import (
	"context"
	"time"
)

// Ledger keeps what is known about deliveries that have not succeeded.
type Ledger interface {
	// Attempts returns what Attempted stored under the cursor's name, zero when nothing is.
	Attempts(ctx context.Context, cursor string) (Attempts, error)

	// Attempted stores the failed attempts of a delivery under its cursor's name, until a commit with that cursor.
	// It is durable before it returns.
	Attempted(ctx context.Context, cursor string, a Attempts) error

	// DeadLetters returns at most limit dead letters of a function ("" for all functions) that lie above after, in
	// ascending order of function and id, and whether there may be more.
	DeadLetters(ctx context.Context, function string, after LetterID, limit int) (letters []DeadLetter, more bool, err error)

	// Redrive puts a dead letter back: in one step it is removed and its record is appended to the log with Target set
	// to its function. Reports whether there was one.
	Redrive(ctx context.Context, function, id string) (bool, error)

	// Discard removes a dead letter. Reports whether there was one.
	Discard(ctx context.Context, function, id string) (bool, error)
}

// LetterID names a dead letter. The zero value lies below all of them.
type LetterID struct {
	Function, ID string
}

// Attempts counts the failed attempts of one delivery.
type Attempts struct {
	Version int64 // of the change they were made for: a later change begins anew
	Count   int
	First   time.Time
}
