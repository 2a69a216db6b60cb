package eddy

import "time"

// The options of a function that says nothing else.
const (
	DefaultMemory      = 256 // MB
	DefaultTimeout     = 29 * time.Second
	DefaultConcurrency = 64
	DefaultMaxAttempts = 8

	DefaultFirstBackoff = 200 * time.Millisecond
	DefaultMaxBackoff   = time.Minute
)

// The bounds of the options.
const (
	minMemory       = 128              // MB; these two are what Lambda offers
	maxMemory       = 10_240           // MB
	maxTimeout      = 15 * time.Minute // of Lambda
	maxRouteTimeout = 29 * time.Second // an HTTP answer cannot take longer
	maxConcurrency  = 1_000
	maxMaxAttempts  = 1_000
	maxBackoff      = time.Hour
)

// Option is an option of Register and React: HTTP, Queue, Cron, Every, Uses, Memory, Timeout, Concurrency, MaxAttempts,
// Backoff.
type Option func(*Function)

// Memory gives the function so many megabytes where it is deployed, 128 to 10,240; DefaultMemory without it.
func Memory(megabytes int) Option {
	return func(f *Function) {
		if megabytes < minMemory || megabytes > maxMemory {
			f.mistake("Memory(%d): must be from %d to %d", megabytes, minMemory, maxMemory)
		}
		f.Memory = megabytes
	}
}

// Timeout ends a run after d, at most 15 minutes, and 29 seconds for a function with a route; DefaultTimeout without
// it.
func Timeout(d time.Duration) Option {
	return func(f *Function) {
		if d <= 0 || d > maxTimeout {
			f.mistake("Timeout(%s): must be above 0 and at most %s", d, maxTimeout)
		}
		f.Timeout = d
	}
}

// Concurrency lets at most n runs of the function go on at a time, 1 to 1,000; DefaultConcurrency without it.
func Concurrency(n int) Option {
	return func(f *Function) {
		if n < 1 || n > maxConcurrency {
			f.mistake("Concurrency(%d): must be from 1 to %d", n, maxConcurrency)
		}
		f.Concurrency = n
	}
}

// MaxAttempts makes a delivery a dead letter after n failed attempts, 1 to 1,000; DefaultMaxAttempts without it.
func MaxAttempts(n int) Option {
	return func(f *Function) {
		if n < 1 || n > maxMaxAttempts {
			f.mistake("MaxAttempts(%d): must be from 1 to %d", n, maxMaxAttempts)
		}
		f.MaxAttempts = n
	}
}

// Backoff has a delivery wait after a failed attempt: a random part, at least half, of first after the first one, of twice that
// after the second, and so on up to most. DefaultFirstBackoff and DefaultMaxBackoff without it; most is at most an hour.
func Backoff(first, most time.Duration) Option {
	return func(f *Function) {
		if first <= 0 || first > most || most > maxBackoff {
			f.mistake("Backoff(%s, %s): the first wait must be above 0 and not above the longest, and that at most %s",
				first, most, maxBackoff)
		}
		f.FirstBackoff, f.MaxBackoff = first, most
	}
}
