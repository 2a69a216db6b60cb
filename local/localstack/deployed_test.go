package localstack_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/coder/websocket"

	"github.com/eddyhq/eddy/functions/testdata/proof"
	"github.com/eddyhq/eddy/local/conformance"
	"github.com/eddyhq/eddy/shared/aws/message"
	"github.com/eddyhq/eddy/shared/deployed"
	"github.com/eddyhq/eddy/shared/document"
	"github.com/eddyhq/eddy/shared/port"
)

// TestDeployed deploys the stack and holds it to every promise of the wire, and to what only a deployment promises.
func TestDeployed(t *testing.T) {
	t.Parallel()
	d := deploy(t, theEndpoint(t))
	t.Run("every queue leaves what crashes its Lambda to the dead letters", d.redrives)
	t.Run("the wire", func(t *testing.T) { conformance.Run(t, d.target()) })
	t.Run("nothing has failed", d.nothingFailed)
	t.Run("what crashed its Lambda is a dead letter, and takes effect when it is sent again", d.crashed)
	t.Run("pushes that are throttled arrive later and in order", d.throttled)
	t.Run("a frame that names a route of the API is a bad frame like others", d.routeNames)
	t.Run("a second deploy changes nothing", func(t *testing.T) {
		if _, said := d.cdk.deploy(t); !strings.Contains(said, "(no changes)") {
			t.Errorf("the CDK did not find the stack unchanged:\n%s", said)
		}
		d.cdk.run(t, "diff", theStack, "--app", d.cdk.assembly(), "--fail")
	})
}

// redrives wants the queue of each function that reacts, and of the lanes, to hand what was received too often to the
// shared queue, which the router reads.
func (d deployment) redrives(t *testing.T) {
	client := sqs.NewFromConfig(d.config)
	queues := []string{deployed.QueueName(theStack, deployed.RoleLanes)}
	for _, f := range proof.App().Functions() {
		queues = append(queues, deployed.QueueName(theStack, f.ID))
	}
	for _, name := range queues {
		policy := d.attribute(t, client, name, types.QueueAttributeNameRedrivePolicy)
		if !strings.Contains(policy, ":"+deployed.CrashedQueueName(theStack)+`"`) {
			t.Errorf("the queue %s redrives to %q, want to %s", name, policy, deployed.CrashedQueueName(theStack))
		}
	}
}

// attribute returns an attribute of a queue.
func (d deployment) attribute(t *testing.T, client *sqs.Client, queue string, name types.QueueAttributeName) string {
	t.Helper()
	found, err := client.GetQueueUrl(t.Context(), &sqs.GetQueueUrlInput{QueueName: &queue})
	if err != nil {
		t.Fatalf("the queue %s: %v", queue, err)
	}
	got, err := client.GetQueueAttributes(t.Context(), &sqs.GetQueueAttributesInput{
		QueueUrl: found.QueueUrl, AttributeNames: []types.QueueAttributeName{name},
	})
	if err != nil {
		t.Fatalf("the queue %s: %v", queue, err)
	}
	return got.Attributes[string(name)]
}

// nothingFailed wants no dead letter, no message in the queues of what Lambdas crashed on, and no push that was too large.
func (d deployment) nothingFailed(t *testing.T) {
	if d.connections != nil && d.connections.large.Load() > 0 {
		t.Errorf("%d pushes were larger than API Gateway takes", d.connections.large.Load())
	}
	if letters := d.deadLetters(t, map[string]any{}); len(letters) > 0 {
		t.Errorf("there are dead letters: %+v", letters)
	}
	client := sqs.NewFromConfig(d.config)
	for _, name := range []string{
		deployed.CrashedQueueName(theStack), theStack + "-crashed-again.fifo", theStack + "-stream-failures",
	} {
		for _, waiting := range []types.QueueAttributeName{
			types.QueueAttributeNameApproximateNumberOfMessages,
			types.QueueAttributeNameApproximateNumberOfMessagesNotVisible,
		} {
			if count := d.attribute(t, client, name, waiting); count != "0" {
				t.Errorf("the queue %s has %s %s", name, count, waiting)
			}
		}
	}
}

