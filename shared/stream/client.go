package stream

import (
	"errors"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/eddyhq/eddy/shared/errs"
	"github.com/eddyhq/eddy/shared/port"
)

// MaxClientFrame is how many bytes a frame from a client may have.
const MaxClientFrame = 32 * 1024

// MaxSubscriptions is how many subscriptions a connection may have, where its host says nothing else.
const MaxSubscriptions = 1000

// TooManySubscriptions is the error for a join beyond the most subscriptions that a connection may have.
func TooManySubscriptions(most int) error {
	return errs.New(errs.ConditionNotMet, "a connection has at most %d subscriptions: use another", most)
}

const tokenProtocol = "eddy.token."

// OfferedToken returns the subprotocol that carries a credential, of those that a Sec-WebSocket-Protocol header offers; ""
// when there is none. A browser takes a connection only if the server accepts one that it offered.
func OfferedToken(protocols string) string {
	for protocol := range strings.SplitSeq(protocols, ",") {
		if protocol = strings.TrimSpace(protocol); strings.HasPrefix(protocol, tokenProtocol) {
			return protocol
		}
	}
	return ""
}

// Join names a subscription: what a client joins, and what it leaves.
type Join struct {
	SubscriptionID string // the client's name for it, unique on its connection within a group; "" when it joins by URL
	Stream, Group  string
	Item           string // "" subscribes to the whole group
}

// Collection returns the group that the join is about. When a name breaks the limits that Group and CheckItem state, or the
// subscription's id has more than 256 bytes, it returns an invalid_argument that lists each by its field in a join frame.
func (j Join) Collection() (port.Collection, error) {
	c, faults := collection(j.Stream, "streamName", j.Group, "groupId")
	if j.Item != "" {
		faults = checkName(faults, "id", j.Item, maxItemID)
	}
	if j.SubscriptionID != "" {
		faults = checkName(faults, "subscriptionId", j.SubscriptionID, maxSubscription)
	}
	if faults != nil {
		return "", errs.Invalid(faults...)
	}
	return c, nil
}

// ClientKind says what a client wants.
type ClientKind string

// The kinds of client frame.
const (
	ClientJoin  ClientKind = "join"
	ClientLeave ClientKind = "leave"
	ClientPing  ClientKind = "ping"
	ClientAuth  ClientKind = "auth"
)

// ClientFrame is one message from a client.
type ClientFrame struct {
	Kind  ClientKind
	Join  Join   // of a join; of a leave, what to leave
	Token string // of an auth
}

// clientText is a client frame as it is sent.
type clientText struct {
	Type string         `json:"type"`
	Data jsontext.Value `json:"data"`
}

// subscriptionText is the data of a join or leave; it converts to a Join.
type subscriptionText struct {
	SubscriptionID string `json:"subscriptionId"`
	Stream         string `json:"streamName"`
	Group          string `json:"groupId"`
	Item           string `json:"id"`
}

type authText struct {
	Token string `json:"token"`
}

// ParseClientFrame reads a message from a client. Fields it does not know are ignored. What is no JSON object, has an
// unknown type, lacks a field or breaks a limit is an invalid_argument.
func ParseClientFrame(text []byte) (ClientFrame, error) {
	var sent clientText
	if err := unmarshal(text, &sent); err != nil {
		return ClientFrame{}, err
	}
	frame := ClientFrame{Kind: ClientKind(sent.Type)}
	var err error
	switch frame.Kind {
	case ClientJoin, ClientLeave:
		frame.Join, err = parseSubscription(sent.Data)
	case ClientAuth:
		frame.Token, err = parseAuth(sent.Data)
	case ClientPing:
	default:
		err = errs.Invalid(errs.Detail{Field: "type", Problem: "must be join, leave, ping or auth"})
	}
	if err != nil {
		return ClientFrame{}, err
	}
	return frame, nil
}

func parseSubscription(data jsontext.Value) (Join, error) {
	var sent subscriptionText
	if err := unmarshalData(data, &sent); err != nil {
		return Join{}, err
	}
	if sent.SubscriptionID == "" {
		return Join{}, errs.Invalid(errs.Detail{Field: "subscriptionId", Problem: "must not be empty"})
	}
	join := Join(sent)
	_, err := join.Collection()
	return join, err
}

func parseAuth(data jsontext.Value) (token string, err error) {
	var sent authText
	if err := unmarshalData(data, &sent); err != nil {
		return "", err
	}
	if sent.Token == "" {
		return "", errs.Invalid(errs.Detail{Field: "token", Problem: "must not be empty"})
	}
	return sent.Token, nil
}

func unmarshalData(data jsontext.Value, into any) error {
	if data.Kind() != '{' {
		return errs.Invalid(errs.Detail{Field: "data", Problem: "must be an object"})
	}
	return unmarshal(data, into)
}

// unmarshal fails with a message for whoever wrote the text: one that does not speak of Go.
func unmarshal(text []byte, into any) error {
	err := json.Unmarshal(text, into)
	var mistyped *json.SemanticError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &mistyped) && mistyped.JSONPointer == "":
		return errs.New(errs.InvalidArgument, "a frame must be a JSON object")
	case errors.As(err, &mistyped):
		return errs.Invalid(errs.Detail{Field: mistyped.JSONPointer.LastToken(), Problem: "must be a string"})
	default:
		return errs.New(errs.InvalidArgument, "a frame must be valid JSON: %s", strings.TrimPrefix(err.Error(), "jsontext: "))
	}
}
