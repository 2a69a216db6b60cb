// Package gateway is the doors of an application on one machine: HTTP routes, the /_eddy API and WebSocket streams, in
// front of package engine. The program `go run ./local` is Main; Run is the same as a library.
//
//	request -> limits, CORS, request id -> route (user) or /_eddy (access) -> engine -> envelope
//	socket  -> origin -> hub: lanes of stream groups <- records that the engine publishes
package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"github.com/eddyhq/eddy/local/engine"
	"github.com/eddyhq/eddy/local/limits"
	"github.com/eddyhq/eddy/local/live"
	"github.com/eddyhq/eddy/shared/door"
	"github.com/eddyhq/eddy/shared/eddy"
	"github.com/eddyhq/eddy/shared/port"
)

// The limits of a request. Its body may have door.MaxBody bytes.
const (
	maxHeader     = 64 << 10
	headerTimeout = 10 * time.Second
	bodyTimeout   = 30 * time.Second
	writeTimeout  = 60 * time.Second
	idleTimeout   = 2 * time.Minute
)

// Gateway is an application that is being served.
type Gateway struct {
	config  Config
	logger  *slog.Logger
	engine  *engine.Engine
	hub     *live.Hub
	metrics *metrics
	now     func() time.Time

	connections *limits.Connections
	clients     *limits.Clients // nil when their rates are not limited

	door    *door.Door
	http    *listener
	stream  *listener     // nil when there is none
	failed  chan struct{} // closed when a door closed by itself
	failing sync.Once
}

// listener is a door with its server.
type listener struct {
	net.Listener
	server *http.Server
}

// Run opens the data directory and serves app until Close. When it returns nil the gateway is ready: reactions that an
// earlier run still owed are under way. An address of port 0 gets a free one; see URL.
func Run(app *eddy.App, config Config) (*Gateway, error) {
	if err := config.validate(); err != nil {
		return nil, err
	}
	g, err := Open(app, config)
	if err != nil {
		return nil, err
	}
	if err := g.listen(); err != nil {
		return nil, errors.Join(err, g.Close(context.Background()))
	}
	g.serve(g.http, g)
	if g.stream != nil {
		g.serve(g.stream, g.streamDoor())
	}
	return g, nil
}

// Open is Run without the doors: the Gateway is an http.Handler, for a server of the caller's own or for tests.
func Open(app *eddy.App, config Config) (*Gateway, error) {
	config = config.withDefaults()
	g := &Gateway{
		config: config, logger: newLogger(config), now: config.Now, failed: make(chan struct{}),
		connections: limits.NewConnections(config.MaxConnections, config.MaxRequests),
	}
	if config.ClientRate > 0 {
		g.clients = limits.NewClients(config.ClientRate)
	}
	// The hub is made before the engine that feeds it; it asks for an epoch and snapshots only when somebody joins.
	g.hub = live.New(live.Options{
		Epoch: func() string { return g.engine.Epoch() },
		Snapshot: func(ctx context.Context, group port.Collection, item string) ([]port.Document, uint64, error) {
			return g.engine.Snapshot(ctx, group, item)
		},
		Logger: g.logger,
	})
	options := engine.Options{
		FS: config.FS, Now: config.Now, Logger: g.logger, Published: g.published,
		DuplicateDeliveries: config.DuplicateDeliveries,
	}
	e, err := engine.Open(app, config.Data, options)
	if err != nil {
		return nil, errors.Join(err, g.hub.Close(context.Background()))
	}
	g.engine = e
	g.metrics = newMetrics(g)
	g.door = door.New(door.Options{App: app, Operator: e.Operator, Admit: g.admit, Serve: g.userRoute})
	g.adminRoutes()
	g.streamRoutes(g.door.Handle)
	return g, nil
}

func (g *Gateway) published(records []port.Record) {
	g.hub.Publish(records)
	if g.config.Published != nil {
		g.config.Published(records)
	}
}

func newLogger(config Config) *slog.Logger {
	out := config.Log
	if out == nil {
		out = io.Discard
	}
	if config.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(out, nil))
	}
	return slog.New(slog.NewTextHandler(out, nil))
}

