package host

import (
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/eddyhq/eddy/functions"
	"github.com/eddyhq/eddy/shared/aws/message"
	"github.com/eddyhq/eddy/shared/deployed"
	"github.com/eddyhq/eddy/shared/port"
)

// counted is as much of AWS as a create needs: it keeps the rows that are put, counts what it is asked, and remembers what
// is sent to queues and put into the outbox.
type counted struct {
	mu     sync.Mutex
	rows   map[string]json.RawMessage // by partition and sort key
	calls  map[string]int
	queues map[string][]string // bodies by queue
	outbox []json.RawMessage
	taken  int // messages
}

// row is a row's keys.
type row struct{ PK, SK struct{ S string } }

func keysIn(item json.RawMessage) string {
	var r row
	_ = json.Unmarshal(item, &r) // it is what the SDK wrote
	return r.PK.S + "\n" + r.SK.S
}

func (c *counted) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	c.mu.Lock()
	defer c.mu.Unlock()
	if strings.Contains(r.URL.Path, "@connections") {
		c.calls["PostToConnection"]++
		return
	}
	_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	c.calls[operation]++
	var in struct {
		Item, Key     json.RawMessage
		TransactItems []struct {
			Put struct{ Item json.RawMessage }
		}
		QueueURL string `json:"QueueUrl"`
		Entries  []struct{ ID, MessageBody string }
	}
	if err := json.Unmarshal(body, &in); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	switch operation {
	case "PutItem":
		c.put(in.Item)
	case "TransactWriteItems":
		for _, part := range in.TransactItems {
			c.put(part.Put.Item)
		}
	case "GetItem":
		if found, ok := c.rows[keysIn(in.Key)]; ok {
			fmt.Fprintf(w, `{"Item":%s}`, found)
			return
		}
	case "SendMessageBatch":
		var sent []string
		for _, e := range in.Entries {
			name := path.Base(in.QueueURL)
			c.queues[name] = append(c.queues[name], e.MessageBody)
			sum := md5.Sum([]byte(e.MessageBody))
			sent = append(sent, fmt.Sprintf(`{"Id":%q,"MessageId":"m","MD5OfMessageBody":%q}`, e.ID, hex.EncodeToString(sum[:])))
		}
		fmt.Fprintf(w, `{"Successful":[%s]}`, strings.Join(sent, ","))
		return
	}
	_, _ = io.WriteString(w, "{}")
}

func (c *counted) put(item json.RawMessage) {
	if item == nil {
		return
	}
	c.rows[keysIn(item)] = item
	if strings.HasPrefix(keysIn(item), deployed.OutboxEvents) {
		c.outbox = append(c.outbox, item)
	}
}

// since returns what was asked since the last time.
func (c *counted) since() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	calls := c.calls
	c.calls = map[string]int{}
	return calls
}

// take returns and forgets what was sent to the queue of a function or role, as the batch that its Lambda gets.
func (c *counted) take(id string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	name := deployed.QueueName("eddy-test", id)
	var records []string
	for _, body := range c.queues[name] {
		c.taken++
		text, _ := json.Marshal(body)
		records = append(records, fmt.Sprintf(
			`{"messageId":"%d","body":%s,"eventSource":"aws:sqs","attributes":{"ApproximateReceiveCount":"1"}}`, c.taken, text))
	}
	delete(c.queues, name)
	return `{"Records":[` + strings.Join(records, ",") + `]}`
}

// streamed returns the batch in which the stream tells of a new row.
func streamed(item string) string {
	var keys row
	_ = json.Unmarshal([]byte(item), &keys)
	text, _ := json.Marshal(keys)
	lower := strings.NewReplacer(`"PK"`, `"pk"`, `"SK"`, `"sk"`).Replace(string(text))
	return `{"Records":[{"eventID":"1","eventName":"INSERT","eventSource":"aws:dynamodb","dynamodb":{"Keys":` + lower +
		`,"NewImage":` + item + `,"SequenceNumber":"1","StreamViewType":"NEW_AND_OLD_IMAGES"}}]}`
}

