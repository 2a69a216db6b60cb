package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	startLimit = 30 * time.Second
	stopLimit  = 15 * time.Second
)

// program is a server that can be started.
type program struct {
	name string
	path string
	args func(addr, dir string) []string
}

func gatewayArgs(addr, dir string) []string {
	return []string{"-http", addr, "-stream", "127.0.0.1:0", "-data", dir}
}

func storedArgs(addr, dir string) []string {
	return []string{baselineCommand, "-http", addr, "-store", "pebble", "-data", dir}
}

func loggedArgs(addr, dir string) []string {
	return []string{baselineCommand, "-http", addr, "-store", "log", "-data", dir}
}

func bareArgs(addr, _ string) []string {
	return []string{baselineCommand, "-http", addr}
}

// buildGateway builds ./local of this module as a user does.
func buildGateway(ctx context.Context, to string) error {
	root, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return fmt.Errorf("find the module (run this inside it, with go in PATH): %w", err)
	}
	build := exec.CommandContext(ctx, "go", "build", "-o", to, "./local")
	build.Dir = strings.TrimSpace(string(root))
	if output, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("go build ./local: %w\n%s", err, output)
	}
	return nil
}

// server is a running program.
type server struct {
	program
	addr  string
	cmd   *exec.Cmd
	ready time.Duration // from its start until it answered 200 to a health request
}

// start runs p on a free port with its data in dir and waits until it is healthy. Its output is dropped, as reading it
// would cost the machine that is measured.
func (p program) start(ctx context.Context, dir string) (*server, error) {
	return p.startWriting(ctx, dir, nil)
}

func (p program) startWriting(ctx context.Context, dir string, output *bytes.Buffer) (*server, error) {
	addr, err := freeAddress()
	if err != nil {
		return nil, err
	}
	s := &server{program: p, addr: addr, cmd: exec.Command(p.path, p.args(addr, dir)...)}
	s.cmd.Env = withoutSettings(os.Environ())
	if output != nil {
		s.cmd.Stdout, s.cmd.Stderr = output, output
	}
	began := time.Now()
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", p.name, err)
	}
	for !isHealthy(addr) {
		if time.Since(began) > startLimit || ctx.Err() != nil {
			s.kill()
			return nil, fmt.Errorf("%s is not healthy %s after its start: %s", p.name, startLimit, s.cmd)
		}
		time.Sleep(500 * time.Microsecond)
	}
	s.ready = time.Since(began)
	return s, nil
}

// withoutSettings drops the variables that would make the gateway another one than its flags say.
func withoutSettings(environment []string) []string {
	return slices.DeleteFunc(environment, func(v string) bool { return strings.HasPrefix(v, "EDDY_") })
}

// freeAddress returns a loopback address that nobody listens on now.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String(), nil
}

func isHealthy(addr string) bool {
	c, err := dialHTTP(addr)
	if err != nil {
		return false
	}
	defer c.close()
	_, err = c.get("/_eddy/health")
	return err == nil
}

// stop asks the server to end and waits until it has.
func (s *server) stop() error {
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("stop %s: %w", s.name, err)
	}
	overdue := time.AfterFunc(stopLimit, func() { _ = s.cmd.Process.Kill() })
	defer overdue.Stop()
	if err := s.cmd.Wait(); err != nil {
		return fmt.Errorf("%s ended badly on SIGTERM: %w", s.name, err)
	}
	return nil
}

// kill ends the server as kill -9 does.
func (s *server) kill() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
}

// check starts and stops p once and shows its output when either fails.
func (b *bench) check(ctx context.Context, p program) error {
	var output bytes.Buffer
	s, err := p.startWriting(ctx, filepath.Join(b.dir, "check"), &output)
	if err == nil {
		err = s.stop()
	}
	if err != nil {
		return fmt.Errorf("%w\n%s", err, output.Bytes())
	}
	return os.RemoveAll(filepath.Join(b.dir, "check"))
}

// with starts p on an empty data directory, hands it to use and stops it after.
func (b *bench) with(ctx context.Context, p program, use func(*server) error) error {
	dir, err := os.MkdirTemp(b.dir, "data-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	s, err := p.start(ctx, filepath.Join(dir, "data"))
	if err != nil {
		return err
	}
	return errors.Join(use(s), s.stop())
}

// usage is what a process has used since its start.
type usage struct {
	cpu     time.Duration // user and system
	written int64         // bytes handed to the disk, as the kernel accounts them to the process
}

// since returns what was used after before.
func (u usage) since(before usage) usage {
	return usage{cpu: u.cpu - before.cpu, written: u.written - before.written}
}

const clockTick = 10 * time.Millisecond // USER_HZ is 100 on every Linux that Go runs on

// usage reads what the server has used.
func (s *server) usage() (usage, error) {
	stat, err := os.ReadFile(s.proc("stat"))
	if err != nil {
		return usage{}, err
	}
	cpu, _, err := processTimes(string(stat))
	if err != nil {
		return usage{}, err
	}
	written, err := s.procField("io", "write_bytes:")
	return usage{cpu: cpu, written: written}, err
}

// processTimes returns the processor time in a line of /proc/PID/stat: of the process, and of its children that ended.
func processTimes(stat string) (own, children time.Duration, err error) {
	// The second field is the program's name in parentheses and may hold anything.
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	const utime, cstime = 11, 14
	if len(fields) <= cstime {
		return 0, 0, errors.New("/proc/PID/stat has too few fields")
	}
	var times [4]time.Duration // user and system, user and system of the children
	for i, field := range fields[utime : cstime+1] {
		ticks, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, 0, err
		}
		times[i] = time.Duration(ticks) * clockTick
	}
	return times[0] + times[1], times[2] + times[3], nil
}

// residentKiB returns the memory of the server that is in RAM.
func (s *server) residentKiB() (float64, error) {
	kib, err := s.procField("status", "VmRSS:")
	return float64(kib), err
}

// procField returns the number behind name in a file of /proc/PID.
func (s *server) procField(file, name string) (int64, error) {
	text, err := os.ReadFile(s.proc(file))
	if err != nil {
		return 0, err
	}
	_, rest, found := strings.Cut(string(text), name)
	fields := strings.Fields(rest)
	if !found || len(fields) == 0 {
		return 0, fmt.Errorf("/proc/PID/%s has no %s", file, name)
	}
	return strconv.ParseInt(fields[0], 10, 64)
}

func (s *server) proc(file string) string {
	return filepath.Join("/proc", strconv.Itoa(s.cmd.Process.Pid), file)
}
