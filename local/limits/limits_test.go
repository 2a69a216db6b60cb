package limits_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/eddyhq/eddy/local/limits"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// door is a listener behind limits, on which everything that is admitted is kept.
type door struct {
	*limits.Connections
	t        *testing.T
	address  string
	admitted chan net.Conn
}

func open(t *testing.T, connections, requests int) *door {
	t.Helper()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := limits.NewConnections(connections, requests)
	d := &door{c, t, inner.Addr().String(), make(chan net.Conn, 1)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for outer := c.Listener(inner); ; {
			conn, err := outer.Accept()
			if err != nil {
				return
			}
			d.admitted <- conn
		}
	}()
	t.Cleanup(func() {
		if err := inner.Close(); err != nil {
			t.Error(err)
		}
		<-ended
	})
	return d
}

// visit is one connection: the server's end, nil when it was refused, and whether the client saw it close.
type visit struct {
	conn   net.Conn
	closed chan struct{}
}

func (d *door) visit(from string) visit {
	d.t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	client, err := dialer.DialContext(d.t.Context(), "tcp", d.address)
	if err != nil {
		d.t.Fatal(err)
	}
	v := visit{closed: make(chan struct{})}
	go func() {
		_, _ = client.Read(make([]byte, 1))
		close(v.closed)
	}()
	select {
	case v.conn = <-d.admitted:
	case <-v.closed:
	}
	d.t.Cleanup(func() {
		client.Close()
		<-v.closed
		if v.conn != nil {
			v.conn.Close()
		}
	})
	return v
}

// admit visits and fails the test when it is refused.
func (d *door) admit(from string) visit {
	d.t.Helper()
	v := d.visit(from)
	if v.conn == nil {
		d.t.Fatalf("a connection from %s is refused: %+v", from, d.Stats())
	}
	return v
}

// begin begins a request on a connection.
func (d *door) begin(v visit) (limits.Request, bool) {
	return d.Begin(d.ConnContext(context.Background(), v.conn))
}

func TestOneClientGetsHalfOfTheConnections(t *testing.T) {
	t.Parallel()
	d := open(t, 8, 8)
	for range 4 {
		d.admit("127.0.0.1")
	}
	if v := d.visit("127.0.0.1"); v.conn != nil {
		t.Error("a fifth one of one client is admitted")
	}
	one := d.admit("127.0.0.2")
	if got := d.Stats(); got.Open != 5 || got.Refused != 1 || got.Evicted != 0 {
		t.Errorf("it counts %+v", got)
	}
	for range 2 {
		_ = one.conn.Close() // twice is once
	}
	if got := d.Stats(); got.Open != 4 {
		t.Errorf("after one was closed it counts %+v", got)
	}
}

func TestIdleConnectionsOfTheGreediestMakeRoom(t *testing.T) {
	t.Parallel()
	d := open(t, 4, 8)
	first, second := d.admit("127.0.0.1"), d.admit("127.0.0.1")
	d.admit("127.0.0.2")
	d.admit("127.0.0.3")
	d.admit("127.0.0.4")
	select { // which one of the two is not said
	case <-first.closed:
	case <-second.closed:
	}
	if got := d.Stats(); got.Open != 4 || got.Evicted != 1 || got.Refused != 0 {
		t.Errorf("it counts %+v", got)
	}
}

func TestNobodyMakesRoomForTheGreediest(t *testing.T) {
	t.Parallel()
	d := open(t, 4, 8)
	d.admit("127.0.0.1")
	d.admit("127.0.0.2")
	d.admit("127.0.0.3")
	d.admit("127.0.0.4")
	if v := d.visit("127.0.0.1"); v.conn != nil {
		t.Error("who has as many idle ones as anybody gets another")
	}
	d.admit("127.0.0.5")
}

func TestConnectionsAtWorkStay(t *testing.T) {
	t.Parallel()
	d := open(t, 2, 8)
	busy, socket := d.admit("127.0.0.1"), d.admit("127.0.0.2")
	request, ok := d.begin(busy)
	if !ok {
		t.Fatal("a request is refused")
	}
	d.ConnState(socket.conn, http.StateHijacked)
	if v := d.visit("127.0.0.3"); v.conn != nil {
		t.Error("a connection at work made room")
	}
	d.End(request)
	d.admit("127.0.0.3")
	<-busy.closed
}

func TestAConnectionCanEndWhatItSends(t *testing.T) {
	t.Parallel()
	v := open(t, 2, 2).admit("127.0.0.1")
	half, ok := v.conn.(interface{ CloseWrite() error })
	if !ok {
		t.Fatal("it cannot")
	}
	if err := half.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	<-v.closed
}

