package sockets_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/google/go-cmp/cmp"

	"github.com/eddyhq/eddy/shared/aws/dynamo"
	"github.com/eddyhq/eddy/shared/aws/message"
	"github.com/eddyhq/eddy/shared/aws/sockets"
	"github.com/eddyhq/eddy/shared/deployed"
	"github.com/eddyhq/eddy/shared/eddy"
	"github.com/eddyhq/eddy/shared/port"
)

// door is a Socket, and everything around it.
type door struct {
	t      *testing.T
	socket *sockets.Socket

	posted  []message.Message
	ids     []string // deduplication ids of what was posted
	told    []string
	closed  []string
	joined  []port.Collection
	joins   int
	failing error // of the queue
	partly  bool  // the queue takes all but one
	noTable error
	noPush  error
}

var now = time.UnixMilli(1_700_000_000_000)

func newDoor(t *testing.T, origins ...string) *door {
	d := &door{t: t}
	app := eddy.New()
	if origins != nil {
		app = eddy.New(eddy.AllowOrigins(origins...))
	}
	d.socket = sockets.NewSocket(sockets.SocketOptions{
		App: app, State: d, Queue: d, QueueURL: "https://sqs.example/lanes.fifo", Now: func() time.Time { return now },
		Push: func(_ context.Context, deliveries []sockets.Delivery) ([]string, error) {
			for _, delivery := range deliveries {
				for _, frame := range delivery.Frames {
					d.told = append(d.told, delivery.Connection+" "+string(frame))
				}
			}
			return nil, d.noPush
		},
	})
	return d
}

func (d *door) Close(_ context.Context, connection string) error {
	d.closed = append(d.closed, connection)
	return d.noTable
}

func (d *door) Joined(context.Context, string) ([]port.Collection, error) { return d.joined, d.noTable }

func (d *door) Joins(context.Context, string, int) (int, error) { return d.joins, d.noTable }

func (d *door) Subscribed(_ context.Context, _ port.Collection, key dynamo.SubscriptionKey) (bool, error) {
	return key.ID == "joined", nil
}

func (d *door) SendMessage(_ context.Context, in *sqs.SendMessageInput, _ ...func(*sqs.Options)) (*sqs.SendMessageOutput, error) {
	if d.failing != nil {
		return nil, d.failing
	}
	d.take(in.QueueUrl, in.MessageBody, in.MessageGroupId, in.MessageDeduplicationId)
	return &sqs.SendMessageOutput{}, nil
}

func (d *door) SendMessageBatch(
	_ context.Context, in *sqs.SendMessageBatchInput, _ ...func(*sqs.Options),
) (*sqs.SendMessageBatchOutput, error) {
	if d.failing != nil {
		return nil, d.failing
	}
	if len(in.Entries) > 10 {
		d.t.Errorf("a batch has %d entries", len(in.Entries))
	}
	out := &sqs.SendMessageBatchOutput{}
	for i, entry := range in.Entries {
		if d.partly && i == 0 {
			out.Failed = append(out.Failed, types.BatchResultErrorEntry{Id: entry.Id})
			continue
		}
		d.take(in.QueueUrl, entry.MessageBody, entry.MessageGroupId, entry.MessageDeduplicationId)
	}
	return out, nil
}

func (d *door) take(queue, body, group, id *string) {
	var m message.Message
	if err := json.Unmarshal([]byte(*body), &m); err != nil {
		d.t.Error(err)
	}
	if m.Function != deployed.RoleLanes || *queue != "https://sqs.example/lanes.fifo" || *group != port.Digest(m.Lane) {
		d.t.Errorf("%s went to message group %s of %s", *body, *group, *queue)
	}
	m.Function = ""
	d.posted, d.ids = append(d.posted, m), append(d.ids, aws.ToString(id))
}

// asked is a message of connection "c=" as it is posted.
func asked(kind message.SocketKind, group port.Collection, subscription, item string) message.Message {
	return message.Message{Lane: string(group), Socket: &message.Socket{
		Kind: kind, Connection: "c=", ConnectedAt: now.UnixMilli(), SubscriptionID: subscription, Item: item,
	}}
}

// event is one of connection "c=".
func event(kind, id string) events.APIGatewayWebsocketProxyRequest {
	return events.APIGatewayWebsocketProxyRequest{RequestContext: events.APIGatewayWebsocketProxyRequestContext{
		EventType: kind, RouteKey: "anything", RequestID: id, ConnectionID: "c=", ConnectedAt: now.UnixMilli(),
		DomainName: "api.example", Stage: "live",
	}}
}

