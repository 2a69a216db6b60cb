package localstack_test

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
)

// executor runs the deployed functions for ministack: it is what the proxy variable of each function names.
//
// The server posts an event; a process of the function's own binary fetches it over the Runtime API and answers. A process
// has one event at a time, is kept for the next, and is killed when it takes longer than the function's timeout.
type executor struct {
	client *lambda.Client
	url    string // of its own server
	folder string // for the code of functions
	output io.Writer

	mu           sync.Mutex
	codes        map[string]string       // the binary, by the hash of the deployed code
	functions    map[string]*function    // by name
	environments map[string]*environment // by the segment of the path that its process calls
}

// function is a deployed function.
type function struct {
	name      string
	binary    string
	variables []string
	places    chan struct{}  // one taken for each call that runs
	idle      []*environment // the one used last is last, and used first
	calls     int
	processes int
}

// environment is a process that runs a function.
type environment struct {
	id       string
	function *function
	command  *exec.Cmd
	events   chan *invocation // what its process is to fetch; holds one
	exited   chan struct{}

	mu      sync.Mutex
	current *invocation // fetched and not answered
}

// invocation is one call of a function.
type invocation struct {
	id, arn  string
	deadline time.Time
	event    []byte
	answer   chan answer // holds one
}

// answer is what the server gets. A status other than 200 is a failed invocation.
type answer struct {
	status int
	body   []byte
}

// mostProcesses is how many processes a function has at most. Calls beyond it wait, where AWS would start a thousand.
const mostProcesses = 24

// proxyVariable makes ministack post the events of a function that has it, instead of running the function.
const proxyVariable = "MINISTACK_LAMBDA_PROXY_URL"

// newExecutor starts an executor, which ends with the test. What functions print goes to output.
func newExecutor(t *testing.T, e endpoint, output io.Writer) *executor {
	t.Helper()
	x := &executor{
		client:       lambda.NewFromConfig(e.config),
		folder:       t.TempDir(),
		output:       output,
		codes:        map[string]string{},
		functions:    map[string]*function{},
		environments: map[string]*environment{},
	}
	routes := http.NewServeMux()
	routes.HandleFunc("POST /invoke", x.invoke)
	const api = "/{environment}/2018-06-01/runtime"
	routes.HandleFunc("GET "+api+"/invocation/next", x.next)
	routes.HandleFunc("POST "+api+"/invocation/{invocation}/response", x.respond(http.StatusOK))
	routes.HandleFunc("POST "+api+"/invocation/{invocation}/error", x.respond(http.StatusInternalServerError))
	routes.HandleFunc("POST "+api+"/init/error", x.initError)
	server := httptest.NewServer(routes)
	x.url = server.URL
	t.Cleanup(func() {
		x.stop()
		server.Close()
	})
	return x
}

// adopt makes the deployed function run here, with its own code and variables and those given beside them.
func (x *executor) adopt(ctx context.Context, name string, beside map[string]string) error {
	got, err := x.client.GetFunction(ctx, &lambda.GetFunctionInput{FunctionName: &name})
	if err != nil {
		return fmt.Errorf("the Lambda %s: %w", name, err)
	}
	binary, err := x.code(ctx, *got.Code.Location, *got.Configuration.CodeSha256)
	if err != nil {
		return fmt.Errorf("the code of %s: %w", name, err)
	}
	variables := map[string]string{}
	if got.Configuration.Environment != nil {
		maps.Copy(variables, got.Configuration.Environment.Variables)
	}
	maps.Copy(variables, beside)
	x.mu.Lock()
	x.functions[name] = &function{
		name: name, binary: binary, variables: x.variables(got.Configuration, variables),
		places: make(chan struct{}, mostProcesses),
	}
	x.mu.Unlock()

	variables[proxyVariable] = x.url + "/invoke"
	_, err = x.client.UpdateFunctionConfiguration(ctx, &lambda.UpdateFunctionConfigurationInput{
		FunctionName: &name, Environment: &types.Environment{Variables: variables},
	})
	if err != nil {
		return fmt.Errorf("the variables of %s: %w", name, err)
	}
	return nil
}