func (g *Gateway) listen() error {
	l, err := net.Listen("tcp", g.config.HTTP)
	if err != nil {
		return explain("http", g.config.HTTP, err)
	}
	g.http = &listener{Listener: g.connections.Listener(l)}
	if g.config.Stream == "" {
		return nil
	}
	l, err = net.Listen("tcp", g.config.Stream)
	if err != nil {
		return explain("stream", g.config.Stream, err)
	}
	g.stream = &listener{Listener: g.connections.Listener(l)}
	return nil
}

func explain(name, address string, err error) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		host, _, _ := net.SplitHostPort(address)
		return fmt.Errorf("%s is taken by another program: stop it, or choose another port with -%s %s or EDDY_%s",
			address, name, net.JoinHostPort(host, "4111"), map[string]string{"http": "HTTP", "stream": "STREAM"}[name])
	}
	return fmt.Errorf("-%s %s: %w", name, address, err)
}

func (g *Gateway) serve(d *listener, handler http.Handler) {
	d.server = &http.Server{
		Handler:           handler,
		MaxHeaderBytes:    maxHeader,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       bodyTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		ConnContext:       g.connections.ConnContext,
		ConnState:         g.connections.ConnState,
		ErrorLog:          slog.NewLogLogger(g.logger.Handler(), slog.LevelDebug),
	}
	go func() {
		if err := d.server.Serve(d.Listener); !errors.Is(err, http.ErrServerClosed) {
			g.logger.Error("a door closed", "address", d.Addr().String(), "error", err)
			g.failing.Do(func() { close(g.failed) })
		}
	}()
}

// Close takes no new requests, waits for those that run and for running reactions until ctx ends, tells the sockets to
// reconnect, and closes the store. What a reaction is still owed stays recorded.
func (g *Gateway) Close(ctx context.Context) error {
	var errs []error
	running, cancel := reserve(ctx, socketTime)
	defer cancel()
	for _, d := range []*listener{g.http, g.stream} {
		if d == nil {
			continue
		}
		if d.server == nil {
			errs = append(errs, d.Listener.Close())
		} else if err := d.server.Shutdown(running); err != nil {
			g.logger.Warn("giving up requests that did not end in time", "error", err)
			errs = append(errs, d.server.Close())
		}
	}
	g.engine.Drain(running)
	if err := g.hub.Close(ctx); err != nil {
		g.logger.Warn("sockets were cut off before all was sent; they resume by joining again", "error", err)
	}
	return errors.Join(append(errs, g.engine.Close(ctx))...)
}

// socketTime is what a stop keeps for the sockets, however long requests and reactions take.
const socketTime = 2 * time.Second

// reserve returns a context that ends a while before ctx does.
func reserve(ctx context.Context, rest time.Duration) (context.Context, context.CancelFunc) {
	if deadline, ok := ctx.Deadline(); ok {
		return context.WithDeadline(ctx, deadline.Add(-rest))
	}
	return context.WithCancel(ctx)
}

// URL is the base of the HTTP routes.
func (g *Gateway) URL() string { return "http://" + g.http.Addr().String() }

// WebSocketURL is where sockets of the HTTP door connect.
func (g *Gateway) WebSocketURL() string { return "ws://" + g.http.Addr().String() + "/stream" }

// StreamURL is where the door that is WebSocket alone listens, "" when there is none.
func (g *Gateway) StreamURL() string {
	if g.stream == nil {
		return ""
	}
	return "ws://" + g.stream.Addr().String()
}

// Engine is the engine behind the doors.
func (g *Gateway) Engine() *engine.Engine { return g.engine }

// recoverPanic keeps the process alive when a request panics outside of a function, where it was not caught already.
func (g *Gateway) recoverPanic(w http.ResponseWriter) {
	p := recover()
	switch p {
	case nil:
		return
	case http.ErrAbortHandler:
		panic(p)
	}
	g.logger.Error("a request panicked", "request_id", door.RequestIDOf(w), "panic", p, "stack", string(debug.Stack()))
	door.WriteError(w, fmt.Errorf("panic: %v", p))
}
