package crash_test

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
)

// promise says what is counted where it is broken.
type promise string

const (
	writesLost         promise = "acknowledged writes lost"
	reactionsLost      promise = "reactions lost"
	countersOff        promise = "counters off by"
	effectsDoubled     promise = "duplicates of once-only effects"
	documentsUnordered promise = "order violations per document"
	messagesLost       promise = "messages lost"
	messagesDoubled    promise = "messages doubled"
	messagesUnordered  promise = "messages out of order in their group"
	ticksLost          promise = "ticks lost"
	ticksDoubled       promise = "ticks doubled"
	expiriesLost       promise = "expiries lost"
	expiriesDoubled    promise = "expiries doubled"
	halfDone           promise = "transactions half-done"
	liveBroken         promise = "faults of live streams"
	processBroken      promise = "errors, panics and races of the gateway"
)

// promises are all of them, in the order in which a run tells of them.
func promises() []promise {
	return []promise{
		writesLost, reactionsLost, countersOff, effectsDoubled, documentsUnordered, messagesLost, messagesDoubled,
		messagesUnordered, ticksLost, ticksDoubled, expiriesLost, expiriesDoubled, halfDone, liveBroken, processBroken,
	}
}

// findings are the promises that were found broken: by how much, and how.
type findings struct {
	broken map[promise]int
	faults
}

// found notes that a promise is broken n times; nothing if n is 0.
func (f *findings) found(p promise, n int, format string, args ...any) {
	if n == 0 {
		return
	}
	if f.broken == nil {
		f.broken = make(map[promise]int)
	}
	f.broken[p] += max(n, -n)
	f.fault(string(p)+": "+format, args...)
}

// take takes in what was found elsewhere, each as a broken promise.
func (f *findings) take(p promise, found faults) {
	for _, fault := range found {
		f.found(p, 1, "%s", fault)
	}
}

// add takes in other findings.
func (f *findings) add(other findings) {
	if f.broken == nil {
		f.broken = make(map[promise]int)
	}
	for p, n := range other.broken {
		f.broken[p] += n
	}
	f.faults = append(f.faults, other.faults...)
}

// err returns what was found, nil when nothing was.
func (f *findings) err() error {
	if len(f.broken) == 0 {
		return nil
	}
	return errors.New(strings.Join(f.faults, "\n"))
}

// String tells of every promise how often it was broken.
func (f *findings) String() string {
	var lines []string
	for _, p := range promises() {
		lines = append(lines, fmt.Sprintf("%s %d", p, f.broken[p]))
	}
	return strings.Join(lines, ", ")
}

func TestFindings(t *testing.T) {
	t.Parallel()
	var f, other findings
	f.found(countersOff, 0, "nothing")
	if f.err() != nil {
		t.Errorf("nothing was found, and told as %v", f.err())
	}
	f.found(countersOff, -3, "the counter is %d", 4)
	other.take(writesLost, faults{"a", "b"})
	f.add(other)
	want := map[promise]int{countersOff: 3, writesLost: 2}
	if !maps.Equal(f.broken, want) || len(f.faults) != 3 || f.err() == nil {
		t.Errorf("found %v and %q, want %v", f.broken, f.faults, want)
	}
	text := f.String()
	if !strings.Contains(text, "counters off by 3, ") || !strings.Contains(text, "ticks lost 0, ") {
		t.Errorf("it is told as %q", text)
	}
	for p := range want {
		if !strings.Contains(text, string(p)) {
			t.Errorf("%q is not told", p)
		}
	}
}
