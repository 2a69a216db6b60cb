package host

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-lambda-go/events"

	"github.com/eddyhq/eddy/shared/deployed"
	"github.com/eddyhq/eddy/shared/eddy"
	"github.com/eddyhq/eddy/shared/port"
)

var (
	faultSeed = flag.Uint64("fault-seed", 0, "play only the run of this seed; 0: those of -fault-runs")
	faultRuns = flag.Int("fault-runs", 3, "number of runs with faults")
)

type paper struct {
	N int `json:"n"`
}

// journal is what the functions of these tests note.
type journal struct {
	Seen [][]string `json:"seen,omitempty"` // a text that is appended to nothing would be no list
	Sum  int        `json:"sum,omitempty"`
}

type order struct {
	Key   string `json:"key"`
	Value string `json:"value"`
	Due   int64  `json:"due,omitempty"` // milliseconds of the Unix epoch
}

var (
	papers   = eddy.Scope[paper]("papers")
	journals = eddy.Scope[journal]("journals")
	branches = eddy.Scope[paper]("branches")
)

const delay = 20 * time.Second

// office is an app of which each part does something that can be lost, doubled or come out of order.
type office struct {
	*faults
	early atomic.Int64 // messages that ran before they were due
}

// fails reports whether an attempt is to fail, once it has written.
func (o *office) fails(names ...string) bool {
	return o.oneIn > 0 && o.draw(8, append(names, "attempt")...) == 0
}

func (o *office) app() *eddy.App {
	app := eddy.New()
	retry := []eddy.Option{eddy.MaxAttempts(1000), eddy.Backoff(10*time.Millisecond, time.Second)}
	with := func(opts ...eddy.Option) []eddy.Option { return append(opts, retry...) }
	type input struct {
		ID string `json:"id"`
		N  int    `json:"n,omitempty"`
	}
	eddy.Register(app, "f::put", func(ctx context.Context, in input) (eddy.None, error) {
		return eddy.None{}, papers.Set(ctx, in.ID, paper{in.N})
	}, eddy.HTTP("PUT /papers/{id}"), eddy.Uses(papers))
	eddy.Register(app, "f::drop", func(ctx context.Context, in input) (eddy.None, error) {
		return eddy.None{}, papers.Delete(ctx, in.ID)
	}, eddy.HTTP("DELETE /papers/{id}"), eddy.Uses(papers))
	eddy.Register(app, "f::bump", func(ctx context.Context, in input) (eddy.None, error) {
		return eddy.None{}, journals.Increment(ctx, in.ID, "sum", 1)
	}, eddy.HTTP("POST /bump/{id}"), eddy.Uses(journals))
	eddy.Register(app, "f::move", func(ctx context.Context, _ input) (eddy.None, error) {
		return eddy.None{}, eddy.Transact(ctx, func(ctx context.Context) error {
			return errors.Join(journals.Increment(ctx, "moved-from", "sum", 1), journals.Increment(ctx, "moved-to", "sum", 1))
		})
	}, eddy.HTTP("POST /move/{id}"), eddy.Uses(journals))
	eddy.Register(app, "f::pay", func(ctx context.Context, in input) (input, error) {
		return in, note(ctx, "paid", in.ID)
	}, eddy.HTTP("POST /pay/{id}"), eddy.Uses(journals))
	eddy.React(app, "f::log", o.log, papers.Changes(),
		with(eddy.Uses(journals, branches, eddy.Enqueues("orders"), eddy.Enqueues("letters"), eddy.Invokes("f::note")))...)
	eddy.React(app, "f::count", func(ctx context.Context, c eddy.Change[paper]) error {
		return o.then(journals.Increment(ctx, "count", "sum", 1), "count", c.ID)
	}, papers.Changes(), with(eddy.Uses(journals))...)
	eddy.Register(app, "f::ship", func(ctx context.Context, in order) (eddy.None, error) {
		return eddy.None{}, o.then(note(ctx, "shipped-"+in.Key, in.Value), "ship", in.Key, in.Value)
	}, with(eddy.Queue("orders", eddy.FIFO("key")), eddy.Uses(journals))...)
	eddy.Register(app, "f::post", func(ctx context.Context, in order) (eddy.None, error) {
		if eddy.Now(ctx).UnixMilli() < in.Due {
			o.early.Add(1)
		}
		return eddy.None{}, o.then(note(ctx, "posted", in.Key+" "+in.Value), "post", in.Key, in.Value)
	}, with(eddy.Queue("letters", eddy.Delay(delay)), eddy.Uses(journals))...)
	eddy.Register(app, "f::note", func(ctx context.Context, in order) (eddy.None, error) {
		return eddy.None{}, o.then(journals.Increment(ctx, "notes", "sum", 1), "note", in.Key, in.Value)
	}, with(eddy.Uses(journals))...)
	eddy.Register(app, "f::tick", func(ctx context.Context, tick eddy.Tick) (eddy.None, error) {
		return eddy.None{}, o.then(note(ctx, "ticks", eddy.TickTime(tick.At)), "tick", eddy.TickTime(tick.At))
	}, with(eddy.Every(time.Minute), eddy.Uses(journals))...)
	return app
}

