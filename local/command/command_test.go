package command_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/eddyhq/eddy/local/command"
	"github.com/eddyhq/eddy/local/gateway"
	"github.com/eddyhq/eddy/shared/eddy"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// outcome is what a command came to.
type outcome struct {
	code           int
	stdout, stderr string
}

// run runs a command line, in an environment of the given variables.
func run(t *testing.T, environment map[string]string, in string, args ...string) outcome {
	t.Helper()
	found, ok := command.Find(args[0])
	if !ok {
		t.Fatalf("there is no command %s", args[0])
	}
	var stdout, stderr bytes.Buffer
	code := found.Run(t.Context(), args[1:], command.Environment{
		Stdin: strings.NewReader(in), Stdout: &stdout, Stderr: &stderr,
		Getenv: func(name string) string { return environment[name] }, Now: time.Now,
	})
	return outcome{code, stdout.String(), stderr.String()}
}

// succeed runs a command line that has to work.
func succeed(t *testing.T, args ...string) outcome {
	t.Helper()
	got := run(t, nil, "", args...)
	if got.code != command.OK {
		t.Fatalf("%s: exit code %d\n%s%s", strings.Join(args, " "), got.code, got.stdout, got.stderr)
	}
	return got
}

func TestHelp(t *testing.T) {
	t.Parallel()
	for _, c := range command.Commands() {
		got := run(t, map[string]string{"EDDY_ADMIN_TOKEN": "secret"}, "", c.Name, "-help")
		if got.code != command.OK || got.stderr != "" {
			t.Errorf("%s -help: exit code %d, %s", c.Name, got.code, got.stderr)
		}
		golden := filepath.Join("testdata", "help", c.Name+".txt")
		if *update {
			if err := os.WriteFile(golden, []byte(got.stdout), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), got.stdout); diff != "" {
			t.Errorf("%s -help (-want +got):\n%s", c.Name, diff)
		}
	}
}

func TestMistakesOnTheCommandLine(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, line, says string }{
		{"no file", "backup", "it takes FILE"},
		{"two files", "restore a b", "it takes FILE"},
		{"an unknown flag", "export -nothing f", "-nothing"},
		{"a URL that is none", "export -url localhost f", "-url localhost"},
		{"no credentials for API Gateway", "export -url https://abc.execute-api.eu-west-1.amazonaws.com f", "AWS_ACCESS_KEY_ID"},
		{"neither list, redrive nor discard", "dead-letters drop", "neither list, redrive nor discard"},
		{"nothing to do", "dead-letters", "it takes list"},
		{"a list of ids", "dead-letters list x", "list takes"},
		{"a function and a queue", "dead-letters list -function a -queue b", "not both"},
		{"neither ids nor all", "dead-letters redrive -function f", "-all"},
		{"ids and all", "dead-letters redrive x -all -function f", "-all"},
		{"ids of nothing", "dead-letters redrive x", "-function ID or -queue NAME"},
		{"all of nothing", "dead-letters discard -all", "-everything"},
		{"everything of a function", "dead-letters discard -all -everything -function f", "in place of"},
		{"JSON of a redrive", "dead-letters redrive x -function f -json", "-json is for list"},
	} {
		got := run(t, nil, "", strings.Fields(c.line)...)
		if got.code != command.Misuse || !strings.Contains(got.stderr, c.says) || !strings.Contains(got.stderr, "-help") || got.stdout != "" {
			t.Errorf("%s: exit code %d\n%s%s", c.name, got.code, got.stdout, got.stderr)
		}
	}
}

// nowhere is a URL where nobody listens.
func nowhere(t *testing.T) string {
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	return server.URL
}

func TestWhereNobodyListensItIsSaidWhatToDo(t *testing.T) {
	t.Parallel()
	url, dir := nowhere(t), t.TempDir()
	for _, line := range []string{"export -url %s %s/a", "backup -url %s %s/b", "dead-letters list -url %s %.0s"} {
		got := run(t, nil, "", strings.Fields(fmt.Sprintf(line, url, dir))...)
		if got.code != command.Failed || !strings.Contains(got.stderr, "nothing answers at "+url) {
			t.Errorf("%s: exit code %d, %s", line, got.code, got.stderr)
		}
	}
	if files, _ := os.ReadDir(dir); len(files) > 0 {
		t.Errorf("failures left %v", files)
	}
}

// note is the document of these tests' application.
type note struct {
	N int `json:"n"`
}

