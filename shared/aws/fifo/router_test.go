package fifo_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/eddyhq/eddy/shared/aws/fifo"
	"github.com/eddyhq/eddy/shared/aws/message"
	"github.com/eddyhq/eddy/shared/deployed"
	"github.com/eddyhq/eddy/shared/document"
	"github.com/eddyhq/eddy/shared/eddy"
	"github.com/eddyhq/eddy/shared/errs"
	"github.com/eddyhq/eddy/shared/port"
	"github.com/eddyhq/eddy/shared/reaction"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// thing is the document of these tests.
type thing struct {
	N    int    `json:"n"`
	Text string `json:"text,omitempty"`
}

func ignore(context.Context, eddy.Change[thing]) error { return nil }

func routed(t interface{ Fatal(...any) }) *eddy.App {
	things, rooms := eddy.Scope[thing]("things"), eddy.Stream[thing]("rooms")
	app := eddy.New()
	eddy.React(app, "test::all", ignore, things.Changes())
	eddy.React(app, "test::even", ignore, things.Changes(eddy.When(func(c eddy.Change[thing]) bool { return c.New.N%2 == 0 })))
	eddy.React(app, "test::lane", ignore, things.Changes(eddy.Lane(func(c eddy.Change[thing]) string { return fmt.Sprint(c.New.N % 3) })))
	eddy.React(app, "test::items", ignore, rooms.Changes())
	eddy.Register(app, "test::call", func(context.Context, thing) (eddy.None, error) { return eddy.None{}, nil })
	if err := app.Validate(); err != nil {
		t.Fatal(err)
	}
	return app
}

// arrival is a message that a queue has taken.
type arrival struct {
	group string
	message.Message
}

// queues is SQS as it documents itself: it takes entries one by one, drops what it was given within five minutes, and may
// lose a call or its reply.
type queues struct {
	fail func(attempt, of string) fate // nil: nothing fails

	mu       sync.Mutex
	now      time.Time
	attempts map[string]int
	seen     map[string]time.Time // by queue, group and deduplication id
	arrived  map[string][]arrival // by queue
	blobs    map[string][]byte
	busy     map[string]bool // groups with a message under way
	faults   []string        // against the rules of the API, or of this package
	buried   []string
}

// fate is what becomes of a call or entry.
type fate int

const (
	taken     fate = iota
	refused        // a call: an error, an entry: among the failed
	lostReply      // of a call only: all is taken, and an error returned
)

func newQueues() *queues {
	return &queues{
		now: time.Unix(1_700_000_000, 0), attempts: map[string]int{}, seen: map[string]time.Time{},
		arrived: map[string][]arrival{}, blobs: map[string][]byte{}, busy: map[string]bool{},
	}
}

func (q *queues) options() fifo.RouterOptions {
	return fifo.RouterOptions{
		Client: q, QueueURL: func(id string) string { return "https://sqs/" + id },
		PutBlob: q.putBlob, Resolve: q.resolve, Bury: q.bury,
	}
}

func (q *queues) putBlob(_ context.Context, key string, data []byte) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.decide("blob", key) != taken {
		return errs.New(errs.Unavailable, "throttled")
	}
	q.blobs[key] = data
	return nil
}

func (q *queues) resolve(ctx context.Context, r message.Record) (whole message.Record, err error) {
	if r.Blob == "" {
		return r, nil
	}
	text, err := q.getBlob(ctx, r.Blob)
	if err != nil {
		return whole, err
	}
	return whole, json.Unmarshal(text, &whole)
}

func (q *queues) getBlob(_ context.Context, key string) ([]byte, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	data, ok := q.blobs[key]
	if !ok {
		return nil, errs.New(errs.NotFound, "no blob %s", key)
	}
	return data, nil
}

func (q *queues) bury(_ context.Context, record port.Record, function string, reason error) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.decide("bury", record.ID()) != taken {
		return errs.New(errs.Unavailable, "throttled")
	}
	q.buried = append(q.buried, function+" "+record.ID())
	return nil
}

