package main

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestDocumentsAre120Bytes(t *testing.T) {
	t.Parallel()
	if len(document) != 120 {
		t.Fatalf("the document has %d bytes", len(document))
	}
}

func TestPercentile(t *testing.T) {
	t.Parallel()
	hundred := make([]float64, 100)
	for i := range hundred {
		hundred[i] = float64(i + 1)
	}
	cases := []struct {
		name   string
		sorted []float64
		p      float64
		want   float64
	}{
		{"the median of a hundred is the fiftieth", hundred, 0.5, 50},
		{"the 99th of a hundred leaves one above", hundred, 0.99, 99},
		{"the last is the whole", hundred, 1, 100},
		{"of one it is that one", []float64{7}, 0.01, 7},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if got := percentile(c.sorted, c.p); got != c.want {
				t.Errorf("percentile %v = %v, want %v", c.p, got, c.want)
			}
		})
	}
	if got := percentile([]float64(nil), 0.5); !math.IsNaN(got) {
		t.Errorf("percentile of nothing = %v, want NaN", got)
	}
}

func TestMedians(t *testing.T) {
	t.Parallel()
	got := medians([]figures{{"odd": 3, "even": 1}, {"odd": 1}, {"odd": 100, "even": 2}})
	if diff := cmp.Diff(figures{"odd": 3, "even": 1.5}, got); diff != "" {
		t.Errorf("medians (-want +got):\n%s", diff)
	}
	if v := got.get("absent"); !math.IsNaN(v) {
		t.Errorf("a figure that was not measured = %v, want NaN", v)
	}
}

func TestVerdict(t *testing.T) {
	t.Parallel()
	nan := math.NaN()
	cases := []struct {
		name string
		row  row
		want string
	}{
		{"a ratio on its lower bound is met", row{gateway: 80, baseline: 100, target: ratioAtLeast(0.8)}, "met"},
		{"a ratio below its lower bound is missed", row{gateway: 79, baseline: 100, target: ratioAtLeast(0.8)}, "missed"},
		{"a ratio above its upper bound is missed", row{gateway: 1.4, baseline: 1, target: ratioAtMost(1.3)}, "missed"},
		{"a size within its bound is met without a baseline", row{gateway: 39, baseline: nan, target: atMost(40)}, "met"},
		{"a figure that was not measured meets nothing", row{gateway: nan, baseline: 1, target: ratioAtMost(1.3)}, "missed"},
		{"a row without a target has no verdict", row{gateway: 1, baseline: 1}, ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if got := c.row.verdict(); got != c.want {
				t.Errorf("verdict %q, want %q", got, c.want)
			}
		})
	}
}

func TestTableShowsFigureRatioTargetAndVerdict(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	printTable(&out, []row{
		{what: "writes/s", gateway: 20_000, baseline: 25_000, target: ratioAtLeast(0.8)},
		{what: "binary, MB", gateway: 23.45, baseline: math.NaN(), target: atMost(40)},
	})
	var got [][]string
	for line := range strings.Lines(out.String()) {
		got = append(got, strings.Fields(line))
	}
	want := [][]string{
		{"what", "gateway", "baseline", "ratio", "target"},
		{"writes/s", "20,000", "25,000", "0.80", "≥", "0.8", "×", "met"},
		{"binary,", "MB", "23.4", "–", "≤", "40", "met"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
}

func TestNumber(t *testing.T) {
	t.Parallel()
	for v, want := range map[float64]string{
		1234567: "1,234,567", 999: "999", 100.4: "100", 12.34: "12.3", 1.234: "1.23",
		3: "3", 0: "0", 0.0012: "0.0012", -1500: "-1,500",
	} {
		if got := number(v); got != want {
			t.Errorf("number(%v) = %q, want %q", v, got, want)
		}
	}
}

func TestProcessTimesSkipAProgramNameWithSpaces(t *testing.T) {
	t.Parallel()
	own, children, err := processTimes("42 (a (b) c) S 1 1 1 0 -1 4194560 5 0 0 0 120 34 7 8 20 0 8 0 100 200 300")
	if err != nil || own != 154*clockTick || children != 15*clockTick {
		t.Errorf("processTimes = %d and %d ticks, %v; want 154 and 15", own/clockTick, children/clockTick, err)
	}
	if _, _, err := processTimes("42 (short) S 1"); err == nil {
		t.Error("a line with too few fields was taken")
	}
}

func TestProcessorTimesSeparateWorkFromIdling(t *testing.T) {
	t.Parallel()
	busy, total, err := processorTimes("cpu  100 1 20 5000 300 2 3 4 0 0\ncpu0 1 2 3 4 5 6 7 8 9 10\n")
	if err != nil || busy != 130*clockTick || total != 5430*clockTick {
		t.Errorf("processorTimes = %d and %d ticks, %v; want 130 and 5430", busy/clockTick, total/clockTick, err)
	}
	if _, _, err := processorTimes("intr 1 2 3"); err == nil {
		t.Error("another file was taken for /proc/stat")
	}
}

func TestTemplateNumbersClientsAndRequests(t *testing.T) {
	t.Parallel()
	request := newTemplate("host:1", "/path", `{"key":"`+placeholder+`"}`)
	first, second := request.forClient(7), request.forClient(12)
	for _, c := range []struct {
		client   template
		sequence int
		key      string
	}{
		{first, 3, "00007000000003"}, {second, 123456789, "00012123456789"}, {first, 40, "00007000000040"},
	} {
		if got := c.client.number(c.sequence); !bytes.HasSuffix(got, []byte(`{"key":"`+c.key+`"}`)) {
			t.Errorf("request %q does not end with key %s", got, c.key)
		}
	}
}

func TestTemplateNamesTheClientWhereItIsToldTo(t *testing.T) {
	t.Parallel()
	request := newTemplate("host:1", "/path", `{"client":"`+clientPlaceholder+`","n":"`+placeholder+`"}`, "X-Name: value")
	got := string(request.forClient(7).number(3))
	if !strings.HasSuffix(got, "\r\nX-Name: value\r\n\r\n"+`{"client":"00007","n":"00007000000003"}`) {
		t.Errorf("request %q does not end with its header and body", got)
	}
}

func TestReactionsBesideAreThereByTheirNames(t *testing.T) {
	t.Parallel()
	for _, n := range neighbours(&bench{}) {
		app, err := appBeside(n.reaction)
		if err == nil {
			err = app.Validate()
		}
		if err != nil {
			t.Errorf("%s: %v", n.what, err)
		}
	}
	if _, err := appBeside("sleeps"); err == nil {
		t.Error("an unknown reaction was taken")
	}
}

func TestHTTPClientReadsReplies(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("0123456789", 5000)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/short":
			_, _ = io.WriteString(w, "short")
		case "/chunked":
			_, _ = io.WriteString(w, long)
		case "/empty":
			w.WriteHeader(http.StatusNoContent)
		default:
			http.Error(w, "no such thing", http.StatusNotFound)
		}
	}))
	defer server.Close()
	c, err := dialHTTP(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	for path, want := range map[string]string{"/short": "short", "/chunked": long, "/empty": ""} {
		if got, err := c.get(path); err != nil || string(got) != want {
			t.Errorf("GET %s = %d bytes, %v; want %d", path, len(got), err, len(want))
		}
	}
	if _, err := c.get("/else"); err == nil || !strings.Contains(err.Error(), "404: no such thing") {
		t.Errorf("GET /else = %v, want its status and body", err)
	}
	if got, err := c.get("/short"); err != nil || string(got) != "short" {
		t.Errorf("after an error GET /short = %q, %v", got, err)
	}
}