// serve runs an application with documents and a dead letter until stop is called.
func serve(t *testing.T, config gateway.Config) (g *gateway.Gateway, stop func()) {
	t.Helper()
	notes := eddy.Scope[note]("notes")
	app := eddy.New()
	eddy.React(app, "notes::fail", func(_ context.Context, c eddy.Change[note]) error {
		return eddy.NoRetry(eddy.NotFound("nothing for %s", c.Key))
	}, notes.Changes(eddy.When(func(c eddy.Change[note]) bool { return strings.HasPrefix(c.Key, "bad") })))
	config.HTTP, config.LogFormat = "127.0.0.1:0", "text"
	g, err := gateway.Run(app, config)
	if err != nil {
		t.Fatal(err)
	}
	stop = sync.OnceFunc(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := g.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return g, stop
}

// call calls a function of a gateway.
func call(t *testing.T, g *gateway.Gateway, function, payload string) string {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), "POST", "http://127.0.0.1/_eddy/invoke/"+function, strings.NewReader(payload))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer secret")
	w := httptest.NewRecorder()
	g.ServeHTTP(w, r)
	if w.Code != 200 {
		t.Fatalf("%s %s: %d %s", function, payload, w.Code, w.Body)
	}
	return w.Body.String()
}

func fill(t *testing.T, g *gateway.Gateway, keys ...string) {
	t.Helper()
	for i, key := range keys {
		call(t, g, "state::set", fmt.Sprintf(`{"scope":"notes","key":%q,"value":{"n":%d}}`, key, i))
	}
	settle(t, g)
}

func settle(t *testing.T, g *gateway.Gateway) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := g.Engine().Settle(ctx); err != nil {
		t.Fatal(err)
	}
}

const listing = `{"scope":"notes","with_keys":true}`

func TestABackupOfARunningGatewayIsRestored(t *testing.T) {
	t.Parallel()
	g, _ := serve(t, gateway.Config{Data: t.TempDir()})
	fill(t, g, "a", "bad-b")
	file, dir := filepath.Join(t.TempDir(), "backup"), filepath.Join(t.TempDir(), "restored")
	succeed(t, "backup", file, "-url", g.URL())
	fill(t, g, "later")
	if again := run(t, nil, "", "backup", file, "-url", g.URL()); again.code != command.Failed || !strings.Contains(again.stderr, "-force") {
		t.Errorf("a file that is there: exit code %d, %s", again.code, again.stderr)
	}

	if got := succeed(t, "restore", file, "-data", dir); !strings.Contains(got.stdout, "go run ./local -data "+dir) {
		t.Errorf("restore says %s", got.stdout)
	}
	restored, _ := serve(t, gateway.Config{Data: dir})
	if got := call(t, restored, "state::list", listing); strings.Count(got, `"key"`) != 2 || strings.Contains(got, "later") {
		t.Errorf("it holds %s", got)
	}
	if got := call(t, restored, "queue::dead_letters", `{}`); !strings.Contains(got, "nothing for bad-b") {
		t.Errorf("its dead letters are %s", got)
	}
	if got := run(t, nil, "", "restore", file, "-data", dir); got.code != command.Failed || !strings.Contains(got.stderr, "not empty") {
		t.Errorf("a directory with data: exit code %d, %s", got.code, got.stderr)
	}
	succeed(t, "backup", "-force", file, "-url", g.URL())
	if files, _ := filepath.Glob(filepath.Join(filepath.Dir(file), "*")); len(files) != 1 {
		t.Errorf("beside the backup there are %v", files)
	}
}

func TestABackupIsMadeOfTheDirectoryWhereNoGatewayRuns(t *testing.T) {
	t.Parallel()
	data, dir := t.TempDir(), t.TempDir()
	g, stop := serve(t, gateway.Config{Data: data})
	fill(t, g, "a")
	locked := run(t, nil, "", "backup", filepath.Join(dir, "one"), "-data", data)
	if locked.code != command.Failed || !strings.Contains(locked.stderr, "another Eddy is running") {
		t.Errorf("while it runs: exit code %d, %s", locked.code, locked.stderr)
	}
	stop()
	succeed(t, "backup", filepath.Join(dir, "one"), "-data", data)
	succeed(t, "restore", filepath.Join(dir, "one"), "-data", filepath.Join(dir, "restored"))
	restored, _ := serve(t, gateway.Config{Data: filepath.Join(dir, "restored")})
	if got := call(t, restored, "state::list", listing); strings.Count(got, `"key"`) != 1 {
		t.Errorf("it holds %s", got)
	}
	missing := run(t, nil, "", "backup", filepath.Join(dir, "two"), "-data", filepath.Join(dir, "nothing"))
	if missing.code != command.Failed || !strings.Contains(missing.stderr, "no data") {
		t.Errorf("of no directory: exit code %d, %s", missing.code, missing.stderr)
	}
}

