package crash_test

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// frame is what a subscriber receives.
type frame struct {
	Type      string  `json:"type"`
	Timestamp float64 `json:"timestamp"`
	ID        string  `json:"id"`
	Version   int64   `json:"version"`
	Event     struct {
		Type  string          `json:"type"`
		Data  json.RawMessage `json:"data"`
		Event struct {
			Type string `json:"type"`
			Data struct {
				Action string `json:"action"`
				Key    string `json:"key"`
			} `json:"data"`
		} `json:"event"` // of a frame that stream::send made
	} `json:"event"`
}

// watcher is a connection to a stream group, whose frames go to somebody who takes them.
type watcher struct {
	conn  *websocket.Conn
	ended chan struct{}

	mu   sync.Mutex // held while a frame is taken
	take func(frame)
	err  error // why the connection ended
}

// watch subscribes to a group of a stream.
func watch(t *testing.T, address, stream string, take func(frame)) *watcher {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startLimit)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, "ws://"+address+"/stream/"+stream+"/"+everything, nil)
	if err != nil {
		t.Fatalf("connect to the stream: %v", err)
	}
	conn.SetReadLimit(1 << 20)
	w := &watcher{conn: conn, ended: make(chan struct{}), take: take}
	go w.read()
	t.Cleanup(w.close)
	return w
}

func (w *watcher) read() {
	defer close(w.ended)
	for {
		_, text, err := w.conn.Read(context.Background())
		var f frame
		if err == nil {
			err = json.Unmarshal(text, &f)
		}
		w.mu.Lock()
		w.err = err
		if err == nil {
			w.take(f)
		}
		w.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// look calls something while no frame is taken.
func (w *watcher) look(at func() error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return at()
}

// close ends the connection and waits for its end; after it nothing is taken.
func (w *watcher) close() {
	_ = w.conn.CloseNow() // it may have ended by itself
	<-w.ended
}

// closed waits until the gateway has ended the connection and returns the code it gave.
func (w *watcher) closed() (websocket.StatusCode, error) {
	select {
	case <-w.ended:
		return websocket.CloseStatus(w.err), w.err
	case <-time.After(stopLimit):
		return 0, fmt.Errorf("the socket is still open after %s", stopLimit)
	}
}