// variables are what a process of the function finds in its environment: what Lambda gives every function, and its own.
func (x *executor) variables(of *types.FunctionConfiguration, own map[string]string) []string {
	all := map[string]string{
		"AWS_ENDPOINT_URL":                aws.ToString(x.client.Options().BaseEndpoint),
		"AWS_REGION":                      x.client.Options().Region,
		"AWS_DEFAULT_REGION":              x.client.Options().Region,
		"AWS_ACCESS_KEY_ID":               "test",
		"AWS_SECRET_ACCESS_KEY":           "test",
		"AWS_LAMBDA_FUNCTION_NAME":        *of.FunctionName,
		"AWS_LAMBDA_FUNCTION_VERSION":     "$LATEST",
		"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": strconv.Itoa(int(aws.ToInt32(of.MemorySize))),
		"AWS_LAMBDA_LOG_GROUP_NAME":       "/aws/lambda/" + *of.FunctionName,
		"AWS_LAMBDA_LOG_STREAM_NAME":      "executor",
		"_HANDLER":                        aws.ToString(of.Handler),
		"LAMBDA_TASK_ROOT":                x.folder,
	}
	maps.Copy(all, own)
	list := make([]string, 0, len(all))
	for name, value := range all {
		list = append(list, name+"="+value)
	}
	return list
}

// code fetches the deployed code, once for all functions that share it, and returns the path of its binary.
func (x *executor) code(ctx context.Context, location, hash string) (string, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if binary, fetched := x.codes[hash]; fetched {
		return binary, nil
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, location, nil)
	if err != nil {
		return "", err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	archive, err := io.ReadAll(response.Body)
	if err != nil {
		return "", err
	}
	if response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("status %d: %.200s", response.StatusCode, archive)
	}
	binary := filepath.Join(x.folder, "bootstrap-"+strconv.Itoa(len(x.codes)))
	if err := extract(archive, "bootstrap", binary); err != nil {
		return "", err
	}
	x.codes[hash] = binary
	return binary, nil
}

// extract writes one file of a zip archive to a path, executable.
func extract(archive []byte, name, path string) error {
	files, err := zip.NewReader(bytes.NewReader(archive), int64(len(archive)))
	if err != nil {
		return err
	}
	file, err := files.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	text, err := io.ReadAll(file)
	if err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o700)
}

// invoke is what the server calls: the body is the event.
func (x *executor) invoke(w http.ResponseWriter, r *http.Request) {
	event, err := io.ReadAll(r.Body)
	milliseconds, faulty := strconv.ParseInt(r.Header.Get("X-Amzn-Lambda-Deadline-Ms"), 10, 64)
	if err != nil || faulty != nil {
		http.Error(w, "no event with a deadline", http.StatusBadRequest)
		return
	}
	call := &invocation{
		id:       r.Header.Get("X-Amzn-Lambda-Request-Id"),
		arn:      r.Header.Get("X-Amzn-Lambda-Function-Arn"),
		deadline: time.UnixMilli(milliseconds),
		event:    scheduled(event),
		answer:   make(chan answer, 1),
	}
	got := x.call(r.Header.Get("X-Amzn-Lambda-Function-Name"), call)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(got.status)
	_, _ = w.Write(got.body) // a server that went away asks again
}

// call has a function answer the call, as soon as it has a place.
func (x *executor) call(name string, call *invocation) answer {
	x.mu.Lock()
	f := x.functions[name]
	x.mu.Unlock()
	if f == nil {
		return failure("ResourceNotFoundException", "no function "+name+" was deployed")
	}
	f.places <- struct{}{}
	defer func() { <-f.places }()
	at, err := x.take(f)
	if err != nil {
		return failure("Runtime.InvalidEntrypoint", err.Error())
	}
	return x.run(at, call)
}

// run has the environment answer the call, and keeps it for the next one if it does.
func (x *executor) run(at *environment, call *invocation) answer {
	overtime := time.NewTimer(time.Until(call.deadline))
	defer overtime.Stop()
	at.events <- call
	select {
	case got := <-call.answer:
		x.mu.Lock()
		at.function.idle = append(at.function.idle, at)
		x.mu.Unlock()
		if got.status == http.StatusOK && leaves(call.event, got.body) {
			return failure("Executor.PartialBatch", "the function left records of the stream: "+string(got.body))
		}
		return got
	case <-at.exited:
		return failure("Runtime.ExitError", "the process ended before it answered")
	case <-overtime.C:
		_ = at.command.Process.Kill() // it may just have ended
		return failure("Sandbox.Timedout", "the function took longer than its timeout")
	}
}

// leaves reports whether the answer names records of a stream that are still to be done. The server takes such an answer
// for done and drops them; after a failure it sends the whole batch again, which is more than AWS would and no less.
func leaves(event, response []byte) bool {
	var batch struct {
		Records []struct{ EventSource string }
	}
	var result struct{ BatchItemFailures []json.RawMessage }
	return json.Unmarshal(event, &batch) == nil && json.Unmarshal(response, &result) == nil &&
		len(result.BatchItemFailures) > 0 && len(batch.Records) > 0 && batch.Records[0].EventSource == "aws:dynamodb"
}

