package live_test

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/lxzan/gws"

	"github.com/eddyhq/eddy/local/live"
	"github.com/eddyhq/eddy/shared/document"
	"github.com/eddyhq/eddy/shared/port"
)

const benchedFrame = `{"type":"stream","timestamp":1732345678901.234,"streamName":"s","groupId":"g","id":"todo-1","event":` +
	`{"type":"create","data":{"created_at":"2026-11-23T10:00:00Z","completed":false,"id":"todo-1","title":"buy milk"}},` +
	`"version":1732345678901234,"position":"0.abcdef"}`

// broadcaster is what is measured: something that sockets connect to and that sends each of them a frame.
type broadcaster interface {
	http.Handler
	broadcast()
	connections() int
	close()
}

// bareBroadcaster is gws alone, sending a frame that was made beforehand.
type bareBroadcaster struct {
	gws.BuiltinEventHandler
	upgrader *gws.Upgrader
	mu       sync.Mutex
	sockets  map[*gws.Conn]bool
}

func newBare() broadcaster {
	b := &bareBroadcaster{sockets: map[*gws.Conn]bool{}}
	b.upgrader = gws.NewUpgrader(b, &gws.ServerOption{})
	return b
}

func (b *bareBroadcaster) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	socket, err := b.upgrader.Upgrade(w, r)
	if err == nil {
		go socket.ReadLoop()
	}
}

func (b *bareBroadcaster) OnOpen(socket *gws.Conn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sockets[socket] = true
}

func (b *bareBroadcaster) connections() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.sockets)
}

func (b *bareBroadcaster) broadcast() {
	frame := gws.NewBroadcaster(gws.OpcodeText, []byte(benchedFrame))
	defer frame.Close()
	b.mu.Lock()
	defer b.mu.Unlock()
	for socket := range b.sockets {
		_ = frame.Broadcast(socket)
	}
}

func (b *bareBroadcaster) close() {
	for socket := range b.sockets {
		_ = socket.NetConn().Close()
	}
}

// hubBroadcaster is a Hub with the whole way of a record through its lane.
type hubBroadcaster struct {
	*world
	position uint64
}

func newHub(b *testing.B) broadcaster {
	return &hubBroadcaster{world: start(b, live.Options{KeepAlive: time.Hour}), position: 1}
}

func (h *hubBroadcaster) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.serve(w, r) }

func (h *hubBroadcaster) connections() int { return h.hub.Stats().Subscriptions }

func (h *hubBroadcaster) broadcast() {
	h.position++
	h.hub.Publish([]port.Record{{Position: h.position, Change: &port.Change{
		Collection: group, Key: "todo-1", Version: int64(h.position),
		New: document.Value(`{"created_at":"2026-11-23T10:00:00Z","completed":false,"id":"todo-1","title":"buy milk"}`),
	}}})
}

func (h *hubBroadcaster) close() {}

// tally counts the frames that sockets receive, and tells when there are enough.
type tally struct {
	received, awaited atomic.Int64
	enough            chan struct{}
}

func (t *tally) add() {
	if t.received.Add(1) < t.awaited.Load() {
		return
	}
	select {
	case t.enough <- struct{}{}:
	default: // told already
	}
}

// await returns when so many were received.
func (t *tally) await(count int64) {
	t.awaited.Store(count)
	for t.received.Load() < count {
		<-t.enough
	}
}

// connect opens sockets whose frames are counted in received, if it is not nil.
func connect(b *testing.B, to broadcaster, sockets int, received *tally) {
	b.Helper()
	server := httptest.NewServer(to)
	b.Cleanup(server.Close)
	b.Cleanup(to.close)
	for range sockets {
		conn, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { conn.Close() })
		if _, err := io.WriteString(conn, strings.Replace(handshake, "/stream", "/stream/s/g", 1)); err != nil {
			b.Fatal(err)
		}
		if received != nil {
			go count(bufio.NewReaderSize(conn, 32<<10), received)
		}
	}
	for to.connections() < sockets {
		time.Sleep(time.Millisecond)
	}
}

func count(reader *bufio.Reader, received *tally) {
	for line := ""; line != "\r\n"; {
		var err error
		if line, err = reader.ReadString('\n'); err != nil {
			return
		}
	}
	for {
		header, err := reader.Peek(4)
		if err != nil {
			return
		}
		size := 2 + int(header[1])
		if header[1] == 126 {
			size = 4 + int(binary.BigEndian.Uint16(header[2:]))
		}
		if _, err := reader.Discard(size); err != nil {
			return
		}
		received.add()
	}
}

// BenchmarkFanOut sends frames to 1,000 sockets: one record at a time (latency), or so many ahead of what the sockets have
// received (throughput).
func BenchmarkFanOut(b *testing.B) {
	const sockets = 1000
	for _, ahead := range []int64{1, 64} {
		for name, open := range map[string]func() broadcaster{
			"bare gws": newBare,
			"hub":      func() broadcaster { return newHub(b) },
		} {
			b.Run(fmt.Sprintf("%s, %d ahead", name, ahead), func(b *testing.B) {
				received := &tally{enough: make(chan struct{}, 1)}
				to := open()
				connect(b, to, sockets, received)
				runtime.GC()
				start := received.received.Load() // the syncs, which a hub sends; a few may still be on their way
				before := processorTime()
				b.ResetTimer()
				for n := range int64(b.N) {
					to.broadcast()
					if n+1 > ahead-1 {
						received.await(start + (n+1-(ahead-1))*sockets)
					}
				}
				received.await(start + int64(b.N)*sockets)
				frames := float64(b.N * sockets)
				b.ReportMetric(frames/b.Elapsed().Seconds(), "frames/s")
				b.ReportMetric(float64(processorTime()-before)/1e3/frames, "CPU-µs/frame")
			})
		}
	}
}

func processorTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// BenchmarkIdleSocket measures what an idle socket holds in memory, clients (which are of the kernel alone) excepted.
func BenchmarkIdleSocket(b *testing.B) {
	for name, open := range map[string]func() broadcaster{
		"bare gws": newBare,
		"hub":      func() broadcaster { return newHub(b) },
	} {
		b.Run(name, func(b *testing.B) {
			const sockets = 2000
			to := open()
			before := memory()
			connect(b, to, sockets, nil)
			b.ReportMetric(float64(memory()-before)/sockets/1024, "KiB/socket") // whatever b.N is
		})
	}
}

// memory returns the bytes of heap and stacks in use.
func memory() int64 {
	for range 3 {
		runtime.GC()
		time.Sleep(50 * time.Millisecond)
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}
