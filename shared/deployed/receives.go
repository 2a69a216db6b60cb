package deployed

// The bounds of MaxReceives; the upper one is SQS's.
const (
	fewestReceives = 100
	mostReceives   = 1000
)

// MaxReceives returns how often the queue of a function hands out a message, given the function's MaxAttempts. It is more
// than the attempts: a message comes back for each failure of what it holds, and of what is before it in its lane, and for
// as long as the store cannot be reached, which with growing waits takes it an hour and a half to use up. What is received
// that often crashes the function, and becomes dead letters.
func MaxReceives(maxAttempts int) int { return min(max(3*maxAttempts, fewestReceives), mostReceives) }
