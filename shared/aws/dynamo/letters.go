package dynamo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/eddyhq/eddy/shared/aws/message"
	"github.com/eddyhq/eddy/shared/deployed"
	"github.com/eddyhq/eddy/shared/port"
)

// maxLetterMessage is how many bytes of its message a dead letter keeps: no error may be too long to be kept.
const maxLetterMessage = 16 << 10

func lettersOf(function string) string { return deployed.Letters + port.Segment(function) }

// letterRow returns the row of a dead letter. The directory has its function from then on. A record that is too large is
// in a blob, which is kept until the letter is taken.
func (s *Store) letterRow(ctx context.Context, l *port.DeadLetter) (item, error) {
	if err := s.enterFunction(ctx, l.Function); err != nil {
		return nil, err
	}
	kept := *l
	if len(kept.Message) > maxLetterMessage {
		kept.Message = strings.ToValidUTF8(kept.Message[:maxLetterMessage], "") + "…"
	}
	encoded, err := message.Encode(kept)
	if err != nil {
		return nil, s.corrupt(ctx, err)
	}
	row := key(lettersOf(l.Function), l.ID)
	row[letterName] = text(string(encoded))
	if err := s.attachRecord(ctx, row, &message.Record{ID: l.Record.ID(), Record: l.Record}, 0); err != nil {
		return nil, err
	}
	return row, nil
}

// attachedRecord returns the record that a row holds or names.
func attachedRecord(row item) (r message.Record, err error) {
	if blob := stringOf(row[blobName]); blob != "" {
		return message.Record{ID: stringOf(row[deployed.SK]), Blob: blob}, nil
	}
	err = r.UnmarshalJSON([]byte(stringOf(row[deployed.Record])))
	return r, err
}

// readLetter returns the dead letter of a row.
func (s *Store) readLetter(ctx context.Context, row item) (l port.DeadLetter, err error) {
	if err := json.Unmarshal([]byte(stringOf(row[letterName])), &l); err != nil {
		return l, s.corrupt(ctx, fmt.Errorf("a dead letter: %w", err))
	}
	r, err := attachedRecord(row)
	if err != nil {
		return l, s.corrupt(ctx, fmt.Errorf("the record of a dead letter: %w", err))
	}
	r, err = s.Resolve(ctx, r)
	l.Record = r.Record
	return l, err
}

// DeadLetters lists dead letters; see port.Ledger.
func (s *Store) DeadLetters(ctx context.Context, function string, after port.LetterID, limit int) (
	letters []port.DeadLetter, more bool, err error,
) {
	functions := []string{function}
	if function == "" {
		if functions, err = s.sortKeys(ctx, deployed.Letters, s.query); err != nil {
			return nil, false, err
		}
	}
	for _, function := range functions {
		if function < after.Function {
			continue
		}
		above := ""
		if function == after.Function {
			above = after.ID
		}
		rows, err := s.letterRows(ctx, function, above, limit+1-len(letters))
		if err != nil {
			return nil, false, err
		}
		for _, row := range rows {
			if len(letters) == limit {
				return letters, true, nil
			}
			letter, err := s.readLetter(ctx, row)
			if err != nil {
				return nil, false, err
			}
			letters = append(letters, letter)
		}
	}
	return letters, false, nil
}

// letterRows returns the first rows of a function's dead letters above an id.
func (s *Store) letterRows(ctx context.Context, function, above string, limit int) (rows []item, err error) {
	e := newExpression()
	condition := e.name(deployed.PK) + " = " + e.value(text(lettersOf(function)))
	if above != "" {
		condition += " AND " + e.name(deployed.SK) + " > " + e.value(text(above))
	}
	in := &dynamodb.QueryInput{TableName: s.system, KeyConditionExpression: &condition, Limit: aws.Int32(int32(limit))}
	in.ExpressionAttributeNames, in.ExpressionAttributeValues = e.names, e.values
	err = s.query(ctx, in, func(page *dynamodb.QueryOutput) (bool, error) {
		rows = append(rows, page.Items...)
		in.Limit = aws.Int32(int32(limit - len(rows)))
		return len(rows) < limit, nil
	})
	return rows, err
}

// Redrive puts the record of a dead letter back on its way; see port.Ledger. Its position is the time: above that of every
// delivery of it before.
func (s *Store) Redrive(ctx context.Context, function, id string) (bool, error) {
	row, err := s.get(ctx, s.system, key(lettersOf(function), id))
	if len(row) == 0 || err != nil {
		return false, err
	}
	letter, err := s.readLetter(ctx, row)
	if err != nil {
		return false, err
	}
	record := message.Record{ID: s.newID(), Record: letter.Record}
	record.Target, record.Position = function, uint64(s.now().UnixMicro())
	out, err := s.outboxRow(ctx, callsOf(function), &record)
	if err != nil {
		return false, err
	}
	return s.takeLetter(ctx, row, putAction(s.documents, out))
}

// Discard removes a dead letter; see port.Ledger.
func (s *Store) Discard(ctx context.Context, function, id string) (bool, error) {
	row, err := s.get(ctx, s.system, key(lettersOf(function), id))
	if len(row) == 0 || err != nil {
		return false, err
	}
	return s.takeLetter(ctx, row)
}

// takeLetter removes a dead letter in one step with what else is to be done. Reports whether it was still there.
func (s *Store) takeLetter(ctx context.Context, row item, also ...types.TransactWriteItem) (bool, error) {
	e := newExpression()
	e.require("attribute_exists(" + e.name(deployed.PK) + ")")
	remove := types.TransactWriteItem{Delete: &types.Delete{
		TableName:                s.system,
		Key:                      item{deployed.PK: row[deployed.PK], deployed.SK: row[deployed.SK]},
		ConditionExpression:      e.condition(),
		ExpressionAttributeNames: e.names,
	}}
	err := s.transact(ctx, append([]types.TransactWriteItem{remove}, also...))
	var cancelled *types.TransactionCanceledException
	if errors.As(err, &cancelled) && len(cancelled.CancellationReasons) > 0 &&
		aws.ToString(cancelled.CancellationReasons[0].Code) == conditionReason {
		return false, nil
	}
	if err != nil {
		return false, s.failed(ctx, "TransactWriteItems", err)
	}
	if blob := stringOf(row[blobName]); blob != "" {
		if err := s.expireBlob(ctx, blob); err != nil {
			s.logger.WarnContext(ctx, "the record of a dead letter that was taken stays behind", "blob", blob, "error", err)
		}
	}
	return true, nil
}
