package proof

import (
	"context"

	"github.com/eddyhq/eddy/shared/eddy"
)

// Journal is what messages have left, in the order they were handled in.
type Journal struct {
	Lines []Line `json:"lines"`
}

// Line is what one message has left.
type Line struct {
	Text     string `json:"text"`
	Delivery string `json:"delivery"`
}

// Message asks for a line in a journal.
type Message struct {
	Journal string `json:"journal"`
	Text    string `json:"text"`
}

var journals = eddy.Scope[Journal]("proof-journals")

// Note adds the line of a message to its journal.
func Note(ctx context.Context, in Message) (eddy.None, error) {
	line := Line{Text: in.Text, Delivery: eddy.DeliveryID(ctx)}
	_, err := journals.Update(ctx, in.Journal, eddy.Append(line, "lines"))
	return eddy.None{}, err
}

// Stumbling is a message that fails so many times before it adds its line.
type Stumbling struct {
	Journal  string `json:"journal"`
	Text     string `json:"text"`
	Failures int64  `json:"failures,omitempty"`
	Panics   bool   `json:"panics,omitempty"`
}

// Stumble adds the line of a message, once it has failed as the message says.
func Stumble(ctx context.Context, in Stumbling) (eddy.None, error) {
	if in.Failures > 0 {
		// Whatever a failed attempt writes is undone, so another function counts the attempts: a call stays made.
		tried, err := eddy.Call[Tries](ctx, "proof::try", Trying{Key: in.Journal + "/" + in.Text})
		if err != nil {
			return eddy.None{}, err
		}
		if tried.Count <= in.Failures {
			if in.Panics {
				panic("stumbled on purpose")
			}
			return eddy.None{}, eddy.Unavailable("stumbled on purpose, for the %d. time", tried.Count)
		}
	}
	return Note(ctx, Message{Journal: in.Journal, Text: in.Text})
}

// Trying names what is tried.
type Trying struct {
	Key string `json:"key"`
}

// Tries counts how often something was tried.
type Tries struct {
	Count int64 `json:"count"`
}

var tries = eddy.Scope[Tries]("proof-tries")

// Try counts an attempt and returns how many there were.
func Try(ctx context.Context, in Trying) (Tries, error) {
	return tries.Update(ctx, in.Key, eddy.Increment("count", 1))
}
