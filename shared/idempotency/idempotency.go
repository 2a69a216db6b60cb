// Package idempotency gives requests that a client sends again one effect and one answer.
//
//	request with an Idempotency-Key -> its record is there -> the answer in it, replayed
//	                                -> else a run over a Transaction -> one commit of its effects and the record
//
// The record lies beside the documents, so that it is there exactly when the effects are, whatever crashes in between and
// however many of the requests run at a time. What fails has no effect and leaves no record: the request can be sent again.
//
// Hosts call Serve for the requests of routes, and Invoke for functions that are called by id; package operator does the rest.
package idempotency

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/eddyhq/eddy/shared/errs"
	"github.com/eddyhq/eddy/shared/port"
	"github.com/eddyhq/eddy/shared/state"
	"github.com/eddyhq/eddy/shared/transaction"
)

// Retention is how long an answer is kept from the first request on. After that the key is free for another request.
const Retention = 24 * time.Hour

// Answer is what a client is told.
type Answer struct {
	Status int         `json:"status"`
	Header http.Header `json:"header,omitempty"`
	Body   []byte      `json:"body,omitempty"`
}

// succeeded reports whether the effects that led to the answer are to stay.
func (a Answer) succeeded() bool { return a.Status < http.StatusBadRequest }

// Run does what a request asks for, over documents that are committed when it returns an answer below 400.
type Run func(ctx context.Context, documents port.Documents) (Answer, error)

// Do makes the run of a request happen once. It returns the answer of the run that took effect, and whether that was an
// earlier one.
//
// A run that fails, with an error or an answer of 400 and above, has no effect, and Do returns what it returned. A run whose
// documents were changed by others meanwhile is made again, so it must do nothing but what goes through documents. Do fails
// with
//
//   - condition_not_met when the key was used for another request,
//   - too_large when the answer is too large to be kept,
//   - conflict when every one of many runs lost a race,
//   - what the store fails with: after unavailable and timeout the request may have taken effect, and can be sent again.
func Do(ctx context.Context, store port.Documents, request *Request, run Run) (answer Answer, replayed bool, err error) {
	return doer{store: store, request: request, run: run}.do(ctx)
}

// doer makes the runs of one request.
type doer struct {
	store   port.Documents
	request *Request
	run     Run

	// amends says that the answer holds versions, which only the commit tells. The run is made once more then, over the
	// results of the commit, and the record gets that answer.
	amends bool
}

func (d doer) do(ctx context.Context) (answer Answer, replayed bool, err error) {
	for number := 1; ; number++ {
		answer, replayed, err = d.stored(ctx)
		if replayed || err != nil {
			return answer, replayed, err
		}
		var lost *lostRace
		answer, replayed, err = d.once(ctx)
		if !errors.As(err, &lost) {
			return answer, replayed, err
		}
		if number == transaction.MaxRuns {
			return Answer{}, false, state.Conflict(lost.writes, lost.found)
		}
		if err := transaction.Pause(ctx, number); err != nil {
			return Answer{}, false, err
		}
	}
}

// lostRace is why a commit did not happen: somebody else wrote one of its documents, or the record, meanwhile.
type lostRace struct {
	writes []port.Write
	found  *port.ConflictError
}

func (l *lostRace) Error() string { return l.found.Error() }

// once makes one run and commits it.
func (d doer) once(ctx context.Context) (answer Answer, replayed bool, err error) {
	buffer := transaction.New(d.store)
	answer, err = d.run(ctx, exact{buffer})
	commit := buffer.End()
	if err != nil || !answer.succeeded() {
		return answer, false, err
	}
	amends := d.amends && len(commit.Writes) > 0
	kept, err := encode(record{Digest: d.request.Digest, Answer: answer, Open: amends})
	if err != nil {
		return Answer{}, false, err
	}
	for i := range commit.Writes {
		commit.Writes[i].NoResult = !amends
	}
	none := int64(0)
	commit.Writes = append(commit.Writes, d.request.write(kept, &none))
	results, err := d.store.Commit(ctx, commit)
	var found *port.ConflictError
	switch {
	case errors.As(err, &found):
		return Answer{}, false, &lostRace{commit.Writes, found}
	case err != nil:
		return Answer{}, false, err
	case !amends:
		return answer, false, nil
	}
	return d.amend(ctx, commit.Writes, results)
}

// amend puts into the record the answer that the results of the commit give.
func (d doer) amend(ctx context.Context, writes []port.Write, results []port.Result) (Answer, bool, error) {
	answer, err := d.run(ctx, newSettled(d.store, writes, results))
	if err != nil {
		return Answer{}, false, err
	}
	closed, err := d.close(ctx, answer, results[len(results)-1].Version)
	if closed || err != nil {
		return answer, false, err
	}
	return d.stored(ctx)
}

// close decides for good what the answer to the open record of that version is, unless somebody has before.
func (d doer) close(ctx context.Context, answer Answer, version int64) (closed bool, err error) {
	kept, err := encode(record{Digest: d.request.Digest, Answer: answer})
	if err != nil {
		return false, err
	}
	_, err = d.store.Commit(ctx, port.Commit{Writes: []port.Write{d.request.write(kept, &version)}})
	var found *port.ConflictError
	if errors.As(err, &found) {
		return false, nil
	}
	return err == nil, err
}

// stored returns the answer that is kept, and whether there is one.
func (d doer) stored(ctx context.Context) (answer Answer, found bool, err error) {
	document, err := d.store.Get(ctx, d.request.collection(), d.request.name())
	if err != nil || !document.Exists() {
		return Answer{}, false, err
	}
	kept, err := decode(document.Value)
	switch {
	case err != nil:
		return Answer{}, false, err
	case kept.Digest != d.request.Digest:
		return Answer{}, false, errs.New(errs.ConditionNotMet,
			"the %s was used for another request of %s: choose a new one for each", Header, d.request.Function)
	case !kept.Open:
		return kept.Answer, true, nil
	}
	// Whoever left it open is about to amend it, or has crashed. This answer is as true but for versions, which it has too low
	// to ever match.
	closed, err := d.close(ctx, kept.Answer, document.Version)
	if closed || err != nil {
		return kept.Answer, closed, err
	}
	return d.stored(ctx)
}
