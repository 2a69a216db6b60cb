// Package queue holds the engine functions over deliveries that failed for the last time: queue::dead_letters,
// queue::redrive and queue::discard. They are for operators; a function of an app cannot call them.
//
//	queue::dead_letters {function_id? | queue?, limit?, cursor?}       -> {items: [letter…], cursor?}
//	queue::redrive      {function_id | queue, id | ids | all, cursor?} -> {redriven: how many, cursor?}
//	queue::discard      {function_id | queue, id | ids | all, cursor?} -> {discarded: how many, cursor?}
//
// A letter is {id, function_id, queue?, payload, code, message, attempts, first_at, last_at, chain?}; the payload is what
// the function was given, the chain the functions whose work led to it. All is true for every letter there is, 1,000 a
// call: a cursor in the answer says that there are more, and is given with the next call. A letter that comes back
// meanwhile is not taken twice.
package queue

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/eddyhq/eddy/shared/eddy"
	"github.com/eddyhq/eddy/shared/payload"
	"github.com/eddyhq/eddy/shared/port"
)

// Function is an engine function over the ledger of an app: payload in, result out, both JSON text.
type Function func(ctx context.Context, app *eddy.App, ledger port.Ledger, payload []byte) (json.RawMessage, error)

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
	maxIDs       = 100 // that one call names
	maxSettled   = 1000
)

// letter is a dead letter as it is shown.
type letter struct {
	port.DeadLetter
	Queue   string          `json:"queue,omitempty"`
	Payload json.RawMessage `json:"payload"`
	Chain   []string        `json:"chain,omitempty"`
}

// readFunction reads which function is meant, by its id or by its queue; "" when neither is there.
func readFunction(app *eddy.App, fields *payload.Fields) string {
	function, queue := fields.OptionalText("function_id"), fields.OptionalText("queue")
	if queue == "" {
		return function
	}
	if function != "" {
		fields.Fault("queue", "says the same as function_id: give one of them")
	}
	f, err := app.FindQueue(queue)
	if err != nil {
		fields.Fault("queue", err.Error())
		return ""
	}
	return f.ID
}

func deadLetters(ctx context.Context, app *eddy.App, ledger port.Ledger, text []byte) (json.RawMessage, error) {
	fields := payload.Read(text)
	function := readFunction(app, fields)
	limit := fields.Integer("limit", 1, maxLimit)
	after := readCursor(fields)
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
		if page.Items[i], err = show(app, &found[i]); err != nil {
			return nil, err
		}
	}
	if more {
		page.Cursor = encodeCursor(&found[len(found)-1])
	}
	return json.Marshal(page)
}

// show adds what the function was given, and how it came about.
func show(app *eddy.App, l *port.DeadLetter) (letter, error) {
	shown := letter{DeadLetter: *l, Chain: l.Record.Cause.Chain}
	if call := l.Record.Call; call != nil {
		shown.Payload = json.RawMessage(call.Payload)
		if f, ok := app.Function(l.Function); ok && f.Queue != nil {
			shown.Queue = f.Queue.Name
		}
		return shown, nil
	}
	var err error
	shown.Payload, err = eddy.EventJSON(&l.Record, l.Attempts)
	return shown, err
}

func redrive(ctx context.Context, app *eddy.App, ledger port.Ledger, text []byte) (json.RawMessage, error) {
	return settle(ctx, app, ledger, text, "redriven", ledger.Redrive)
}

func discard(ctx context.Context, app *eddy.App, ledger port.Ledger, text []byte) (json.RawMessage, error) {
	return settle(ctx, app, ledger, text, "discarded", ledger.Discard)
}

// settling does something to one dead letter and says whether there was one.
type settling func(ctx context.Context, function, id string) (bool, error)

// settle does something to dead letters and says to how many.
func settle(
	ctx context.Context, app *eddy.App, ledger port.Ledger, text []byte, done string, do settling,
) (json.RawMessage, error) {
	fields := payload.Read(text)
	function := readFunction(app, fields)
	if function == "" {
		fields.Fault("function_id", "is required, or queue")
	}
	ids := readIDs(fields)
	all := fields.Flag("all")
	after := readCursor(fields)
	if (len(ids) > 0) == all {
		fields.Fault("id", "is required: one of id, ids, and all with true")
	}
	if err := fields.Err(); err != nil {
		return nil, err
	}
	if all {
		return settleAll(ctx, ledger, function, after, done, do)
	}
	count, err := settleEach(ctx, function, ids, do)
	if err != nil {
		return nil, err
	}
	return json.Marshal(map[string]int{done: count})
}

func settleEach(ctx context.Context, function string, ids []string, do settling) (count int, err error) {
	for _, id := range ids {
		found, err := do(ctx, function, id)
		if err != nil {
			return count, err
		}
		if found {
			count++
		}
	}
	return count, nil
}

// settleAll goes through the letters of a function by their ids, upwards: what comes back lies behind it.
func settleAll(
	ctx context.Context, ledger port.Ledger, function string, after port.LetterID, done string, do settling,
) (json.RawMessage, error) {
	letters, more, err := ledger.DeadLetters(ctx, function, after, maxSettled)
	if err != nil {
		return nil, err
	}
	ids := make([]string, len(letters))
	for i := range letters {
		ids[i] = letters[i].ID
	}
	count, err := settleEach(ctx, function, ids, do)
	if err != nil {
		return nil, err
	}
	answer := map[string]any{done: count}
	if more {
		answer["cursor"] = encodeCursor(&letters[len(letters)-1])
	}
	return json.Marshal(answer)
}

// readIDs reads the ids of letters: one, or a list. One that is given twice is taken once, also when it comes back meanwhile.
func readIDs(fields *payload.Fields) []string {
	if id := fields.OptionalText("id"); id != "" {
		return []string{id}
	}
	raw := fields.Optional("ids")
	if raw == nil {
		return nil
	}
	var ids []string
	if err := json.Unmarshal(raw, &ids); err != nil || len(ids) == 0 || len(ids) > maxIDs {
		fields.Fault("ids", fmt.Sprintf("must be an array of 1 to %d ids", maxIDs))
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

func readCursor(fields *payload.Fields) port.LetterID {
	after, ok := decodeCursor(fields.OptionalText("cursor"))
	if !ok {
		fields.Fault("cursor", "is not one that queue::* gave")
	}
	return after
}

const cursorPrefix = "dl."

func encodeCursor(last *port.DeadLetter) string {
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
