package host

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/aws/aws-lambda-go/events"

	"github.com/eddyhq/eddy/shared/door"
	"github.com/eddyhq/eddy/shared/eddy"
	"github.com/eddyhq/eddy/shared/errs"
)

// httpEvent is a request as API Gateway's HTTP APIs send it to a Lambda: payload format 2.0.
type httpEvent = events.APIGatewayV2HTTPRequest

// httpAnswer is what a Lambda answers it with.
type httpAnswer = events.APIGatewayV2HTTPResponse

// requestOf returns the request of an event for a route, and fails with too_large or invalid_argument for its body.
func requestOf(event *httpEvent, route *eddy.Route) (*eddy.HTTPRequest, error) {
	body, err := bodyOf(event)
	if err != nil {
		return nil, err
	}
	query, _ := url.ParseQuery(event.RawQueryString) // what cannot be read is left out, as net/http does
	request := &eddy.HTTPRequest{
		Method:     event.RequestContext.HTTP.Method,
		Path:       escapedPath(event),
		Route:      route.Path,
		Query:      query,
		Header:     headerOf(event),
		Body:       body,
		RemoteAddr: remoteAddr(event),
	}
	if parameters := route.Parameters(); len(parameters) > 0 {
		request.PathValues = make(map[string]string, len(parameters))
		for _, name := range parameters {
			request.PathValues[name] = decoded(event.PathParameters[name])
		}
	}
	return request, nil
}

func bodyOf(event *httpEvent) ([]byte, error) {
	body := []byte(event.Body)
	if event.IsBase64Encoded {
		var err error
		if body, err = base64.StdEncoding.DecodeString(event.Body); err != nil {
			return nil, errs.New(errs.InvalidArgument, "the body could not be read: %w", err)
		}
	}
	if len(body) > door.MaxBody {
		return nil, door.TooLarge()
	}
	return body, nil
}

// escapedPath returns the path as a client could have sent it. API Gateway hands over a decoded one.
func escapedPath(event *httpEvent) string {
	return (&url.URL{Path: decoded(event.RawPath)}).EscapedPath()
}

// decoded undoes what API Gateway's decoding of a path leaves: the percent sign itself stays encoded.
func decoded(path string) string { return strings.ReplaceAll(path, "%25", "%") }

// remoteAddr names the client, whose port API Gateway does not tell.
func remoteAddr(event *httpEvent) string {
	return event.RequestContext.HTTP.SourceIP + ":0"
}

func headerOf(event *httpEvent) http.Header {
	header := make(http.Header, len(event.Headers)+1)
	for name, value := range event.Headers {
		header.Set(name, value)
	}
	if len(event.Cookies) > 0 {
		header.Set("Cookie", strings.Join(event.Cookies, "; "))
	}
	return header
}

// requestIDOf is the caller's own id when it sent a sane one, otherwise the one that API Gateway gave.
func requestIDOf(event *httpEvent, header http.Header) string {
	if id := event.RequestContext.RequestID; id != "" && header.Get("X-Request-Id") == "" {
		return id
	}
	return door.RequestID(header)
}

// answerOf returns the answer that carries a response.
func answerOf(response *eddy.HTTPResponse, requestID string) httpAnswer {
	answer := httpAnswer{StatusCode: response.Status, Headers: make(map[string]string, len(response.Header)+1)}
	for name, values := range response.Header {
		if http.CanonicalHeaderKey(name) == "Set-Cookie" {
			answer.Cookies = append(answer.Cookies, values...)
			continue
		}
		answer.Headers[name] = strings.Join(values, ", ")
	}
	answer.Headers["X-Request-Id"] = requestID
	if utf8.Valid(response.Body) {
		answer.Body = string(response.Body)
	} else {
		answer.Body, answer.IsBase64Encoded = base64.StdEncoding.EncodeToString(response.Body), true
	}
	return answer
}
