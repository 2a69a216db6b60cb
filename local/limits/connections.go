// Package limits keeps clients from taking what others need: connections, requests in flight, requests a second.
//
//	Listener -> Connections: one of at most so many, in all and of its address -> http.Server
//	request  -> Connections.Begin: one of at most so many in flight            -> handler
//	request  -> Clients.Take, Bucket.Take: within its rate                     -> handler
//
// A client is an address; of IPv6, where everybody has many, a network of 64 bits.
package limits

import (
	"context"
	"errors"
	"math"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
)

// Connections counts the connections of listeners, and the requests that are in flight on them. One client gets at most half
// of either.
//
// When there are as many connections as there may be, a new one takes the place of idle ones of the client that has most of
// them: kept alive, half open, or with a request that does not come. So they keep nobody out.
type Connections struct {
	max, maxRequests int64

	requests atomic.Int64 // in flight
	stats    stats

	mu      sync.Mutex
	open    int64
	clients map[netip.Addr]*client // those with connections
}

// stats counts since the start.
type stats struct {
	refused, evicted, busy atomic.Int64
}

// Stats is what Connections counted.
type Stats struct {
	Open     int64 // connections
	InFlight int64 // requests
	Refused  int64 // connections that were closed when they came, since the start
	Evicted  int64 // idle connections that made room, since the start
	Busy     int64 // requests refused because too many were in flight, since the start
}

// client is an address with connections.
type client struct {
	address     netip.Addr
	connections map[*connection]struct{} // guarded by Connections.mu
	requests    atomic.Int64             // in flight
}

// connection is one that was let in.
type connection struct {
	net.Conn
	of     *Connections
	client *client
	closed atomic.Bool

	// working counts what keeps the connection from being idle: requests that have begun, and that it was hijacked.
	working atomic.Int32
}

// NewConnections returns limits of so many connections and requests in flight.
func NewConnections(connections, requests int) *Connections {
	return &Connections{max: int64(connections), maxRequests: int64(requests), clients: make(map[netip.Addr]*client)}
}

// half is what one client gets of a number.
func half(n int64) int64 { return max(1, n/2) }

// Stats returns what was counted.
func (c *Connections) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return Stats{
		Open: c.open, InFlight: c.requests.Load(),
		Refused: c.stats.refused.Load(), Evicted: c.stats.evicted.Load(), Busy: c.stats.busy.Load(),
	}
}

// Listener returns a listener whose connections count. What is refused is closed, unread.
func (c *Connections) Listener(inner net.Listener) net.Listener { return listener{inner, c} }

type listener struct {
	net.Listener
	connections *Connections
}

// Accept implements net.Listener.
func (l listener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if admitted := l.connections.admit(conn); admitted != nil {
			return admitted, nil
		}
		l.connections.stats.refused.Add(1)
		_ = conn.Close() // it was not let in
	}
}

// admit returns the connection as one that counts; nil when it is one too many.
func (c *Connections) admit(conn net.Conn) net.Conn {
	address := clientOf(conn.RemoteAddr().String())
	admitted, evicted := c.add(address, conn)
	for _, e := range evicted {
		_ = e.Conn.Close() // whoever reads from it finds out
	}
	if admitted == nil {
		return nil
	}
	return admitted
}

func (c *Connections) add(address netip.Addr, conn net.Conn) (admitted *connection, evicted []*connection) {
	c.mu.Lock()
	defer c.mu.Unlock()
	of := c.clients[address]
	if of != nil && int64(len(of.connections)) >= half(c.max) {
		return nil, nil
	}
	if c.open >= c.max {
		if evicted = c.evict(of); evicted == nil {
			return nil, nil
		}
	}
	if of == nil {
		of = &client{address: address, connections: make(map[*connection]struct{})}
		c.clients[address] = of
	}
	admitted = &connection{Conn: conn, of: c, client: of}
	of.connections[admitted] = struct{}{}
	c.open++
	return admitted, evicted
}

// evictions is how many connections make room at a time, so that a flood does not have them counted for each of its own.
const evictions = 32

// evict takes idle connections of the client that has most of them out of the count. It returns none when that is the client
// who asks for room, or nobody is idle.
func (c *Connections) evict(asking *client) []*connection {
	var greediest *client
	most := 0
	if asking != nil {
		greediest, most = asking, asking.idle()
	}
	for _, other := range c.clients {
		if n := other.idle(); n > most {
			greediest, most = other, n
		}
	}
	if greediest == asking {
		return nil
	}
	var evicted []*connection
	for conn := range greediest.connections {
		if conn.working.Load() == 0 && !conn.closed.Swap(true) {
			c.remove(conn)
			evicted = append(evicted, conn)
		}
		if len(evicted) == min(evictions, (most+1)/2) {
			break
		}
	}
	c.stats.evicted.Add(int64(len(evicted)))
	return evicted
}

func (c *client) idle() int {
	n := 0
	for conn := range c.connections {
		if conn.working.Load() == 0 {
			n++
		}
	}
	return n
}

// remove takes a connection out of the count, once: see connection.closed.
func (c *Connections) remove(conn *connection) {
	c.open--
	delete(conn.client.connections, conn)
	if len(conn.client.connections) == 0 && c.clients[conn.client.address] == conn.client {
		delete(c.clients, conn.client.address)
	}
}

// Close implements net.Conn.
func (c *connection) Close() error {
	if !c.closed.Swap(true) {
		c.of.mu.Lock()
		c.of.remove(c)
		c.of.mu.Unlock()
	}
	return c.Conn.Close()
}

// CloseWrite ends what is sent, so that the other side can read all of it: net/http and WebSockets close that way.
func (c *connection) CloseWrite() error {
	half, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok {
		return errors.ErrUnsupported
	}
	return half.CloseWrite()
}

type connectionKey struct{}

// ConnContext is for http.Server.ConnContext: Begin finds in the ctx of a request which connection it came by.
func (c *Connections) ConnContext(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, connectionKey{}, conn)
}

// ConnState is for http.Server.ConnState: a connection that became a WebSocket is not idle.
func (c *Connections) ConnState(conn net.Conn, state http.ConnState) {
	if counted, ok := conn.(*connection); ok && state == http.StateHijacked {
		counted.working.Add(1)
	}
}

// Begin counts a request in flight until End, which is called with what Begin returns. It reports false when there are too many.
func (c *Connections) Begin(ctx context.Context) (r Request, ok bool) {
	r.connection, _ = ctx.Value(connectionKey{}).(*connection)
	most, mine := int64(math.MaxInt64), int64(0)
	if r.connection != nil {
		r.connection.working.Add(1)
		most, mine = half(c.maxRequests), r.connection.client.requests.Add(1)
	}
	if c.requests.Add(1) > c.maxRequests || mine > most {
		c.End(r)
		c.stats.busy.Add(1)
		return Request{}, false
	}
	return r, true
}

// Request is a request in flight.
type Request struct{ connection *connection }

// End ends what Begin began.
func (c *Connections) End(r Request) {
	c.requests.Add(-1)
	if r.connection != nil {
		r.connection.client.requests.Add(-1)
		r.connection.working.Add(-1)
	}
}

// clientOf returns the client that host:port names.
func clientOf(address string) netip.Addr {
	from, err := netip.ParseAddrPort(address)
	if err != nil {
		return netip.Addr{} // of a door that is no TCP: all one client
	}
	ip := from.Addr().Unmap().WithZone("")
	if ip.Is6() {
		network, _ := ip.Prefix(64) // an address of 128 bits has one
		return network.Addr()
	}
	return ip
}
