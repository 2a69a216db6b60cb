package crash_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// startLimit and stopLimit are how long a gateway may take to serve and to stop. The second is a promise; the first
// leaves room for a busy machine.
const (
	startLimit = 60 * time.Second
	stopLimit  = 10 * time.Second
)

// process is a gateway in a process of its own.
type process struct {
	command *exec.Cmd
	exited  chan struct{} // closed when it has ended and said all it had to say

	mu     sync.Mutex
	http   string        // the address of its HTTP door; "" until it serves
	serves chan struct{} // closed when it does
	last   []string      // the end of what it said
	alarms []string      // what no gateway should ever say
}

var (
	listensAt = regexp.MustCompile(`^\s*HTTP\s+http://(\S+)`)
	alarming  = regexp.MustCompile(`DATA RACE|^panic:|^fatal error:|panicked|level=ERROR|"level":"ERROR"`)
)

// launch starts a gateway on a data directory, at ports of its own choice unless args say otherwise.
func launch(t *testing.T, data string, args ...string) *process {
	t.Helper()
	return launchAs(t, asGateway+"=1", data, args...)
}

// launchAs is launch of whatever kind of gateway the environment asks for.
func launchAs(t *testing.T, environment, data string, args ...string) *process {
	t.Helper()
	args = append([]string{"-data", data, "-http", "127.0.0.1:0", "-stream", "127.0.0.1:0"}, args...)
	p := &process{
		command: exec.Command(os.Args[0], args...),
		exited:  make(chan struct{}),
		serves:  make(chan struct{}),
	}
	p.command.Env = append(os.Environ(), environment)
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p.command.Stdout, p.command.Stderr = in, in
	err = p.command.Start()
	if err := errors.Join(err, in.Close()); err != nil {
		t.Fatal(err)
	}
	go p.listen(out)
	t.Cleanup(p.kill)
	return p
}

// start launches a gateway and waits until it serves.
func start(t *testing.T, data string, args ...string) *process {
	t.Helper()
	p := launch(t, data, args...)
	p.awaitStart(t)
	return p
}

func (p *process) awaitStart(t *testing.T) {
	t.Helper()
	select {
	case <-p.serves:
	case <-p.exited:
		t.Fatalf("the gateway ended before it served:\n%s", p.said())
	case <-time.After(startLimit):
		p.kill()
		t.Fatalf("the gateway does not serve after %s:\n%s", startLimit, p.said())
	}
}

// listen takes in what the process says, to its end.
func (p *process) listen(out io.ReadCloser) {
	defer close(p.exited)
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		p.hear(lines.Text())
	}
	_, _ = io.Copy(io.Discard, out) // after a line too long for the scanner: nobody must wait for us
	_ = out.Close()
	_ = p.command.Wait() // how it ended is asked of ProcessState
}

func (p *process) hear(line string) {
	const kept = 100
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last = append(p.last, line)
	if len(p.last) > kept {
		p.last = p.last[1:]
	}
	if alarming.MatchString(line) && len(p.alarms) < kept {
		p.alarms = append(p.alarms, line)
	}
	if found := listensAt.FindStringSubmatch(line); found != nil && p.http == "" {
		p.http = found[1]
		close(p.serves)
	}
}

func (p *process) said() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.last, "\n")
}

// kill ends the process at once, as a crash does.
func (p *process) kill() {
	_ = p.command.Process.Kill() // it may have ended by itself
	<-p.exited
}

// terminate asks the process to stop and reports how that went.
func (p *process) terminate() error {
	asked := time.Now()
	if err := p.command.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("SIGTERM: %w", err)
	}
	select {
	case <-p.exited:
	case <-time.After(2 * stopLimit):
		p.kill()
		return fmt.Errorf("the gateway still runs %s after SIGTERM:\n%s", 2*stopLimit, p.said())
	}
	if took := time.Since(asked); took > stopLimit {
		return fmt.Errorf("the gateway took %s to stop", took)
	}
	if code := p.command.ProcessState.ExitCode(); code != 0 {
		return fmt.Errorf("the gateway stopped with exit code %d:\n%s", code, p.said())
	}
	return nil
}

// faults are what the process said and should not have.
func (p *process) faults() faults {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.alarms) == 0 {
		return nil
	}
	return faults{"the gateway said:\n" + strings.Join(p.alarms, "\n") + "\nand in the end:\n" + strings.Join(p.last, "\n")}
}

// eventually asks again and again until there is nothing wrong any more, and returns what is wrong at the limit.
func eventually(limit time.Duration, wrong func() error) error {
	deadline := time.After(limit)
	again := time.NewTicker(5 * time.Millisecond) // no signal comes across processes
	defer again.Stop()
	for {
		err := wrong()
		if err == nil {
			return nil
		}
		select {
		case <-again.C:
		case <-deadline:
			return fmt.Errorf("still after %s: %w", limit, err)
		}
	}
}