func TestABackupThatIsCutOffOrDamagedIsNone(t *testing.T) {
	t.Parallel()
	g, _ := serve(t, gateway.Config{Data: t.TempDir()})
	fill(t, g, "a")
	dir := t.TempDir()
	file := filepath.Join(dir, "backup")
	succeed(t, "backup", file, "-url", g.URL())
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	cut := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(whole[:len(whole)/2]) }))
	t.Cleanup(cut.Close)
	got := run(t, nil, "", "backup", filepath.Join(dir, "other"), "-url", cut.URL)
	if got.code != command.Failed || !strings.Contains(got.stderr, "cut off") {
		t.Errorf("a backup that is cut off on its way: exit code %d, %s", got.code, got.stderr)
	}
	if err := os.WriteFile(file, whole[:len(whole)-1], 0o600); err != nil {
		t.Fatal(err)
	}
	if got := run(t, nil, "", "restore", file, "-data", filepath.Join(dir, "restored")); got.code != command.Failed || !strings.Contains(got.stderr, "cut off") {
		t.Errorf("restoring what is cut off: exit code %d, %s", got.code, got.stderr)
	}
	if files, _ := filepath.Glob(filepath.Join(dir, "*.partial")); len(files) > 0 {
		t.Errorf("there are %v", files)
	}
}

func TestATokenIsTakenFromTheFlagOrTheEnvironment(t *testing.T) {
	t.Parallel()
	g, _ := serve(t, gateway.Config{Data: t.TempDir(), AdminToken: "secret"})
	for _, c := range []struct {
		name        string
		environment map[string]string
		flags       []string
		code        int
	}{
		{"no token", map[string]string{"EDDY_URL": g.URL()}, nil, command.Failed},
		{"the flag", map[string]string{"EDDY_URL": g.URL()}, []string{"-token", "secret"}, command.OK},
		{"the environment", map[string]string{"EDDY_URL": g.URL(), "EDDY_ADMIN_TOKEN": "secret"}, nil, command.OK},
		{"the flag before the environment", map[string]string{"EDDY_URL": "http://127.0.0.1:1", "EDDY_ADMIN_TOKEN": "other"},
			[]string{"-token", "secret", "-url", g.URL()}, command.OK},
	} {
		got := run(t, c.environment, "", append([]string{"dead-letters", "list"}, c.flags...)...)
		if got.code != c.code || got.code == command.Failed && !strings.Contains(got.stderr, "unauthenticated") {
			t.Errorf("%s: exit code %d, %s", c.name, got.code, got.stderr)
		}
	}
}

// application stands for one that answers every function as a test says.
type application struct {
	*httptest.Server
	mu      sync.Mutex
	asked   []string
	headers http.Header // of the last request
}

func newApplication(t *testing.T, answer func(function string, payload map[string]any) (int, any)) *application {
	t.Helper()
	a := &application{}
	a.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.mu.Lock()
		defer a.mu.Unlock()
		function := strings.TrimPrefix(r.URL.Path, "/_eddy/invoke/")
		var payload map[string]any
		if err := json.NewDecoder(r.Body).Decode(&payload); err != nil {
			t.Error(err)
		}
		a.asked, a.headers = append(a.asked, function), r.Header
		status, body := answer(function, payload)
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(body)
	}))
	t.Cleanup(a.Close)
	return a
}

const exported = `{"eddy":"export","format":1}
{"scope":"s","key":"a","value":1,"version":5}
{"scope":"s","key":"b","value":"<&>","version":6,"expires_at":9}
{"stream_name":"l","group_id":"g","item_id":"i","value":{"id":"i"},"version":7}
{"eddy":"end","documents":3}
`