func (o *office) then(err error, names ...string) error {
	if err == nil && o.fails(names...) {
		return errors.New("not now")
	}
	return err
}

func note(ctx context.Context, key, what string) error {
	_, err := journals.Update(ctx, key, eddy.Append([]string{what}, "seen"))
	return err
}

// log does something else in each attempt.
func (o *office) log(ctx context.Context, c eddy.Change[paper]) error {
	value := "deleted"
	if c.New != nil {
		value = fmt.Sprint(c.New.N)
	}
	branch := []string{"left", "right"}[o.draw(2, "branch", c.ID)]
	if err := branches.Set(ctx, branch+"/"+c.ID, paper{}); err != nil {
		return err
	}
	if branch == "left" && o.fails("left", c.ID) {
		return errors.New("not now")
	}
	if err := note(ctx, "log-"+c.Key, value); err != nil {
		return err
	}
	out := order{Key: c.Key, Value: value + "/" + c.ID}
	if _, err := eddy.Enqueue(ctx, "orders", out); err != nil {
		return err
	}
	if _, err := eddy.Void(ctx, "f::note", out); err != nil {
		return err
	}
	out.Due = eddy.Now(ctx).Add(delay).UnixMilli()
	_, err := eddy.Enqueue(ctx, "letters", out)
	return o.then(err, "log", c.ID)
}

// figures are what must all be zero.
type figures struct {
	acknowledged, reactions, counters, doubled, documents, messages, early, letters int
}

func (f figures) String() string {
	return fmt.Sprintf("acknowledged writes lost %d, reactions lost %d, counters off by %d, once-only effects doubled %d, "+
		"order violations per document %d, messages out of order %d, messages too early %d, dead letters %d",
		f.acknowledged, f.reactions, f.counters, f.doubled, f.documents, f.messages, f.early, f.letters)
}

// story is one run: what clients were told, and what there is to compare it with.
type story struct {
	*world
	office *office
	next   int
	acks   map[string][]string // values that were acknowledged, by paper
	bumped [2]int              // acknowledged, and those that may have been done
	moved  [2]int              // the same
	ticks  []string
	paid   []string
}

// tell makes requests, routes, delivers, repeats and replays, as the seed says, and settles.
func (s *story) tell(steps int) {
	began := time.Now().Truncate(time.Minute)
	for step := range steps {
		switch s.chance.IntN(14) {
		case 0, 1, 2, 3:
			s.write(fmt.Sprint("p", s.chance.IntN(5)))
		case 4:
			s.request("DELETE /papers/{id}", fmt.Sprint("p", s.chance.IntN(5)), "", nil)
		case 5:
			s.count("POST /bump/{id}", &s.bumped)
		case 11:
			s.count("POST /move/{id}", &s.moved)
		case 6:
			s.rewind()
		case 7:
			s.ring(began.Add(time.Duration(len(s.ticks)) * time.Minute))
		case 8:
			s.pay()
		case 9, 10:
			s.route(1 + s.chance.IntN(30))
		default:
			if names := s.aws.queues.names(); len(names) > 0 {
				s.deliver(names[s.chance.IntN(len(names))], s.chance.IntN(3) == 0)
			}
		}
		if step%20 == 19 {
			s.wait(time.Duration(s.chance.IntN(1000)) * time.Millisecond)
		}
	}
	s.settle(s.step)
	s.position = 0 // TRIM_HORIZON
	s.aws.queues.forget()
	s.settle(s.step)
}

