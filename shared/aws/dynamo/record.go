package dynamo

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/aws/aws-lambda-go/events"

	"github.com/eddyhq/eddy/shared/aws/message"
	"github.com/eddyhq/eddy/shared/deployed"
	"github.com/eddyhq/eddy/shared/document"
	"github.com/eddyhq/eddy/shared/port"
)

type image = map[string]events.DynamoDBAttributeValue

// RecordsOf returns what an event of the documents' stream tells, in its order: nothing, when that is to be delivered to nobody;
// two changes, when a document was written whose time was up: its expiry, and what was written. A record that was too large for
// its row has only its Blob: Store.Resolve reads it.
//
// An error says that the row is none of this package; no later attempt will read it.
func RecordsOf(e events.DynamoDBEventRecord) ([]message.Record, error) {
	pk, err := stringIn(e.Change.Keys, deployed.PK)
	if err != nil {
		return nil, err
	}
	sk, err := stringIn(e.Change.Keys, deployed.SK)
	if err != nil {
		return nil, err
	}
	removed := e.EventName == string(events.DynamoDBOperationTypeRemove)
	switch {
	case strings.HasPrefix(pk, port.StateSpace), strings.HasPrefix(pk, port.StreamSpace):
		if removed {
			return expiryOf(port.Collection(pk), sk, &e)
		}
		return changesOf(port.Collection(pk), sk, e.Change.OldImage, e.Change.NewImage)
	case strings.HasPrefix(pk, port.OwnSpace):
		return nil, nil
	case strings.HasPrefix(pk, deployed.OutboxEvents), strings.HasPrefix(pk, deployed.OutboxCalls):
		if removed {
			return nil, nil
		}
		return messagesOf(sk, e.Change.OldImage, e.Change.NewImage)
	default:
		return nil, fmt.Errorf("a row at %q belongs to nothing", pk)
	}
}

// expiryOf reads the removal of a row: of a document whose time was up, that is its expiry. Nothing in Eddy removes rows of this
// table. Who takes a living document out with a tool of AWS does so behind the back of Eddy, which tells nobody.
func expiryOf(c port.Collection, sk string, e *events.DynamoDBEventRecord) ([]message.Record, error) {
	old, err := valueIn(e.Change.OldImage)
	if err != nil {
		return nil, fmt.Errorf("the old value of %q in %s: %w", sk, c, err)
	}
	if up, err := timeWasUp(e); old == nil || !up || err != nil {
		return nil, err
	}
	version, err := integerIn(e.Change.OldImage, deployed.Version)
	if err != nil {
		return nil, fmt.Errorf("%q in %s: %w", sk, c, err)
	}
	return []message.Record{expiry(c, sk, old, version+1)}, nil
}

// remover is who removes rows for DynamoDB itself.
const remover = "dynamodb.amazonaws.com"

// timeWasUp reports whether a row was removed because it had expired. Where the table is a replica, only the time tells.
func timeWasUp(e *events.DynamoDBEventRecord) (bool, error) {
	if e.UserIdentity != nil && e.UserIdentity.PrincipalID == remover {
		return true, nil
	}
	if _, ends := e.Change.OldImage[deployed.Expires]; !ends {
		return false, nil
	}
	expires, err := integerIn(e.Change.OldImage, deployed.Expires)
	return err == nil && port.IsExpired(expires, e.Change.ApproximateCreationDateTime.Time), err
}

func expiry(c port.Collection, sk string, old document.Value, version int64) message.Record {
	change := &port.Change{Collection: c, Key: sk, Old: old, Version: version, Expired: true}
	return message.Record{ID: change.ID(), Record: port.Record{Change: change}}
}

// changesOf reads what a write did to a document.
func changesOf(c port.Collection, sk string, before, after image) (records []message.Record, err error) {
	change := &port.Change{Collection: c, Key: sk}
	if change.Old, err = valueIn(before); err != nil {
		return nil, fmt.Errorf("the old value of %q in %s: %w", sk, c, err)
	}
	if change.New, err = valueIn(after); err != nil {
		return nil, fmt.Errorf("the new value of %q in %s: %w", sk, c, err)
	}
	if change.Old == nil && change.New == nil {
		return nil, nil
	}
	if change.Version, err = integerIn(after, deployed.Version); err != nil {
		return nil, fmt.Errorf("%q in %s: %w", sk, c, err)
	}
	if repeated, err := isVersion(before, change.Version); repeated || err != nil {
		return nil, err
	}
	lapsed, err := lapsedIn(after, change.Version)
	if err != nil {
		return nil, fmt.Errorf("%q in %s: %w", sk, c, err)
	}
	switch {
	case lapsed == 0:
	case change.Old == nil:
		return nil, fmt.Errorf("%q in %s: nothing was there to expire", sk, c)
	default:
		records = append(records, expiry(c, sk, change.Old, lapsed))
		change.Old = nil
	}
	if isSilent(after) {
		return records, nil
	}
	r := message.Record{ID: change.ID(), Record: port.Record{Change: change}}
	r.Cause, err = causeIn(after)
	return append(records, r), err
}

