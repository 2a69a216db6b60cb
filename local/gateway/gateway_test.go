package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/coder/websocket"
	"go.uber.org/goleak"

	"github.com/eddyhq/eddy/functions"
	"github.com/eddyhq/eddy/local/conformance"
	"github.com/eddyhq/eddy/shared/eddy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve runs an app on free ports until the test ends.
func serve(t *testing.T, app *eddy.App, change func(*Config)) *Gateway {
	t.Helper()
	config := Config{HTTP: "127.0.0.1:0", Stream: "127.0.0.1:0", Data: t.TempDir(), LogFormat: "text"}
	if change != nil {
		change(&config)
	}
	g, err := Run(app, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := g.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return g
}

func TestConformance(t *testing.T) { //nolint:paralleltest // its last part counts todos and wants to be alone
	g := serve(t, functions.App(), nil)
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	conformance.Run(t, conformance.Target{HTTP: g.URL(), Local: true})
}

// open is a gateway without doors, on a store in memory.
func open(t *testing.T, app *eddy.App, change func(*Config)) *Gateway {
	t.Helper()
	config := Config{Data: "data", FS: vfs.NewMem(), LogFormat: "text"}
	if change != nil {
		change(&config)
	}
	g, err := Open(app, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return g
}

func request(t *testing.T, g *Gateway, method, path, body string, headers ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, "http://127.0.0.1"+path, strings.NewReader(body))
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	g.ServeHTTP(w, r)
	return w
}

func code(t *testing.T, w *httptest.ResponseRecorder) string {
	t.Helper()
	var envelope struct {
		Error struct {
			Code      string `json:"code"`
			RequestID string `json:"request_id"`
		} `json:"error"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &envelope); err != nil {
		t.Fatalf("%d %q is no envelope: %v", w.Code, w.Body, err)
	}
	if id := w.Header().Get("X-Request-Id"); id == "" || id != envelope.Error.RequestID {
		t.Errorf("the envelope has request id %q, the header %q", envelope.Error.RequestID, id)
	}
	return envelope.Error.Code
}

func TestAnAdminTokenIsAskedForAndEnough(t *testing.T) {
	t.Parallel()
	g := open(t, functions.App(), func(c *Config) { c.AdminToken = "secret" })
	const path = "/_eddy/functions"
	for name, headers := range map[string][]string{
		"no token":           nil,
		"another token":      {"Authorization", "Bearer other"},
		"a part of it":       {"Authorization", "Bearer secre"},
		"another scheme":     {"Authorization", "Basic secret"},
		"the token in short": {"Authorization", "Bearer"},
	} {
		if w := request(t, g, "GET", path, "", headers...); w.Code != 401 || code(t, w) != "unauthenticated" {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
	far := []string{"Authorization", "Bearer secret", "X-Forwarded-For", "203.0.113.7", "Origin", "https://example.com"}
	if w := request(t, g, "GET", path, "", far...); w.Code != 200 {
		t.Errorf("with the token: %d %s", w.Code, w.Body)
	}
	if w := request(t, g, "GET", "/_eddy/health", ""); w.Code != 200 {
		t.Errorf("health without it: %d", w.Code)
	}
}

func TestAHandlerThatPanicsIsA500AndTheProcessLives(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	app := eddy.New()
	eddy.Register(app, "test::panic", func(context.Context, eddy.None) (eddy.None, error) { panic("the secret cause") },
		eddy.HTTP("GET /panic"))
	g := open(t, app, func(c *Config) { c.Log = &log })
	for range 2 {
		w := request(t, g, "GET", "/panic", "")
		if w.Code != 500 || code(t, w) != "internal" || strings.Contains(w.Body.String(), "secret") {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	}
	if !strings.Contains(log.String(), "the secret cause") {
		t.Error("the log does not tell the cause")
	}
}

func TestAFunctionThatOutlastsItsTimeoutIsA504(t *testing.T) {
	t.Parallel()
	app := eddy.New()
	eddy.Register(app, "test::slow", func(ctx context.Context, _ eddy.None) (eddy.None, error) {
		<-ctx.Done()
		return eddy.None{}, ctx.Err()
	}, eddy.HTTP("GET /slow"), eddy.Timeout(time.Millisecond))
	if w := request(t, open(t, app, nil), "GET", "/slow", ""); w.Code != 504 || code(t, w) != "timeout" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestAPathThatLeadsElsewhereIsNoRoute(t *testing.T) {
	t.Parallel()
	g := open(t, functions.App(), nil)
	for _, path := range []string{"//todos", "/todos//metrics", "/./todos", "/x/../todos", "/todos/"} {
		if w := request(t, g, "GET", path, ""); w.Code != 404 || code(t, w) != "not_found" {
			t.Errorf("GET %s: %d %s", path, w.Code, w.Body)
		}
	}
}

func TestAPageOfAnotherOriginCannotWriteWithoutAPreflight(t *testing.T) {
	t.Parallel()
	g := open(t, functions.App(), nil)
	write := func(origin string) int {
		return request(t, g, "POST", "/todos", `{"title":"x"}`, "Origin", origin, "Content-Type", "text/plain").Code
	}
	if status := write("https://example.com"); status != 403 {
		t.Errorf("a foreign page's form gets %d", status)
	}
	if status := write("http://localhost:5173"); status == 403 {
		t.Error("a page of this machine is refused")
	}
}

func TestAllowedOriginsReplaceTheDefault(t *testing.T) {
	t.Parallel()
	app := eddy.New(eddy.AllowOrigins("https://app.example"))
	g := open(t, app, nil)
	for origin, want := range map[string]string{"https://app.example": "https://app.example", "http://localhost": ""} {
		w := request(t, g, "GET", "/_eddy/health", "", "Origin", origin)
		if got := w.Header().Get("Access-Control-Allow-Origin"); got != want {
			t.Errorf("for a page of %s: %q", origin, got)
		}
	}
}

func TestTheStreamPortSpeaksWebSocketAtItsRootToo(t *testing.T) {
	t.Parallel()
	g := serve(t, functions.App(), nil)
	for path, join := range map[string]string{
		"/":                      `{"type":"join","data":{"subscriptionId":"s","streamName":"todos-live","groupId":"all"}}`,
		"/stream/todos-live/all": "",
	} {
		socket, _, err := websocket.Dial(t.Context(), g.StreamURL()+path, nil)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if join != "" {
			if err := socket.Write(t.Context(), websocket.MessageText, []byte(join)); err != nil {
				t.Fatalf("%s: %v", path, err)
			}
		}
		_, frame, err := socket.Read(t.Context())
		if err != nil || !strings.Contains(string(frame), `"event":{"type":"sync","data":[]}`) {
			t.Errorf("%s: the first frame is %s, %v", path, frame, err)
		}
		if err := socket.Close(websocket.StatusNormalClosure, ""); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
	response, err := http.Get("http" + strings.TrimPrefix(g.StreamURL(), "ws") + "/todos")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusNotFound {
		t.Errorf("a route of the app is a %d on the stream port", response.StatusCode)
	}
	http.DefaultClient.CloseIdleConnections()
}

func TestAStopTellsTheSocketsWhateverElseHangs(t *testing.T) {
	t.Parallel()
	release, begun := make(chan struct{}), make(chan struct{})
	defer close(release)
	app := eddy.New()
	eddy.Register(app, "test::hang", func(context.Context, eddy.None) (eddy.None, error) {
		close(begun)
		<-release
		return eddy.None{}, nil
	}, eddy.HTTP("GET /hang"))
	g, err := Run(app, Config{HTTP: "127.0.0.1:0", Data: t.TempDir(), LogFormat: "text"})
	if err != nil {
		t.Fatal(err)
	}
	socket, _, err := websocket.Dial(t.Context(), g.WebSocketURL(), nil)
	if err != nil {
		t.Fatal(err)
	}
	closed := make(chan error, 1)
	go func() {
		_, _, err := socket.Read(context.Background())
		closed <- err
	}()
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	go func() {
		if response, err := client.Get(g.URL() + "/hang"); err == nil {
			response.Body.Close()
		}
	}()
	<-begun
	ctx, cancel := context.WithTimeout(t.Context(), socketTime+100*time.Millisecond)
	defer cancel()
	if err := g.Close(ctx); err != nil {
		t.Error(err)
	}
	if err := <-closed; websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("the socket ended with %v, want close code 1001", err)
	}
}

func TestTheConsoleIsServed(t *testing.T) {
	t.Parallel()
	w := request(t, open(t, functions.App(), nil), "GET", "/_eddy/", "")
	if w.Code != 200 || !strings.Contains(w.Body.String(), "<title>Eddy console</title>") {
		t.Errorf("%d %.100s", w.Code, w.Body)
	}
}

func TestFlagsAndEnvironment(t *testing.T) {
	t.Parallel()
	environment := map[string]string{"EDDY_HTTP": "127.0.0.1:1", "EDDY_DATA": "from-environment", "EDDY_ADMIN_TOKEN": "secret"}
	var usage bytes.Buffer
	config, err := parse([]string{"-http", "127.0.0.1:2", "--log-format=json"}, func(k string) string { return environment[k] }, &usage)
	if err != nil {
		t.Fatal(err)
	}
	if config.HTTP != "127.0.0.1:2" || config.Data != "from-environment" || config.LogFormat != "json" ||
		config.Stream != "127.0.0.1:3112" || config.AdminToken != "secret" {
		t.Errorf("parsed %+v", config)
	}
	if _, err := parse([]string{"-help"}, func(k string) string { return environment[k] }, &usage); err == nil {
		t.Error("-help is no end")
	}
	help := usage.String()
	for _, name := range []string{"-http", "-stream", "-data", "-admin-token", "-log-format", "EDDY_LOG_FORMAT"} {
		if !strings.Contains(help, name) {
			t.Errorf("the help lacks %s", name)
		}
	}
	if strings.Contains(help, `"secret"`) {
		t.Error("the help shows the token")
	}
	for name, args := range map[string][]string{
		"an unknown format": {"-log-format", "xml"}, "no address": {"-http", ""}, "an argument": {"serve"}, "no directory": {"-data", ""},
	} {
		if _, err := parse(args, func(string) string { return "" }, &usage); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

func TestATakenPortIsNamedWithTheWayOut(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	_, err = Run(functions.App(), Config{HTTP: taken.Addr().String(), Data: t.TempDir(), LogFormat: "text"})
	if err == nil || !strings.Contains(err.Error(), taken.Addr().String()) || !strings.Contains(err.Error(), "EDDY_HTTP") {
		t.Errorf("the error is %v", err)
	}
}

func TestASecondGatewayOnTheSameDirectoryIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	serve(t, functions.App(), func(c *Config) { c.Data = dir })
	_, err := Run(functions.App(), Config{HTTP: "127.0.0.1:0", Data: dir, LogFormat: "text"})
	if err == nil || !strings.Contains(err.Error(), "another Eddy is running") {
		t.Errorf("the error is %v", err)
	}
}

func TestWhatToTryWorks(t *testing.T) {
	t.Parallel()
	g := serve(t, functions.App(), nil)
	var greeting bytes.Buffer
	g.greet(&greeting)
	for _, want := range []string{g.URL(), g.StreamURL(), `/todos -d '{"title":"a title"}'`} {
		if !strings.Contains(greeting.String(), want) {
			t.Errorf("the greeting lacks %s:\n%s", want, &greeting)
		}
	}
	if n := strings.Count(greeting.String(), "curl "); n != 3 {
		t.Errorf("there are %d commands to try", n)
	}
}