func connect(query map[string]string) events.APIGatewayWebsocketProxyRequest {
	e := event("CONNECT", "1")
	e.QueryStringParameters = query
	return e
}

func says(text string) events.APIGatewayWebsocketProxyRequest {
	e := event("MESSAGE", "2")
	e.RequestContext.MessageID = "2"
	e.Body = text
	return e
}

// codeOf returns the code in an envelope.
func codeOf(t *testing.T, body string) string {
	t.Helper()
	var envelope struct {
		Error struct {
			Code      string
			RequestID string `json:"request_id"`
		}
	}
	if err := json.Unmarshal([]byte(body), &envelope); err != nil || envelope.Error.RequestID == "" {
		t.Errorf("the body is %s: %v", body, err)
	}
	return envelope.Error.Code
}

func TestConnect(t *testing.T) {
	t.Parallel()
	group := port.Group("s/1", "g")
	for _, test := range []struct {
		name    string
		query   map[string]string
		multi   map[string][]string
		headers map[string]string
		origins []string
		failing error

		status   int
		code     string
		posted   []message.Message
		protocol string
	}{
		{name: "a connection that joins nothing", status: 200},
		{name: "a connection that joins a group", query: map[string]string{"stream": "s/1", "group": "g"}, status: 200,
			posted: []message.Message{asked(message.Join, group, "", "")}},
		{name: "a connection that joins an item", query: map[string]string{"stream": "s/1", "group": "g", "id": "i", "more": ""},
			status: 200, posted: []message.Message{asked(message.Join, group, "", "i")}},
		{name: "a stream without a group", query: map[string]string{"stream": "s"}, status: 400, code: "invalid_argument"},
		{name: "a group without a stream", query: map[string]string{"group": "g"}, status: 400, code: "invalid_argument"},
		{name: "an item alone", query: map[string]string{"id": "i"}, status: 400, code: "invalid_argument"},
		{name: "an empty name", query: map[string]string{"stream": "s", "group": ""}, status: 400, code: "invalid_argument"},
		{name: "an empty item", query: map[string]string{"stream": "s", "group": "g", "id": ""}, status: 400, code: "invalid_argument"},
		{name: "a name that is too long", query: map[string]string{"stream": strings.Repeat("s", 300), "group": "g"},
			status: 400, code: "invalid_argument"},
		{name: "a name given twice", query: map[string]string{"stream": "s", "group": "h"},
			multi: map[string][]string{"group": {"g", "h"}}, status: 400, code: "invalid_argument"},
		{name: "a queue that takes nothing", query: map[string]string{"stream": "s", "group": "g"},
			failing: errors.New("secret"), status: 503, code: "unavailable"},

		{name: "a page of the API's own host", headers: map[string]string{"origin": "https://api.example"}, status: 200},
		{name: "a page of the host that was asked for", status: 200,
			headers: map[string]string{"origin": "https://mine.example", "host": "mine.example"}},
		{name: "a page of another host", headers: map[string]string{"Origin": "https://other.example"}, status: 403, code: "permission_denied"},
		{name: "a page of no host", headers: map[string]string{"Origin": "null"}, status: 403, code: "permission_denied"},
		{name: "a page of a loopback host", headers: map[string]string{"Origin": "http://localhost:3000"}, status: 403, code: "permission_denied"},
		{name: "a page of an allowed host", origins: []string{"https://a.example", "https://b.example"},
			headers: map[string]string{"Origin": "https://B.example"}, status: 200},
		{name: "a page of a host that is not among the allowed", origins: []string{"https://a.example"},
			headers: map[string]string{"Origin": "https://b.example"}, status: 403, code: "permission_denied"},
		{name: "a page of any host where all are allowed", origins: []string{"*"}, headers: map[string]string{"Origin": "null"}, status: 200},

		{name: "a subprotocol that carries a token is accepted", headers: map[string]string{"sec-websocket-protocol": "x, eddy.token.abc"},
			status: 200, protocol: "eddy.token.abc"},
		{name: "another subprotocol is not", headers: map[string]string{"Sec-WebSocket-Protocol": "x"}, status: 200},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			d := newDoor(t, test.origins...)
			d.failing = test.failing
			e := connect(test.query)
			e.MultiValueQueryStringParameters, e.Headers = test.multi, test.headers
			got := d.socket.Handle(t.Context(), e)
			if got.StatusCode != test.status || test.code != "" && codeOf(t, got.Body) != test.code {
				t.Errorf("got %d %s, want %d %s", got.StatusCode, got.Body, test.status, test.code)
			}
			if strings.Contains(got.Body, "secret") {
				t.Errorf("the cause is told: %s", got.Body)
			}
			if got.Headers["Sec-WebSocket-Protocol"] != test.protocol {
				t.Errorf("the subprotocol is %q", got.Headers["Sec-WebSocket-Protocol"])
			}
			if diff := cmp.Diff(test.posted, d.posted); diff != "" {
				t.Errorf("posted (-want +got):\n%s", diff)
			}
		})
	}
}

