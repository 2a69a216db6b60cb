package host

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/go-json-experiment/json/jsontext"
)

// eventKind says what the Lambda of a function is invoked with.
type eventKind int

// The kinds of event that a function gets.
const (
	directCall eventKind = iota + 1
	httpRequest
	queueBatch
)

// kindOf tells the kind of an event by the members that only it has, without reading the rest.
func kindOf(event []byte) (eventKind, error) {
	d := jsontext.NewDecoder(bytes.NewReader(event))
	if open, err := d.ReadToken(); err != nil || open.Kind() != '{' {
		return 0, errors.New("the event is no JSON object")
	}
	for d.PeekKind() == '"' {
		name, err := d.ReadToken()
		if err != nil {
			return 0, fmt.Errorf("read the event: %w", err)
		}
		switch name.String() {
		case "eddy_call":
			return directCall, nil
		case "routeKey", "rawPath":
			return httpRequest, nil
		case "Records":
			return queueBatch, nil
		}
		if err := d.SkipValue(); err != nil {
			return 0, fmt.Errorf("read the event: %w", err)
		}
	}
	return 0, errors.New("the event is neither a call, nor a request, nor a batch of records")
}

// isStream reports whether a batch is of a DynamoDB stream, by its first record.
func isStream(batch []byte) bool {
	return bytes.Contains(batch, []byte(`"aws:dynamodb"`))
}
