package dynamo

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"

	"github.com/eddyhq/eddy/shared/deployed"
	"github.com/eddyhq/eddy/shared/document"
	"github.com/eddyhq/eddy/shared/errs"
	"github.com/eddyhq/eddy/shared/port"
)

// The attributes that only this package knows.
const (
	attemptsName = "attempts" // M: of a cursor, the failed attempts of the delivery it guards
	letterName   = "letter"   // S: a dead letter as JSON, without its record
	blobName     = "blob"     // S: in place of deployed.Record, the key of the blob that holds it
	dataName     = "data"     // B: a part of a blob
	partsName    = "parts"    // N: the number of parts of a blob
	recordsName  = "records"  // L of M: of the outbox row of a group, the records of the last commit
	silentName   = "silent"   // S: the write id of the last write that is told to nobody
	lapsedName   = "lapsed"   // N: the version that was the expiry of a document, when the next version wrote over it
)

// The longest keys, in bytes, that DynamoDB takes.
const (
	maxPK = 2048
	maxSK = 1024
)

// item is a row as DynamoDB has it.
type item = map[string]types.AttributeValue

func key(pk, sk string) item {
	return item{deployed.PK: text(pk), deployed.SK: text(sk)}
}

// checkKey refuses names that DynamoDB cannot take. The semantics hold names to limits of their own, but escaping them
// makes some longer.
func checkKey(c port.Collection, sk string) error {
	entry := strings.TrimPrefix(string(c), port.StateSpace) // a sort key of the directory
	switch {
	case len(entry) > maxSK:
		return errs.New(errs.InvalidArgument, "the name of the collection has %d bytes once it is escaped, at most %d are allowed",
			len(entry), maxSK)
	case sk == "" || len(sk) > maxSK:
		return errs.New(errs.InvalidArgument, "the key has %d bytes, from 1 to %d are allowed", len(sk), maxSK)
	}
	return nil
}

// row is a row of the table of documents as it was read. The zero value is no row.
type row struct {
	exists  bool // the row, be it a tombstone
	value   types.AttributeValue
	version int64
	writeID string
	expires int64 // as port.Document.Expires; of a tombstone, when DynamoDB may remove it
	lapsed  bool  // there is a value, but its time was up when the row was read
}

// isDocument reports whether the row holds a document.
func (r *row) isDocument() bool { return r.value != nil && !r.lapsed }

// documentVersion returns the version that the port knows: 0 where there is no document.
func (r *row) documentVersion() int64 {
	if !r.isDocument() {
		return 0
	}
	return r.version
}

// readRow reads an item, at a time; an empty one is no row.
func readRow(i item, now time.Time) (r row, err error) {
	if len(i) == 0 {
		return row{}, nil
	}
	r = row{exists: true, value: i[deployed.Value], writeID: stringOf(i[deployed.WriteID])}
	if r.version, err = integerOf(i[deployed.Version]); err != nil {
		return row{}, fmt.Errorf("the version of a document: %w", err)
	}
	if expires, ok := i[deployed.Expires]; ok {
		if r.expires, err = integerOf(expires); err != nil {
			return row{}, fmt.Errorf("when a document expires: %w", err)
		}
	}
	r.lapsed = r.value != nil && port.IsExpired(r.expires, now)
	return r, nil
}

// document returns what the row holds.
func (r *row) document(key string) (port.Document, error) {
	if !r.isDocument() {
		return port.Document{Key: key}, nil
	}
	value, err := decodeValue(r.value)
	return port.Document{Key: key, Value: value, Version: r.version, Expires: r.expires}, err
}

// current is what the rows of documents have in common that are not expired. Of those without a value, all that can pass it
// are the tombstones that DynamoDB has not removed yet.
func (e *expression) current(now time.Time) string {
	expires := e.name(deployed.Expires)
	return "(attribute_not_exists(" + expires + ") OR " + expires + " > " + e.value(number(now.Unix())) + ")"
}

// stringOf returns the string that an attribute holds, "" when it holds none.
func stringOf(v types.AttributeValue) string {
	if s, ok := v.(*types.AttributeValueMemberS); ok {
		return s.Value
	}
	return ""
}

