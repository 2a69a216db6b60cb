// Package engine runs an application on one machine: functions, the store under them, and the reactions that follow
// its log. It is complete without a door; package gateway adds HTTP and WebSocket, package eddytest a test's clock.
//
//	Invoke, Serve -> function -> guard -> store -> log -+-> dispatcher -> feed of each function -> lanes -> Runner -> store
//	                                                    +-> Options.Published (the lanes of live streams)
//	clock -> ticks of schedules, expiries of documents -> store; deliveries that were held back -> their feeds
//
// Records enter the log in the same atomic step as the writes they tell of. The dispatcher reads the log in order and
// offers each delivery to its function's feed, which remembers only where it is. Progress is stored now and then; what
// lies above it is offered again after a restart, and the cursors in the store drop what had taken effect already.
package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/uuid"

	"github.com/eddyhq/eddy/shared/document"
	"github.com/eddyhq/eddy/shared/eddy"
	"github.com/eddyhq/eddy/shared/errs"
	"github.com/eddyhq/eddy/shared/operator"
	"github.com/eddyhq/eddy/shared/pebblestore"
	"github.com/eddyhq/eddy/shared/port"
	"github.com/eddyhq/eddy/shared/reaction"
)

// Options of an Engine. The zero value of each field has a sensible meaning.
type Options struct {
	FS        vfs.FS              // where Dir lies; nil: the disk
	Now       func() time.Time    // nil: time.Now
	Logger    *slog.Logger        // nil: discard
	Published func([]port.Record) // sees every record, in order, once it is durable; must return at once
	Window    int                 // deliveries held in memory for one function; 0: 65,536

	// DuplicateDeliveries is a test mode: a delivery that has ended is made once more, as a queue that hands out a message twice
	// does. Nothing that can be observed may change by it.
	DuplicateDeliveries bool
}

// Engine is a running application. It is the reaction.Host and the eddy.Engine of this machine.
type Engine struct {
	*pebblestore.Store
	*operator.Operator

	app    *eddy.App
	logger *slog.Logger
	now    func() time.Time
	window int
	twice  bool                     // every delivery is made twice
	slots  map[string]chan struct{} // by function: its concurrency

	router *reaction.Router
	runner *reaction.Runner
	feeds  map[string]*feed

	dispatch dispatcher
	clock    clock
	workers  workers

	serving context.Context // ends when no further delivery is to begin
	drain   context.CancelFunc
	stop    context.Context // ends when running work is to be given up
	abandon context.CancelFunc
	work    sync.WaitGroup
	saving  sync.Mutex // progress is stored by one goroutine at a time
}