// decide says what becomes of something, by its name and by how often it was tried.
func (q *queues) decide(kind, name string) fate {
	if q.fail == nil {
		return taken
	}
	q.attempts[kind+name]++
	return q.fail(fmt.Sprint(kind, q.attempts[kind+name]), name)
}

func (q *queues) fault(format string, args ...any) {
	q.faults = append(q.faults, fmt.Sprintf(format, args...))
}

func (q *queues) SendMessageBatch(
	_ context.Context, in *sqs.SendMessageBatchInput, _ ...func(*sqs.Options),
) (*sqs.SendMessageBatchOutput, error) {
	url := aws.ToString(in.QueueUrl)
	q.mu.Lock()
	q.check(url, in.Entries)
	q.mu.Unlock()
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, e := range in.Entries {
		delete(q.busy, url+aws.ToString(e.MessageGroupId))
	}
	call := q.decide("call", aws.ToString(in.Entries[0].MessageDeduplicationId))
	if call == refused {
		return nil, errors.New("no connection")
	}
	out := &sqs.SendMessageBatchOutput{}
	for _, e := range in.Entries {
		if q.decide("entry", aws.ToString(e.MessageDeduplicationId)) == refused {
			out.Failed = append(out.Failed, types.BatchResultErrorEntry{Id: e.Id, Code: aws.String("InternalError")})
			continue
		}
		q.arrive(url, e)
		out.Successful = append(out.Successful, types.SendMessageBatchResultEntry{Id: e.Id})
	}
	if call == lostReply {
		return nil, errors.New("connection reset")
	}
	return out, nil
}

// check notes what SQS would refuse, and more than one message of a lane under way.
func (q *queues) check(url string, entries []types.SendMessageBatchRequestEntry) {
	size := 0
	for _, e := range entries {
		size += len(aws.ToString(e.MessageBody))
		if n := len(aws.ToString(e.MessageBody)); n > 200_000 {
			q.fault("a body of %d bytes", n)
		}
		group := url + aws.ToString(e.MessageGroupId)
		if q.busy[group] {
			q.fault("two messages of %s are under way", group)
		}
		q.busy[group] = true
		if len(aws.ToString(e.MessageGroupId)) != 32 || len(aws.ToString(e.MessageDeduplicationId)) != 32 {
			q.fault("the group %q or the deduplication id %q is no digest", *e.MessageGroupId, *e.MessageDeduplicationId)
		}
	}
	if len(entries) == 0 || len(entries) > 10 || size > 256<<10 {
		q.fault("a call of %d messages and %d bytes", len(entries), size)
	}
}

func (q *queues) arrive(url string, e types.SendMessageBatchRequestEntry) {
	key := url + aws.ToString(e.MessageGroupId) + aws.ToString(e.MessageDeduplicationId)
	if at, known := q.seen[key]; known && q.now.Sub(at) < 5*time.Minute {
		return
	}
	q.seen[key] = q.now
	var m message.Message
	text := []byte(aws.ToString(e.MessageBody))
	for range 2 {
		if err := json.Unmarshal(text, &m); err != nil {
			q.fault("the body %s: %v", text, err)
		}
		if m.Blob == "" {
			break
		}
		lane := m.Lane
		if text = q.blobs[m.Blob]; !strings.HasPrefix(m.Blob, m.Function+"/") {
			q.fault("the blob %s belongs to %s", m.Blob, m.Function)
		}
		if m = (message.Message{}); lane == "" {
			q.fault("a message with a blob has no lane")
		}
	}
	id := strings.TrimPrefix(url, "https://sqs/")
	if m.Function != id {
		q.fault("a message for %q came to the queue of %q", m.Function, id)
	}
	q.arrived[id] = append(q.arrived[id], arrival{aws.ToString(e.MessageGroupId), m})
}

// lanes returns what came to each lane of each queue, without repetitions.
func (q *queues) lanes() map[string][]string {
	seen := map[string]bool{}
	lanes := map[string][]string{}
	for id, arrivals := range q.arrived {
		for _, a := range arrivals {
			lane := id + " " + a.Lane
			if a.group != port.Digest(a.Lane) {
				q.fault("lane %s has the group %s", a.Lane, a.group)
			}
			for _, r := range a.Records {
				if key := lane + r.ID + fmt.Sprint(r.Position); !seen[key] {
					seen[key] = true
					lanes[lane] = append(lanes[lane], r.ID)
				}
			}
		}
	}
	return lanes
}