func integerOf(v types.AttributeValue) (int64, error) {
	n, ok := v.(*types.AttributeValueMemberN)
	if !ok {
		return 0, fmt.Errorf("a %T is no number", v)
	}
	canonical, err := appendNumber(nil, n.Value)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(string(canonical), 10, 64)
}

// get reads one item of a table; empty when there is none.
func (s *Store) get(ctx context.Context, table *string, key item) (item, error) {
	const operation = "GetItem"
	var out *dynamodb.GetItemOutput
	err := s.do(ctx, operation, true, func(ctx context.Context) (err error) {
		out, err = s.client.GetItem(ctx, &dynamodb.GetItemInput{TableName: table, Key: key, ConsistentRead: aws.Bool(true)})
		return err
	})
	if err != nil {
		return nil, s.failed(ctx, operation, err)
	}
	return out.Item, nil
}

// getRow reads a row of the table of documents.
func (s *Store) getRow(ctx context.Context, c port.Collection, sk string) (row, error) {
	found, err := s.get(ctx, s.documents, key(string(c), sk))
	if err != nil {
		return row{}, err
	}
	return s.readRow(ctx, found)
}

// readRow is readRow for an item that came from the table: one that cannot be read is a fault of ours.
func (s *Store) readRow(ctx context.Context, i item) (row, error) {
	r, err := readRow(i, s.now())
	if err != nil {
		return row{}, s.corrupt(ctx, err)
	}
	return r, nil
}

// valueOf returns the document of a row.
func (s *Store) valueOf(ctx context.Context, r *row) (document.Value, error) {
	value, err := decodeValue(r.value)
	if err != nil {
		return nil, s.corrupt(ctx, err)
	}
	return value, nil
}

// corrupt is the error for a row that this package did not write.
func (s *Store) corrupt(ctx context.Context, err error) error {
	s.log(ctx, "read a row", err)
	return fault(errs.Internal, err, "a row of the store cannot be read")
}

// put writes an item as it is. Doing it twice does no harm: the names of such rows belong to one content.
func (s *Store) put(ctx context.Context, table *string, i item) error {
	const operation = "PutItem"
	err := s.do(ctx, operation, true, func(ctx context.Context) error {
		_, err := s.client.PutItem(ctx, &dynamodb.PutItemInput{TableName: table, Item: i})
		return err
	})
	if err != nil {
		return s.failed(ctx, operation, err)
	}
	return nil
}

// querying is query or queryAllowed.
type querying func(context.Context, *dynamodb.QueryInput, func(*dynamodb.QueryOutput) (more bool, err error)) error

// query gives each page of a query to take, until that says no or there is no further page.
func (s *Store) query(
	ctx context.Context, in *dynamodb.QueryInput, take func(*dynamodb.QueryOutput) (more bool, err error),
) error {
	if err := s.pages(ctx, in, take); err != nil {
		return s.failed(ctx, queryOperation, err)
	}
	return nil
}

// queryAllowed is query for what this Lambda may not be allowed to read: then there is nothing to take.
func (s *Store) queryAllowed(
	ctx context.Context, in *dynamodb.QueryInput, take func(*dynamodb.QueryOutput) (more bool, err error),
) error {
	err := s.pages(ctx, in, take)
	var answer smithy.APIError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &answer) && answer.ErrorCode() == "AccessDeniedException":
		return nil
	default:
		return s.failed(ctx, queryOperation, err)
	}
}

const queryOperation = "Query"

func (s *Store) pages(
	ctx context.Context, in *dynamodb.QueryInput, take func(*dynamodb.QueryOutput) (more bool, err error),
) error {
	in.ConsistentRead = aws.Bool(true)
	for {
		var out *dynamodb.QueryOutput
		err := s.do(ctx, queryOperation, true, func(ctx context.Context) (err error) {
			out, err = s.client.Query(ctx, in)
			return err
		})
		if err != nil {
			return err
		}
		if more, err := take(out); err != nil || !more || len(out.LastEvaluatedKey) == 0 {
			return err
		}
		in.ExclusiveStartKey = out.LastEvaluatedKey
	}
}