func TestOneClientGetsHalfOfTheRequestsInFlight(t *testing.T) {
	t.Parallel()
	d := open(t, 8, 4)
	first, second, other := d.admit("127.0.0.1"), d.admit("127.0.0.1"), d.admit("127.0.0.2")
	var begun []limits.Request
	for _, v := range []visit{first, second, other, other} {
		request, ok := d.begin(v)
		if !ok {
			t.Fatalf("a request is refused: %+v", d.Stats())
		}
		begun = append(begun, request)
	}
	if _, ok := d.begin(first); ok {
		t.Error("a client has more than half")
	}
	if _, ok := d.begin(d.admit("127.0.0.3")); ok {
		t.Error("there are more than there may be")
	}
	for _, request := range begun {
		d.End(request)
	}
	if got := d.Stats(); got.InFlight != 0 || got.Busy != 2 {
		t.Errorf("it counts %+v", got)
	}
	if _, ok := d.begin(first); !ok {
		t.Error("a request is refused when none is in flight")
	}
}

func TestAFloodOfConnectionsLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	d := open(t, 16, 8)
	for i := range 200 {
		if v := d.visit(fmt.Sprintf("127.0.1.%d", i%20)); v.conn != nil {
			request, ok := d.begin(v)
			if ok && i%3 == 0 {
				d.End(request)
				_ = v.conn.Close()
			} else if ok {
				defer d.End(request)
			}
		}
		if got := d.Stats(); got.Open > 16 || got.InFlight > 8 {
			t.Fatalf("it counts %+v", got)
		}
	}
}

func TestABucketLetsItsRateThroughAndItsBurst(t *testing.T) {
	t.Parallel()
	start := time.Unix(1_700_000_000, 0)
	bucket := limits.NewBucket(2, 3)
	for _, step := range []struct {
		name  string
		after time.Duration
		want  time.Duration
	}{
		{"the burst", 0, 0}, {"the burst", 0, 0}, {"the burst", 0, 0},
		{"the fourth waits for half a second", 0, 500 * time.Millisecond},
		{"less than that later it waits for the rest", 400 * time.Millisecond, 100 * time.Millisecond},
		{"after half a second it goes", 500 * time.Millisecond, 0},
		{"and no other", 500 * time.Millisecond, 500 * time.Millisecond},
		{"a clock that steps back gives nothing", 0, 500 * time.Millisecond},
		{"a long pause is a burst", time.Hour, 0}, {"a long pause is a burst", time.Hour, 0}, {"a long pause is a burst", time.Hour, 0},
		{"and no more", time.Hour, 500 * time.Millisecond},
	} {
		got := bucket.Take(start.Add(step.after))
		if (got == 0) != (step.want == 0) || (got-step.want).Abs() > time.Millisecond {
			t.Errorf("%s: wait %s, want %s", step.name, got, step.want)
		}
	}
}

func TestEveryClientHasABucketOfItsOwn(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_700_000_000, 0)
	clients := limits.NewClients(1)
	for _, step := range []struct {
		name, address string
		passes        bool
	}{
		{"a burst of twice the rate", "10.0.0.1:1", true},
		{"from another port", "10.0.0.1:2", true},
		{"and no more", "10.0.0.1:3", false},
		{"the same address in IPv6", "[::ffff:10.0.0.1]:4", false},
		{"another address", "10.0.0.2:1", true},
		{"IPv6", "[2001:db8::1]:1", true},
		{"the same network", "[2001:db8::2:3]:1", true},
		{"is one client", "[2001:db8::4]:1", false},
		{"another network", "[2001:db8:0:1::1]:1", true},
	} {
		if wait := clients.Take(step.address, now); (wait == 0) != step.passes {
			t.Errorf("%s: %s waits %s", step.name, step.address, wait)
		}
	}
}

func TestTheClientThatWasIdleLongestIsForgotten(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_700_000_000, 0)
	clients := limits.NewClients(1)
	for _, address := range []string{"10.0.0.1:1", "10.0.0.2:1"} {
		for clients.Take(address, now) == 0 {
			continue // each time takes one
		}
	}
	for i := range 1<<16 - 1 {
		clients.Take("10.0.0.2:1", now)
		clients.Take(fmt.Sprintf("11.%d.%d.1:1", i>>8, i&255), now)
	}
	if clients.Take("10.0.0.2:1", now) == 0 {
		t.Error("a client that came all the time is forgotten")
	}
	if clients.Take("10.0.0.1:1", now) != 0 {
		t.Error("the client that was idle longest is remembered beyond the bound")
	}
}

func BenchmarkARequest(b *testing.B) {
	c := limits.NewConnections(100, 100)
	b.ReportAllocs()
	for b.Loop() {
		request, ok := c.Begin(b.Context())
		if !ok {
			b.Fatal(errors.New("refused"))
		}
		c.End(request)
	}
}
