package crash_test

import (
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// TestTerminate stops the gateway under load the way an operator does.
func TestTerminate(t *testing.T) {
	t.Parallel()
	data, journals, seed := t.TempDir(), newJournals(), drawSeed(t)
	r := &rounds{data: data, clock: newQuickClock(), journals: journals, view: newView(), news: newNews()}
	p := r.start(t)
	v := newView()
	first := v.watch(t, p.http)
	stopped := make(chan error, 1)
	l := &load{
		address: p.http, seed: seed, now: r.clock.now,
		limit: 200, reached: func() { go func() { stopped <- p.terminate() }() },
	}
	l.write(journals)
	select {
	case err := <-stopped:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(startLimit):
		t.Fatalf("the writers stopped before the gateway was asked to:\n%s", p.said())
	}
	if code, err := first.closed(); code != websocket.StatusGoingAway {
		t.Errorf("the socket was closed with %d (%v), want %d", code, err, websocket.StatusGoingAway)
	}

	r.ended(t, p)
	v.report(t)
	r.last(t)
	r.report(t)
}

func TestRefusedStart(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	serving := start(t, data)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	tests := []struct {
		name string
		data string
		args []string
		says []string
	}{
		{"a second gateway on one data directory is told so", data, nil, []string{data, "another"}},
		{"a taken port is named, with how to change it", t.TempDir(),
			[]string{"-http", taken.Addr().String()}, []string{taken.Addr().String(), "-http", "EDDY_HTTP"}},
		{"so is a taken stream port", t.TempDir(),
			[]string{"-stream", taken.Addr().String()}, []string{taken.Addr().String(), "-stream", "EDDY_STREAM"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p := launch(t, test.data, test.args...)
			select {
			case <-p.exited:
			case <-p.serves:
				t.Fatal("it serves")
			case <-time.After(startLimit):
				t.Fatalf("it neither serves nor ends after %s", startLimit)
			}
			if code := p.command.ProcessState.ExitCode(); code != 1 {
				t.Errorf("exit code %d, want 1", code)
			}
			for _, text := range test.says {
				if !strings.Contains(strings.ToLower(p.said()), strings.ToLower(text)) {
					t.Errorf("it does not say %q:\n%s", text, p.said())
				}
			}
		})
	}
	if r := (&client{address: serving.http}).do(http.MethodGet, "/_eddy/health", nil); r.outcome != acknowledged {
		t.Errorf("the gateway that served already was disturbed: %v", r)
	}
}
