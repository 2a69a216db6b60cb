package dynamo

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/eddyhq/eddy/shared/deployed"
	"github.com/eddyhq/eddy/shared/document"
	"github.com/eddyhq/eddy/shared/errs"
	"github.com/eddyhq/eddy/shared/port"
)

// Item is an item of a group, or what is left of one: an item that was deleted within the last day has no value, and
// the version of its deletion. Nor has one that has expired a value; its version is still its own, as the expiry is to come.
type Item struct {
	Key     string
	Value   document.Value
	Version int64
	Updated time.Time
}

// Snapshot returns the items of a group in ascending order of their ids, or, when item is not "", that one, if there
// is such a one. Unlike List it has what was deleted lately too. Each item was current at some moment of the call.
// Snapshot fails with too_large when the values have more than most bytes.
func (l *Lanes) Snapshot(ctx context.Context, group port.Collection, item string, most int) ([]Item, error) {
	if item != "" {
		found, err := l.store.get(ctx, l.store.documents, key(string(group), item))
		if err != nil || len(found) == 0 {
			return nil, err
		}
		one, err := l.readItem(ctx, found)
		return []Item{one}, err
	}
	e := newExpression()
	query := &dynamodb.QueryInput{
		TableName:              l.store.documents,
		KeyConditionExpression: aws.String(e.name(deployed.PK) + " = " + e.value(text(string(group)))),
		ProjectionExpression: aws.String(e.name(deployed.SK) + ", " + e.name(deployed.Value) + ", " +
			e.name(deployed.Version) + ", " + e.name(deployed.Updated) + ", " + e.name(deployed.Expires)),
		ExpressionAttributeNames: e.names, ExpressionAttributeValues: e.values,
	}
	var items []Item
	size := 0
	err := l.store.query(ctx, query, func(page *dynamodb.QueryOutput) (more bool, err error) {
		for _, found := range page.Items {
			one, err := l.readItem(ctx, found)
			if err != nil {
				return false, err
			}
			if size += len(one.Value); size > most {
				return false, errs.New(errs.TooLarge,
					"the group has more than the %d bytes that can be sent at once: join its items", most)
			}
			items = append(items, one)
		}
		return true, nil
	})
	if err != nil {
		return nil, err
	}
	return items, nil
}

func (l *Lanes) readItem(ctx context.Context, found item) (Item, error) {
	read, err := l.store.readRow(ctx, found)
	if err != nil {
		return Item{}, err
	}
	id := stringOf(found[deployed.SK])
	kept, err := read.document(id)
	if err != nil {
		return Item{}, l.store.corrupt(ctx, err)
	}
	updated, err := integerOf(found[deployed.Updated])
	if err != nil {
		return Item{}, l.store.corrupt(ctx, err)
	}
	return Item{Key: id, Value: kept.Value, Version: read.version, Updated: time.UnixMicro(updated)}, nil
}
