package host

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
)

// faults say what goes wrong between Lambdas and AWS. What becomes of a request depends on the seed, on what is asked for, and
// on how often that was asked before, in whatever order goroutines come. So a seed plays the same faults again; the waits
// between tries stay random, and with them how often something is asked for.
type faults struct {
	seed    uint64
	oneIn   int   // of so many requests one goes wrong; 0: none
	kill    int64 // the number of the write after which the Lambda is killed; 0: no such write
	waiting bool  // a reply may be lost by never coming

	mu     sync.Mutex
	asked  map[string]int
	writes atomic.Int64
	hit    map[fate]int
}

// fate is what becomes of a request.
type fate int

const (
	goesWell fate = iota
	throttled
	contended   // by a transaction
	failsBefore // a 500 of what was not done
	failsAfter  // a 500 of what was done
	resetBefore
	resetAfter
	neverAnswered // it was done
	killedBefore  // the Lambda, when it asks
	killedAfter   // the Lambda, before it hears of what was done
	fates
)

func (f fate) String() string {
	return [...]string{"fine", "throttled", "contended", "500 before", "500 after", "reset before", "reset after", "no answer",
		"killed before", "killed after"}[f]
}

// draw returns a number below n that depends on the names, and on how often it was drawn for them.
func (f *faults) draw(n int, names ...string) int {
	h := fnv.New64a()
	name := strings.Join(names, "\x00")
	f.mu.Lock()
	f.asked[name]++
	fmt.Fprint(h, f.seed, name, f.asked[name])
	f.mu.Unlock()
	return int(h.Sum64() >> 1 % uint64(n))
}

func (f *faults) fateOf(operation, subject string) fate {
	what := goesWell
	if f.oneIn > 0 && f.draw(f.oneIn, operation, subject) == 0 {
		what = fate(1 + f.draw(int(fates)-1, "fate", operation, subject))
	}
	if isWrite(operation) && f.writes.Add(1) == f.kill {
		what = killedAfter
	}
	if what == neverAnswered && !f.waiting {
		what = resetAfter
	}
	f.mu.Lock()
	f.hit[what]++
	f.mu.Unlock()
	return what
}

func isWrite(operation string) bool {
	switch operation {
	case "GetItem", "BatchGetItem", "Query":
		return false
	default:
		return true
	}
}

// amazon is the AWS of a test: an HTTP client in the place of the network.
type amazon struct {
	*faults
	queues *fifoQueues
	tables tables
	call   func(lambda string, payload []byte) (answer json.RawMessage, ok bool)
}

// tables are a DynamoDB.
type tables interface {
	// answer does a request.
	answer(operation string, body []byte) (status int, answer any)
	// told returns what the stream of the documents tells, from its beginning.
	told() ([]streamRecord, error)
}

// sandbox is where a Lambda runs: until it is killed, and then it reaches nothing any more.
type sandbox struct {
	*amazon
	handler Handler
	stop    context.CancelFunc // of what it is invoked with
	killed  atomic.Bool
}

func (s *sandbox) kill() {
	s.killed.Store(true)
	s.stop()
}

// Do implements aws.HTTPClient.
func (s *sandbox) Do(r *http.Request) (*http.Response, error) {
	if s.killed.Load() {
		return nil, context.Canceled
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	if rest, ok := strings.CutPrefix(r.URL.Path, "/2015-03-31/functions/"); ok {
		return s.invoke(strings.TrimSuffix(rest, "/invocations"), body)
	}
	service, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	what := s.fateOf(operation, subjectOf(body))
	if status, text, err := s.before(what, operation); err != nil {
		return nil, err
	} else if status != 0 {
		return respond(status, []byte(text)), nil
	}
	answer := s.queues.answer
	if strings.HasPrefix(service, "DynamoDB") {
		answer = s.tables.answer
	}
	status, content := answer(operation, body)
	text, err := json.Marshal(content)
	if err != nil {
		return nil, err
	}
	return s.after(r.Context(), what, status, text)
}

// invoke is a request for another Lambda.
func (s *sandbox) invoke(lambda string, payload []byte) (*http.Response, error) {
	what := s.fateOf("Invoke", lambda)
	if what == throttled || what == contended {
		return respond(http.StatusTooManyRequests, nil), nil
	}
	if status, text, err := s.before(what, "Invoke"); err != nil {
		return nil, err
	} else if status != 0 {
		return respond(status, []byte(text)), nil
	}
	answer, ok := s.call(lambda, payload)
	if !ok {
		failed := respond(http.StatusOK, []byte(`{"errorType":"Runtime.ExitError","errorMessage":"killed"}`))
		failed.Header.Set("X-Amz-Function-Error", "Unhandled")
		return failed, nil
	}
	if what == neverAnswered {
		what = resetAfter
	}
	return s.after(context.Background(), what, http.StatusOK, answer)
}

const serverError = `{"__type":"com.amazonaws#InternalServerError"}`

// before returns how a request ends that does not arrive; the status is 0 for one that does.
func (s *sandbox) before(what fate, operation string) (status int, text string, err error) {
	switch what {
	case throttled:
		return http.StatusBadRequest, `{"__type":"com.amazonaws#ThrottlingException","message":"slow down"}`, nil
	case contended:
		if operation == "TransactWriteItems" {
			return http.StatusBadRequest, `{"__type":"com.amazonaws#TransactionCanceledException",` +
				`"CancellationReasons":[{"Code":"TransactionConflict"},{"Code":"None"}]}`, nil
		}
		return http.StatusBadRequest, `{"__type":"com.amazonaws#TransactionConflictException"}`, nil
	case failsBefore:
		return http.StatusInternalServerError, serverError, nil
	case resetBefore:
		return 0, "", reset("write")
	case killedBefore:
		s.kill()
		return 0, "", context.Canceled
	default:
		return 0, "", nil
	}
}

// after returns what is heard of what was done.
func (s *sandbox) after(ctx context.Context, what fate, status int, text []byte) (*http.Response, error) {
	switch what {
	case failsAfter:
		return respond(http.StatusInternalServerError, []byte(serverError)), nil
	case resetAfter:
		return nil, reset("read")
	case neverAnswered:
		<-ctx.Done()
		return nil, ctx.Err()
	case killedAfter:
		s.kill()
		return nil, context.Canceled
	default:
		return respond(status, text), nil
	}
}

func reset(operation string) error {
	return &net.OpError{Op: operation, Net: "tcp", Err: syscall.ECONNRESET}
}

func respond(status int, text []byte) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(text)), ContentLength: int64(len(text))}
}

// subjectOf names what a request is about: the partition of its first row, or the queue.
func subjectOf(body []byte) string {
	var in struct {
		QueueURL      string `json:"QueueUrl"`
		Key, Item     object
		TransactItems []struct{ Put, Update, Delete, ConditionCheck *request }
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return ""
	}
	subject := in.QueueURL + text(in.Key["pk"]) + text(in.Item["pk"])
	for _, part := range in.TransactItems {
		if part.Update != nil {
			subject += " " + text(part.Update.Key["pk"])
		}
	}
	return subject
}
