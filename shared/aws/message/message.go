// Package message is what the Lambdas of a deployment say to each other, as JSON: records on their way through outbox rows
// and queues, what sockets ask of live groups, and calls of functions.
//
//	commit -> outbox row: Record -> stream -> router -> queue: Message -> function, or lanes
//	socket -> queue: Message -> lanes
//	edge, function -> direct invocation: Call -> function -> Reply
package message

import (
	"bytes"
	"encoding/json"

	"github.com/eddyhq/eddy/shared/errs"
	"github.com/eddyhq/eddy/shared/port"
)

// Message is the body of a message in a queue: of a function, the records to deliver to it; of the lanes, what happens in
// one live group. Those of one Lane are handled one after the other, and so are the records within one.
type Message struct {
	Function string   `json:"function,omitempty"` // the function or role it is for: a queue of all of them has to tell
	Lane     string   `json:"lane"`               // of the lanes: the text of the group's collection
	Records  []Record `json:"records,omitempty"`
	Socket   *Socket  `json:"socket,omitempty"`
	Blob     string   `json:"blob,omitempty"` // when not "": the key of the blob that holds the message
}

// Pack returns the text of a message without records, once it has those, which were encoded one by one: a record that
// goes to several queues is encoded once.
func Pack(m Message, records [][]byte) ([]byte, error) {
	text, err := encode(m)
	if err != nil || len(records) == 0 {
		return text, err
	}
	size := len(text) + len(`,"records":[]`)
	for _, record := range records {
		size += len(record) + 1
	}
	packed := make([]byte, 0, size)
	packed = append(packed, bytes.TrimSuffix(text, []byte("}"))...)
	packed = append(packed, `,"records":[`...)
	packed = append(packed, bytes.Join(records, []byte(","))...)
	return append(packed, "]}"...), nil
}

// Socket is what a connection asks of a live group.
type Socket struct {
	Kind           SocketKind `json:"kind"`
	Connection     string     `json:"connection"`
	ConnectedAt    int64      `json:"connected_at"` // milliseconds of the Unix epoch
	SubscriptionID string     `json:"subscription_id,omitempty"`
	Item           string     `json:"item,omitempty"`
}

// SocketKind says what a connection wants.
type SocketKind string

// The kinds of Socket. Gone is said for a connection that is no more.
const (
	Join  SocketKind = "join"
	Leave SocketKind = "leave"
	Gone  SocketKind = "gone"
)

// Call is the payload of a direct invocation: one run of a function for somebody who waits for its result.
type Call struct {
	Payload   json.RawMessage `json:"payload"`
	RequestID string          `json:"request_id,omitempty"`
	Root      string          `json:"root,omitempty"` // these two: the cause
	Chain     []string        `json:"chain,omitempty"`

	// IdempotencyKey is the function's, see eddy.IdempotencyKey.
	IdempotencyKey string `json:"idempotency_key,omitempty"`

	// Idempotency is of a call that a client may make again.
	Idempotency *Idempotency `json:"idempotency,omitempty"`
}

// Idempotency is an idempotency.Request as it travels.
type Idempotency struct {
	Function string `json:"function"`
	Key      string `json:"key"`
	Caller   string `json:"caller"`
	Digest   string `json:"digest"`
}

// Cause returns the cause of the call.
func (c *Call) Cause() port.Cause { return port.Cause{Root: c.Root, Chain: c.Chain} }

// Invocation is a Call as it is sent: its one field tells it from the events of AWS.
type Invocation struct {
	Call *Call `json:"eddy_call"`
}

// Reply answers a Call.
type Reply struct {
	Result   json.RawMessage `json:"result,omitempty"`
	Replayed bool            `json:"replayed,omitempty"` // the result was told before
	Error    *Failure        `json:"error,omitempty"`
}

// Failure is an errs.Error as it travels. The cause stays behind: it was logged where it happened.
type Failure struct {
	Code    errs.Code     `json:"code"`
	Message string        `json:"message"`
	Details []errs.Detail `json:"details,omitempty"`
}

// Answer returns the reply that tells a result, or an error.
func Answer(result json.RawMessage, err error) Reply {
	if err == nil {
		return Reply{Result: result}
	}
	e := errs.From(err)
	return Reply{Error: &Failure{Code: e.Code, Message: e.Message, Details: e.Details}}
}

// Open returns what the reply tells.
func (r *Reply) Open() (json.RawMessage, error) {
	if r.Error != nil {
		return nil, &errs.Error{Code: r.Error.Code, Message: r.Error.Message, Details: r.Error.Details}
	}
	return r.Result, nil
}

// Encode returns v, something of this package, as JSON that SQS takes as the body of a message.
func Encode(v any) ([]byte, error) { return encode(v) }

func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return nil, err
	}
	return escapeNoncharacters(bytes.TrimSuffix(b.Bytes(), []byte("\n"))), nil
}

// escapeNoncharacters escapes the only characters that JSON allows in a string and SQS refuses in a body: U+FFFE and
// U+FFFF (SendMessage, "InvalidMessageContents").
func escapeNoncharacters(text []byte) []byte {
	if !bytes.Contains(text, []byte("\xef\xbf\xbe")) && !bytes.Contains(text, []byte("\xef\xbf\xbf")) {
		return text
	}
	text = bytes.ReplaceAll(text, []byte("\xef\xbf\xbe"), []byte(`\ufffe`))
	return bytes.ReplaceAll(text, []byte("\xef\xbf\xbf"), []byte(`\uffff`))
}
