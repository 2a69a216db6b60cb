package document_test

import (
	"flag"
	"os"
	"testing"
)

// TestMain lets every property be checked with thousands of cases, unless the command line says otherwise.
func TestMain(m *testing.M) {
	if err := flag.Set("rapid.checks", "3000"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}
