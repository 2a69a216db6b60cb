package host

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/eddyhq/eddy/shared/aws/fifo"
	"github.com/eddyhq/eddy/shared/aws/sender"
	"github.com/eddyhq/eddy/shared/deployed"
	"github.com/eddyhq/eddy/shared/eddy"
	"github.com/eddyhq/eddy/shared/port"
)

// world is a deployment in one process: every Lambda that host makes, on an AWS that loses, repeats and refuses what it can. It
// brings requests, batches of the stream and messages to the Lambdas as AWS does.
//
//	request -> function -> dynamoDB -> stream -> router -> fifoQueues -> function -> dynamoDB
type world struct {
	t      *testing.T
	app    *eddy.App
	aws    *amazon
	chance *rand.Rand
	wait   func(time.Duration) // has time pass

	mu   sync.Mutex
	warm map[string][]*sandbox // by function or role

	position int // in the stream, of what the router has not done yet
	runs     int // of Lambdas
	lost     int // of those, with which a Lambda was killed
	most     int // times that one message was received
	replayed int // answers that were told before
}

// newWorld returns a world in which what goes wrong depends on the faults.
func newWorld(t *testing.T, app *eddy.App, f *faults, in tables, now func() time.Time, wait func(time.Duration)) *world {
	t.Helper()
	if err := app.Validate(); err != nil {
		t.Fatal(err)
	}
	f.asked, f.hit = map[string]int{}, map[fate]int{}
	refused := func(queue, group string) bool { return f.oneIn > 0 && f.draw(2*f.oneIn, "entry", queue, group) == 0 }
	w := &world{
		t: t, app: app, chance: rand.New(rand.NewPCG(f.seed, 0)), wait: wait, warm: map[string][]*sandbox{},
		aws: &amazon{faults: f, queues: newFIFOQueues(now, refused), tables: in},
	}
	w.aws.call = w.call
	return w
}

func (w *world) stream() []streamRecord {
	w.t.Helper()
	records, err := w.aws.tables.told()
	if err != nil {
		w.t.Fatal(err)
	}
	return records
}

// sandbox returns one in which a Lambda is ready: a warm one, or a new one.
func (w *world) sandbox(id string) *sandbox {
	w.mu.Lock()
	defer w.mu.Unlock()
	if idle := w.warm[id]; len(idle) > 0 {
		w.warm[id] = idle[1:]
		return idle[0]
	}
	s := &sandbox{amazon: w.aws}
	config := aws.Config{
		Region: "us-east-1", HTTPClient: sender.Over(s), BaseEndpoint: aws.String("https://aws.example"),
		Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
	}
	env := environment(deployed.EnvFunction, id)
	handler, err := newHandler(w.app, env, config, slog.New(slog.DiscardHandler))
	if err != nil {
		w.t.Fatal(err)
	}
	s.handler = handler
	return s
}

// invoke runs a Lambda. It is not ok when that was killed, or did not end in its time: nobody hears what it answered then.
func (w *world) invoke(id string, event any, answer any) (ok bool) {
	payload, err := json.Marshal(event)
	if err != nil {
		w.t.Fatal(err)
	}
	timeout := time.Minute // of a role
	if f, registered := w.app.Function(id); registered {
		timeout = f.Timeout + time.Second
	}
	s := w.sandbox(id)
	ctx, cancel := context.WithTimeout(w.t.Context(), timeout)
	defer cancel()
	s.stop = cancel
	text, err := s.handler.Invoke(ctx, payload)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.runs++
	if s.killed.Load() || ctx.Err() != nil {
		w.lost++
		return false
	}
	w.warm[id] = append(w.warm[id], s)
	if err == nil {
		err = json.Unmarshal(text, answer)
	}
	if err != nil {
		w.t.Errorf("%s answers %s, %v", id, text, err)
	}
	return err == nil
}

// request sends a request to a route and returns the status of the answer, 0 when there is none.
func (w *world) request(route, id, body string, header map[string]string) int {
	w.t.Helper()
	answer := w.ask(route, id, body, header)
	if answer.Headers["Idempotent-Replayed"] == "true" {
		w.replayed++
	}
	switch answer.StatusCode {
	case 0, 200, 500, 503, 504:
	default:
		w.t.Fatalf("%s: %d %s", route, answer.StatusCode, answer.Body)
	}
	return answer.StatusCode
}

// ask is request, for the whole answer. A route that no function has is a path of the edge, as an operator asks for it.
func (w *world) ask(route, id, body string, header map[string]string) (answer httpAnswer) {
	method, pattern, _ := strings.Cut(route, " ")
	e, to := ask(method, strings.ReplaceAll(pattern, "{id}", id), body, true), deployed.RoleEdge
	for _, r := range w.app.Routes() {
		if r.String() == route {
			e.RouteKey, to = route, r.Function.ID
			e.PathParameters = map[string]string{"id": id}
		}
	}
	maps.Copy(e.Headers, header)
	if !w.invoke(to, e, &answer) {
		return httpAnswer{}
	}
	return answer
}

