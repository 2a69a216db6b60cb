package eddy

import (
	"context"
	"errors"
	"time"

	"github.com/eddyhq/eddy/shared/document"
	"github.com/eddyhq/eddy/shared/port"
	"github.com/eddyhq/eddy/shared/state"
	"github.com/eddyhq/eddy/shared/transaction"
)

// Transact does what change does through Eddy in one step: all documents written, messages sent and calls made by Void and
// Enqueue, or nothing. Change uses the ctx that it is given; its reads see what it wrote. At most 90 documents.
//
//	err := eddy.Transact(ctx, func(ctx context.Context) error {
//		from, err := accounts.Modify(ctx, in.From, withdraw)
//		if err != nil {
//			return err
//		}
//		...
//	})
//
// Reads take no locks. Modify, Take, IfVersion and Check state conditions, which hold when the whole is committed. When
// one does not hold any more because somebody else was faster, change runs again, up to 50 times, so it must do nothing
// else; then Transact fails with conflict, naming the document. An error of change is returned as it is, and nothing has
// happened. Only what Call makes another function do is not a part of it: that has happened when Call returns.
//
// In a reaction, or any other delivery, it is a part of the transaction that the delivery is anyway.
func Transact(ctx context.Context, change func(ctx context.Context) error) error {
	r, err := current(ctx)
	if err != nil {
		return err
	}
	numbers := make(map[string][]int)
	for attempt := 1; ; attempt++ {
		buffer := transaction.New(r.Engine)
		inner := &run{
			Invocation: r.Invocation, function: r.function, request: r.request, changeID: r.changeID,
			outer: r, numbers: numbers,
		}
		inner.Engine = Over(buffer, r.Engine)
		err := change(inner.within(ctx))
		commit := buffer.End()
		if err != nil {
			return err
		}
		commit.Cause = r.Cause
		err = r.commitTransaction(ctx, commit)
		var lost *port.ConflictError
		if !errors.As(err, &lost) {
			return err
		}
		if attempt == transaction.MaxRuns {
			return state.Conflict(commit.Writes, lost)
		}
		if err := transaction.Pause(ctx, attempt); err != nil {
			return err
		}
	}
}

func (r *run) commitTransaction(ctx context.Context, commit port.Commit) error {
	if len(commit.Writes)+len(commit.Events)+len(commit.Calls) == 0 {
		return nil
	}
	_, err := r.Engine.Commit(ctx, commit)
	return err
}

// Over returns an engine whose documents are others: those of a transaction, say. Calls of functions stay what they are:
// they take effect when they are made, each on its own.
func Over(documents port.Documents, engine Engine) Engine { return over{documents, engine} }

type over struct {
	port.Documents
	engine Engine
}

func (o over) Now() time.Time { return o.engine.Now() }
func (o over) NewID() string  { return o.engine.NewID() }

func (o over) Call(ctx context.Context, id string, payload document.Value, cause port.Cause, key string) (
	document.Value, error,
) {
	return o.engine.Call(ctx, id, payload, cause, key)
}