// scheduledTime is what EventBridge Scheduler puts the time of a tick in the place of.
const scheduledTime = "<aws.scheduler.scheduled-time>"

// scheduled puts the time of a tick where the server has left the place of it: it sends the ticks of a schedule as they are
// written, in the minute that they are due in.
func scheduled(event []byte) []byte {
	var batch events.SQSEvent
	if !bytes.Contains(event, []byte(scheduledTime)) || json.Unmarshal(event, &batch) != nil || len(batch.Records) == 0 {
		return event
	}
	for i := range batch.Records {
		record := &batch.Records[i]
		sent, err := strconv.ParseInt(record.Attributes["SentTimestamp"], 10, 64)
		if err != nil {
			return event
		}
		at := time.UnixMilli(sent).UTC().Truncate(time.Minute).Format(time.RFC3339)
		record.Body = strings.ReplaceAll(record.Body, scheduledTime, at)
	}
	whole, err := json.Marshal(batch)
	if err != nil {
		return event
	}
	return whole
}

// failure is the answer of the Lambda service for a function that gave none.
func failure(kind, message string) answer {
	body, err := json.Marshal(map[string]string{"errorType": kind, "errorMessage": message})
	if err != nil {
		body = []byte(err.Error())
	}
	return answer{http.StatusInternalServerError, body}
}

// take returns an environment of the function that has nothing to do: an idle one, or a new one.
func (x *executor) take(f *function) (*environment, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	f.calls++
	for len(f.idle) > 0 {
		last := f.idle[len(f.idle)-1]
		f.idle = f.idle[:len(f.idle)-1]
		select {
		case <-last.exited: // on its own, between two calls
		default:
			return last, nil
		}
	}
	return x.start(f)
}

// start starts a process of the function.
func (x *executor) start(f *function) (*environment, error) {
	e := &environment{
		id:       strconv.Itoa(len(x.environments)),
		function: f,
		command:  exec.Command(f.binary),
		events:   make(chan *invocation, 1),
		exited:   make(chan struct{}),
	}
	e.command.Dir = x.folder
	e.command.Env = append([]string{"AWS_LAMBDA_RUNTIME_API=" + strings.TrimPrefix(x.url, "http://") + "/" + e.id},
		f.variables...)
	e.command.Stdout, e.command.Stderr = x.output, x.output
	if err := e.command.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", f.name, err)
	}
	x.environments[e.id] = e
	f.processes++
	go func() {
		defer close(e.exited)
		_ = e.command.Wait() // how it ended is the same to whoever waits for its answer
	}()
	return e, nil
}

// stop ends all processes, and says how much they were used.
func (x *executor) stop() {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(x.functions)) {
		fmt.Fprintf(x.output, "%s: %d calls in %d processes\n", name, x.functions[name].calls, x.functions[name].processes)
	}
	for _, e := range x.environments {
		_ = e.command.Process.Kill() // it may have ended
		<-e.exited
	}
}

func (x *executor) environment(r *http.Request) *environment {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.environments[r.PathValue("environment")]
}

// next gives a process its next event, as soon as there is one.
func (x *executor) next(w http.ResponseWriter, r *http.Request) {
	e := x.environment(r)
	select {
	case call := <-e.events:
		e.mu.Lock()
		e.current = call
		e.mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Lambda-Runtime-Aws-Request-Id", call.id)
		w.Header().Set("Lambda-Runtime-Deadline-Ms", strconv.FormatInt(call.deadline.UnixMilli(), 10))
		w.Header().Set("Lambda-Runtime-Invoked-Function-Arn", call.arn)
		_, _ = w.Write(call.event) // a process that went away is seen to have exited
	case <-r.Context().Done():
	}
}

// respond takes a process's answer to its event.
func (x *executor) respond(status int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		e := x.environment(r)
		e.mu.Lock()
		call := e.current
		e.current = nil
		e.mu.Unlock()
		if err != nil || call == nil || call.id != r.PathValue("invocation") {
			http.Error(w, `{"errorType":"InvalidRequestID"}`, http.StatusBadRequest)
			return
		}
		call.answer <- answer{status, body}
		w.WriteHeader(http.StatusAccepted)
	}
}

// initError takes why a process cannot start. It exits next, which is what the caller learns; the reason is printed.
func (x *executor) initError(w http.ResponseWriter, r *http.Request) {
	text, _ := io.ReadAll(r.Body) // as much as came
	fmt.Fprintf(x.output, "%s cannot start: %s\n", x.environment(r).function.name, text)
	w.WriteHeader(http.StatusAccepted)
}