func TestAnExportOfOneGatewayIsImportedIntoAnother(t *testing.T) {
	t.Parallel()
	from, _ := serve(t, gateway.Config{Data: t.TempDir()})
	to, _ := serve(t, gateway.Config{Data: t.TempDir()})
	keys := []string{"bad"}
	for i := range 130 { // more than a page, and than a batch
		keys = append(keys, fmt.Sprintf("n%03d", i))
	}
	fill(t, from, keys...)
	call(t, from, "state::set", `{"scope":"other","key":"/<&>","value":{"text":"\u2028 ü <&>"},"ttl_seconds":3600}`)
	call(t, from, "stream::set", `{"stream_name":"live","group_id":"g","item_id":"i","data":{"n":1}}`)
	fill(t, to, "n000", "kept")

	file := filepath.Join(t.TempDir(), "export")
	if got := succeed(t, "export", file, "-url", from.URL()); !strings.Contains(got.stderr, "133 documents") {
		t.Errorf("export says %s", got.stderr)
	}
	for range 2 { // once more changes nothing
		if got := succeed(t, "import", file, "-url", to.URL()); !strings.Contains(got.stderr, "133 documents") {
			t.Errorf("import says %s", got.stderr)
		}
	}
	call(t, to, "state::delete", `{"scope":"notes","key":"kept"}`)
	settle(t, to)
	for function, payload := range map[string]string{
		"state::list": `{"scope":"notes","limit":1000}`, "state::get": `{"scope":"other","key":"/<&>"}`,
		"stream::list": `{"stream_name":"live","group_id":"g"}`, "stream::list_all": `{}`, "state::list_groups": `{}`,
	} {
		got, want := call(t, to, function, payload), call(t, from, function, payload)
		if function == "state::list" { // beside the values it tells versions, which are new
			got, want = valuesOf(t, got), valuesOf(t, want)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s %s (-from +to):\n%s", function, payload, diff)
		}
	}
	if got := call(t, to, "queue::dead_letters", `{}`); got != `{"items":[]}` {
		t.Errorf("the import ran reactions: %s", got)
	}
	again := run(t, nil, "", "export", "-", "-url", to.URL())
	if !strings.Contains(again.stdout, `"expires_at"`) {
		t.Error("the time of expiry is lost")
	}
}

// valuesOf returns keys and values of a list with keys.
func valuesOf(t *testing.T, list string) string {
	t.Helper()
	var page struct {
		Items []struct {
			Key   string
			Value json.RawMessage
		}
	}
	if err := json.Unmarshal([]byte(list), &page); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%s", page.Items)
}

func TestAnExportIsAllPagesBetweenTwoLines(t *testing.T) {
	t.Parallel()
	lines := strings.Split(exported, "\n")
	failed := false
	app := newApplication(t, func(function string, payload map[string]any) (int, any) {
		if !failed { // what passes is tried again
			failed = true
			return 503, map[string]any{"error": map[string]any{"code": "unavailable", "message": "soon"}}
		}
		if payload["cursor"] == nil {
			return 200, map[string]any{"documents": []json.RawMessage{json.RawMessage(lines[1]), json.RawMessage(lines[2])}, "cursor": "more"}
		}
		return 200, map[string]any{"documents": []json.RawMessage{json.RawMessage(lines[3])}}
	})
	got := succeed(t, "export", "-", "-url", app.URL)
	if diff := cmp.Diff(exported, strings.ReplaceAll(got.stdout, `\u003c\u0026\u003e`, "<&>")); diff != "" {
		t.Error(diff)
	}
	if !strings.Contains(got.stderr, "3 documents") {
		t.Errorf("it says %s", got.stderr)
	}
	file := filepath.Join(t.TempDir(), "export")
	succeed(t, "export", file, "-url", app.URL)
	if text, err := os.ReadFile(file); err != nil || string(text) != got.stdout {
		t.Errorf("the file holds %s, %v", text, err)
	}
}

func TestAnImportSendsDocumentsInBatches(t *testing.T) {
	t.Parallel()
	var sizes []int
	app := newApplication(t, func(_ string, payload map[string]any) (int, any) {
		n := len(payload["documents"].([]any))
		sizes = append(sizes, n)
		return 200, map[string]any{"imported": n - 1, "expired": 1}
	})
	var text strings.Builder
	fmt.Fprintln(&text, `{"eddy":"export","format":1}`)
	large := strings.Repeat("x", 390_000)
	for i := range 56 {
		value := "small"
		if i < 3 {
			value = large
		}
		fmt.Fprintf(&text, `{"scope":"s","key":"%d","value":%q}`+"\n", i, value)
	}
	fmt.Fprintln(&text, `{"eddy":"end","documents":56}`)
	got := run(t, nil, text.String(), "import", "-", "-url", app.URL)
	if got.code != command.OK || !strings.Contains(got.stderr, "56 documents") || !strings.Contains(got.stderr, "4 of them had expired") {
		t.Errorf("exit code %d, %s", got.code, got.stderr)
	}
	if want := []int{2, 25, 25, 4}; !slices.Equal(sizes, want) {
		t.Errorf("the batches have %v documents, want %v", sizes, want)
	}
}

