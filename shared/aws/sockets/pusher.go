package sockets

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/apigatewaymanagementapi"

	"github.com/eddyhq/eddy/shared/errs"
)

const (
	maxPosts    = 64              // at a time, of one Pusher
	postTimeout = 5 * time.Second // for one of them

	youth         = 30 * time.Second       // how long a connection may be one whose $connect has not returned
	openingTries  = 7                      // for such a one, which makes up to about 3 s
	openingWait   = 100 * time.Millisecond // after the first; doubles
	openingLonger = 800 * time.Millisecond // at most

	faultTries = 4 // for what fails for no known reason
	retryWait  = 50 * time.Millisecond
	retryMost  = 2 * time.Second

	patience = 20 * time.Second // with a throttled connection, where the work has no deadline
	reserve  = 3 * time.Second  // of the deadline, to end connections and put the state down
)

// Delivery is what one connection is to be told, in order.
type Delivery struct {
	Connection  string
	ConnectedAt time.Time
	Frames      [][]byte
}

// PusherOptions are what a Pusher needs. Client is required; the zero value of every other field is its default.
type PusherOptions struct {
	Client *apigatewaymanagementapi.Client // see NewClient

	// Closed reports whether a connection is known to be closed. It is asked before the wait for a connection that may
	// not be open yet. Default: none is known.
	Closed func(ctx context.Context, connection string) (bool, error)

	Now    func() time.Time // default: time.Now
	Random func() float64   // in [0,1), for waits; default: math/rand/v2
	Logger *slog.Logger     // default: nothing is logged
}

// Pusher takes frames to connections. Its methods are safe for concurrent use; all of them together make at most 64
// requests at a time.
type Pusher struct {
	options PusherOptions
	slots   chan struct{}
}

// NewPusher returns a Pusher.
func NewPusher(options PusherOptions) *Pusher {
	if options.Closed == nil {
		options.Closed = func(context.Context, string) (bool, error) { return false, nil }
	}
	if options.Now == nil {
		options.Now = time.Now
	}
	if options.Random == nil {
		options.Random = rand.Float64
	}
	if options.Logger == nil {
		options.Logger = slog.New(slog.DiscardHandler)
	}
	return &Pusher{options: options, slots: make(chan struct{}, maxPosts)}
}

// Push takes the frames of each delivery to its connection one after the other, those of different connections side by
// side; there is one delivery for a connection. It returns the connections that are no more: they were closed, or had
// to be ended since they could not be given a frame. When it fails, with unavailable, anything may have been
// delivered, but no connection was given a frame before those in front of it.
func (p *Pusher) Push(ctx context.Context, deliveries []Delivery) (gone []string, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	patient, stop := patientUntil(ctx)
	defer stop()
	var mu sync.Mutex
	var running sync.WaitGroup
	for i := range deliveries {
		if !p.acquire(ctx) {
			break
		}
		running.Go(func() {
			defer p.release()
			over, err := p.deliver(ctx, patient, &deliveries[i])
			if err != nil {
				cancel(err)
			}
			if over {
				mu.Lock()
				defer mu.Unlock()
				gone = append(gone, deliveries[i].Connection)
			}
		})
	}
	running.Wait()
	if err := context.Cause(ctx); err != nil {
		return nil, errs.New(errs.Unavailable, "push frames: %w", err)
	}
	return gone, nil
}

// patientUntil returns the part of ctx in which a throttled request is worth another try.
func patientUntil(ctx context.Context) (context.Context, context.CancelFunc) {
	if deadline, ok := ctx.Deadline(); ok {
		return context.WithDeadline(ctx, deadline.Add(-reserve))
	}
	return context.WithTimeout(ctx, patience)
}

// acquire waits for one of the requests that may be under way.
func (p *Pusher) acquire(ctx context.Context) bool {
	select {
	case p.slots <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

func (p *Pusher) release() { <-p.slots }

// deliver hands the frames to one connection, and reports whether it is no more.
func (p *Pusher) deliver(ctx, patient context.Context, d *Delivery) (gone bool, err error) {
	for _, frame := range d.Frames {
		f := flight{Pusher: p, to: d, frame: frame, patient: patient}
		if gone, err := f.run(ctx); gone || err != nil {
			return gone, err
		}
	}
	return false, nil
}
