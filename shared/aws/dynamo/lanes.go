package dynamo

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/eddyhq/eddy/shared/deployed"
	"github.com/eddyhq/eddy/shared/port"
)

// The rows of the system table about a live group and a connection:
//
//	lane/<collection>   lane                                         LaneState
//	lane/<collection>   subscription                                 Subscriptions.Ahead
//	lane/<collection>   subscription/<connection>/<subscription>     Subscription
//	connection/<id>     <digest of the collection>/<subscription>    the group that it is subscribed to
//	connection/<id>     closed                                       Close was called
const (
	laneRow         = "lane"
	aheadRow        = "subscription" // in front of the others, to be read with them
	subscriptionRow = aheadRow + "/"
	closedRow       = "closed"

	epochName         = "epoch"         // S
	sequenceName      = "sequence"      // N
	stampName         = "stamp"         // N: microseconds of the Unix epoch
	revisionName      = "revision"      // N
	subscriptionsName = "subscriptions" // N: how many there are
	seenName          = "seen"          // B
	handledName       = "handled"       // B
	connectionName    = "connection"    // S
	connectedName     = "connected_at"  // N: milliseconds of the Unix epoch
	idName            = "id"            // S
	itemName          = "item"          // S: "" for the whole group
	fromName          = "from"          // N
	aheadName         = "ahead"         // B
	groupName         = "group"         // S: a collection
)

const (
	laneLife         = 24 * time.Hour // after the last frame: longer than any subscription
	subscriptionLife = 3 * time.Hour  // API Gateway ends connections after two
	closedLife       = 24 * time.Hour // it is asked for in the first seconds of a connection
)

// Lanes keeps what has to be known of live groups from one run that handles them to the next, and who subscribes to
// them. Its methods are safe for concurrent use.
type Lanes struct{ store *Store }

// NewLanes returns the Lanes in the tables of the store.
func NewLanes(store *Store) *Lanes { return &Lanes{store} }

// LaneState is what is kept of a live group. The zero value is a group that nobody joined yet, or for a day.
type LaneState struct {
	Epoch         string // of the positions in the group's history
	Sequence      uint64 // of the last record that has one
	Stamp         int64  // of the last frame, in microseconds of the Unix epoch
	Revision      uint64 // rises when subscriptions come or go
	Subscriptions int    // 0 exactly when there are none at this revision
	Seen          []byte // these two: for whoever handles the group
	Handled       []byte
}

// Subscription is one interest of a connection in a live group.
type Subscription struct {
	SubscriptionKey
	ConnectedAt time.Time // in milliseconds
	Item        string    // "" is the whole group
	From        uint64    // the sequence with which it began
	Revision    uint64    // which it brought about
}

// Subscriptions are those of a live group at one revision.
type Subscriptions struct {
	All   []Subscription
	Ahead []byte // for whoever handles the group
}

// SubscriptionKey names a subscription in its group.
type SubscriptionKey struct{ Connection, ID string }

// Load returns the state of a group.
func (l *Lanes) Load(ctx context.Context, group port.Collection) (LaneState, error) {
	found, err := l.store.get(ctx, l.store.system, laneKey(group, laneRow))
	if err != nil || len(found) == 0 {
		return LaneState{}, err
	}
	read := fields{item: found}
	state := LaneState{
		Epoch: stringOf(found[epochName]), Sequence: uint64(read.integer(sequenceName)), Stamp: read.integer(stampName),
		Revision: uint64(read.integer(revisionName)), Subscriptions: int(read.integer(subscriptionsName)),
		Seen: bytesOf(found[seenName]), Handled: bytesOf(found[handledName]),
	}
	if read.err != nil {
		return LaneState{}, l.store.corrupt(ctx, read.err)
	}
	return state, nil
}