// expected returns what should come to each lane, record by record.
func expected(app *eddy.App, records []message.Record) (lanes map[string][]string, buried []string) {
	router := reaction.NewRouter(app)
	lanes = map[string][]string{}
	for _, r := range records {
		deliveries, err := router.Route(&r.Record)
		if err != nil {
			buried = append(buried, r.Target+" "+r.Record.ID())
		}
		for _, d := range deliveries {
			lane := d.Function.ID + " " + d.Lane
			lanes[lane] = append(lanes[lane], r.ID)
		}
		var group port.Collection
		switch {
		case r.Event != nil:
			group = r.Event.Group
		case r.Change != nil && r.Target == "" && strings.HasPrefix(string(r.Change.Collection), port.StreamSpace):
			group = r.Change.Collection
		default:
			continue
		}
		lane := deployed.RoleLanes + " " + string(group)
		lanes[lane] = append(lanes[lane], r.ID)
	}
	return lanes, buried
}

// drawRecords draws the records of a stream, which names each of them.
func drawRecords(t *rapid.T) []message.Record {
	records := make([]message.Record, rapid.IntRange(1, 40).Draw(t, "records"))
	for i := range records {
		text := strings.Repeat("x", rapid.SampledFrom([]int{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 10, 30_000, 60_000, 210_000}).Draw(t, "size"))
		value, err := document.From(thing{N: rapid.IntRange(0, 5).Draw(t, "n"), Text: text})
		if err != nil {
			t.Fatal(err)
		}
		key := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "key")
		r := message.Record{ID: fmt.Sprint("r", i), Record: port.Record{Cause: port.Cause{Root: "root"}}}
		switch kind := rapid.IntRange(0, 9).Draw(t, "kind"); kind {
		case 0:
			r.Event = &port.Event{Group: port.Group("rooms", key), Type: "said", Data: value}
		case 1:
			r.Target, r.Call = "test::call", &port.Call{ID: r.ID, Function: "test::call", Payload: value}
		case 2:
			r.Target, r.Call = "test::gone", &port.Call{ID: r.ID, Function: "test::gone", Payload: value}
		default:
			collection := port.Scope(rapid.SampledFrom([]string{"things", "things", "others"}).Draw(t, "scope"))
			if kind < 6 {
				collection = port.Group("rooms", key)
			}
			r.Change = &port.Change{Collection: collection, Key: key, New: value, Version: int64(100 + i)}
			switch kind {
			case 5:
				r.Target, r.Position = "test::items", uint64(i)
			case 9:
				r.Target, r.Position = "test::all", uint64(i)
			}
		}
		records[i] = r
	}
	return records
}

// chance makes things fail by their names, and less and less often.
func chance(seed uint64, most int) func(attempt, of string) fate {
	return func(attempt, of string) fate {
		h := fnv.New64a()
		fmt.Fprint(h, seed, attempt, of)
		switch n := int(h.Sum64() % 100); {
		case n < most:
			return refused
		case n < 2*most:
			return lostReply
		default:
			return taken
		}
	}
}

// What every lane of every queue receives in the end, repetitions dropped, is its records in their order, however calls
// fail, however often and from wherever the stream is read again, and whatever SQS has forgotten by then.
func TestEveryLaneReceivesItsRecordsInOrder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		app := routed(t)
		records := drawRecords(t)
		q := newQueues()
		q.fail = chance(rapid.Uint64().Draw(t, "seed"), rapid.IntRange(0, 25).Draw(t, "failures in a hundred"))
		router := fifo.NewRouter(app, q.options())
		for next := 0; next < len(records); {
			from := next
			if rapid.IntRange(0, 4).Draw(t, "read again") == 0 {
				from = rapid.IntRange(0, next).Draw(t, "from")
			}
			batch := records[from:min(len(records), from+rapid.IntRange(1, 25).Draw(t, "batch"))]
			done := router.Route(context.Background(), batch)
			if done < 0 || done > len(batch) {
				t.Fatalf("%d of %d records are done", done, len(batch))
			}
			next = max(next, from+done)
			q.now = q.now.Add(time.Duration(rapid.SampledFrom([]int{1, 1, 1, 400}).Draw(t, "seconds")) * time.Second)
		}
		want, buried := expected(app, records)
		if diff := cmp.Diff(want, q.lanes()); diff != "" {
			t.Errorf("the lanes (-want +got):\n%s", diff)
		}
		slices.Sort(q.buried)
		slices.Sort(buried)
		if diff := cmp.Diff(buried, slices.Compact(q.buried)); diff != "" {
			t.Errorf("the dead letters (-want +got):\n%s", diff)
		}
		if len(q.faults) > 0 {
			t.Errorf("against the rules: %q", q.faults)
		}
	})
}