// TestWhatACreateAsksOfAWS is the price of the todo app's create, from the request to the subscribers: the README states it.
func TestWhatACreateAsksOfAWS(t *testing.T) {
	t.Parallel()
	const subscribers = 7
	c := &counted{rows: map[string]json.RawMessage{}, calls: map[string]int{}, queues: map[string][]string{}}
	server := httptest.NewServer(c)
	t.Cleanup(server.Close)
	lambdas := map[string]Handler{}
	for _, id := range []string{"todos::create", "todos::update-metrics", "todos::on-change", deployed.RoleRouter, deployed.RoleLanes} {
		h, err := New(functions.App(), environment(deployed.EnvFunction, id, deployed.EnvQueues, server.URL+"/",
			deployed.EnvSockets, server.URL+"/live", "AWS_ENDPOINT_URL", server.URL, "AWS_REGION", "us-east-1",
			"AWS_ACCESS_KEY_ID", "test", "AWS_SECRET_ACCESS_KEY", "test"), slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		lambdas[id] = h
	}
	run := func(id, event string) {
		t.Helper()
		answer, err := lambdas[id].Invoke(t.Context(), []byte(event))
		if err != nil || strings.Contains(string(answer), "itemIdentifier") {
			t.Fatalf("%s: %s, %v", id, answer, err)
		}
	}
	const create = `{"routeKey":"POST /todos","rawPath":"/todos","headers":{},"body":"{\"title\":\"count\"}",` +
		`"requestContext":{"http":{"method":"POST"}}}`
	const todo = `{"pk":{"S":"state/todos"},"sk":{"S":"todo-1"},"version":{"N":"2"},"value":{"M":{"id":{"S":"todo-1"},` +
		`"title":{"S":"count"},"completed":{"BOOL":false},"created_at":{"S":"2026-11-23T12:00:00Z"}}}}`
	joins(t, c, subscribers)
	run(deployed.RoleLanes, c.take(deployed.RoleLanes))
	run("todos::create", create) // the first one looks into the directory
	c.since()

	for _, step := range []struct {
		name string
		run  func()
		want map[string]int
	}{
		{"the request", func() { run("todos::create", create) }, map[string]int{"UpdateItem": 1}},
		{"the router, of the todo", func() { run(deployed.RoleRouter, streamed(todo)) }, map[string]int{"SendMessageBatch": 2}},
		{"the counter", func() { run("todos::update-metrics", c.take("todos::update-metrics")) },
			map[string]int{"TransactWriteItems": 1}},
		{"the event", func() { run("todos::on-change", c.take("todos::on-change")) }, map[string]int{"TransactWriteItems": 1}},
		{"the router, of the event", func() { run(deployed.RoleRouter, streamed(string(c.outbox[0]))) },
			map[string]int{"SendMessageBatch": 1}},
		{"the lanes", func() { run(deployed.RoleLanes, c.take(deployed.RoleLanes)) },
			map[string]int{"GetItem": 1, "PostToConnection": subscribers, "PutItem": 1}},
	} {
		step.run()
		got := c.since()
		if diff := cmp.Diff(step.want, got); diff != "" {
			t.Fatalf("%s asks (-want +got):\n%s", step.name, diff)
		}
		t.Logf("%-26s %v", step.name, got)
	}
}

// joins has subscribers join the group of the todo app.
func joins(t *testing.T, c *counted, subscribers int) {
	t.Helper()
	for i := range subscribers {
		text, err := message.Encode(message.Message{
			Function: deployed.RoleLanes, Lane: string(port.Group("todos-live", "all")),
			Socket: &message.Socket{Kind: message.Join, Connection: fmt.Sprintf("c%d", i), ConnectedAt: 1},
		})
		if err != nil {
			t.Fatal(err)
		}
		name := deployed.QueueName("eddy-test", deployed.RoleLanes)
		c.queues[name] = append(c.queues[name], string(text))
	}
}