// crashed puts a delivery where SQS puts what was received too often, since no function of the app crashes, and wants it
// kept as a dead letter, and to have its effect once it is sent again.
func (d deployment) crashed(t *testing.T) {
	const function = "todos::on-change"
	key := fmt.Sprintf("todo-crashed-%d", time.Now().UnixNano())
	todo := fmt.Sprintf(`{"id":%q,"title":"crashed","completed":false,"created_at":"2026-01-02T03:04:05Z"}`, key)
	change := port.Change{Collection: port.Scope("todos"), Key: key, New: document.Value(todo), Version: time.Now().UnixMicro()}
	body, err := message.Encode(message.Message{
		Function: function,
		Lane:     key,
		Records:  []message.Record{{ID: change.ID(), Record: port.Record{Change: &change}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	client := sqs.NewFromConfig(d.config)
	queue, err := client.GetQueueUrl(t.Context(), &sqs.GetQueueUrlInput{QueueName: aws.String(deployed.CrashedQueueName(theStack))})
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.SendMessage(t.Context(), &sqs.SendMessageInput{
		QueueUrl: queue.QueueUrl, MessageBody: aws.String(string(body)),
		MessageGroupId: aws.String(port.Digest(key)), MessageDeduplicationId: aws.String(change.ID()),
	})
	if err != nil {
		t.Fatal(err)
	}
	letters := d.deadLetters(t, map[string]any{"function_id": function})
	for deadline := time.Now().Add(patience); len(letters) == 0 && time.Now().Before(deadline); {
		letters = d.deadLetters(t, map[string]any{"function_id": function})
	}
	if len(letters) != 1 || letters[0].Payload.Key != key {
		t.Fatalf("the dead letters are %+v, want one of %s", letters, key)
	}

	c := d.subscribe(t, "todos-live", "all")
	c.next(t)
	d.invoke(t, "queue::redrive", map[string]any{"function_id": function, "id": letters[0].ID})
	if got := string(c.next(t).Event.Event); !strings.Contains(got, key) {
		t.Errorf("the subscribers were told %s, want of %s", got, key)
	}
	if letters := d.deadLetters(t, map[string]any{}); len(letters) > 0 {
		t.Errorf("there are still dead letters: %+v", letters)
	}
}

// letter is as much of a dead letter as the cases here look at.
type letter struct {
	ID      string
	Payload struct{ Key string }
	Message string
}

// deadLetters returns the first page of queue::dead_letters.
func (d deployment) deadLetters(t *testing.T, payload map[string]any) []letter {
	t.Helper()
	var page struct{ Items []letter }
	if err := json.Unmarshal(d.invoke(t, "queue::dead_letters", payload), &page); err != nil {
		t.Fatal(err)
	}
	return page.Items
}

// throttled has the first pushes to a subscriber refused with 429, and wants none of them lost.
func (d deployment) throttled(t *testing.T) {
	if d.connections == nil {
		t.Skip("API Gateway cannot be told to throttle")
	}
	const pushes, refusals = 5, 3
	stream := fmt.Sprintf("throttled-%d", time.Now().UnixNano())
	c := d.subscribe(t, stream, "g")
	if got := c.next(t); got.Event.Type != "sync" {
		t.Fatalf("the first frame is %q, want a sync", got.Event.Type)
	}
	d.connections.refusing.Store(refusals)
	for n := range pushes {
		d.invoke(t, "stream::send", map[string]any{
			"stream_name": stream, "group_id": "g", "type": "count", "data": n,
		})
	}
	for n := range pushes {
		got := c.next(t)
		if want := fmt.Sprintf(`{"data":%d,"type":"count"}`, n); canonical(t, got.Event.Event) != want {
			t.Errorf("frame %d is %s, want %s", n, got.Event.Event, want)
		}
	}
	if refused := d.connections.refused.Load(); refused != refusals {
		t.Errorf("%d pushes were refused, want %d", refused, refusals)
	}
}

// routeNames sends frames whose type is the name of a route of the WebSocket API, which selects routes by it.
func (d deployment) routeNames(t *testing.T) {
	c := d.subscribe(t, "", "")
	for _, name := range []string{deployed.RouteConnect, deployed.RouteDisconnect, deployed.RouteDefault} {
		c.send(t, `{"type":"`+name+`"}`)
		if got := c.next(t); got.Event.Type != "error" {
			t.Errorf("the type %s is answered with %+v, want an error", name, got)
		}
		c.send(t, `{"type":"ping"}`)
		if got := c.next(t); got.Type != "pong" {
			t.Errorf("a ping after it is answered with %+v, want a pong", got)
		}
	}
}

// invoke calls a function by its id, wants it to succeed, and returns its result.
func (d deployment) invoke(t *testing.T, function string, payload any) []byte {
	t.Helper()
	text, err := json.Marshal(payload)
	if err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, d.http+"/_eddy/invoke/"+function,
		strings.NewReader(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	if err := d.sign(request); err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	result, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%s: status %d, %v: %s", function, response.StatusCode, err, result)
	}
	return result
}

// subscriber is a client of the WebSocket API.
type subscriber struct{ connection *websocket.Conn }

// frame is as much of a frame as the cases here look at.
type frame struct {
	Type  string
	Event struct {
		Type  string
		Event json.RawMessage
	}
}

// subscribe opens a socket that subscribes to the group of a stream, or to nothing when both are "".
func (d deployment) subscribe(t *testing.T, stream, group string) subscriber {
	t.Helper()
	connection, _, err := websocket.Dial(t.Context(), d.target().WebSocket(stream, group, ""), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = connection.CloseNow() })
	return subscriber{connection}
}

func (s subscriber) send(t *testing.T, text string) {
	t.Helper()
	if err := s.connection.Write(t.Context(), websocket.MessageText, []byte(text)); err != nil {
		t.Fatal(err)
	}
}

// patience is how long a frame may take.
const patience = 30 * time.Second

func (s subscriber) next(t *testing.T) frame {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, text, err := s.connection.Read(ctx)
	if err != nil {
		t.Fatalf("no frame: %v", err)
	}
	var f frame
	if err := json.Unmarshal(text, &f); err != nil {
		t.Fatalf("a frame is no JSON: %v: %s", err, text)
	}
	return f
}

// canonical is the text of a JSON object with its names in order and no spaces.
func canonical(t *testing.T, text json.RawMessage) string {
	t.Helper()
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(text, &fields); err != nil {
		t.Fatalf("no JSON object: %v: %s", err, text)
	}
	sorted, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	return string(sorted)
}
