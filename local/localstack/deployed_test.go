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

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/coder/websocket"

	"github.com/eddyhq/eddy/functions"
	"github.com/eddyhq/eddy/local/conformance"
	"github.com/eddyhq/eddy/shared/deployed"
)

// TestDeployed deploys the stack and holds it to every promise of the wire, and to what only a deployment promises.
func TestDeployed(t *testing.T) {
	t.Parallel()
	d := deploy(t, theEndpoint(t))
	t.Run("every queue leaves what crashes its Lambda to the dead letters", d.redrives)
	t.Run("the wire", func(t *testing.T) { conformance.Run(t, d.target()) })
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
	for _, f := range functions.App().Functions() {
		queues = append(queues, deployed.QueueName(theStack, f.ID))
	}
	for _, name := range queues {
		found, err := client.GetQueueUrl(t.Context(), &sqs.GetQueueUrlInput{QueueName: &name})
		if err != nil {
			t.Errorf("the queue %s: %v", name, err)
			continue
		}
		got, err := client.GetQueueAttributes(t.Context(), &sqs.GetQueueAttributesInput{
			QueueUrl: found.QueueUrl, AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameRedrivePolicy},
		})
		if err != nil {
			t.Errorf("the queue %s: %v", name, err)
			continue
		}
		policy := got.Attributes[string(types.QueueAttributeNameRedrivePolicy)]
		if !strings.Contains(policy, ":"+deployed.CrashedQueueName(theStack)+`"`) {
			t.Errorf("the queue %s redrives to %q, want to %s", name, policy, deployed.CrashedQueueName(theStack))
		}
	}
}

// throttled has the first pushes to a subscriber refused with 429, and wants none of them lost.
func (d deployment) throttled(t *testing.T) {
	if d.connections == nil {
		t.Skip("API Gateway cannot be told to throttle")
	}
	const pushes, refusals = 5, 3
	stream := fmt.Sprintf("throttled-%d", time.Now().UnixNano())
	c := d.subscribe(t, stream)
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
	if left := d.connections.refusing.Load(); left > 0 {
		t.Errorf("%d pushes were never tried", left)
	}
}

// routeNames sends frames whose type is the name of a route of the WebSocket API, which selects routes by it.
func (d deployment) routeNames(t *testing.T) {
	c := d.subscribe(t, "")
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

// invoke calls a function by its id and wants it to succeed.
func (d deployment) invoke(t *testing.T, function string, payload any) {
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
	if said, err := io.ReadAll(response.Body); err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%s: status %d, %v: %s", function, response.StatusCode, err, said)
	}
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

// subscribe opens a socket that subscribes to the group "g" of a stream, or to nothing.
func (d deployment) subscribe(t *testing.T, stream string) subscriber {
	t.Helper()
	group := ""
	if stream != "" {
		group = "g"
	}
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