// call runs a function for another Lambda that waits for it.
func (w *world) call(name string, payload []byte) (answer json.RawMessage, ok bool) {
	for _, f := range w.app.Functions() {
		if deployed.LambdaName("eddy-test", f.ID) == name {
			ok = w.invoke(f.ID, json.RawMessage(payload), &answer)
		}
	}
	return answer, ok
}

// route gives the router the next records of the stream. Those that it does not name as failed are done with.
func (w *world) route(most int) {
	w.t.Helper()
	stream := w.stream()
	batch := stream[w.position:min(len(stream), w.position+most)]
	var answer events.DynamoDBEventResponse
	if len(batch) == 0 || !w.invoke(deployed.RoleRouter, object{"Records": batch}, &answer) {
		return
	}
	done := len(batch)
	for _, failure := range answer.BatchItemFailures {
		done = slices.IndexFunc(batch, func(r streamRecord) bool { return r.Change.SequenceNumber == failure.ItemIdentifier })
	}
	w.position += done
}

// function returns the id of the function that has a queue.
func (w *world) function(queue string) string {
	for _, f := range w.app.Functions() {
		if deployed.QueueName("eddy-test", f.ID) == path.Base(queue) {
			return f.ID
		}
	}
	w.t.Fatalf("nobody has the queue %s", queue)
	return ""
}

// deliver hands out the next messages of a queue. A batch may be handed out twice, to two Lambdas side by side, as when the
// first takes too long; and the answer of the first counts, of the second, or of neither.
func (w *world) deliver(queue string, twice bool) {
	batch := w.aws.queues.receive(queue)
	if len(batch) == 0 {
		return
	}
	id := w.function(queue)
	var side sync.WaitGroup
	var answers [2]events.SQSEventResponse
	var heard [2]bool
	for i := range heard {
		if i == 0 || twice {
			side.Go(func() { heard[i] = w.invoke(id, sqsEvent(batch), &answers[i]) })
		}
	}
	side.Wait()
	counts := w.chance.IntN(3) // the first answer most of the time
	if !twice {
		counts = 0
	}
	if counts > 1 || !heard[counts] {
		for _, m := range batch {
			w.aws.queues.hide(queue, m.id, 0)
		}
		return
	}
	var done []string
	for _, m := range batch {
		w.most = max(w.most, m.receives)
		failed := slices.ContainsFunc(answers[counts].BatchItemFailures, func(f events.SQSBatchItemFailure) bool { return f.ItemIdentifier == m.id })
		if !failed {
			done = append(done, m.id)
		}
	}
	w.aws.queues.remove(queue, done)
}

// sqsEvent is a batch as a Lambda gets it.
func sqsEvent(batch []queued) events.SQSEvent {
	var event events.SQSEvent
	for _, m := range batch {
		event.Records = append(event.Records, events.SQSMessage{
			MessageId: m.id, ReceiptHandle: m.id, Body: m.body, EventSource: "aws:sqs",
			Attributes: map[string]string{"ApproximateReceiveCount": fmt.Sprint(m.receives), "MessageGroupId": m.group},
		})
	}
	return event
}

// settle goes on until the stream is routed and the queues are empty.
func (w *world) settle(step func()) {
	w.t.Helper()
	for range 20_000 {
		step()
		messages, next := w.aws.queues.waiting()
		if messages == 0 && w.position == len(w.stream()) {
			return
		}
		if wait := next.Sub(w.aws.queues.now()); messages > 0 && wait > 0 && w.position == len(w.stream()) {
			w.wait(wait)
		}
	}
	messages, _ := w.aws.queues.waiting()
	w.t.Fatalf("it does not come to rest: %d messages, %d of %d records", messages, w.position, len(w.stream()))
}

// step routes, and delivers what there is.
func (w *world) step() {
	w.route(25)
	for _, queue := range w.aws.queues.names() {
		w.deliver(queue, false)
	}
}

// tick sends the message that a schedule of a function sends.
func (w *world) tick(id string, at time.Time) {
	w.t.Helper()
	f, _ := w.app.Function(id)
	body, lane, err := fifo.Tick(w.app, f, f.Schedules[0], eddy.TickTime(at))
	if err != nil {
		w.t.Fatal(err)
	}
	w.aws.queues.send(deployed.QueueName("eddy-test", id), port.Digest(lane), port.Digest(string(body)), string(body))
}

// document returns a document, nil when there is none.
func (w *world) document(scope, key string, into any) {
	w.t.Helper()
	s := w.calm()
	found, err := s.engine.Get(w.t.Context(), port.Scope(scope), key)
	if err == nil && found.Exists() {
		err = json.Unmarshal(found.Value, into)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// letters returns all dead letters.
func (w *world) letters() []port.DeadLetter {
	w.t.Helper()
	letters, _, err := w.calm().engine.DeadLetters(w.t.Context(), "", port.LetterID{}, 1000)
	if err != nil {
		w.t.Fatal(err)
	}
	return letters
}

// calm returns the edge, after which nothing goes wrong any more.
func (w *world) calm() *edge {
	w.aws.oneIn, w.aws.kill = 0, 0
	e, ok := w.sandbox(deployed.RoleEdge).handler.handler.(*edge)
	if !ok {
		w.t.Fatal("the edge is none")
	}
	return e
}