func (s *story) write(id string) {
	s.next++
	if status := s.request("PUT /papers/{id}", id, fmt.Sprintf(`{"n":%d}`, s.next), nil); status == 200 {
		s.acks[id] = append(s.acks[id], fmt.Sprint(s.next))
	}
}

// count makes a request that adds to counters, and notes whether it was acknowledged.
func (s *story) count(route string, of *[2]int) {
	told := 1
	if s.request(route, "bumps", "{}", nil) == 200 {
		told = 0
	}
	of[told]++
}

// pay sends a request with an idempotency key, to a route or by the id of its function, until it is answered, and once more.
func (s *story) pay() {
	id := fmt.Sprint("payment-", len(s.paid))
	s.paid = append(s.paid, id)
	route, body := "POST /pay/{id}", "{}"
	if s.chance.IntN(2) == 0 {
		route, body = "POST /_eddy/invoke/f::pay", `{"id":"`+id+`"}`
	}
	for answers := 0; answers < 2; {
		if s.request(route, id, body, map[string]string{"idempotency-key": id}) == 200 {
			answers++
		}
	}
}

// rewind has the stream read again, from anywhere, sometimes when SQS remembers nothing of it.
func (s *story) rewind() {
	s.position = s.chance.IntN(s.position + 1)
	if s.chance.IntN(2) == 0 {
		s.aws.queues.forget()
	}
}

// ring sends a tick, and sometimes again, and again once SQS has forgotten it.
func (s *story) ring(at time.Time) {
	s.ticks = append(s.ticks, eddy.TickTime(at))
	for range 1 + s.chance.IntN(3) {
		s.tick("f::tick", at)
		if s.chance.IntN(2) == 0 {
			s.aws.queues.forget()
		}
	}
}

// committed returns what the table says of papers: for each its values in their order, and the ids of all changes.
func (s *story) committed() (values map[string][]string, shipped map[string][]string, ids []string) {
	values, shipped = map[string][]string{}, map[string][]string{}
	for _, r := range s.stream() {
		id := text(r.Change.Keys["sk"])
		if text(r.Change.Keys["pk"]) != string(port.Scope("papers")) || r.EventName == "REMOVE" {
			continue
		}
		value := "deleted"
		if document, ok := r.Change.NewImage["value"].(object); ok {
			value = document["M"].(object)["n"].(object)["N"].(string)
		}
		c := port.Change{Collection: port.Scope("papers"), Key: id, Version: number(r.Change.NewImage["version"].(object)).Num().Int64()}
		values[id] = append(values[id], value)
		shipped[id] = append(shipped[id], value+"/"+c.ID())
		ids = append(ids, c.ID())
	}
	return values, shipped, ids
}

