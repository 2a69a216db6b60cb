package eddy

import (
	"errors"

	"github.com/eddyhq/eddy/shared/errs"
)

// Error is a failure with a code, see the codes for when to choose which. Message is for the person who called.
type Error = errs.Error

// Code names a kind of failure. The list is closed: a client may switch over it.
type Code = errs.Code

// Detail is one fault of a request, by field.
type Detail = errs.Detail

// The codes, with the HTTP status that carries each.
const (
	CodeInvalidArgument  = errs.InvalidArgument  // 400: the request is wrong, whatever the state of the system
	CodeUnauthenticated  = errs.Unauthenticated  // 401: nobody is known to be asking
	CodePermissionDenied = errs.PermissionDenied // 403: who asks is known, and may not
	CodeNotFound         = errs.NotFound         // 404
	CodeMethodNotAllowed = errs.MethodNotAllowed // 405
	CodeConflict         = errs.Conflict         // 409: the version did not match, or it exists already
	CodeTooLarge         = errs.TooLarge         // 413
	CodeConditionNotMet  = errs.ConditionNotMet  // 422: a rule of the application refuses a well-formed request
	CodeRateLimited      = errs.RateLimited      // 429
	CodeInternal         = errs.Internal         // 500: the cause is logged and never shown
	CodeUnavailable      = errs.Unavailable      // 503: passes; repeating helps
	CodeTimeout          = errs.Timeout          // 504: may have had an effect
)

// Invalid says what is wrong with one field of the input. Several of them, joined by errors.Join in a Validate method,
// become one error that lists all.
func Invalid(field, problem string) error {
	return errs.Invalid(Detail{Field: field, Problem: problem})
}

// Unauthenticated says that nobody is known to be asking.
func Unauthenticated(format string, args ...any) error {
	return errs.New(errs.Unauthenticated, format, args...)
}

// PermissionDenied says that the caller may not do this.
func PermissionDenied(format string, args ...any) error {
	return errs.New(errs.PermissionDenied, format, args...)
}

// NotFound says that what was named does not exist.
func NotFound(format string, args ...any) error { return errs.New(errs.NotFound, format, args...) }

// Conflict says that something is no longer, or already, as the request assumed.
func Conflict(format string, args ...any) error { return errs.New(errs.Conflict, format, args...) }

// ConditionNotMet says that a rule of the application refuses a well-formed request.
func ConditionNotMet(format string, args ...any) error {
	return errs.New(errs.ConditionNotMet, format, args...)
}

// RateLimited says that there are too many requests. SetHeader(ctx, "Retry-After", seconds) says for how long; without
// it the answer says one second.
func RateLimited(format string, args ...any) error {
	return errs.New(errs.RateLimited, format, args...)
}

// Unavailable says that something passing stands in the way.
func Unavailable(format string, args ...any) error {
	return errs.New(errs.Unavailable, format, args...)
}

// CodeOf returns the code of err: "" for nil, CodeInternal for an error without a code.
func CodeOf(err error) Code { return errs.CodeOf(err) }

// NoRetry marks an error of a reaction as one that no further attempt can mend: the delivery becomes a dead letter at
// once. NoRetry(nil) is nil.
func NoRetry(err error) error {
	if err == nil {
		return nil
	}
	return noRetry{err}
}

type noRetry struct{ error }

func (e noRetry) Unwrap() error { return e.error }

// IsNoRetry reports whether err, or one it wraps, was marked by NoRetry.
func IsNoRetry(err error) bool {
	_, marked := errors.AsType[noRetry](err)
	return marked
}
