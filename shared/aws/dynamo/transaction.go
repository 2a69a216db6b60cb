package dynamo

import (
	"context"
	"errors"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/eddyhq/eddy/shared/deployed"
	"github.com/eddyhq/eddy/shared/errs"
	"github.com/eddyhq/eddy/shared/port"
)

// maxTransaction is how many bytes all items of a transaction may have together.
const maxTransaction = 4 << 20

// together is a commit of several parts on its way.
type together struct {
	*Store
	stamp
	commit *port.Commit
	rest   []types.TransactWriteItem // cursors, outbox, dead letters: the same in each try; the cursors come first

	rows    []*row // what is known of the row of each write; nil: nothing
	general []bool // no blind plan will do for the write
	plans   []plan
}

// commitTogether commits in one transaction.
func (s *Store) commitTogether(ctx context.Context, commit *port.Commit) ([]port.Result, error) {
	t := together{
		Store:   s,
		stamp:   s.stamp(commit.Cause, commit.Silent),
		commit:  commit,
		rows:    make([]*row, len(commit.Writes)),
		general: make([]bool, len(commit.Writes)),
		plans:   make([]plan, len(commit.Writes)),
	}
	if err := t.prepare(ctx); err != nil {
		return nil, err
	}
	for try := range maxRaces {
		if err := t.plan(ctx); err != nil {
			return nil, err
		}
		parts, writes := t.parts()
		if len(parts) == 0 {
			return t.results(), nil
		}
		err := s.transact(ctx, parts)
		if err == nil {
			return t.results(), nil
		}
		if err = t.learn(ctx, err, writes); err != nil {
			return nil, err
		}
		if err := pauseBelow(ctx, try, raceCeiling); err != nil {
			return nil, err
		}
	}
	return nil, errTooOften()
}

// prepare makes what stays the same in each try.
func (t *together) prepare(ctx context.Context) error {
	for _, cursor := range t.commit.Cursors {
		t.rest = append(t.rest, t.cursorAction(cursor))
	}
	rows, err := t.outbox(ctx, t.commit)
	if err != nil {
		return err
	}
	for _, row := range rows {
		t.rest = append(t.rest, putAction(t.documents, row))
	}
	for i := range t.commit.Failed {
		row, err := t.letterRow(ctx, &t.commit.Failed[i])
		if err != nil {
			return err
		}
		t.rest = append(t.rest, putAction(t.system, row))
	}
	return nil
}

// plan plans every write of which nothing is known yet, or something new.
func (t *together) plan(ctx context.Context) error {
	writes := t.commit.Writes
	var unread []int
	for i := range writes {
		t.plans[i] = plan{}
		if t.rows[i] != nil {
			continue
		}
		ok := false
		if !t.general[i] {
			var err error
			if t.plans[i], ok, err = t.blind(&writes[i], false); err != nil {
				return t.planned(ctx, err)
			}
		}
		if !ok {
			unread = append(unread, i)
		}
	}
	if err := t.read(ctx, unread); err != nil {
		return err
	}
	var creates []port.Collection
	for i := range writes {
		if t.rows[i] != nil {
			var err error
			if t.plans[i], err = t.pinned(&writes[i], t.rows[i]); err != nil {
				return t.planned(ctx, indexed(i, err))
			}
		}
		if t.plans[i].creates && !slices.Contains(creates, writes[i].Collection) {
			creates = append(creates, writes[i].Collection)
		}
	}
	if err := t.checkSize(); err != nil {
		return err
	}
	return each(len(creates), func(i int) error { return t.enter(ctx, creates[i]) })
}

// checkSize refuses a commit that leaves more than one may.
func (t *together) checkSize() error {
	size := 0
	for i := range t.plans {
		if t.plans[i].writes {
			size += t.plans[i].new.Size()
		}
	}
	return port.CheckSize(size)
}

// indexed gives a conflict the index of its write.
func indexed(index int, err error) error {
	var conflict *port.ConflictError
	if errors.As(err, &conflict) {
		return &port.ConflictError{Index: index, Version: conflict.Version}
	}
	return err
}

// read reads the rows of some writes.
func (t *together) read(ctx context.Context, indexes []int) error {
	if len(indexes) == 1 {
		w := &t.commit.Writes[indexes[0]]
		found, err := t.getRow(ctx, w.Collection, w.Key)
		t.rows[indexes[0]] = &found
		return err
	}
	type name struct{ pk, sk string }
	keys := make([]item, len(indexes))
	at := make(map[name]int, len(indexes))
	for n, i := range indexes {
		w := &t.commit.Writes[i]
		keys[n] = key(string(w.Collection), w.Key)
		at[name{string(w.Collection), w.Key}] = i
		t.rows[i] = &row{} // unless it is found
	}
	return t.getAll(ctx, t.documents, keys, func(i item) error {
		found, err := t.readRow(ctx, i)
		t.rows[at[name{stringOf(i[deployed.PK]), stringOf(i[deployed.SK])}]] = &found
		return err
	})
}

// parts returns the transaction, and which write each part of it is: its index, cursorPart or otherPart.
func (t *together) parts() (parts []types.TransactWriteItem, writes []int) {
	parts = append(parts, t.rest...)
	for i := range t.rest {
		writes = append(writes, otherPart)
		if i < len(t.commit.Cursors) {
			writes[i] = cursorPart
		}
	}
	for i := range t.commit.Writes {
		if w := &t.commit.Writes[i]; t.plans[i].expression != nil {
			parts = append(parts, t.plans[i].action(t.documents, key(string(w.Collection), w.Key)))
			writes = append(writes, i)
		}
	}
	return parts, writes
}

