package eddy

import (
	"github.com/invopop/jsonschema"

	"github.com/eddyhq/eddy/shared/errs"
)

// envelope is the body of every error response.
type envelope struct {
	Error envelopeError `json:"error"`
}

type envelopeError struct {
	Code      toldCode `json:"code"`
	Message   string   `json:"message"`
	Details   []Detail `json:"details,omitempty"`
	RequestID string   `json:"request_id,omitempty"`
}

// toldCode is a Code whose schema lists all there are.
type toldCode Code

// JSONSchema implements what jsonschema asks of types.
func (toldCode) JSONSchema() *jsonschema.Schema {
	return &jsonschema.Schema{Type: "string", Enum: []any{
		CodeInvalidArgument, CodeUnauthenticated, CodePermissionDenied, CodeNotFound, CodeMethodNotAllowed, CodeConflict,
		CodeTooLarge, CodeConditionNotMet, CodeRateLimited, CodeInternal, CodeUnavailable, CodeTimeout,
	}}
}

// ErrorResponse returns the response that tells err: the envelope, under the status of its code. An internal error says
// nothing of its cause. One that is rate_limited carries Retry-After.
func ErrorResponse(err error, requestID string) *HTTPResponse {
	e := errs.From(err)
	told := envelopeError{Code: toldCode(e.Code), Message: e.Message, Details: e.Details, RequestID: requestID}
	status := e.Code.HTTPStatus()
	if e.Code == errs.Internal {
		told.Message, told.Details = "internal error", nil
	}
	header := jsonHeader()
	if e.Code == errs.RateLimited {
		header.Set("Retry-After", "1")
	}
	return &HTTPResponse{Status: status, Header: header, Body: mustEncode(envelope{told})}
}
