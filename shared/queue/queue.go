// Package queue holds the engine functions over deliveries that failed for the last time: queue::dead_letters,
// queue::redrive and queue::discard. They are for operators; a function of an app cannot call them.
//
//	queue::dead_letters {function_id?, limit?, cursor?} -> {items: [letter…], cursor?}
//	queue::redrive      {function_id, id}               -> {redriven: 0 or 1}
//	queue::discard      {function_id, id}               -> {discarded: 0 or 1}
//
// A letter is {id, function_id, payload, code, message, attempts, first_at, last_at}; the payload is what the function
// was given.
package queue

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"strings"

	"github.com/eddyhq/eddy/shared/eddy"
	"github.com/eddyhq/eddy/shared/payload"
	"github.com/eddyhq/eddy/shared/port"
)

// Function is an engine function over a ledger: payload in, result out, both JSON text.
type Function func(ctx context.Context, ledger port.Ledger, payload []byte) (json.RawMessage, error)

// Lookup returns the engine function with the id, such as "queue::redrive".
func Lookup(id string) (Function, bool) {
	switch id {
	case "queue::dead_letters":
		return deadLetters, true
	case "queue::redrive":
		return redrive, true
	case "queue::discard":
		return discard, true
	default:
		return nil, false
	}
}

const (
	defaultLimit = 100
	maxLimit     = 1000
)

// letter is a dead letter as it is shown.
type letter struct {
	port.DeadLetter
	Payload json.RawMessage `json:"payload"`
}

func deadLetters(ctx context.Context, ledger port.Ledger, text []byte) (json.RawMessage, error) {
	fields := payload.Read(text)
	function := fields.OptionalText("function_id")
	limit := fields.Integer("limit", 1, maxLimit)
	after, ok := decodeCursor(fields.OptionalText("cursor"))
	if !ok {
		fields.Fault("cursor", "is not one that queue::dead_letters gave")
	}
	if err := fields.Err(); err != nil {
		return nil, err
	}
	most := defaultLimit
	if limit != nil {
		most = int(*limit)
	}
	found, more, err := ledger.DeadLetters(ctx, function, after, most)
	if err != nil {
		return nil, err
	}
	var page struct {
		Items  []letter `json:"items"`
		Cursor string   `json:"cursor,omitempty"`
	}
	page.Items = make([]letter, len(found))
	for i := range found {
		if page.Items[i], err = show(&found[i]); err != nil {
			return nil, err
		}
	}
	if more {
		last := found[len(found)-1]
		page.Cursor = encodeCursor(port.LetterID{Function: last.Function, ID: last.ID})
	}
	return json.Marshal(page)
}

// show adds what the function was given.
func show(l *port.DeadLetter) (letter, error) {
	if call := l.Record.Call; call != nil {
		return letter{DeadLetter: *l, Payload: json.RawMessage(call.Payload)}, nil
	}
	event, err := eddy.EventJSON(&l.Record, l.Attempts)
	return letter{DeadLetter: *l, Payload: event}, err
}

func redrive(ctx context.Context, ledger port.Ledger, text []byte) (json.RawMessage, error) {
	return settle(ctx, text, "redriven", ledger.Redrive)
}

func discard(ctx context.Context, ledger port.Ledger, text []byte) (json.RawMessage, error) {
	return settle(ctx, text, "discarded", ledger.Discard)
}

// settle does something to one dead letter and says whether there was one.
func settle(ctx context.Context, text []byte, done string, do func(ctx context.Context, function, id string) (bool, error)) (
	json.RawMessage, error,
) {
	fields := payload.Read(text)
	function, id := fields.Text("function_id"), fields.Text("id")
	if err := fields.Err(); err != nil {
		return nil, err
	}
	found, err := do(ctx, function, id)
	if err != nil {
		return nil, err
	}
	count := 0
	if found {
		count = 1
	}
	return json.Marshal(map[string]int{done: count})
}

const cursorPrefix = "dl."

func encodeCursor(last port.LetterID) string {
	return cursorPrefix + base64.RawURLEncoding.EncodeToString([]byte(last.Function+"\x00"+last.ID))
}

func decodeCursor(cursor string) (after port.LetterID, ok bool) {
	if cursor == "" {
		return port.LetterID{}, true
	}
	encoded, ok := strings.CutPrefix(cursor, cursorPrefix)
	if !ok {
		return port.LetterID{}, false
	}
	text, err := base64.RawURLEncoding.DecodeString(encoded)
	if err != nil {
		return port.LetterID{}, false
	}
	after.Function, after.ID, ok = strings.Cut(string(text), "\x00")
	return after, ok
}
