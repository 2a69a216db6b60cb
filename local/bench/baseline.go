package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"net/http"
	"strconv"
	"sync"

	"github.com/lxzan/gws"
)

// baseline is the server that the gateway is compared to. It has the gateway's routes, so that both get the same
// requests, and does no more than it must: decode, one write with a sync, one prebuilt frame to each socket.
type baseline struct {
	store    store // nil: nothing is stored
	upgrader *gws.Upgrader
	mu       sync.RWMutex
	sockets  map[*gws.Conn]struct{}
}

func newBaseline(s store) *baseline {
	b := &baseline{store: s, sockets: map[*gws.Conn]struct{}{}}
	b.upgrader = gws.NewUpgrader(b, &gws.ServerOption{})
	return b
}

// serveBaseline runs a baseline server until ctx ends.
func serveBaseline(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet(baselineCommand, flag.ContinueOnError)
	addr := flags.String("http", "", "address to listen on")
	kind := flags.String("store", "", "pebble, log, or nothing")
	dir := flags.String("data", "", "directory of the store")
	if err := flags.Parse(args); err != nil {
		return err
	}
	s, err := openStore(*kind, *dir)
	if err != nil {
		return err
	}
	server := &http.Server{Addr: *addr, Handler: newBaseline(s).routes()}
	go func() {
		<-ctx.Done()
		_ = server.Close()
	}()
	if err = server.ListenAndServe(); errors.Is(err, http.ErrServerClosed) {
		err = nil
	}
	if s == nil {
		return err
	}
	return errors.Join(err, s.close())
}

func openStore(kind, dir string) (store, error) {
	switch kind {
	case "pebble":
		return openPebble(dir)
	case "log":
		return openLog(dir)
	default:
		return nil, nil
	}
}

func (b *baseline) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /_eddy/health", func(w http.ResponseWriter, _ *http.Request) { reply(w, `{"status":"ok"}`) })
	mux.HandleFunc("GET /_eddy/metrics", b.metrics)
	mux.HandleFunc("POST /_eddy/invoke/state::set", b.set)
	mux.HandleFunc("POST /_eddy/invoke/stream::set", b.setAndPush)
	mux.HandleFunc("POST /_eddy/invoke/stream::send", b.push)
	mux.HandleFunc("GET /stream/", b.subscribe)
	return mux
}

func reply(w http.ResponseWriter, body string) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, body)
}

// metrics says how often the store synced, under the name that the gateway has for it.
func (b *baseline) metrics(w http.ResponseWriter, _ *http.Request) {
	syncs := uint64(0)
	if b.store != nil {
		var err error
		if syncs, err = b.store.syncs(); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
	}
	reply(w, syncsMetric+" "+strconv.FormatUint(syncs, 10)+"\n")
}

// payload is what state::set, stream::set and stream::send carry, as far as the baseline needs it.
type payload struct {
	Scope, Key  string
	StreamName  string `json:"stream_name"`
	ItemID      string `json:"item_id"`
	Value, Data json.RawMessage
}

func (b *baseline) set(w http.ResponseWriter, r *http.Request) {
	if p, ok := readPayload(w, r); ok && b.write(w, p.Scope+"/"+p.Key, p.Value) {
		reply(w, `{"version":1}`)
	}
}

func (b *baseline) setAndPush(w http.ResponseWriter, r *http.Request) {
	if p, ok := readPayload(w, r); ok && b.write(w, p.StreamName+"/"+p.ItemID, p.Data) {
		b.broadcast()
		reply(w, `{"version":1}`)
	}
}

func (b *baseline) push(w http.ResponseWriter, r *http.Request) {
	if _, ok := readPayload(w, r); ok {
		b.broadcast()
		reply(w, `null`)
	}
}

func readPayload(w http.ResponseWriter, r *http.Request) (p payload, ok bool) {
	body, err := io.ReadAll(r.Body)
	if err == nil {
		err = json.Unmarshal(body, &p)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
	}
	return p, err == nil
}

func (b *baseline) write(w http.ResponseWriter, key string, value []byte) (ok bool) {
	if b.store == nil {
		return true
	}
	err := b.store.put([]byte(key), value)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
	return err == nil
}

// prebuiltFrame is as long as what the gateway sends for the same document.
const prebuiltFrame = `{"type":"stream","timestamp":1732345678901.234,"streamName":"bench","groupId":"all",` +
	`"id":"` + placeholder + `","event":{"type":"create","data":` + document +
	`},"version":1732345678901234,"position":"0123456789abcdef-1234"}`

// broadcast writes one prebuilt frame to every socket.
func (b *baseline) broadcast() {
	frame := gws.NewBroadcaster(gws.OpcodeText, []byte(prebuiltFrame))
	defer func() { _ = frame.Close() }()
	b.mu.RLock()
	defer b.mu.RUnlock()
	for socket := range b.sockets {
		_ = frame.Broadcast(socket)
	}
}

// subscribe upgrades a connection. As from the gateway, its first frame says that it is subscribed.
func (b *baseline) subscribe(w http.ResponseWriter, r *http.Request) {
	socket, err := b.upgrader.Upgrade(w, r)
	if err != nil {
		return
	}
	go socket.ReadLoop()
}

// OnOpen begins a subscription.
func (b *baseline) OnOpen(socket *gws.Conn) {
	b.mu.Lock()
	b.sockets[socket] = struct{}{}
	b.mu.Unlock()
	_ = socket.WriteString(`{"type":"stream","event":{"type":"sync","data":[]}}`)
}

// OnClose ends a subscription.
func (b *baseline) OnClose(socket *gws.Conn, _ error) {
	b.mu.Lock()
	delete(b.sockets, socket)
	b.mu.Unlock()
}

// OnPing answers a ping.
func (b *baseline) OnPing(socket *gws.Conn, payload []byte) { _ = socket.WritePong(payload) }

// OnPong is not interested.
func (b *baseline) OnPong(*gws.Conn, []byte) {}

// OnMessage is not interested.
func (b *baseline) OnMessage(_ *gws.Conn, message *gws.Message) { _ = message.Close() }
