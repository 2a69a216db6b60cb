package dynamo

import (
	"context"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/eddyhq/eddy/shared/deployed"
	"github.com/eddyhq/eddy/shared/errs"
	"github.com/eddyhq/eddy/shared/port"
)

// Get returns a document; see port.Documents.
func (s *Store) Get(ctx context.Context, c port.Collection, key string) (port.Document, error) {
	if err := checkKey(c, key); err != nil {
		return port.Document{}, err
	}
	found, err := s.getRow(ctx, c, key)
	if err != nil {
		return port.Document{}, err
	}
	document, err := found.document(key)
	if err != nil {
		return port.Document{}, s.corrupt(ctx, err)
	}
	return document, nil
}

// List returns a page of a collection with one request; see port.Documents. A page ends early where DynamoDB ends it, at
// 1 MB, and where documents were deleted within the last day.
func (s *Store) List(ctx context.Context, c port.Collection, q port.Query) (page port.Page, err error) {
	if q.Limit <= 0 {
		return page, errs.New(errs.InvalidArgument, "limit: must be positive")
	}
	if err := checkKey(c, "-"); err != nil {
		return page, err
	}
	if len(q.Prefix) > maxSK || q.After > q.Prefix && !strings.HasPrefix(q.After, q.Prefix) {
		return page, nil // no key starts with the prefix, or all that do are below
	}
	err = s.query(ctx, s.pageQuery(c, q), func(out *dynamodb.QueryOutput) (more bool, err error) {
		if page, err = readPage(out, q.Limit, s.now()); err != nil {
			return false, s.corrupt(ctx, err)
		}
		return false, nil
	})
	return page, err
}

// pageQuery asks for one row more than the page may have: whether there is one says whether the page is the last.
func (s *Store) pageQuery(c port.Collection, q port.Query) *dynamodb.QueryInput {
	e := newExpression()
	condition := e.name(deployed.PK) + " = " + e.value(text(string(c)))
	if q.Prefix != "" {
		condition += " AND begins_with(" + e.name(deployed.SK) + ", " + e.value(text(q.Prefix)) + ")"
	}
	in := &dynamodb.QueryInput{
		TableName:              s.documents,
		KeyConditionExpression: aws.String(condition),
		FilterExpression:       aws.String("attribute_exists(" + e.name(deployed.Value) + ") AND " + e.current(s.now())),
		ProjectionExpression: aws.String(
			e.name(deployed.SK) + ", " + e.name(deployed.Value) + ", " + e.name(deployed.Version) + ", " + e.name(deployed.Expires)),
		Limit: aws.Int32(int32(q.Limit + 1)),
	}
	in.ExpressionAttributeNames, in.ExpressionAttributeValues = e.names, e.values
	// DynamoDB takes a start key only from within what the condition selects; one that is below selects nothing out.
	if q.After != "" && strings.HasPrefix(q.After, q.Prefix) {
		in.ExclusiveStartKey = key(string(c), q.After)
	}
	return in
}

// readPage reads a page of at most limit documents.
func readPage(out *dynamodb.QueryOutput, limit int, now time.Time) (page port.Page, err error) {
	page.More, page.Next = len(out.LastEvaluatedKey) > 0, stringOf(out.LastEvaluatedKey[deployed.SK])
	items := out.Items
	if len(items) > limit {
		items = items[:limit]
		page.More, page.Next = true, stringOf(items[limit-1][deployed.SK])
	}
	for _, i := range items {
		found, err := readRow(i, now)
		if err != nil {
			return port.Page{}, err
		}
		document, err := found.document(stringOf(i[deployed.SK]))
		if err != nil {
			return port.Page{}, err
		}
		if document.Exists() { // it may have expired since the query
			page.Documents = append(page.Documents, document)
		}
	}
	return page, nil
}