// Subscriptions returns those of a group that have not expired.
func (l *Lanes) Subscriptions(ctx context.Context, group port.Collection) (Subscriptions, error) {
	e := newExpression()
	query := &dynamodb.QueryInput{
		TableName: l.store.system,
		KeyConditionExpression: aws.String(e.name(deployed.PK) + " = " + e.value(text(deployed.Lanes+string(group))) +
			" AND begins_with(" + e.name(deployed.SK) + ", " + e.value(text(aheadRow)) + ")"),
		ExpressionAttributeNames: e.names, ExpressionAttributeValues: e.values,
	}
	var subscriptions Subscriptions
	now := l.store.now().Unix()
	err := l.store.query(ctx, query, func(page *dynamodb.QueryOutput) (more bool, err error) {
		for _, found := range page.Items {
			read := fields{item: found}
			switch expires := read.integer(deployed.Expires); {
			case stringOf(found[deployed.SK]) == aheadRow:
				subscriptions.Ahead = bytesOf(found[aheadName])
			case expires > now:
				subscriptions.All = append(subscriptions.All, readSubscription(&read))
			}
			if read.err != nil {
				return false, l.store.corrupt(ctx, read.err)
			}
		}
		return true, nil
	})
	return subscriptions, err
}

func readSubscription(read *fields) Subscription {
	return Subscription{
		SubscriptionKey: SubscriptionKey{stringOf(read.item[connectionName]), stringOf(read.item[idName])},
		ConnectedAt:     time.UnixMilli(read.integer(connectedName)),
		Item:            stringOf(read.item[itemName]),
		From:            uint64(read.integer(fromName)),
		Revision:        uint64(read.integer(revisionName)),
	}
}

// Close notes that a connection is closed.
func (l *Lanes) Close(ctx context.Context, connection string) error {
	row := key(deployed.Connections+connection, closedRow)
	row[deployed.Expires] = number(l.store.expiry(closedLife))
	return l.store.put(ctx, l.store.system, row)
}

// Closed reports whether Close was called for the connection within the last day.
func (l *Lanes) Closed(ctx context.Context, connection string) (bool, error) {
	found, err := l.store.get(ctx, l.store.system, key(deployed.Connections+connection, closedRow))
	return len(found) > 0, err
}

// Joined returns the groups that a connection is subscribed to, each once.
func (l *Lanes) Joined(ctx context.Context, connection string) ([]port.Collection, error) {
	var groups []port.Collection
	seen := map[port.Collection]bool{}
	err := l.store.query(ctx, l.ofConnection(connection), func(page *dynamodb.QueryOutput) (more bool, err error) {
		for _, found := range page.Items {
			if group := port.Collection(stringOf(found[groupName])); group != "" && !seen[group] {
				seen[group] = true
				groups = append(groups, group)
			}
		}
		return true, nil
	})
	return groups, err
}

// Joins returns how many subscriptions a connection has, in all groups. It does not count much further than most.
func (l *Lanes) Joins(ctx context.Context, connection string, most int) (int, error) {
	query := l.ofConnection(connection)
	query.Select = types.SelectCount
	count := 0
	err := l.store.query(ctx, query, func(page *dynamodb.QueryOutput) (more bool, err error) {
		count += int(page.Count)
		return count < most, nil
	})
	return count, err
}

// Subscribed reports whether a connection has the subscription in a group.
func (l *Lanes) Subscribed(ctx context.Context, group port.Collection, s SubscriptionKey) (bool, error) {
	found, err := l.store.get(ctx, l.store.system, keysOf(group, s)[1])
	return len(found) > 0, err
}

func (l *Lanes) ofConnection(connection string) *dynamodb.QueryInput {
	e := newExpression()
	return &dynamodb.QueryInput{
		TableName:                l.store.system,
		KeyConditionExpression:   aws.String(e.name(deployed.PK) + " = " + e.value(text(deployed.Connections+connection))),
		ExpressionAttributeNames: e.names, ExpressionAttributeValues: e.values,
	}
}

func laneKey(group port.Collection, row string) item { return key(deployed.Lanes+string(group), row) }

// fields reads an item and remembers the first fault.
type fields struct {
	item item
	err  error
}

func (f *fields) integer(name string) int64 {
	n, err := integerOf(f.item[name])
	if err != nil && f.err == nil {
		f.err = err
	}
	return n
}

// bytesOf returns the bytes that an attribute holds, nil when it holds none.
func bytesOf(v types.AttributeValue) []byte {
	if b, ok := v.(*types.AttributeValueMemberB); ok {
		return b.Value
	}
	return nil
}