func TestMessage(t *testing.T) {
	t.Parallel()
	group := port.Group("s", "g")
	names := `"data":{"subscriptionId":"1","streamName":"s","groupId":"g","id":"i"}}`
	for _, test := range []struct {
		name    string
		text    string
		base64  bool
		joins   int
		failing error
		noTable error
		posted  []message.Message
		told    string // the code, or the frame
	}{
		{name: "a join goes to its group", text: `{"type":"join",` + names, posted: []message.Message{asked(message.Join, group, "1", "i")}},
		{name: "a leave goes to its group", text: `{"type":"leave",` + names, posted: []message.Message{asked(message.Leave, group, "1", "")}},
		{name: "a ping is answered", text: `{"type":"ping"}`, told: `{"type":"pong"}`},
		{name: "a token needs no answer", text: `{"type":"auth","data":{"token":"t"}}`},
		{name: "what is no frame", text: `{"type":`, told: "invalid_argument"},
		{name: "nothing", told: "invalid_argument"},
		{name: "a frame of another route", text: `{"type":"$disconnect"}`, told: "invalid_argument"},
		{name: "a binary message", text: `eyJ0eXBlIjoicGluZyJ9`, base64: true, told: "invalid_argument"},
		{name: "a frame that is too large", text: `{"type":"ping","filler":"` + strings.Repeat("x", 32<<10) + `"}`, told: "too_large"},
		{name: "a join beyond the most there may be", text: `{"type":"join",` + names, joins: 1000, told: "condition_not_met"},
		{name: "a join in the place of one that there is", joins: 1000,
			text:   `{"type":"join","data":{"subscriptionId":"joined","streamName":"s","groupId":"g"}}`,
			posted: []message.Message{asked(message.Join, group, "joined", "")}},
		{name: "a join when the queue takes nothing", text: `{"type":"join",` + names, failing: errors.New("secret"), told: "unavailable"},
		{name: "a join when the table fails", text: `{"type":"join",` + names, noTable: errors.New("secret"), told: "internal"},
		{name: "a leave when the queue takes nothing", text: `{"type":"leave",` + names, failing: errors.New("secret"), told: "unavailable"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			d := newDoor(t)
			d.joins, d.failing, d.noTable = test.joins, test.failing, test.noTable
			e := says(test.text)
			e.IsBase64Encoded = test.base64
			if got := d.socket.Handle(t.Context(), e); got.StatusCode != http.StatusOK || got.Body != "" {
				t.Errorf("got %d %q", got.StatusCode, got.Body)
			}
			if diff := cmp.Diff(test.posted, d.posted); diff != "" {
				t.Errorf("posted (-want +got):\n%s", diff)
			}
			want := []string{}
			if strings.HasPrefix(test.told, "{") {
				want = append(want, "c= "+test.told)
			} else if test.told != "" {
				want = append(want, test.told)
			}
			got := slices.Clone(d.told)
			for i, frame := range got {
				var f struct {
					Event struct {
						Data struct{ Code, Message string }
					}
				}
				if json.Unmarshal([]byte(strings.TrimPrefix(frame, "c= ")), &f) == nil && f.Event.Data.Code != "" {
					got[i] = f.Event.Data.Code
				}
				if strings.Contains(frame, "secret") {
					t.Errorf("the cause is told: %s", frame)
				}
			}
			if diff := cmp.Diff(want, append([]string{}, got...)); diff != "" {
				t.Errorf("told (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDisconnect(t *testing.T) {
	t.Parallel()
	t.Run("every group is told", func(t *testing.T) {
		t.Parallel()
		d := newDoor(t)
		var want []message.Message
		for i := range 25 {
			group := port.Group("s", fmt.Sprint(i))
			d.joined = append(d.joined, group)
			want = append(want, asked(message.Gone, group, "", ""))
		}
		if got := d.socket.Handle(t.Context(), event("DISCONNECT", "3")); got.StatusCode != http.StatusOK {
			t.Errorf("got %+v", got)
		}
		if diff := cmp.Diff(want, d.posted); diff != "" {
			t.Errorf("posted (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]string{"c="}, d.closed); diff != "" {
			t.Errorf("closed (-want +got):\n%s", diff)
		}
	})
	t.Run("a connection that is not young is not noted", func(t *testing.T) {
		t.Parallel()
		d := newDoor(t)
		e := event("DISCONNECT", "3")
		e.RequestContext.ConnectedAt -= time.Minute.Milliseconds()
		d.socket.Handle(t.Context(), e)
		if len(d.closed) > 0 {
			t.Errorf("closed %q", d.closed)
		}
	})
	for name, breaks := range map[string]func(*door){
		"a table that fails":                func(d *door) { d.noTable = errors.New("secret") },
		"a queue that takes nothing":        func(d *door) { d.failing = errors.New("secret") },
		"a queue that does not take it all": func(d *door) { d.partly = true },
		"a client that cannot be told":      func(d *door) { d.noPush = errors.New("secret") },
	} {
		t.Run(name+" is a failure of ours", func(t *testing.T) {
			t.Parallel()
			d := newDoor(t)
			d.joined = []port.Collection{port.Group("s", "g"), port.Group("s", "h")}
			breaks(d)
			e := event("DISCONNECT", "3")
			if d.noPush != nil {
				e = says(`{"type":"ping"}`)
			}
			got := d.socket.Handle(t.Context(), e)
			if got.StatusCode != http.StatusInternalServerError || codeOf(t, got.Body) != "internal" {
				t.Errorf("got %d %s", got.StatusCode, got.Body)
			}
		})
	}
	t.Run("what is no event of a WebSocket API is refused", func(t *testing.T) {
		t.Parallel()
		if got := newDoor(t).socket.Handle(t.Context(), event("", "4")); got.StatusCode != http.StatusBadRequest {
			t.Errorf("got %+v", got)
		}
	})
}

func TestEachEventIsOneMessage(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	join := says(`{"type":"join","data":{"subscriptionId":"1","streamName":"s","groupId":"g"}}`)
	again := join
	again.RequestContext.RequestID, again.RequestContext.MessageID = "5", "5"
	for _, e := range []events.APIGatewayWebsocketProxyRequest{join, join, again} {
		d.socket.Handle(t.Context(), e)
	}
	if len(d.ids) != 3 || d.ids[0] != d.ids[1] || d.ids[1] == d.ids[2] {
		t.Errorf("the deduplication ids are %q", d.ids)
	}
}

// An event as API Gateway documents it.
const documented = `{"requestContext":{"routeKey":"$default","messageId":"KfaX8eUzIAMCJtw=","eventType":"MESSAGE","extendedRequestId":
"KfaX8EzVIAMF6zg=","requestTime":"25/Nov/2026:08:00:00 +0000","messageDirection":"IN","stage":"live","connectedAt":1700000000000,
"requestTimeEpoch":1700000000001,"identity":{"sourceIp":"192.0.2.1"},"requestId":"KfaX8EzVIAMF6zg=","domainName":
"id.execute-api.eu-west-1.amazonaws.com","connectionId":"KfaX7dv_IAMCJtw=","apiId":"id"},"body":"{\"type\":\"ping\"}","isBase64Encoded":false}`

func FuzzSocketEvent(f *testing.F) {
	f.Add([]byte(documented))
	for _, e := range []events.APIGatewayWebsocketProxyRequest{
		connect(map[string]string{"stream": "s", "group": "g"}), event("DISCONNECT", "3"),
		says(`{"type":"join","data":{"subscriptionId":"1","streamName":"s","groupId":"g"}}`),
	} {
		text, err := json.Marshal(e)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var e events.APIGatewayWebsocketProxyRequest
		if json.Unmarshal(text, &e) != nil {
			return
		}
		d := newDoor(t)
		got := d.socket.Handle(t.Context(), e)
		for _, m := range d.posted {
			if _, _, ok := port.Collection(m.Lane).Group(); !ok {
				t.Errorf("posted to %q", m.Lane)
			}
		}
		if got.StatusCode != http.StatusOK && len(d.posted) > 0 {
			t.Errorf("%d, after something was posted", got.StatusCode)
		}
	})
}
