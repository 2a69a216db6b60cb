package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// connectionLife bounds every connection of the generator, so that a server which hangs does not hang the run.
const connectionLife = 2 * time.Minute

// httpClient speaks just enough HTTP/1.1 over one connection, as load must cost less than what it measures.
type httpClient struct {
	conn net.Conn
	in   *bufio.Reader
	body []byte
}

func dialHTTP(addr string) (*httpClient, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	if err := conn.SetDeadline(time.Now().Add(connectionLife)); err != nil {
		return nil, err
	}
	return &httpClient{conn: conn, in: bufio.NewReaderSize(conn, 2048)}, nil
}

func (c *httpClient) close() { _ = c.conn.Close() }

// get returns the body of a 2xx reply, valid until the next call.
func (c *httpClient) get(path string) ([]byte, error) {
	return c.do([]byte("GET " + path + " HTTP/1.1\r\nHost: " + c.conn.RemoteAddr().String() + "\r\n\r\n"))
}

// post sends a JSON body and returns the body of a 2xx reply, valid until the next call.
func (c *httpClient) post(path, body string) ([]byte, error) {
	return c.do(postText(c.conn.RemoteAddr().String(), path, body))
}

// postText is the text of a POST with a JSON body, and further lines of header.
func postText(host, path, body string, header ...string) []byte {
	const format = "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n%s\r\n%s"
	lines := ""
	for _, line := range header {
		lines += line + "\r\n"
	}
	return fmt.Appendf(nil, format, path, host, len(body), lines, body)
}

// do sends a whole request and returns the body of a 2xx reply, valid until the next call.
func (c *httpClient) do(request []byte) ([]byte, error) {
	if _, err := c.conn.Write(request); err != nil {
		return nil, err
	}
	return c.reply()
}

func (c *httpClient) reply() ([]byte, error) {
	line, err := c.in.ReadSlice('\n')
	if err != nil {
		return nil, err
	}
	if len(line) < len("HTTP/1.1 200") {
		return nil, fmt.Errorf("not an HTTP reply: %q", line)
	}
	ok, status := line[len("HTTP/1.1 ")] == '2', strings.TrimSpace(string(line[len("HTTP/1.1 "):len("HTTP/1.1 200")]))
	length, err := c.skipHeader()
	if err != nil {
		return nil, err
	}
	if err := c.readBody(length); err != nil {
		return nil, err
	}
	if !ok {
		return nil, fmt.Errorf("status %s: %s", status, c.body)
	}
	return c.body, nil
}

// chunked is the length of a body that says it itself.
const chunked = -1

// skipHeader reads the header up to its end and returns the length of the body.
func (c *httpClient) skipHeader() (length int, err error) {
	for {
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return 0, err
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			return length, nil
		}
		if value, found := headerValue(line, "Content-Length"); found {
			if length, err = strconv.Atoi(string(value)); err != nil {
				return 0, fmt.Errorf("content-length %q: %w", value, err)
			}
		}
		if value, found := headerValue(line, "Transfer-Encoding"); found && string(value) == "chunked" {
			length = chunked
		}
	}
}

func headerValue(line []byte, name string) (value []byte, found bool) {
	if len(line) <= len(name) || line[len(name)] != ':' || !bytes.EqualFold(line[:len(name)], []byte(name)) {
		return nil, false
	}
	return bytes.TrimSpace(line[len(name)+1:]), true
}

func (c *httpClient) readBody(length int) error {
	c.body = c.body[:0]
	if length != chunked {
		return c.readPart(length)
	}
	for {
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return err
		}
		size, err := strconv.ParseInt(string(bytes.TrimSpace(line)), 16, 32)
		if err != nil {
			return fmt.Errorf("chunk size %q: %w", line, err)
		}
		if err := c.readPart(int(size)); err != nil {
			return err
		}
		if _, err := c.in.Discard(len("\r\n")); err != nil {
			return err
		}
		if size == 0 {
			return nil
		}
	}
}

func (c *httpClient) readPart(size int) error {
	start := len(c.body)
	c.body = append(c.body, make([]byte, size)...)
	_, err := io.ReadFull(c.in, c.body[start:])
	return err
}

// template is a POST request with a place for a number, by which each request differs from the others, and perhaps one for
// the client's alone.
type template struct {
	text []byte
	at   int // of the first digit
}

const (
	placeholder = "00000000000000"
	// sequenceDigits of the placeholder count a client's requests, those before them the client.
	sequenceDigits = 9

	clientPlaceholder = "ccccc"
)

// newTemplate returns a POST of body, which holds the placeholder once, with further lines of header.
func newTemplate(addr, path, body string, header ...string) template {
	text := postText(addr, path, body, header...)
	return template{text: text, at: bytes.Index(text, []byte(placeholder))}
}

// forClient returns a copy with the number of a client in it.
func (t template) forClient(client int) template {
	t.text = bytes.Clone(t.text)
	putDigits(t.text[t.at:t.at+len(placeholder)-sequenceDigits], client)
	if at := bytes.Index(t.text, []byte(clientPlaceholder)); at >= 0 {
		putDigits(t.text[at:at+len(clientPlaceholder)], client)
	}
	return t
}

// number returns the request with a sequence number in it; the next call overwrites it.
func (t template) number(sequence int) []byte {
	end := t.at + len(placeholder)
	putDigits(t.text[end-sequenceDigits:end], sequence)
	return t.text
}

// putDigits writes the last len(to) decimal digits of n.
func putDigits(to []byte, n int) {
	for i := len(to) - 1; i >= 0; i-- {
		to[i] = '0' + byte(n%10)
		n /= 10
	}
}
