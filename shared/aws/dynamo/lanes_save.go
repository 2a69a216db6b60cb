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

// LaneSave is a step in the life of a live group, from one state to another of a different sequence or revision.
type LaneSave struct {
	Was, Is LaneState
	Joined  []Subscription    // new, or in the place of one with the same key
	Left    []SubscriptionKey // ended by their connections
	Gone    []SubscriptionKey // ended since their connections are no more
	Ahead   []byte            // in the place of what was; nil leaves that
}

const (
	// MaxLaneSteps is how many subscriptions one LaneSave can have in Joined and Left together.
	MaxLaneSteps = (maxActions - 2) / rowsOfSubscription

	maxActions         = 100 // of one transaction
	rowsOfSubscription = 2
	maxDeletes         = 25 // of one batch
)

// Save puts the state of a group down, with what joined and left, all of it or nothing; then it removes the rows of
// what is gone. It fails with conflict when the stored state is not the one that was: somebody else handles the group.
// That is also said of a state that was stored already, when the reply to that was lost.
func (l *Lanes) Save(ctx context.Context, group port.Collection, save LaneSave) error {
	var err error
	if lane := l.putLane(group, &save); len(save.Joined)+len(save.Left) == 0 && save.Ahead == nil {
		err = l.saveLane(ctx, lane)
	} else {
		err = l.saveAll(ctx, l.actions(group, lane, &save))
	}
	if err != nil {
		return err
	}
	return l.remove(ctx, group, save.Gone)
}

// putLane is the write of a state, on condition that the stored one is the one that was.
func (l *Lanes) putLane(group port.Collection, save *LaneSave) *types.Put {
	is := &save.Is
	row := laneKey(group, laneRow)
	row[epochName], row[sequenceName], row[stampName] = text(is.Epoch), number(int64(is.Sequence)), number(is.Stamp)
	row[revisionName], row[subscriptionsName] = number(int64(is.Revision)), number(int64(is.Subscriptions))
	for name, bytes := range map[string][]byte{seenName: is.Seen, handledName: is.Handled} {
		if len(bytes) > 0 {
			row[name] = binary(bytes)
		}
	}
	row[deployed.Expires] = number(l.store.expiry(laneLife))

	e := newExpression()
	if was := &save.Was; was.Epoch == "" {
		e.require("attribute_not_exists(" + e.name(deployed.PK) + ")")
	} else {
		e.require(e.name(epochName) + " = " + e.value(text(was.Epoch)))
		e.require(e.name(revisionName) + " = " + e.value(number(int64(was.Revision))))
		e.require(e.name(sequenceName) + " = " + e.value(number(int64(was.Sequence))))
	}
	return &types.Put{
		TableName: l.store.system, Item: row, ConditionExpression: e.condition(),
		ExpressionAttributeNames: e.names, ExpressionAttributeValues: e.valuesOrNil(),
	}
}

func (l *Lanes) saveLane(ctx context.Context, lane *types.Put) error {
	const operation = "PutItem"
	err := l.store.do(ctx, operation, true, func(ctx context.Context) error {
		_, err := l.store.client.PutItem(ctx, &dynamodb.PutItemInput{
			TableName: lane.TableName, Item: lane.Item, ConditionExpression: lane.ConditionExpression,
			ExpressionAttributeNames: lane.ExpressionAttributeNames, ExpressionAttributeValues: lane.ExpressionAttributeValues,
		})
		return err
	})
	if _, moved := conditionFailed(err); moved {
		return errMoved()
	}
	if err != nil {
		return l.store.failed(ctx, operation, err)
	}
	return nil
}

func errMoved() error { return errs.New(errs.Conflict, "somebody else handles the live group") }

// actions returns the transaction that saves the lane, first, with what joined and left.
func (l *Lanes) actions(group port.Collection, lane *types.Put, save *LaneSave) []types.TransactWriteItem {
	actions := []types.TransactWriteItem{{Put: lane}}
	put := func(row item) {
		row[deployed.Expires] = number(l.store.expiry(subscriptionLife))
		actions = append(actions, types.TransactWriteItem{Put: &types.Put{TableName: l.store.system, Item: row}})
	}
	if save.Ahead != nil {
		row := laneKey(group, aheadRow)
		if len(save.Ahead) > 0 {
			row[aheadName] = binary(save.Ahead)
		}
		put(row)
	}
	for i := range save.Joined {
		for _, row := range rowsOf(group, &save.Joined[i]) {
			put(row)
		}
	}
	for _, left := range save.Left {
		for _, row := range keysOf(group, left) {
			actions = append(actions, types.TransactWriteItem{Delete: &types.Delete{TableName: l.store.system, Key: row}})
		}
	}
	return actions
}