// change is a record of a change of a thing.
func change(key string, version int64, text string) message.Record {
	value, err := document.From(thing{N: 1, Text: text})
	if err != nil {
		panic(err)
	}
	c := &port.Change{Collection: port.Scope("things"), Key: key, New: value, Version: version}
	return message.Record{ID: c.ID(), Record: port.Record{Change: c}}
}

func TestRecordsOfALaneAreFolded(t *testing.T) {
	t.Parallel()
	records := func(n int, text string) (records []message.Record) {
		for i := range n {
			records = append(records, change("k", int64(i+1), text))
		}
		return records
	}
	for _, test := range []struct {
		name    string
		records []message.Record
		want    []int // records of each message of test::all
	}{
		{"a few make one message", records(3, "x"), []int{3}},
		{"many make several", records(23, "x"), []int{10, 10, 3}},
		{"large ones make more", records(5, strings.Repeat("x", 40_000)), []int{2, 2, 1}},
		{"one that is too large for a message stands alone", records(2, strings.Repeat("x", 250_000)), []int{1, 1}},
		{"other documents in between do not matter",
			[]message.Record{change("k", 1, ""), change("other", 2, ""), change("k", 3, "")}, []int{2, 1}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			q := newQueues()
			if done := fifo.NewRouter(routed(t), q.options()).Route(t.Context(), test.records); done != len(test.records) {
				t.Errorf("%d are done", done)
			}
			var got []int
			for _, a := range q.arrived["test::all"] {
				got = append(got, len(a.Records))
			}
			if diff := cmp.Diff(test.want, got); diff != "" || len(q.faults) > 0 {
				t.Errorf("%q; records of the messages (-want +got):\n%s", q.faults, diff)
			}
		})
	}
}

