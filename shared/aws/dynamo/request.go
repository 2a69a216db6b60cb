package dynamo

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/eddyhq/eddy/shared/errs"
)

// fate is what became of a request that failed.
type fate int

const (
	refused fate = iota // DynamoDB said no, and would say so again
	passing             // nothing was done, and the same may be done later
	lost                // nobody knows whether it was done
)

// fateOf judges the error of a request.
func fateOf(err error) fate {
	var (
		answer   smithy.APIError
		response *smithyhttp.ResponseError
		send     *smithyhttp.RequestSendError
		network  *net.OpError
	)
	status := 0
	if errors.As(err, &response) && response.Response != nil {
		status = response.HTTPStatusCode()
	}
	switch {
	case errors.As(err, &answer) && isTurnedAway(answer.ErrorCode()), status == http.StatusTooManyRequests:
		return passing
	case status >= http.StatusInternalServerError:
		return lost
	case errors.As(err, &answer) && answer.ErrorCode() == "TransactionInProgressException":
		return lost // its own token is at work: the answer comes to whoever asks again
	case errors.As(err, &answer):
		return refused
	case errors.As(err, &network) && network.Op == "dial":
		return passing
	case errors.As(err, &send), response != nil:
		return lost
	case errors.Is(err, context.DeadlineExceeded):
		return lost // the time of the attempt
	default:
		return refused // it was not even sent: no credentials, no endpoint, or no such request
	}
}

// isTurnedAway reports whether DynamoDB turned a request away undone: too many of them, or the row is in the hands of a
// transaction.
func isTurnedAway(code string) bool {
	switch code {
	case "ProvisionedThroughputExceededException", "ThrottlingException", "RequestLimitExceeded", "TransactionConflictException":
		return true
	default:
		return false
	}
}

const (
	maxTries    = 10               // of one request that meets nothing but passing failures: about 3 s
	attemptTime = 10 * time.Second // after which the reply is lost
)

// errLost wraps the error of a request of which nobody knows whether it was done.
type errLost struct{ error }

func (e errLost) Unwrap() error { return e.error }

// do makes a request, and makes it again after a failure that passes: always when it surely was not done, and when its
// fate is unknown only if it is one that may be done twice. It returns nil, what DynamoDB refused it with as it is, an
// errLost, or an error with a code.
func (s *Store) do(ctx context.Context, operation string, twice bool, request func(ctx context.Context) error) error {
	for try := 0; ; try++ {
		if ctx.Err() != nil {
			return errs.From(ctx.Err())
		}
		err := once(ctx, request)
		if err == nil {
			return nil
		}
		switch fate := fateOf(err); {
		case ctx.Err() != nil:
			return errs.From(ctx.Err())
		case fate == refused:
			return err
		case fate == lost && !twice:
			return errLost{err}
		case try+1 == maxTries:
			s.log(ctx, operation, err)
			return fault(errs.Unavailable, err, "the store cannot answer now: try again")
		}
		if err := pause(ctx, try); err != nil {
			return err
		}
	}
}

// once makes one attempt, within its time.
func once(ctx context.Context, request func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, attemptTime)
	defer cancel()
	return request(ctx)
}

// pause waits between requests of which DynamoDB takes too many already.
func pause(ctx context.Context, try int) error { return pauseBelow(ctx, try, time.Second) }

// pauseBelow waits a random time below a ceiling that doubles with the tries, so that those who met do not meet again.
func pauseBelow(ctx context.Context, try int, highest time.Duration) error {
	const first = 10 * time.Millisecond
	timer := time.NewTimer(rand.N(min(first<<min(try, 10), highest)))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return errs.From(ctx.Err())
	}
}

// failed returns the error with a code for one that do returned.
func (s *Store) failed(ctx context.Context, operation string, err error) error {
	var (
		coded  *errs.Error
		answer smithy.APIError
	)
	if errors.As(err, &coded) {
		return err
	}
	s.log(ctx, operation, err)
	switch {
	case errors.As(err, &errLost{}):
		return errUnknown(err)
	case errors.As(err, &answer) && isTooLarge(answer.ErrorMessage()):
		return errTooLarge(err)
	default:
		return fault(errs.Internal, err, "the store refused a request")
	}
}

// isTooLarge reports whether a validation failed because an item, or a request, is too large.
func isTooLarge(message string) bool {
	for _, sign := range []string{"size has exceeded", "exceeded the maximum allowed size", "too large"} {
		if strings.Contains(message, sign) {
			return true
		}
	}
	return false
}

func errTooLarge(cause error) error {
	return fault(errs.TooLarge, cause, "what is to be stored is larger than the store can take: split it")
}

// errUnknown is for a write of which nobody knows whether it was done.
func errUnknown(cause error) error {
	return fault(errs.Unavailable, cause, "the store did not answer: it may have taken the write or not")
}

// errTooOften is for a write that lost every race.
func errTooOften() error {
	return errs.New(errs.Unavailable, "the document is being written too often: try again")
}

func (s *Store) log(ctx context.Context, operation string, err error) {
	s.logger.ErrorContext(ctx, "DynamoDB failed", "operation", operation, "error", err)
}

// isInvalid reports whether DynamoDB refused a request for what it says.
func isInvalid(err error) bool {
	var answer smithy.APIError
	return errors.As(err, &answer) && answer.ErrorCode() == "ValidationException"
}

// conditionFailed returns the item that a condition did not hold for, and whether that is what went wrong.
func conditionFailed(err error) (item map[string]types.AttributeValue, ok bool) {
	var failed *types.ConditionalCheckFailedException
	if errors.As(err, &failed) {
		return failed.Item, true
	}
	return nil, false
}

// fault returns an error whose message says nothing of what AWS said; that is its cause.
func fault(code errs.Code, cause error, message string) error {
	return errs.New(code, "%w", unsaid{message, cause})
}

type unsaid struct {
	message string
	cause   error
}

func (u unsaid) Error() string { return u.message }
func (u unsaid) Unwrap() error { return u.cause }