// What a part is that is no write.
const (
	otherPart  = -1
	cursorPart = -2
)

// results returns what the plans did. The port asks nothing of writes without result.
func (t *together) results() []port.Result {
	results := make([]port.Result, len(t.plans))
	for i := range t.plans {
		if !t.commit.Writes[i].NoResult {
			results[i] = t.plans[i].result()
		}
	}
	return results
}

// learn judges why a transaction was cancelled. It returns nil when the next try knows better.
func (t *together) learn(ctx context.Context, err error, writes []int) error {
	var cancelled *types.TransactionCanceledException
	if !errors.As(err, &cancelled) || len(cancelled.CancellationReasons) != len(writes) {
		return t.failed(ctx, "TransactWriteItems", err)
	}
	reasons := cancelled.CancellationReasons
	for n := range reasons {
		if writes[n] == cursorPart && aws.ToString(reasons[n].Code) == conditionReason {
			return port.ErrStale
		}
	}
	for n := range reasons {
		code, i := aws.ToString(reasons[n].Code), writes[n]
		switch {
		case code == conditionReason && i >= 0:
			if err := t.missed(ctx, i, reasons[n].Item); err != nil {
				return err
			}
		case code == invalidReason && i >= 0 && t.plans[i].fast:
			t.general[i] = true
		case code == invalidReason && isTooLarge(aws.ToString(reasons[n].Message)):
			return errTooLarge(err)
		case code != "" && code != noReason && !isPassing(code):
			return t.failed(ctx, "TransactWriteItems", err)
		}
	}
	return nil
}

// missed takes note of the row for which the condition of a write did not hold.
func (t *together) missed(ctx context.Context, i int, item item) error {
	found, err := t.readRow(ctx, item)
	if err != nil {
		return err
	}
	w := &t.commit.Writes[i]
	if version := found.documentVersion(); w.IfVersion != nil && version != *w.IfVersion {
		return &port.ConflictError{Index: i, Version: version}
	}
	t.rows[i] = &found
	if t.plans[i].at != nil && found.isDocument() && w.NoResult && !t.general[i] && w.Op == port.Update && isFast(w.Ops) {
		t.rows[i] = nil // a blind plan wins every race
	}
	return nil
}

// The reasons for which DynamoDB cancels a transaction, as far as they are told apart.
const (
	noReason        = "None"
	conditionReason = "ConditionalCheckFailed"
	invalidReason   = "ValidationError"
)

// isPassing reports whether the same transaction may be taken later.
func isPassing(reason string) bool {
	switch reason {
	case "TransactionConflict", "ProvisionedThroughputExceeded", "ThrottlingError":
		return true
	default:
		return false
	}
}

// transact makes one transaction, which DynamoDB does once however often it is sent. Reasons that pass are waited out.
func (s *Store) transact(ctx context.Context, parts []types.TransactWriteItem) error {
	if sizeOf(parts) > maxTransaction {
		return errs.New(errs.TooLarge, "the commit has more than %d bytes: split it", maxTransaction)
	}
	in := &dynamodb.TransactWriteItemsInput{TransactItems: parts, ClientRequestToken: aws.String(port.Digest(s.newID()))}
	for try := 0; ; try++ {
		err := s.do(ctx, "TransactWriteItems", true, func(ctx context.Context) error {
			_, err := s.client.TransactWriteItems(ctx, in)
			return err
		})
		if err == nil || !willPass(err) {
			return err
		}
		if try == maxRaces {
			return errTooOften()
		}
		if err := pauseBelow(ctx, try, raceCeiling); err != nil {
			return err
		}
	}
}

// willPass reports whether a transaction was cancelled for nothing but reasons that pass.
func willPass(err error) bool {
	var cancelled *types.TransactionCanceledException
	if !errors.As(err, &cancelled) {
		return false
	}
	found := false
	for _, reason := range cancelled.CancellationReasons {
		code := aws.ToString(reason.Code)
		if code != "" && code != noReason && !isPassing(code) {
			return false
		}
		found = found || isPassing(code)
	}
	return found
}

// sizeOf returns about how many bytes the items of a transaction have: those of their values.
func sizeOf(parts []types.TransactWriteItem) (size int) {
	for i := range parts {
		switch p := &parts[i]; {
		case p.Put != nil:
			size += sizeOfItem(p.Put.Item)
		case p.Update != nil:
			size += sizeOfItem(p.Update.ExpressionAttributeValues)
		}
	}
	return size
}

func sizeOfItem(i item) (size int) {
	for _, v := range i {
		size += sizeOfValue(v)
	}
	return size
}

func sizeOfValue(v types.AttributeValue) (size int) {
	switch v := v.(type) {
	case *types.AttributeValueMemberS:
		return len(v.Value)
	case *types.AttributeValueMemberB:
		return len(v.Value)
	case *types.AttributeValueMemberN:
		return len(v.Value)/2 + 1
	case *types.AttributeValueMemberL:
		for _, element := range v.Value {
			size += 1 + sizeOfValue(element)
		}
	case *types.AttributeValueMemberM:
		for name, member := range v.Value {
			size += 1 + len(name) + sizeOfValue(member)
		}
	}
	return size
}

// planned returns the error with a code for one that came out of planning.
func (s *Store) planned(ctx context.Context, err error) error {
	var (
		coded    *errs.Error
		conflict *port.ConflictError
	)
	if errors.As(err, &coded) || errors.As(err, &conflict) {
		return err
	}
	return s.corrupt(ctx, err)
}