func TestACallThatIsHeldBackBeginsAMessageOfItsGroup(t *testing.T) {
	t.Parallel()
	q := newQueues()
	var records []message.Record
	for i, notBefore := range []int64{0, 0, 5000, 0, 7000} {
		call := port.Call{ID: fmt.Sprint("c", i), Function: "test::call", Payload: document.Value(`{"n":1}`), Group: "g", NotBefore: notBefore}
		records = append(records, message.Record{ID: call.ID, Record: port.Record{Target: "test::call", Call: &call}})
	}
	if done := fifo.NewRouter(routed(t), q.options()).Route(t.Context(), records); done != len(records) || len(q.faults) > 0 {
		t.Errorf("%d are done, %q", done, q.faults)
	}
	var got []int
	for _, a := range q.arrived["test::call"] {
		got = append(got, len(a.Records))
	}
	if diff := cmp.Diff([]int{2, 2, 1}, got); diff != "" {
		t.Errorf("calls of the messages (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string][]string{"test::call call/g": {"c0", "c1", "c2", "c3", "c4"}}, q.lanes()); diff != "" {
		t.Errorf("the lanes (-want +got):\n%s", diff)
	}
}

func TestLargeMessagesLeaveInSeveralCalls(t *testing.T) {
	t.Parallel()
	q := newQueues()
	var records []message.Record
	for i := range 12 {
		records = append(records, change(fmt.Sprint("k", i), int64(i+1), strings.Repeat("x", 90_000)))
	}
	if done := fifo.NewRouter(routed(t), q.options()).Route(t.Context(), records); done != 12 || len(q.faults) > 0 {
		t.Errorf("%d are done, %q", done, q.faults)
	}
	if got := len(q.arrived["test::all"]); got != 12 {
		t.Errorf("%d messages arrived", got)
	}
}

func TestARecordThatWasTooLargeForItsRowIsReadFromItsBlob(t *testing.T) {
	t.Parallel()
	q := newQueues()
	call := message.Record{ID: "c", Record: port.Record{Target: "test::call", Call: &port.Call{ID: "c", Function: "test::call"}}}
	text, err := message.Encode(call)
	if err != nil {
		t.Fatal(err)
	}
	records := []message.Record{change("k", 1, ""), {ID: "c", Blob: "test::call/x"}, change("k", 2, "")}
	router := fifo.NewRouter(routed(t), q.options())
	if done := router.Route(t.Context(), records); done != 1 || len(q.arrived["test::all"]) != 1 {
		t.Errorf("without the blob %d are done: %v", done, q.arrived)
	}
	q.blobs["test::call/x"] = text
	if done := router.Route(t.Context(), records[1:]); done != 2 || len(q.arrived["test::call"]) != 1 {
		t.Errorf("with the blob %d are done: %v", done, q.arrived)
	}
}

func TestARecordThatIsRedrivenTwiceIsNoRepetition(t *testing.T) {
	t.Parallel()
	q := newQueues()
	router := fifo.NewRouter(routed(t), q.options())
	for position := range uint64(2) {
		redriven := change("k", 1, "")
		redriven.Target, redriven.Position = "test::all", position+1
		for range 2 {
			if done := router.Route(t.Context(), []message.Record{redriven}); done != 1 {
				t.Errorf("%d are done", done)
			}
		}
	}
	if got := len(q.arrived["test::all"]); got != 2 {
		t.Errorf("%d messages arrived", got)
	}
}

func TestALaneThatFailsHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	q := newQueues()
	entries := 0
	q.fail = func(attempt, of string) fate {
		if entries += strings.Count(attempt, "entry"); attempt == "entry1" && entries == 2 {
			return refused
		}
		return taken
	}
	records := []message.Record{change("a", 1, ""), change("b", 2, ""), change("c", 3, ""), change("b", 4, "")}
	app := eddy.New()
	eddy.React(app, "test::all", ignore, eddy.Scope[thing]("things").Changes())
	router := fifo.NewRouter(app, q.options())
	if done := router.Route(t.Context(), records); done != 1 {
		t.Errorf("%d are done", done)
	}
	want := []string{"test::all state/things/a", "test::all state/things/c"}
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(q.lanes()))); diff != "" {
		t.Errorf("the lanes (-want +got):\n%s", diff)
	}
}

// instant answers at once that everything was taken.
type instant struct{}

func (instant) SendMessageBatch(
	_ context.Context, in *sqs.SendMessageBatchInput, _ ...func(*sqs.Options),
) (*sqs.SendMessageBatchOutput, error) {
	out := &sqs.SendMessageBatchOutput{Successful: make([]types.SendMessageBatchResultEntry, len(in.Entries))}
	for i, e := range in.Entries {
		out.Successful[i].Id = e.Id
	}
	return out, nil
}

// BenchmarkRouter routes records of 120 bytes, in the batches that the stream gives, to three functions each.
func BenchmarkRouter(b *testing.B) {
	const batch = 100
	app := routed(b)
	options := newQueues().options()
	options.Client = instant{}
	router := fifo.NewRouter(app, options)
	records := make([]message.Record, batch)
	for i := range records {
		records[i] = change(fmt.Sprint("todo-", i), int64(i+1), strings.Repeat("x", 100))
		records[i].Change.Old = records[i].Change.New
		records[i].Change.New = document.Value(strings.Replace(string(records[i].Change.Old), `"n":1`, `"n":2`, 1))
	}
	b.ReportAllocs()
	for b.Loop() {
		if done := router.Route(b.Context(), records); done != batch {
			b.Fatalf("%d are done", done)
		}
	}
	b.ReportMetric(float64(b.N*batch)/b.Elapsed().Seconds(), "records/s")
}