// Open opens the store in dir and starts the app on it, beginning with the reactions that are still owed. The app's
// mistakes are an error that lists them all.
func Open(app *eddy.App, dir string, o Options) (*Engine, error) {
	if err := app.Validate(); err != nil {
		return nil, err
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Window == 0 {
		o.Window = defaultWindow
	}
	e := &Engine{
		app:    app,
		logger: o.Logger,
		now:    o.Now,
		window: o.Window,
		twice:  o.DuplicateDeliveries,
		slots:  make(map[string]chan struct{}),
		router: reaction.NewRouter(app),
		feeds:  make(map[string]*feed),
	}
	e.stop, e.abandon = context.WithCancel(context.Background())
	e.workers = workers{work: make(chan func()), done: e.stop.Done()}
	e.runner = reaction.NewRunner(e, o.Logger)
	e.Operator = operator.New(app, e)
	e.serving, e.drain = context.WithCancel(e.stop)
	e.clock.wake = make(chan struct{}, 1)
	e.dispatch.wake = make(chan struct{}, 1)
	e.dispatch.settled = sync.NewCond(&e.dispatch.mu)
	store, err := pebblestore.Open(dir, pebblestore.Options{
		FS:     o.FS,
		Now:    o.Now,
		Logger: o.Logger,
		Follow: func(c port.Collection) bool {
			_, _, stream := c.Group()
			return stream || e.router.Follows(c)
		},
		Published: func(records []port.Record) {
			if o.Published != nil {
				o.Published(records)
			}
			e.dispatch.published.Store(records[len(records)-1].Position)
			e.dispatch.signal()
		},
	})
	if err != nil {
		return nil, err
	}
	e.Store = store
	if err := e.start(); err != nil {
		return nil, errors.Join(err, store.Close())
	}
	return e, nil
}

// start gives every function its feed, at the position it had reached, and starts the dispatcher.
func (e *Engine) start() error {
	head, progress := e.Head(), e.Progress()
	for _, f := range e.app.Functions() {
		e.slots[f.ID] = make(chan struct{}, f.Concurrency)
		position, known := progress[f.ID]
		if !known {
			position = head
		}
		e.feeds[f.ID] = newFeed(e, f, position, head)
	}
	for id := range progress {
		if _, registered := e.feeds[id]; !registered {
			e.logger.Warn("a function is not registered any more: what it is owed goes when the log is trimmed", "function", id)
		}
	}
	e.dispatch.position = head
	e.dispatch.published.Store(head)
	// A function that is new begins here and now; a crash must not make it begin later.
	if err := e.SetProgress(e.stop, e.progress()); err != nil {
		return fmt.Errorf("store the progress of the reactions: %w", err)
	}
	if err := e.startSchedules(e.stop); err != nil {
		return err
	}
	for _, feed := range e.feeds {
		feed.catchUp()
	}
	e.work.Go(e.follow)
	e.work.Go(e.followClock)
	e.work.Go(e.maintain)
	return nil
}

// Drain stops the reactions: no further delivery begins. It waits until those that run have ended, or ctx has: then
// they are given up, and a handler that does not heed its context is left behind. Whatever is owed stays recorded.
func (e *Engine) Drain(ctx context.Context) {
	e.drain()
	for _, feed := range e.feeds {
		feed.close()
	}
	ended := make(chan struct{})
	go func() {
		e.work.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-ctx.Done():
		e.logger.Warn("giving up work that did not end in time; it stays recorded")
		e.abandon()
		<-ended
	}
}

// Close drains and closes the store. Work that has not ended when ctx does is given up.
func (e *Engine) Close(ctx context.Context) error {
	e.Drain(ctx)
	e.abandon()
	if err := e.save(context.WithoutCancel(ctx)); err != nil {
		e.logger.Error("the progress of the reactions could not be stored; they will be offered again", "error", err)
	}
	return e.Store.Close()
}

// Lifetime is the context for what a client asked for. A client that goes away does not take back its request: the
// function runs to its end, as a Lambda does.
func (e *Engine) Lifetime() context.Context { return e.stop }

// App returns the application that runs.
func (e *Engine) App() *eddy.App { return e.app }

// Now returns the time of the engine's clock.
func (e *Engine) Now() time.Time { return e.now() }

// NewID returns a UUID of version 7.
func (e *Engine) NewID() string {
	id, err := uuid.NewV7()
	if err != nil {
		panic(fmt.Sprintf("no randomness: %v", err)) // the operating system's source does not fail
	}
	return id.String()
}

// Call runs a registered function and waits for its result.
func (e *Engine) Call(
	ctx context.Context, id string, payload document.Value, cause port.Cause, idempotencyKey string,
) (document.Value, error) {
	f, err := e.app.Find(id)
	if err != nil {
		return nil, err
	}
	invocation := e.Invocation("")
	invocation.Cause, invocation.IdempotencyKey = cause, idempotencyKey
	result, err := e.invoke(ctx, f, invocation, operator.Call{Payload: payload})
	return document.Value(result.JSON), err
}

// Invocation describes a run that a client asked for.
func (e *Engine) Invocation(requestID string) eddy.Invocation {
	return eddy.Invocation{Engine: e, Logger: e.logger, RequestID: requestID}
}

// Run does work of a function within its timeout and concurrency. Work that outlasts its timeout is left behind with
// its context ended, and keeps its place among the function's concurrent runs until it really ends.
func (e *Engine) Run(ctx context.Context, f *eddy.Function, work func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, f.Timeout)
	slot := e.slots[f.ID]
	select {
	case slot <- struct{}{}:
	case <-ctx.Done():
		cancel()
		return errs.New(errs.Unavailable, "%s is at its concurrency of %d", f.ID, f.Concurrency)
	}
	ended := make(chan error, 1)
	e.workers.run(func() {
		defer cancel()
		ended <- work(ctx)
		<-slot
	})
	return reaction.Await(ctx, f, ended)
}
