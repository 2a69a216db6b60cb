package door

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"

	"github.com/eddyhq/eddy/shared/eddy"
	"github.com/eddyhq/eddy/shared/errs"
)

// MaxBody is the limit of a request's body in bytes.
const MaxBody = 1 << 20

const requestIDHeader = "X-Request-Id"

// Begin gives a request its id, and the answer the header that tells it.
func Begin(w http.ResponseWriter, r *http.Request) {
	w.Header().Set(requestIDHeader, RequestID(r.Header))
}

// RequestID is the caller's own id when it sent a sane one, so that a request can be followed through proxies, and a new
// one otherwise: 32 hexadecimal digits, enough to be unique in the logs, and no secret.
func RequestID(header http.Header) string {
	id := header.Get(requestIDHeader)
	if id != "" && len(id) <= 128 && !strings.ContainsFunc(id, func(c rune) bool { return c <= ' ' || c > '~' }) {
		return id
	}
	var random [16]byte
	binary.LittleEndian.PutUint64(random[:8], rand.Uint64())
	binary.LittleEndian.PutUint64(random[8:], rand.Uint64())
	return hex.EncodeToString(random[:])
}

// RequestIDOf returns the id that Begin gave to the request which w answers.
func RequestIDOf(w http.ResponseWriter) string { return w.Header().Get(requestIDHeader) }

// ReadBody reads the body whole. One over MaxBody is refused before it is read, when it says its length, or at MaxBody.
func ReadBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	switch {
	case r.ContentLength == 0:
		return nil, nil
	case r.ContentLength > MaxBody:
		w.Header().Set("Connection", "close")
		return nil, TooLarge()
	case r.ContentLength > 0:
		return readLength(r.Body, r.ContentLength)
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxBody))
	if over := (*http.MaxBytesError)(nil); errors.As(err, &over) {
		return nil, TooLarge()
	}
	if err != nil {
		return nil, errs.New(errs.InvalidArgument, "the body could not be read: %w", err)
	}
	return body, nil
}

// promised is how many bytes of a body have room before they come: a client that says a length and sends nothing costs no more.
const promised = 64 << 10

func readLength(body io.Reader, length int64) ([]byte, error) {
	read := make([]byte, min(length, promised))
	_, err := io.ReadFull(body, read)
	if err == nil && length > promised {
		buffer := bytes.NewBuffer(read)
		_, err = io.CopyN(buffer, body, length-promised)
		read = buffer.Bytes()
	}
	if err != nil {
		return nil, errs.New(errs.InvalidArgument, "the body ended before its Content-Length: %w", err)
	}
	return read, nil
}

// TooLarge is the error for a body over MaxBody.
func TooLarge() error {
	return errs.New(errs.TooLarge, "the body is over the limit of %d bytes", MaxBody)
}

// WriteError answers with the envelope of an error.
func WriteError(w http.ResponseWriter, err error) { Write(w, eddy.ErrorResponse(err, RequestIDOf(w))) }

// Write answers with a response.
func Write(w http.ResponseWriter, response *eddy.HTTPResponse) {
	header := w.Header()
	for name, values := range response.Header {
		header[name] = values
	}
	w.WriteHeader(response.Status)
	_, _ = w.Write(response.Body) // the client may have gone; there is nobody left to tell
}

// WriteJSON answers with JSON text.
func WriteJSON(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

// IsJSON reports whether a Content-Type says application/json.
func IsJSON(contentType string) bool {
	mediaType, _, _ := strings.Cut(contentType, ";")
	return strings.EqualFold(strings.TrimSpace(mediaType), "application/json")
}

// ForeignWrite returns the error for a request with which a page of an origin that is not allowed would write without the
// browser asking first, as a form does; nil for every other request.
func ForeignWrite(method, host string, header http.Header, allowed func(origin string) bool) error {
	origin := header.Get("Origin")
	switch {
	case origin == "", method == http.MethodGet, method == http.MethodHead, allowed(origin),
		IsJSON(header.Get("Content-Type")), SameHost(origin, host):
		return nil
	default:
		return errs.New(errs.PermissionDenied, "pages of %s may not write; see eddy.AllowOrigins", origin)
	}
}

// SameHost reports whether a page of the origin comes from the host itself.
func SameHost(origin, host string) bool {
	u, err := url.Parse(origin)
	return err == nil && u.Host != "" && strings.EqualFold(u.Host, host)
}
