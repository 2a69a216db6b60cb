package main

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// subscribers are sockets that read what they are sent and drop it.
type subscribers struct {
	sockets []*socket
	reading sync.WaitGroup
	closing atomic.Bool
}

// socket is the client's end of a WebSocket whose frames are only counted.
type socket struct {
	conn  net.Conn
	in    *bufio.Reader
	frame func() // called for each data frame; one call at a time
	err   error
}

const (
	opcodeText   = 1
	opcodeBinary = 2
	opcodeClose  = 8
	opcodePing   = 9
)

// subscribe opens n sockets and returns when each has its first frame, the sync. Each frame after that is a call of
// frame with the number of its socket, from that socket's own goroutine.
func subscribe(addr, path string, n int, frame func(socket int)) (*subscribers, error) {
	s := &subscribers{}
	for i := range n {
		c, err := dialSocket(addr, path)
		if err != nil {
			_ = s.close()
			return nil, fmt.Errorf("open socket %d of %d: %w", i, n, err)
		}
		c.frame = func() { frame(i) }
		s.sockets = append(s.sockets, c)
		s.reading.Go(func() {
			if err := c.readAll(); err != nil && !s.closing.Load() {
				c.err = fmt.Errorf("socket %d: %w", i, err)
			}
		})
	}
	return s, nil
}

// close ends every socket and returns how the first failed of those that did not live until now.
func (s *subscribers) close() error {
	s.closing.Store(true)
	for _, c := range s.sockets {
		_ = c.conn.Close()
	}
	s.reading.Wait()
	var failed error
	for _, c := range s.sockets {
		failed = cmp.Or(failed, c.err)
	}
	return failed
}

// dialSocket opens a WebSocket and reads its first frame.
func dialSocket(addr, path string) (*socket, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	c := &socket{conn: conn, in: bufio.NewReaderSize(conn, 4096), frame: func() {}}
	if err := c.open(addr, path); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return c, nil
}

func (c *socket) open(addr, path string) error {
	if err := c.conn.SetDeadline(time.Now().Add(connectionLife)); err != nil {
		return err
	}
	_, err := io.WriteString(c.conn, "GET "+path+" HTTP/1.1\r\nHost: "+addr+"\r\n"+
		"Upgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	if err != nil {
		return err
	}
	status, err := c.in.ReadString('\n')
	if err != nil {
		return err
	}
	if !strings.HasPrefix(status, "HTTP/1.1 101 ") {
		return fmt.Errorf("not upgraded: %s", strings.TrimSpace(status))
	}
	for line := status; line != "\r\n"; {
		if line, err = c.in.ReadString('\n'); err != nil {
			return err
		}
	}
	for opcode := byte(0); opcode != opcodeText; {
		if opcode, err = c.readFrame(); err != nil {
			return fmt.Errorf("first frame: %w", err)
		}
	}
	return nil
}

// readAll reads frames until the connection ends.
func (c *socket) readAll() error {
	for {
		opcode, err := c.readFrame()
		if err != nil {
			return err
		}
		if opcode == opcodeText || opcode == opcodeBinary {
			c.frame()
		}
	}
}

// readFrame reads one frame, answers it when it is a ping and returns its opcode. A close is an error.
func (c *socket) readFrame() (opcode byte, err error) {
	head, err := c.in.Peek(2)
	if err != nil {
		return 0, err
	}
	opcode = head[0] & 0x0f
	header, length := 2, int(head[1]&0x7f)
	switch length {
	case 126:
		if head, err = c.in.Peek(4); err != nil {
			return 0, err
		}
		header, length = 4, int(binary.BigEndian.Uint16(head[2:]))
	case 127:
		if head, err = c.in.Peek(10); err != nil {
			return 0, err
		}
		header, length = 10, int(binary.BigEndian.Uint64(head[2:]))
	}
	if opcode == opcodeClose || opcode == opcodePing {
		return opcode, c.answer(opcode, header, length)
	}
	_, err = c.in.Discard(header + length)
	return opcode, err
}

// answer handles a close or a ping, the payload of which follows its header.
func (c *socket) answer(opcode byte, header, length int) error {
	frame, err := c.in.Peek(header + length)
	if err != nil {
		return err
	}
	payload := frame[header:]
	if opcode == opcodeClose {
		if len(payload) < 2 {
			return errors.New("closed by the server")
		}
		return fmt.Errorf("closed by the server: %d %s", binary.BigEndian.Uint16(payload), payload[2:])
	}
	// A mask of zeros leaves the payload as it is.
	pong := append([]byte{0x8a, 0x80 | byte(length), 0, 0, 0, 0}, payload...)
	if _, err := c.in.Discard(header + length); err != nil {
		return err
	}
	_, err = c.conn.Write(pong)
	return err
}
