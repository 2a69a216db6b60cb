package conformance

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/coder/websocket"
)

// socket is a subscriber: a WebSocket that holds every frame to what every frame promises.
type socket struct {
	conn *websocket.Conn
}

// frame is one message from the server.
type frame struct {
	Type      string
	Timestamp float64
	Stream    string `json:"streamName"`
	Group     string `json:"groupId"`
	ID        string
	Event     struct {
		Type  string
		Data  json.RawMessage
		Event json.RawMessage
	}
	Version  int64
	Position string
	text     []byte
}

// maxMessage is the largest message a client gets: 128 KB.
const maxMessage = 128 << 10

// dial opens a socket that subscribes by its URL; all names empty: to nothing yet.
func (s *suite) dial(t *testing.T, stream, group, item string) *socket {
	t.Helper()
	c, err := s.open(t.Context(), stream, group, item)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.end)
	return c
}

// open is dial for goroutines, which end the socket themselves.
func (s *suite) open(ctx context.Context, stream, group, item string) (*socket, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	address := s.WebSocket(stream, group, item)
	conn, _, err := websocket.Dial(ctx, address, nil)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", address, err)
	}
	conn.SetReadLimit(maxMessage)
	return &socket{conn}, nil
}

// end drops the connection, whatever became of it.
func (c *socket) end() { _ = c.conn.CloseNow() }

// next returns the next frame.
func (c *socket) next(t *testing.T) frame {
	t.Helper()
	f, err := c.read(t.Context())
	if err != nil {
		t.Fatalf("read a frame: %v", err)
	}
	return f
}

// read is next for goroutines.
func (c *socket) read(ctx context.Context) (frame, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	kind, text, err := c.conn.Read(ctx)
	if err != nil {
		return frame{}, err
	}
	f := frame{text: text}
	if kind != websocket.MessageText {
		return f, fmt.Errorf("a frame is binary: %q", text)
	}
	if err := json.Unmarshal(text, &f); err != nil {
		return f, fmt.Errorf("a frame is no JSON: %w: %q", err, clip(string(text)))
	}
	return f, f.check()
}

// wrapper is what is around every event, with its event and optional members to be filled in.
const wrapper = `{"type":"stream","timestamp":"<number>","streamName":"<any>","groupId":"<any>","id?":"<any>",` +
	`"event":%s,"version?":"<version>","position?":"<string>"}`

// check holds the frame to the shape that its event type has.
func (f frame) check() error {
	if f.Type == "pong" {
		return match(f.text, `{"type":"pong"}`)
	}
	want, known := map[string]string{
		"sync":         `{"type":"sync","data":"<any>"}`,
		"create":       `{"type":"create","data":"<any>"}`,
		"update":       `{"type":"update","data":"<any>"}`,
		"delete":       `{"type":"delete","data":"<any>"}`,
		"event":        `{"type":"event","event":{"type":"<string>","data":"<any>"}}`,
		"unauthorized": `{"type":"unauthorized","data?":"<any>"}`,
		"error":        `{"type":"error","data":{"code":"<string>","message":"<string>"}}`,
		"closing":      `{"type":"closing","data":{"code":"<number>","reason":"<string>","reconnect_after_ms":"<count>"}}`,
	}[f.Event.Type]
	if !known {
		return fmt.Errorf("a frame is of no known kind: %s", clip(string(f.text)))
	}
	text := fmt.Sprintf(wrapper, want)
	switch f.Event.Type {
	case "unauthorized", "error", "closing": // they may concern no stream at all
		text = strings.NewReplacer(`"streamName"`, `"streamName?"`, `"groupId"`, `"groupId?"`).Replace(text)
	default:
		text = strings.Replace(text, `"position?"`, `"position"`, 1)
	}
	if err := match(f.text, text); err != nil {
		return fmt.Errorf("a frame: %w: %s", err, clip(string(f.text)))
	}
	if f.Timestamp < 1e12 || f.Timestamp > 1e13 {
		return fmt.Errorf("a frame whose timestamp is no milliseconds of these centuries: %s", clip(string(f.text)))
	}
	return nil
}

// want wants the next frame to be of the event type, in the stream's group, with data that matches.
func (c *socket) want(t *testing.T, stream, event, data string) frame {
	t.Helper()
	f := c.next(t)
	if f.Event.Type != event {
		t.Fatalf("got %s, want %s with %s", clip(string(f.text)), event, clip(data))
	}
	if f.Stream != stream || f.Group != "g" {
		t.Errorf("a frame of %q/%q, want %q/%q", f.Stream, f.Group, stream, "g")
	}
	payload := f.Event.Data
	if event == "event" {
		payload = f.Event.Event
	}
	if err := match(payload, data); err != nil {
		t.Errorf("the data of %s: %v: %s", event, err, clip(string(f.text)))
	}
	return f
}

// wantError wants the next frame to be an error.
func (c *socket) wantError(t *testing.T) {
	t.Helper()
	f := c.next(t)
	var data struct{ Code string }
	if f.Event.Type == "error" {
		decode(t, f.Event.Data, &data)
	}
	if statusOf[data.Code] == 0 {
		t.Fatalf("got %s, want an error with one of the codes", clip(string(f.text)))
	}
}

func (c *socket) send(t *testing.T, text string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := c.conn.Write(ctx, websocket.MessageText, []byte(text)); err != nil {
		t.Fatalf("send a frame: %v", err)
	}
}

// join subscribes by a frame, to the group "g" of the stream or to an item of it.
func (c *socket) join(t *testing.T, subscription, stream, item string) {
	t.Helper()
	c.send(t, membership(t, "join", subscription, stream, item))
}

func (c *socket) leave(t *testing.T, subscription, stream, item string) {
	t.Helper()
	c.send(t, membership(t, "leave", subscription, stream, item))
}

func membership(t *testing.T, kind, subscription, stream, item string) string {
	t.Helper()
	data := map[string]string{"subscriptionId": subscription, "streamName": stream, "groupId": "g"}
	if item != "" {
		data["id"] = item
	}
	return encode(t, map[string]any{"type": kind, "data": data})
}

// fence sends a ping and returns the frames that come before its pong. What the server had queued for the socket
// before it read the ping is among them.
func (c *socket) fence(t *testing.T) (before []frame) {
	t.Helper()
	c.send(t, `{"type":"ping"}`)
	for {
		f := c.next(t)
		if f.Type == "pong" {
			return before
		}
		before = append(before, f)
	}
}
