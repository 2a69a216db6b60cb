//go:build race

package crash_test

// With -race a gateway is some ten times slower, and Pebble's memtables lie on Go's heap.
const (
	defaultCrashes    = 8
	defaultOperations = 4_000
	memtables         = 64 << 20 // bytes of the heap
)
