package crash_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"time"
)

// requestLimit is above what the gateway gives a request, so that it is the gateway that ends it.
const requestLimit = 40 * time.Second

// outcome is what a client knows of its request in the end.
type outcome int

const (
	unsent       outcome = iota // there was nobody to send it to
	refused                     // answered: it had no effect
	acknowledged                // answered: it has its effect
	uncertain                   // not answered, or answered with a 5xx: it may have had its effect
)

// reply is the end of a request.
type reply struct {
	outcome outcome
	status  int
	header  http.Header
	body    []byte
	err     error // why there was no answer
}

func (r reply) String() string {
	if r.err != nil {
		return r.err.Error()
	}
	return fmt.Sprintf("%d %s", r.status, r.body)
}

// client sends requests over one connection, one after the other. Other than net/http's it never sends a request twice:
// one that was repeated behind its back would look like a write that took effect twice.
type client struct {
	address string
	deaf    bool // what is acknowledged counts as not answered
	conn    net.Conn
	in      *bufio.Reader
}

func (c *client) close() {
	if c.conn != nil {
		_ = c.conn.Close()
		c.conn = nil
	}
}

// do sends a request with a JSON body, none when body is nil, and waits for its end.
func (c *client) do(method, path string, body any) reply { return c.send(method, path, nil, body) }

// send is do with headers.
func (c *client) send(method, path string, header http.Header, body any) reply {
	if err := c.connect(); err != nil {
		return reply{outcome: unsent, err: err}
	}
	r, err := c.exchange(method, path, header, body)
	if err != nil {
		c.close()
		return reply{outcome: uncertain, err: err}
	}
	if c.deaf && r.outcome == acknowledged {
		r.outcome = uncertain
	}
	return r
}

func (c *client) connect() error {
	if c.conn != nil {
		return nil
	}
	conn, err := net.DialTimeout("tcp", c.address, requestLimit)
	if err != nil {
		return err
	}
	c.conn, c.in = conn, bufio.NewReader(conn)
	return nil
}

func (c *client) exchange(method, path string, header http.Header, body any) (reply, error) {
	var content []byte
	if body != nil {
		var err error
		if content, err = json.Marshal(body); err != nil {
			return reply{}, err
		}
	}
	request, err := http.NewRequest(method, "http://"+c.address+path, bytes.NewReader(content))
	if err != nil {
		return reply{}, err
	}
	maps.Copy(request.Header, header)
	request.Header.Set("Content-Type", "application/json")
	if err := c.conn.SetDeadline(time.Now().Add(requestLimit)); err != nil {
		return reply{}, err
	}
	if err := request.Write(c.conn); err != nil {
		return reply{}, err
	}
	response, err := http.ReadResponse(c.in, request)
	if err != nil {
		return reply{}, err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if response.Close {
		c.close()
	}
	return reply{
		outcome: outcomeOf(response.StatusCode), status: response.StatusCode, header: response.Header, body: answer,
	}, err
}

func outcomeOf(status int) outcome {
	switch {
	case status < 300:
		return acknowledged
	case status < 500:
		return refused
	default:
		return uncertain
	}
}

// invoke calls a function by its id.
func (c *client) invoke(function string, payload any) reply {
	return c.do(http.MethodPost, "/_eddy/invoke/"+function, payload)
}

// later has a function run later: action is "void", or "enqueue:" and the name of its queue.
func (c *client) later(function, action string, payload any) reply {
	return c.send(http.MethodPost, "/_eddy/invoke/"+function, http.Header{"X-Eddy-Action": {action}}, payload)
}

// read calls a function, or gets a path, that has to answer, and decodes the answer.
func (c *client) read(result any, r reply) error {
	if r.outcome != acknowledged {
		return fmt.Errorf("a read failed: %v", r)
	}
	if err := json.Unmarshal(r.body, result); err != nil {
		return fmt.Errorf("a read answered %q: %w", r.body, err)
	}
	return nil
}

// stored is a document as state::list shows it.
type stored[T any] struct {
	Key     string `json:"key"`
	Value   T      `json:"value"`
	Version int64  `json:"version"`
}

// list returns everything in a scope.
func list[T any](c *client, scope string) ([]stored[T], error) {
	var all []stored[T]
	for cursor := ""; ; {
		var page struct {
			Items  []stored[T] `json:"items"`
			Cursor string      `json:"cursor"`
		}
		payload := map[string]any{"scope": scope, "limit": 1000, "cursor": cursor}
		if err := c.read(&page, c.invoke("state::list", payload)); err != nil {
			return nil, fmt.Errorf("list %s: %w", scope, err)
		}
		all = append(all, page.Items...)
		if page.Cursor == "" {
			return all, nil
		}
		cursor = page.Cursor
	}
}
