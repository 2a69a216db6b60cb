package dynamo

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/eddyhq/eddy/shared/deployed"
	"github.com/eddyhq/eddy/shared/port"
)

// cursorKey returns where a cursor and the attempts that go with it are kept: in a partition of their own, which says
// whose they are.
func cursorKey(name string) item {
	function, _, _ := strings.Cut(name, "/")
	return key(deployed.Cursors+port.Segment(function)+"/"+port.Digest(name), "-")
}

// cursorAction takes a cursor as a part of a transaction. Attempts end with it.
func (s *Store) cursorAction(c port.Cursor) types.TransactWriteItem {
	e := newExpression()
	version := e.name(deployed.Version)
	e.require("(attribute_not_exists(" + version + ") OR " + version + " < " + e.value(number(c.Version)) + ")")
	e.set(deployed.Version, number(c.Version))
	e.set(deployed.Expires, number(s.expiry(cursorLife)))
	e.remove(attemptsName)
	return e.action(s.system, cursorKey(c.Name))
}

// Attempts returns what Attempted stored under the cursor's name; see port.Ledger.
func (s *Store) Attempts(ctx context.Context, cursor string) (port.Attempts, error) {
	_, attempts, err := s.Standing(ctx, cursor)
	return attempts, err
}

// Standing returns the version up to which a cursor is taken, 0 when it is not, and what Attempted stored under its name.
func (s *Store) Standing(ctx context.Context, cursor string) (taken int64, attempts port.Attempts, err error) {
	found, err := s.get(ctx, s.system, cursorKey(cursor))
	if err != nil {
		return 0, port.Attempts{}, err
	}
	if version, ok := found[deployed.Version]; ok {
		if taken, err = integerOf(version); err != nil {
			return 0, port.Attempts{}, s.corrupt(ctx, fmt.Errorf("the version of a cursor: %w", err))
		}
	}
	if stored, ok := found[attemptsName].(*types.AttributeValueMemberM); ok {
		if attempts, err = readAttempts(stored.Value); err != nil {
			return 0, port.Attempts{}, s.corrupt(ctx, err)
		}
	}
	return taken, attempts, nil
}

func readAttempts(m item) (a port.Attempts, err error) {
	if a.Version, err = integerOf(m["version"]); err != nil {
		return a, fmt.Errorf("the version of attempts: %w", err)
	}
	count, err := integerOf(m["count"])
	if err != nil {
		return a, fmt.Errorf("the number of attempts: %w", err)
	}
	a.Count = int(count)
	if a.First, err = time.Parse(time.RFC3339Nano, stringOf(m["first"])); err != nil {
		return a, fmt.Errorf("the time of the first attempt: %w", err)
	}
	return a, nil
}

// Attempted stores the failed attempts of a delivery; see port.Ledger. Doing it twice does no harm.
func (s *Store) Attempted(ctx context.Context, cursor string, a port.Attempts) error {
	const operation = "UpdateItem"
	e := newExpression()
	e.set(deployed.Expires, number(s.expiry(cursorLife)))
	e.set(attemptsName, &types.AttributeValueMemberM{Value: item{
		"version": number(a.Version), "count": number(int64(a.Count)), "first": text(a.First.UTC().Format(time.RFC3339Nano)),
	}})
	request := &dynamodb.UpdateItemInput{
		TableName: s.system, Key: cursorKey(cursor), UpdateExpression: e.update(),
		ExpressionAttributeNames: e.names, ExpressionAttributeValues: e.values,
	}
	err := s.do(ctx, operation, true, func(ctx context.Context) error {
		_, err := s.client.UpdateItem(ctx, request)
		return err
	})
	if err != nil {
		return s.failed(ctx, operation, err)
	}
	return nil
}