// rowsOf returns the rows of a subscription: that of its group, and that of its connection.
func rowsOf(group port.Collection, s *Subscription) [rowsOfSubscription]item {
	rows := keysOf(group, s.SubscriptionKey)
	ofGroup, ofConnection := rows[0], rows[1]
	ofGroup[connectionName], ofGroup[idName], ofGroup[itemName] = text(s.Connection), text(s.ID), text(s.Item)
	ofGroup[connectedName], ofGroup[fromName] = number(s.ConnectedAt.UnixMilli()), number(int64(s.From))
	ofGroup[revisionName] = number(int64(s.Revision))
	ofConnection[groupName] = text(string(group))
	return rows
}

// keysOf returns the keys of the rows of a subscription. A digest stands for the group where a sort key has no room
// for it.
func keysOf(group port.Collection, s SubscriptionKey) [rowsOfSubscription]item {
	return [...]item{
		laneKey(group, subscriptionRow+s.Connection+"/"+s.ID),
		key(deployed.Connections+s.Connection, port.Digest(string(group))+"/"+s.ID),
	}
}

// saveAll does a transaction whose first action is the one with a condition.
func (l *Lanes) saveAll(ctx context.Context, actions []types.TransactWriteItem) error {
	const operation = "TransactWriteItems"
	for try := 0; ; try++ {
		in := &dynamodb.TransactWriteItemsInput{TransactItems: actions, ClientRequestToken: aws.String(l.store.newID())}
		err := l.store.do(ctx, operation, true, func(ctx context.Context) error {
			_, err := l.store.client.TransactWriteItems(ctx, in)
			return err
		})
		var cancelled *types.TransactionCanceledException
		switch {
		case err == nil:
			return nil
		case !errors.As(err, &cancelled):
			return l.store.failed(ctx, operation, err)
		case len(cancelled.CancellationReasons) > 0 && reasonIs(cancelled.CancellationReasons[0], "ConditionalCheckFailed"):
			return errMoved()
		case try+1 == maxTries || !slices.ContainsFunc(cancelled.CancellationReasons, passes):
			return l.store.failed(ctx, operation, err)
		}
		if err := pause(ctx, try); err != nil {
			return err
		}
	}
}

func reasonIs(reason types.CancellationReason, code string) bool {
	return aws.ToString(reason.Code) == code
}

// passes reports whether a transaction that was cancelled for the reason may succeed later.
func passes(reason types.CancellationReason) bool {
	return reasonIs(reason, "TransactionConflict") || reasonIs(reason, "ThrottlingError") ||
		reasonIs(reason, "ProvisionedThroughputExceeded")
}

// remove deletes the rows of subscriptions that nobody can renew, as their connections are no more.
func (l *Lanes) remove(ctx context.Context, group port.Collection, gone []SubscriptionKey) error {
	var deletes []types.WriteRequest
	for _, s := range gone {
		for _, row := range keysOf(group, s) {
			deletes = append(deletes, types.WriteRequest{DeleteRequest: &types.DeleteRequest{Key: row}})
		}
	}
	batches := slices.Collect(slices.Chunk(deletes, maxDeletes))
	return each(len(batches), func(i int) error { return l.removeBatch(ctx, batches[i]) })
}

func (l *Lanes) removeBatch(ctx context.Context, deletes []types.WriteRequest) error {
	const operation = "BatchWriteItem"
	left := map[string][]types.WriteRequest{*l.store.system: deletes}
	for try := range maxTries {
		var out *dynamodb.BatchWriteItemOutput
		err := l.store.do(ctx, operation, true, func(ctx context.Context) (err error) {
			out, err = l.store.client.BatchWriteItem(ctx, &dynamodb.BatchWriteItemInput{RequestItems: left})
			return err
		})
		if err != nil {
			return l.store.failed(ctx, operation, err)
		}
		if left = out.UnprocessedItems; len(left) == 0 {
			return nil
		}
		if err := pause(ctx, try); err != nil {
			return err
		}
	}
	return errs.New(errs.Unavailable, "the store cannot remove subscriptions now: try again")
}