// isVersion reports whether a row was at a version already.
func isVersion(before image, version int64) (bool, error) {
	if _, known := before[deployed.Version]; !known {
		return false, nil
	}
	old, err := integerIn(before, deployed.Version)
	return old == version, err
}

// lapsedIn returns the version of the expiry that a write to this version came over, 0 when it came over none.
func lapsedIn(after image, version int64) (int64, error) {
	if _, marked := after[lapsedName]; !marked {
		return 0, nil
	}
	lapsed, err := integerIn(after, lapsedName)
	if err != nil || lapsed+1 != version { // it is from an earlier write
		return 0, err
	}
	return lapsed, nil
}

// isSilent reports whether the last write to a row is told to nobody.
func isSilent(row image) bool {
	silent, err := stringIn(row, silentName)
	if err != nil {
		return false
	}
	id, err := stringIn(row, deployed.WriteID)
	return err == nil && id == silent
}

// messagesOf reads a row of the outbox: one record, or, of a group, those of the last commit. A row that was there before with
// the same is one that was sent twice: it was told already.
func messagesOf(sk string, before, after image) ([]message.Record, error) {
	list, ok := after[recordsName]
	if !ok {
		if len(before) > 0 {
			return nil, nil
		}
		r, err := messageOf(sk, after)
		if err != nil {
			return nil, err
		}
		return []message.Record{r}, nil
	}
	records, err := groupOf(list)
	if err != nil {
		return nil, err
	}
	if old, ok := before[recordsName]; ok {
		told, err := groupOf(old)
		if err == nil && len(told) > 0 && told[0].ID == records[0].ID {
			return nil, nil
		}
	}
	return records, nil
}

// groupOf reads the records of a group, at least one.
func groupOf(list events.DynamoDBAttributeValue) (records []message.Record, err error) {
	if list.DataType() != events.DataTypeList || len(list.List()) == 0 {
		return nil, fmt.Errorf("the attribute %s is no list of records", recordsName)
	}
	for _, kept := range list.List() {
		if kept.DataType() != events.DataTypeMap {
			return nil, fmt.Errorf("the attribute %s holds more than records", recordsName)
		}
		id, err := stringIn(kept.Map(), idName)
		if err != nil {
			return nil, err
		}
		r, err := messageOf(id, kept.Map())
		if err != nil {
			return nil, err
		}
		records = append(records, r)
	}
	return records, nil
}

// messageOf reads a record of the outbox with an id.
func messageOf(sk string, row image) (r message.Record, err error) {
	if _, spilled := row[blobName]; spilled {
		blob, err := stringIn(row, blobName)
		return message.Record{ID: sk, Blob: blob}, err
	}
	encoded, err := stringIn(row, deployed.Record)
	if err != nil {
		return r, err
	}
	err = r.UnmarshalJSON([]byte(encoded))
	return r, err
}

// valueIn returns the document of a row, nil when it has none.
func valueIn(row image) (document.Value, error) {
	value, ok := row[deployed.Value]
	if !ok {
		return nil, nil
	}
	return decodeEventValue(value)
}

// causeIn returns why a row was written.
func causeIn(row image) (cause port.Cause, err error) {
	if _, ok := row[deployed.Root]; ok {
		if cause.Root, err = stringIn(row, deployed.Root); err != nil {
			return cause, err
		}
	}
	chain, ok := row[deployed.Chain]
	if !ok {
		return cause, nil
	}
	if chain.DataType() != events.DataTypeList {
		return cause, fmt.Errorf("the attribute %s is no list", deployed.Chain)
	}
	for _, function := range chain.List() {
		if function.DataType() != events.DataTypeString {
			return cause, fmt.Errorf("the attribute %s holds more than strings", deployed.Chain)
		}
		cause.Chain = append(cause.Chain, function.String())
	}
	return cause, nil
}

func stringIn(row image, attribute string) (string, error) {
	value, ok := row[attribute]
	if !ok || value.DataType() != events.DataTypeString {
		return "", fmt.Errorf("the attribute %s is missing, or no string", attribute)
	}
	return value.String(), nil
}

func integerIn(row image, attribute string) (int64, error) {
	value, ok := row[attribute]
	if !ok || value.DataType() != events.DataTypeNumber {
		return 0, fmt.Errorf("the attribute %s is missing, or no number", attribute)
	}
	canonical, err := appendNumber(nil, value.Number())
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(string(canonical), 10, 64)
}
