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

// RecordOf returns the record that an event of the documents' stream tells; ok is false when it tells nothing that is to be
// delivered: the removal of a row, which DynamoDB does when its time has come, or an update that touches no document. A
// record that was too large for its row has only its Blob: Store.Resolve reads it.
//
// An error says that the row is none of this package; no later attempt will read it.
func RecordOf(e events.DynamoDBEventRecord) (r message.Record, ok bool, err error) {
	if e.EventName == string(events.DynamoDBOperationTypeRemove) {
		return r, false, nil
	}
	pk, err := stringIn(e.Change.Keys, deployed.PK)
	if err != nil {
		return r, false, err
	}
	sk, err := stringIn(e.Change.Keys, deployed.SK)
	if err != nil {
		return r, false, err
	}
	switch {
	case strings.HasPrefix(pk, port.StateSpace), strings.HasPrefix(pk, port.StreamSpace):
		return changeOf(port.Collection(pk), sk, e.Change.OldImage, e.Change.NewImage)
	case strings.HasPrefix(pk, deployed.OutboxEvents), strings.HasPrefix(pk, deployed.OutboxCalls):
		// A row that was there before is one that was sent twice: it was told already.
		if len(e.Change.OldImage) > 0 {
			return r, false, nil
		}
		r, err = messageOf(sk, e.Change.NewImage)
		return r, err == nil, err
	default:
		return r, false, fmt.Errorf("a row at %q belongs to nothing", pk)
	}
}

// changeOf reads what a write did to a document.
func changeOf(c port.Collection, sk string, before, after image) (r message.Record, ok bool, err error) {
	change := &port.Change{Collection: c, Key: sk}
	if change.Old, err = valueIn(before); err != nil {
		return r, false, fmt.Errorf("the old value of %q in %s: %w", sk, c, err)
	}
	if change.New, err = valueIn(after); err != nil {
		return r, false, fmt.Errorf("the new value of %q in %s: %w", sk, c, err)
	}
	if change.Old == nil && change.New == nil {
		return r, false, nil
	}
	if change.Version, err = integerIn(after, deployed.Version); err != nil {
		return r, false, fmt.Errorf("%q in %s: %w", sk, c, err)
	}
	if _, known := before[deployed.Version]; known {
		version, err := integerIn(before, deployed.Version)
		if err != nil {
			return r, false, fmt.Errorf("%q in %s: %w", sk, c, err)
		}
		if version == change.Version {
			return r, false, nil
		}
	}
	r = message.Record{ID: change.ID(), Record: port.Record{Change: change}}
	r.Cause, err = causeIn(after)
	return r, err == nil, err
}

// messageOf reads a row of the outbox.
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