// startBaseline serves a baseline that stores nothing.
func startBaseline(t *testing.T) (addr string) {
	t.Helper()
	server := httptest.NewServer(newBaseline(nil).routes())
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

func TestEveryWriteReachesEverySubscriber(t *testing.T) {
	t.Parallel()
	addr := startBaseline(t)
	arrived := newArrivals(3)
	subscribed, err := subscribe(addr, streamPath, 3, arrived.frame)
	if err != nil {
		t.Fatal(err)
	}
	c, err := dialHTTP(addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	const writes = 20
	request := streamRequest(addr)
	for i := range writes {
		if err := arrived.write(c, request.number(i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := subscribed.close(); err != nil {
		t.Fatal(err)
	}
	for i, latencies := range arrived.latency {
		if len(latencies) != writes {
			t.Errorf("socket %d got %d frames, want %d", i, len(latencies), writes)
		}
	}
	if f := arrived.figures(); f["p50"] <= 0 || f["p99"] < f["p50"] || len(arrived.slowest) != writes {
		t.Errorf("figures %v of %d writes", f, len(arrived.slowest))
	}
}

func TestLoadStopsAtTheFirstErrorOfAClient(t *testing.T) {
	t.Parallel()
	var requests atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if requests.Add(1) > 5 {
			http.Error(w, "enough", http.StatusTooManyRequests)
		}
	}))
	defer server.Close()
	addr := server.Listener.Addr().String()
	load, err := startLoad(addr, 1, setRequest(addr), nil)
	if err != nil {
		t.Fatal(err)
	}
	load.running.Wait()
	if done := load.done(); done != 5 {
		t.Errorf("%d requests were answered, want 5", done)
	}
	if err := load.stop(); err == nil || !strings.Contains(err.Error(), "429: enough") {
		t.Errorf("load ended with %v, want the reply it did not expect", err)
	}
}

func TestLagIsTheTimeSinceTheCountedCreateWasAnswered(t *testing.T) {
	t.Parallel()
	second := func(n float64) time.Duration { return time.Duration(n * float64(time.Second)) }
	got := figures{}
	addLags(got, []sample{
		{},
		{at: second(1), answered: 100, counted: 50},  // the 50th was answered at 0.5 s
		{at: second(2), answered: 200, counted: 190}, // the 190th at 1.9 s
		{at: second(3), answered: 300, counted: 300},
	})
	want := figures{"lag": 0, "late lag": 0, "delay": 0, "worst delay": 500}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("lags (-want +got):\n%s", diff)
	}
}

func TestOptions(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name   string
		args   string
		rounds int
		fault  string
	}{
		{"three rounds by default", "", 3, ""},
		{"a quick look is one round", "-short", 1, ""},
		{"rounds that are asked for are kept in a quick look", "-short -rounds 2", 2, ""},
		{"rows can be chosen", "-only set,push", 3, ""},
		{"an unknown row is refused with the list", "-only sets", 0, "choose from set, create, isolation"},
		{"no rounds are refused", "-rounds 0", 0, "at least 1"},
		{"an argument is refused", "set", 0, `unexpected argument "set"`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			o, err := parseOptions(strings.Fields(c.args), io.Discard)
			if fault := fmt.Sprint(err); c.fault != "" && !strings.Contains(fault, c.fault) || c.fault == "" && err != nil {
				t.Fatalf("error %v, want %q", err, c.fault)
			}
			if err == nil && o.rounds != c.rounds {
				t.Errorf("%d rounds, want %d", o.rounds, c.rounds)
			}
		})
	}
}
