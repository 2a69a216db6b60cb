package crash_test

import (
	"fmt"
	"testing"
)

// faults are promises that were found broken.
type faults []string

func (f *faults) fault(format string, args ...any) {
	const enough = 50
	if len(*f) < enough {
		*f = append(*f, fmt.Sprintf(format, args...))
	}
}

// report fails the test for each of them.
func (f faults) report(t *testing.T) {
	t.Helper()
	for _, fault := range f {
		t.Error(fault)
	}
}