func TestAnImportOfWhatIsNotWholeImportsNothing(t *testing.T) {
	t.Parallel()
	app := newApplication(t, func(string, map[string]any) (int, any) { return 200, map[string]any{} })
	for _, c := range []struct{ name, text, says string }{
		{"an empty file", "", "cut off"},
		{"without its last line", strings.TrimSuffix(exported, "{\"eddy\":\"end\",\"documents\":3}\n"), "cut off"},
		{"without a document", strings.Replace(exported, "{\"scope\":\"s\",\"key\":\"a\",\"value\":1,\"version\":5}\n", "", 1), "damaged"},
		{"a line that is cut off", exported[:len(exported)-5], "no JSON object"},
		{"more after the end", exported + "{}\n", "after the end"},
		{"another file", "{\"n\":1}\n", "no export"},
		{"a newer format", strings.Replace(exported, `"format":1`, `"format":2`, 1), "format 2"},
	} {
		file := filepath.Join(t.TempDir(), "export")
		if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		got := run(t, nil, "", "import", file, "-url", app.URL)
		if got.code != command.Failed || !strings.Contains(got.stderr, c.says) || !strings.Contains(got.stderr, "nothing was imported") {
			t.Errorf("%s: exit code %d, %s", c.name, got.code, got.stderr)
		}
	}
	if len(app.asked) > 0 {
		t.Errorf("it was asked for %v", app.asked)
	}
}

func TestAnImportThatIsRefusedSaysHowFarItCame(t *testing.T) {
	t.Parallel()
	app := newApplication(t, func(string, map[string]any) (int, any) {
		return 400, map[string]any{"error": map[string]any{"code": "invalid_argument", "message": "documents[0].key: is required"}}
	})
	got := run(t, nil, exported, "import", "-", "-url", app.URL)
	if got.code != command.Failed || !strings.Contains(got.stderr, "after 0 documents: invalid_argument: documents[0].key") || len(app.asked) != 1 {
		t.Errorf("exit code %d after %d calls, %s", got.code, len(app.asked), got.stderr)
	}
}

func TestDeadLettersAreListedAndSettled(t *testing.T) {
	t.Parallel()
	g, _ := serve(t, gateway.Config{Data: t.TempDir()})
	fill(t, g, "bad-1", "bad-2", "bad-3", "bad-4")
	list := func(more ...string) string {
		t.Helper()
		return succeed(t, append([]string{"dead-letters", "list", "-url", g.URL()}, more...)...).stdout
	}
	shown := list()
	if !strings.HasPrefix(shown, "FUNCTION") || strings.Count(shown, "notes::fail") != 4 || !strings.Contains(shown, "not_found: nothing for bad-3") {
		t.Errorf("the list is\n%s", shown)
	}
	if got := list("-function", "other::function"); strings.Count(got, "\n") != 1 {
		t.Errorf("of another function there are\n%s", got)
	}
	var ids []string
	for line := range strings.Lines(list("-json")) {
		var letter struct {
			ID      string          `json:"id"`
			Payload json.RawMessage `json:"payload"`
		}
		if err := json.Unmarshal([]byte(line), &letter); err != nil || len(letter.Payload) == 0 {
			t.Fatalf("%s: %v", line, err)
		}
		ids = append(ids, letter.ID)
	}
	if got := succeed(t, "dead-letters", "redrive", ids[0], "-function", "notes::fail", "-url", g.URL()).stdout; got != "1 redriven\n" {
		t.Errorf("redrive says %s", got)
	}
	settle(t, g) // it fails again, and is there again
	if got := succeed(t, "dead-letters", "discard", ids[1], ids[2], "no-id", "-function", "notes::fail", "-url", g.URL()).stdout; got != "2 discarded\n" {
		t.Errorf("discard says %s", got)
	}
	if got := succeed(t, "dead-letters", "discard", "-all", "-everything", "-url", g.URL()).stdout; got != "2 discarded\n" {
		t.Errorf("discard of all says %s", got)
	}
	if got := list(); strings.Count(got, "\n") != 1 {
		t.Errorf("then there are\n%s", got)
	}
}
