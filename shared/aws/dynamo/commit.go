package dynamo

import (
	"context"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/eddyhq/eddy/shared/aws/message"
	"github.com/eddyhq/eddy/shared/deployed"
	"github.com/eddyhq/eddy/shared/errs"
	"github.com/eddyhq/eddy/shared/port"
)

// Commit does all of the commit or nothing of it; see port.Documents. A commit may have 100 parts: its writes, events,
// calls, cursors and dead letters together.
func (s *Store) Commit(ctx context.Context, commit port.Commit) ([]port.Result, error) {
	if ctx.Err() != nil {
		return nil, errs.From(ctx.Err())
	}
	if err := check(&commit); err != nil {
		return nil, err
	}
	rest := len(commit.Cursors) + len(commit.Failed)
	messages := len(commit.Events) + len(commit.Calls)
	switch {
	case len(commit.Writes)+rest+messages == 0:
		return nil, nil
	case len(commit.Writes) == 1 && rest+messages == 0:
		result, err := s.commitWrite(ctx, &commit.Writes[0], commit.Cause, commit.Silent)
		if err != nil {
			return nil, err
		}
		return []port.Result{result}, nil
	case messages == 1 && len(commit.Writes)+rest == 0:
		rows, err := s.outbox(ctx, &commit)
		if err != nil {
			return nil, err
		}
		return nil, s.put(ctx, s.documents, rows[0])
	default:
		return s.commitTogether(ctx, &commit)
	}
}

// maxParts is how many parts a transaction of DynamoDB may have.
const maxParts = 100

// check refuses what cannot be committed whatever is there.
func check(commit *port.Commit) error {
	parts := len(commit.Writes) + len(commit.Events) + len(commit.Calls) + len(commit.Cursors) + len(commit.Failed)
	if parts > maxParts {
		return errs.New(errs.InvalidArgument, "the commit has %d documents, messages and cursors, at most %d are possible: split it",
			parts, maxParts)
	}
	if err := port.CheckWrites(commit.Writes); err != nil {
		return err
	}
	for i := range commit.Writes {
		w := &commit.Writes[i]
		if err := checkKey(w.Collection, w.Key); err != nil {
			return errs.New(errs.InvalidArgument, "write %d: %s", i, errs.From(err).Message)
		}
	}
	return checkDistinct(commit)
}

// checkDistinct refuses a commit that names a row of the system table twice, which DynamoDB does not take.
func checkDistinct(commit *port.Commit) error {
	type name struct{ space, outer, inner string }
	seen := make(map[name]struct{}, len(commit.Cursors)+len(commit.Failed))
	twice := func(n name) bool {
		before := len(seen)
		seen[n] = struct{}{}
		return len(seen) == before
	}
	for i := range commit.Cursors {
		if twice(name{"cursor", commit.Cursors[i].Name, ""}) {
			return errs.New(errs.InvalidArgument, "cursor %d: the commit names it twice", i)
		}
	}
	for i := range commit.Failed {
		if twice(name{"letter", commit.Failed[i].Function, commit.Failed[i].ID}) {
			return errs.New(errs.InvalidArgument, "dead letter %d: the commit names it twice", i)
		}
	}
	return nil
}

// outbox returns the rows of the commit's events and calls. The calls of a group have one row for all time, which each commit
// replaces: the stream keeps the order of what happens to one row, and no other.
func (s *Store) outbox(ctx context.Context, commit *port.Commit) (rows []item, err error) {
	for i := range commit.Events {
		event := &commit.Events[i]
		pk := deployed.OutboxEvents + strings.TrimPrefix(string(event.Group), port.StreamSpace)
		row, err := s.outboxRow(ctx, pk, &message.Record{
			ID: s.newID(), Record: port.Record{Cause: commit.Cause, Event: event},
		})
		if err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
	grouped := make(map[string]item)
	for i := range commit.Calls {
		call := &commit.Calls[i]
		if call.Group != "" {
			row, known := grouped[call.Function+" "+call.Group]
			if !known {
				row = s.groupRow(call)
				grouped[call.Function+" "+call.Group] = row
				rows = append(rows, row)
			}
			if err := s.addRecord(ctx, row, commit.Cause, call); err != nil {
				return nil, err
			}
			continue
		}
		row, err := s.outboxRow(ctx, callsOf(call.Function), &message.Record{
			ID: call.ID, Record: port.Record{Cause: commit.Cause, Target: call.Function, Call: call},
		})
		if err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
	return rows, nil
}

func callsOf(function string) string { return deployed.OutboxCalls + port.Segment(function) }

// groupPrefix begins the sort keys of the rows of groups. No id of a call begins with it.
const groupPrefix = "group/"

// groupRow returns the row of the group that a call is in, without records.
func (s *Store) groupRow(call *port.Call) item {
	row := key(callsOf(call.Function), groupPrefix+port.Digest(call.Group))
	row[deployed.Expires] = number(s.expiry(outboxLife))
	row[recordsName] = &types.AttributeValueMemberL{}
	return row
}

// addRecord adds the record of a call to the row of its group, which has room for as much as the row of one call. What does not
// fit lies in a blob, as there.
func (s *Store) addRecord(ctx context.Context, row item, cause port.Cause, call *port.Call) error {
	records, _ := row[recordsName].(*types.AttributeValueMemberL)
	record := message.Record{ID: call.ID, Record: port.Record{Cause: cause, Target: call.Function, Call: call}}
	kept := item{idName: text(call.ID)}
	room := max(maxRecord-sizeOfValue(records), maxSmallRecord)
	if err := s.keepRecord(ctx, kept, &record, room, blobLife); err != nil {
		return err
	}
	records.Value = append(records.Value, &types.AttributeValueMemberM{Value: kept})
	return nil
}

// outboxRow returns the row that hands a record to the stream.
func (s *Store) outboxRow(ctx context.Context, pk string, r *message.Record) (item, error) {
	row := key(pk, r.ID)
	row[deployed.Expires] = number(s.expiry(outboxLife))
	if err := s.attachRecord(ctx, row, r, blobLife); err != nil {
		return nil, err
	}
	return row, nil
}

// putAction returns an item as a part of a transaction.
func putAction(table *string, i item) types.TransactWriteItem {
	return types.TransactWriteItem{Put: &types.Put{TableName: table, Item: i}}
}
