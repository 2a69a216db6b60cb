package stream

import (
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/eddyhq/eddy/shared/errs"
)

// Kind says what a Frame tells a client.
type Kind string

// The kinds of frame.
const (
	KindSync         Kind = "sync"         // what there is, before anything live
	KindCreate       Kind = "create"       // a new item
	KindUpdate       Kind = "update"       // an item as it is now
	KindDelete       Kind = "delete"       // an item as it was
	KindEvent        Kind = "event"        // what stream::send sent
	KindUnauthorized Kind = "unauthorized" // a join was refused; the socket stays
	KindClosing      Kind = "closing"      // the connection will end soon
	KindError        Kind = "error"        // a frame of the client could not be followed; the socket stays
)

// Pong answers a ping; it is the only message to a client that is no Frame.
const Pong = `{"type":"pong"}`

// Frame is one message to a client.
type Frame struct {
	Time     int64 // microseconds of the Unix epoch; sent as milliseconds with a fraction
	Stream   string
	Group    string
	Item     string // "" where the frame is about no single item
	Kind     Kind
	Type     string   // of a KindEvent: the type it was sent with
	Data     []byte   // JSON; nil is null
	Version  int64    // of the item; 0 where there is none
	Position Position // the zero value is left out
}

// AppendTo appends the JSON text of the frame.
func (f *Frame) AppendTo(text []byte) []byte {
	text = f.appendHead(text)
	if f.Data == nil {
		text = append(text, "null"...)
	}
	return f.appendTail(append(text, f.Data...))
}

// appendHead appends what comes before the data.
func (f *Frame) appendHead(text []byte) []byte {
	text = appendMilliseconds(append(text, `{"type":"stream","timestamp":`...), f.Time)
	text = appendString(append(text, `,"streamName":`...), f.Stream)
	text = appendString(append(text, `,"groupId":`...), f.Group)
	if f.Item != "" {
		text = appendString(append(text, `,"id":`...), f.Item)
	}
	text = append(append(append(text, `,"event":{"type":"`...), f.Kind...), `","`...)
	if f.Kind == KindEvent {
		text = appendString(append(text, `event":{"type":`...), f.Type)
		return append(text, `,"data":`...)
	}
	return append(text, `data":`...)
}

// appendTail appends what comes after the data.
func (f *Frame) appendTail(text []byte) []byte {
	if f.Kind == KindEvent {
		text = append(text, '}')
	}
	text = append(text, '}')
	if f.Version != 0 {
		text = strconv.AppendInt(append(text, `,"version":`...), f.Version, 10)
	}
	if f.Position != (Position{}) {
		text = f.Position.appendTo(append(text, `,"position":"`...))
		text = append(text, '"')
	}
	return append(text, '}')
}

// appendMilliseconds appends microseconds as milliseconds with as much of a fraction as there is.
func appendMilliseconds(text []byte, micros int64) []byte {
	text = strconv.AppendInt(text, micros/1000, 10)
	fraction := int(micros % 1000)
	if fraction == 0 {
		return text
	}
	text = append(text, '.', byte('0'+fraction/100), byte('0'+fraction/10%10), byte('0'+fraction%10))
	for text[len(text)-1] == '0' {
		text = text[:len(text)-1]
	}
	return text
}

// appendString appends s as a JSON string.
func appendString(text []byte, s string) []byte {
	text, _ = jsontext.AppendQuote(text, s) // it replaces invalid UTF-8 and says so; names were checked
	return text
}

// ErrorFrame returns the frame that tells a client why one of its frames, or its join (the zero Join for none), could
// not be followed.
func ErrorFrame(at time.Time, join Join, err error) *Frame {
	return refusal(KindError, at, join, err)
}

// UnauthorizedFrame returns the frame that tells a client that a join is refused.
func UnauthorizedFrame(at time.Time, join Join, err error) *Frame {
	return refusal(KindUnauthorized, at, join, err)
}

func refusal(kind Kind, at time.Time, join Join, err error) *Frame {
	e := errs.From(err)
	data := append(append([]byte(`{"code":"`), e.Code...), `","message":`...)
	data = append(appendString(data, e.Message), '}')
	return &Frame{
		Time: at.UnixMicro(), Stream: join.Stream, Group: join.Group, Item: join.Item, Kind: kind, Data: data,
	}
}

// ClosingFrame returns the frame that says a connection will end soon, with the close code and its reason, and how long
// the client had best wait before it connects again.
func ClosingFrame(at time.Time, code int, reason string, reconnectAfter time.Duration) *Frame {
	data := strconv.AppendInt([]byte(`{"code":`), int64(code), 10)
	data = appendString(append(data, `,"reason":`...), reason)
	data = strconv.AppendInt(append(data, `,"reconnect_after_ms":`...), reconnectAfter.Milliseconds(), 10)
	return &Frame{Time: at.UnixMicro(), Kind: KindClosing, Data: append(data, '}')}
}
