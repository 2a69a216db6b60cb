// Package errs holds the closed list of error codes that every door of Eddy speaks: HTTP envelopes, invoke results,
// WebSocket error frames and dead letters all carry one of these codes.
//
// A layer that knows what went wrong returns an *Error; everything else becomes Internal at the edge (see From), and
// the text of an Internal error never reaches a caller.
package errs

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// Code names a kind of failure. The list is closed: a client may switch over it.
type Code string

const (
	// InvalidArgument: the request itself is wrong, whatever the state of the system. Repeating it cannot help.
	InvalidArgument Code = "invalid_argument"
	// Unauthenticated: nobody is known to be asking. Choose PermissionDenied when the caller is known.
	Unauthenticated Code = "unauthenticated"
	// PermissionDenied: the caller, or the function, may not touch this.
	PermissionDenied Code = "permission_denied"
	// NotFound: the thing named does not exist.
	NotFound Code = "not_found"
	// MethodNotAllowed: the path exists, with other methods.
	MethodNotAllowed Code = "method_not_allowed"
	// Conflict: the version did not match or the document exists already. Repeating helps after reading again.
	Conflict Code = "conflict"
	// TooLarge: a body, document or message is over its limit.
	TooLarge Code = "too_large"
	// ConditionNotMet: the request is well formed, but a rule of the application refuses it.
	ConditionNotMet Code = "condition_not_met"
	// RateLimited: too many requests. Repeating later helps.
	RateLimited Code = "rate_limited"
	// Internal: a fault on our side. The cause is logged and never shown.
	Internal Code = "internal"
	// Unavailable: a fault that passes, such as a shutdown or a throttled store. Repeating helps.
	Unavailable Code = "unavailable"
	// Timeout: the work did not end in its time. It may have had an effect.
	Timeout Code = "timeout"
)

var status = map[Code]int{
	InvalidArgument:  http.StatusBadRequest,
	Unauthenticated:  http.StatusUnauthorized,
	PermissionDenied: http.StatusForbidden,
	NotFound:         http.StatusNotFound,
	MethodNotAllowed: http.StatusMethodNotAllowed,
	Conflict:         http.StatusConflict,
	TooLarge:         http.StatusRequestEntityTooLarge,
	ConditionNotMet:  http.StatusUnprocessableEntity,
	RateLimited:      http.StatusTooManyRequests,
	Internal:         http.StatusInternalServerError,
	Unavailable:      http.StatusServiceUnavailable,
	Timeout:          http.StatusGatewayTimeout,
}

// HTTPStatus returns the HTTP status that carries the code; 500 for a code outside the list.
func (c Code) HTTPStatus() int {
	if s, ok := status[c]; ok {
		return s
	}
	return http.StatusInternalServerError
}

// Detail is one fault of a request, by field.
type Detail struct {
	Field   string `json:"field"`
	Problem string `json:"problem"`
}

// Error is a failure with a code. Message is for the person who called; it carries no secret and nobody else's data.
type Error struct {
	Code    Code
	Message string
	Details []Detail
	cause   error
}

// New returns an error of the code with a formatted message. A %w verb keeps its operand as the cause.
func New(code Code, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Code: code, Message: err.Error(), cause: errors.Unwrap(err)}
}

// Invalid returns an InvalidArgument error that lists every fault, in order.
func Invalid(details ...Detail) *Error {
	if len(details) == 0 {
		return &Error{Code: InvalidArgument, Message: "invalid argument"}
	}
	texts := make([]string, len(details))
	for i, d := range details {
		texts[i] = d.Problem
		if d.Field != "" {
			texts[i] = d.Field + ": " + d.Problem
		}
	}
	return &Error{Code: InvalidArgument, Message: strings.Join(texts, "; "), Details: details}
}

// Error returns the code and the message.
func (e *Error) Error() string { return string(e.Code) + ": " + e.Message }

// Unwrap returns the cause, which is logged and never sent.
func (e *Error) Unwrap() error { return e.cause }

// From returns err as an *Error. An expired context is a Timeout, a cancelled one Unavailable, and whatever has no
// code is Internal with a message that says nothing of the cause. From(nil) is nil.
func From(err error) *Error {
	var e *Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &e):
		return e
	case errors.Is(err, context.DeadlineExceeded):
		return &Error{Code: Timeout, Message: "the work did not end in its time", cause: err}
	case errors.Is(err, context.Canceled):
		return &Error{Code: Unavailable, Message: "the work was cancelled", cause: err}
	default:
		return &Error{Code: Internal, Message: "internal error", cause: err}
	}
}

// CodeOf returns the code of err: "" for nil, Internal for an error without a code.
func CodeOf(err error) Code {
	if e := From(err); e != nil {
		return e.Code
	}
	return ""
}