// audit compares what there is with what there should be.
func (s *story) audit() (f figures) {
	values, shipped, ids := s.committed()
	noted := func(key string) (seen []string, sum int) {
		var j journal
		s.document("journals", key, &j)
		return slices.Concat(j.Seen...), j.Sum
	}
	seen := func(key string) []string {
		seen, _ := noted(key)
		return seen
	}
	sum := func(key string) int {
		_, sum := noted(key)
		return sum
	}
	var posted []string
	for id, want := range values {
		f.acknowledged += notWithin(s.acks[id], want)
		lost, doubled, disordered := differences(want, seen("log-"+id))
		f.reactions, f.doubled, f.documents = f.reactions+lost, f.doubled+doubled, f.documents+disordered
		lost, doubled, disordered = differences(shipped[id], seen("shipped-"+id))
		f.reactions, f.doubled, f.messages = f.reactions+lost, f.doubled+doubled, f.messages+disordered
		for _, value := range shipped[id] {
			posted = append(posted, id+" "+value)
		}
	}
	for id := range s.acks {
		if values[id] == nil {
			f.acknowledged += len(s.acks[id])
		}
	}
	lost, doubled, _ := differences(posted, seen("posted"))
	f.reactions, f.doubled = f.reactions+lost, f.doubled+doubled
	lost, doubled, _ = differences(ids, s.branches())
	f.reactions, f.doubled = f.reactions+lost, f.doubled+doubled
	lost, doubled, disordered := differences(s.ticks, seen("ticks"))
	f.reactions, f.doubled, f.messages = f.reactions+lost, f.doubled+doubled, f.messages+disordered
	lost, doubled, disordered = differences(s.paid, seen("paid"))
	f.acknowledged, f.doubled, f.documents = f.acknowledged+lost, f.doubled+doubled, f.documents+disordered
	f.counters = off(sum("count"), len(ids), len(ids)) + off(sum("notes"), len(ids), len(ids)) +
		off(sum("bumps"), s.bumped[0], s.bumped[0]+s.bumped[1]) +
		off(sum("moved-from"), s.moved[0], s.moved[0]+s.moved[1]) + off(sum("moved-to"), sum("moved-from"), sum("moved-from"))
	f.early, f.letters = int(s.office.early.Load()), len(s.letters())
	return f
}

// branches returns the ids of the changes for which there is a branch, one for each.
func (s *story) branches() (ids []string) {
	after := ""
	for {
		page, err := s.calm().engine.List(s.t.Context(), port.Scope("branches"), port.Query{After: after, Limit: 500})
		if err != nil {
			s.t.Fatal(err)
		}
		for _, d := range page.Documents {
			_, id, _ := strings.Cut(d.Key, "/")
			ids = append(ids, id)
		}
		if !page.More {
			return ids
		}
		after = page.Next
	}
}

// off is how far a number is from a range.
func off(n, lowest, highest int) int { return max(lowest-n, n-highest, 0) }

// notWithin returns how many of some values are not among others, in that order.
func notWithin(some, others []string) (missing int) {
	for _, value := range some {
		i := slices.Index(others, value)
		if i < 0 {
			missing++
			continue
		}
		others = others[i+1:]
	}
	return missing
}

// differences compares what should be there, each once and in order, with what is.
func differences(want, got []string) (lost, doubled, disordered int) {
	count := map[string]int{}
	for _, value := range got {
		count[value]++
	}
	wanted := map[string]int{}
	for _, value := range want {
		wanted[value]++
	}
	for value, n := range wanted {
		lost += max(0, n-count[value])
	}
	for value, n := range count {
		doubled += max(0, n-wanted[value])
	}
	if lost == 0 && doubled == 0 && !slices.Equal(want, got) {
		disordered = 1
	}
	return lost, doubled, disordered
}

// play tells a story in memory, where waits take no time, and returns its figures.
func play(t *testing.T, f *faults, tell func(*story)) (got figures, s *story) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f.waiting = true
		s = newStory(t, f, newDynamoDB(), time.Now, time.Sleep)
		tell(s)
		got = s.audit()
		if s.most >= 100 {
			t.Errorf("a message was received %d times", s.most)
		}
	})
	return got, s
}

func newStory(t *testing.T, f *faults, in tables, now func() time.Time, wait func(time.Duration)) *story {
	o := &office{faults: f}
	return &story{world: newWorld(t, o.app(), f, in, now, wait), office: o, acks: map[string][]string{}}
}

// Whatever AWS loses, refuses, repeats and replays, and whenever Lambdas are killed: nothing that was acknowledged is lost,
// each change, message, tick and request with a key takes effect exactly once and in its order, and counters are right.
func TestFaults(t *testing.T) {
	t.Parallel()
	seeds := []uint64{*faultSeed}
	if *faultSeed == 0 {
		seeds = nil
		for range *faultRuns {
			seeds = append(seeds, rand.Uint64N(1_000_000)+1)
		}
	}
	for _, seed := range seeds {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			oneIn := 4 + int(seed%16)
			f := &faults{seed: seed, oneIn: oneIn}
			got, s := play(t, f, func(s *story) { s.tell(150) })
			s.report(t, got, fmt.Sprintf("seed %d, one request in %d goes wrong", seed, oneIn))
		})
	}
}

