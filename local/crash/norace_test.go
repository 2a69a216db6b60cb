//go:build !race

package crash_test

const (
	defaultCrashes    = 20
	defaultOperations = 16_000
	memtables         = 0
)
