package sockets

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/apigatewaymanagementapi"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// flight is one frame on its way to one connection.
type flight struct {
	*Pusher
	to      *Delivery
	frame   []byte
	patient context.Context // while a throttled request is worth another try

	unopened, throttled, faults int // tries that ended so
}

// next says what becomes of a flight after a try that failed.
type next uint8

const (
	again next = iota
	over       // the connection is no more
	end        // the connection has to be ended
	fail       // this is nothing about the connection
)

// run tries until the frame is delivered (gone is false) or the connection is no more. The caller holds a slot, which
// others may use during waits.
func (f *flight) run(ctx context.Context) (gone bool, err error) {
	for {
		err := f.post(ctx)
		if err == nil {
			return false, nil
		}
		if ctx.Err() != nil {
			return false, context.Cause(ctx)
		}
		what, wait := f.judge(ctx, err)
		switch what {
		case again:
			if err := f.pause(ctx, wait); err != nil {
				return false, err
			}
		case over:
			return true, nil
		case end:
			f.options.Logger.ErrorContext(ctx, "a connection is ended, since it could not be given a frame",
				slog.String("connection", f.to.Connection), slog.Int("bytes", len(f.frame)), slog.Any("error", err))
			return true, f.hangUp(ctx)
		case fail:
			return false, err
		}
	}
}

func (f *flight) post(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, postTimeout)
	defer cancel()
	_, err := f.options.Client.PostToConnection(ctx, &apigatewaymanagementapi.PostToConnectionInput{
		ConnectionId: aws.String(f.to.Connection), Data: f.frame,
	})
	return err
}

// statusOf returns the HTTP status that AWS answered with: 0 when it did not answer. The status tells more than the
// kind of the error, which not every endpoint sends.
func statusOf(err error) int {
	var response *smithyhttp.ResponseError
	if errors.As(err, &response) {
		return response.HTTPStatusCode()
	}
	return 0
}

// judge says what to do after a try that failed, and how long to wait before another.
func (f *flight) judge(ctx context.Context, err error) (next, time.Duration) {
	switch status := statusOf(err); {
	case status == http.StatusGone:
		return f.judgeGone(ctx)
	case status == http.StatusBadRequest: // no connection can have such an id
		return over, 0
	case status == http.StatusRequestEntityTooLarge:
		return end, 0
	case status == http.StatusTooManyRequests:
		if f.patient.Err() != nil {
			return end, 0
		}
		f.throttled++
		return again, f.jitter(f.throttled)
	case status == 0 || status >= http.StatusInternalServerError:
		if f.faults++; f.faults >= faultTries {
			return end, 0
		}
		return again, f.jitter(f.faults)
	default:
		return fail, 0
	}
}

// judgeGone tells a connection that is no more from one that is not yet: API Gateway reaches a connection only after
// its $connect has returned.
func (f *flight) judgeGone(ctx context.Context) (next, time.Duration) {
	f.unopened++
	if f.unopened >= openingTries || f.options.Now().Sub(f.to.ConnectedAt) >= youth {
		return over, 0
	}
	closed, err := f.options.Closed(ctx, f.to.Connection)
	if err != nil {
		f.options.Logger.WarnContext(ctx, "whether a connection is closed could not be read", slog.Any("error", err))
	}
	if closed {
		return over, 0
	}
	return again, min(openingWait<<(f.unopened-1), openingLonger)
}

// jitter returns a wait before the try that follows so many failed ones.
func (f *flight) jitter(failed int) time.Duration {
	const doublings = 10
	longest := min(retryWait<<min(failed, doublings), retryMost)
	return time.Duration(f.options.Random() * float64(longest))
}

// pause waits without a slot.
func (f *flight) pause(ctx context.Context, wait time.Duration) error {
	f.release()
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	f.slots <- struct{}{} // whoever ends the flight gives it back
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// hangUp ends the connection.
func (f *flight) hangUp(ctx context.Context) error {
	for failed := 1; ; failed++ {
		err := f.delete(ctx)
		status := statusOf(err)
		if err == nil || status == http.StatusGone || status == http.StatusBadRequest {
			return nil
		}
		refused := status != 0 && status < http.StatusInternalServerError
		throttled := status == http.StatusTooManyRequests
		if ctx.Err() != nil || !throttled && (refused || failed >= faultTries) {
			return err
		}
		if err := f.pause(ctx, f.jitter(failed)); err != nil {
			return err
		}
	}
}

func (f *flight) delete(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, postTimeout)
	defer cancel()
	_, err := f.options.Client.DeleteConnection(ctx, &apigatewaymanagementapi.DeleteConnectionInput{
		ConnectionId: aws.String(f.to.Connection),
	})
	return err
}