// report prints the figures of a run, all of which have to be zero.
func (s *story) report(t *testing.T, got figures, of string) {
	t.Helper()
	t.Logf("%s: %d writes, %d payments, %d ticks, %d runs of Lambdas, %d of them lost, %d answers replayed; requests: %v",
		of, s.next, len(s.paid), len(s.ticks), s.runs, s.lost, s.replayed, s.aws.hit)
	t.Log(got)
	if got != (figures{}) {
		t.Errorf("not all of it is zero; play it again with -fault-seed %d", s.aws.seed)
	}
}

// short makes one of everything, and settles. Nothing is left to chance.
func (s *story) short() {
	s.write("p1")
	s.count("POST /bump/{id}", &s.bumped)
	s.count("POST /move/{id}", &s.moved)
	s.pay()
	s.ring(time.Now().Truncate(time.Minute))
	s.settle(s.step)
	s.position = 0
	s.aws.queues.forget()
	s.settle(s.step)
}

func TestCountersThatNoCursorGuardsAreRight(t *testing.T) {
	t.Parallel()
	got, s := play(t, &faults{seed: 3, oneIn: 4}, func(s *story) {
		for range 40 {
			s.count("POST /bump/{id}", &s.bumped)
			s.count("POST /move/{id}", &s.moved)
		}
	})
	s.report(t, got, fmt.Sprintf("acknowledged and perhaps done: %d of one counter, %d of two together", s.bumped, s.moved))
}

func TestALambdaIsKilledAfterEachWriteInTurn(t *testing.T) {
	t.Parallel()
	_, whole := play(t, &faults{seed: 1}, (*story).short)
	writes := whole.aws.writes.Load()
	if writes < 20 {
		t.Fatalf("only %d writes", writes)
	}
	var sum figures
	for n := range writes {
		got, s := play(t, &faults{seed: 1, kill: n + 1}, (*story).short)
		if got != (figures{}) || s.lost != 1 {
			t.Errorf("killed %d Lambdas after write %d: %v", s.lost, n+1, got)
		}
		sum.acknowledged += got.acknowledged
	}
	t.Logf("killed after each of %d writes: %v", writes, sum)
}

func TestEveryDeliveryIsMadeTwice(t *testing.T) {
	t.Parallel()
	got, s := play(t, &faults{seed: 7}, func(s *story) {
		for range 20 {
			s.write(fmt.Sprint("p", s.chance.IntN(3)))
			s.ring(time.Now().Truncate(time.Minute).Add(time.Duration(len(s.ticks)) * time.Minute))
			s.pay()
		}
		s.settle(func() {
			s.route(5)
			s.position = max(0, s.position-1) // and the last record of each batch of the stream, unless it is the last of all
			if s.position+1 == len(s.stream()) {
				s.position++
			}
			s.aws.queues.forget()
			for _, queue := range s.aws.queues.names() {
				s.deliver(queue, true)
			}
		})
	})
	s.report(t, got, "every delivery twice, side by side")
}

func TestFiftyDeliveriesOnOneCounterAtOnce(t *testing.T) {
	t.Parallel()
	const deliveries = 50
	got, s := play(t, &faults{seed: 11, oneIn: 6}, func(s *story) {
		for n := range deliveries {
			s.write(fmt.Sprint("p", n))
		}
		for s.position < len(s.stream()) {
			s.route(100)
		}
		queue := deployed.QueueName("eddy-test", "f::count")
		var batches [][]queued
		for batch := s.aws.queues.receive(queue); len(batch) > 0; batch = s.aws.queues.receive(queue) {
			for i := range batch {
				batches = append(batches, batch[i:i+1])
			}
		}
		var side sync.WaitGroup
		for _, batch := range batches {
			for range 2 {
				side.Go(func() {
					var answer events.SQSEventResponse
					s.invoke("f::count", sqsEvent(batch), &answer)
				})
			}
		}
		side.Wait()
		for _, batch := range batches { // nobody heard what they answered: all of them come again
			s.aws.queues.hide(queue, batch[0].id, 0)
		}
		s.settle(s.step)
	})
	s.report(t, got, "fifty deliveries on one counter at once")
}
