package dynamo

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/eddyhq/eddy/shared/errs"
)

// getAll gives each of the items that are there to take. DynamoDB may answer in parts.
func (s *Store) getAll(ctx context.Context, table *string, keys []item, take func(item) error) error {
	const operation = "BatchGetItem"
	for try := 0; len(keys) > 0; {
		var out *dynamodb.BatchGetItemOutput
		err := s.do(ctx, operation, true, func(ctx context.Context) (err error) {
			out, err = s.client.BatchGetItem(ctx, &dynamodb.BatchGetItemInput{
				RequestItems: map[string]types.KeysAndAttributes{*table: {Keys: keys, ConsistentRead: aws.Bool(true)}},
			})
			return err
		})
		if err != nil {
			return s.failed(ctx, operation, err)
		}
		for _, i := range out.Responses[*table] {
			if err := take(i); err != nil {
				return err
			}
		}
		rest := out.UnprocessedKeys[*table].Keys
		if try, err = backOff(ctx, try, len(keys), len(rest)); err != nil {
			return err
		}
		keys = rest
	}
	return nil
}

// maxBatch is how many items one BatchWriteItem takes.
const maxBatch = 25

// putAll writes items as they are, in no order. Doing it twice does no harm: see put.
func (s *Store) putAll(ctx context.Context, table *string, items []item) error {
	const operation = "BatchWriteItem"
	if len(items) == 1 {
		return s.put(ctx, table, items[0])
	}
	var waiting []types.WriteRequest
	for _, i := range items {
		waiting = append(waiting, types.WriteRequest{PutRequest: &types.PutRequest{Item: i}})
	}
	for try := 0; len(waiting) > 0; {
		batch := waiting[:min(len(waiting), maxBatch)]
		var out *dynamodb.BatchWriteItemOutput
		err := s.do(ctx, operation, true, func(ctx context.Context) (err error) {
			out, err = s.client.BatchWriteItem(ctx, &dynamodb.BatchWriteItemInput{
				RequestItems: map[string][]types.WriteRequest{*table: batch},
			})
			return err
		})
		if err != nil {
			return s.failed(ctx, operation, err)
		}
		rest := out.UnprocessedItems[*table]
		if try, err = backOff(ctx, try, len(batch), len(rest)); err != nil {
			return err
		}
		waiting = append(append([]types.WriteRequest{}, rest...), waiting[len(batch):]...)
	}
	return nil
}

// backOff waits when a part of a batch was left undone, which is how DynamoDB throttles batches. It returns the number of
// the next try: the first one as long as there is progress.
func backOff(ctx context.Context, try, asked, left int) (next int, err error) {
	switch {
	case left == 0:
		return 0, nil
	case left < asked:
		try = 0
	case try+1 == maxTries:
		return 0, errs.New(errs.Unavailable, "the store cannot take it all now: try again")
	}
	return try + 1, pause(ctx, try)
}
