// Package port holds the few interfaces that adapters implement and that the semantics of Eddy are written over. Each
// method says what it guarantees; porttest.Exercise holds every adapter to it.
//
//	edge (HTTP, socket, Lambda event) -> semantics (state, stream, reaction) -> port -> adapter (pebblestore, dynamo)
//
// Names and values arrive here validated: limits of scopes, keys and documents are the business of the semantics.
package port

import (
	"context"
	"fmt"
	"time"

	"github.com/eddyhq/eddy/shared/document"
)

// Documents reads and writes documents. It is the one seam between the semantics and a store: the adapters implement
// it, a reaction's buffered transaction implements it over them, and so does the guard that enforces eddy.Uses.
//
// One document is linearizable: a read sees every commit that was acknowledged before it began, and sees nothing that
// a crash could still take back.
type Documents interface {
	// Get returns the document at key. One that does not exist has a nil Value and Version 0, and is no error.
	Get(ctx context.Context, c Collection, key string) (Document, error)

	// List returns the documents of the collection in ascending byte order of their keys. A page can hold fewer than
	// Query.Limit documents; it is the last one exactly when Page.More is false. Each document of it is one that was
	// current at some moment of the call; the page as a whole is no snapshot.
	List(ctx context.Context, c Collection, q Query) (Page, error)

	// Collections returns the collections that hold at least one document and whose text starts with prefix (StateSpace,
	// StreamSpace or GroupsOf a stream), in ascending order of their text.
	Collections(ctx context.Context, prefix string) ([]Collection, error)

	// Commit does all of the commit or nothing of it, and returns one Result for each write, in their order. When it
	// returns nil the commit is durable. It fails with
	//
	//   - *ConflictError when a write's condition does not hold,
	//   - ErrStale when a cursor is at or above the version of the commit,
	//   - a too_large error when an update would make a document too large, or when what it leaves has more than MaxCommit
	//     bytes in all,
	//   - unavailable when the store cannot take it now, or cannot tell whether it took it.
	//
	// A commit names each document at most once.
	Commit(ctx context.Context, commit Commit) ([]Result, error)
}

// Document is a value at a key, with its version. The zero Value and Version say that there is none.
//
// Versions are microseconds of the Unix epoch where a document begins, and strictly increase over the life of a key,
// deletions included.
type Document struct {
	Key     string
	Value   document.Value
	Version int64
	Expires int64 // seconds of the Unix epoch from which on there is no such document; 0: never
}

// Exists reports whether there is a document.
func (d Document) Exists() bool { return d.Value != nil }

// Query selects a page of a collection.
type Query struct {
	Prefix string // only keys that start with it
	After  string // only keys above it; "" is the start
	Limit  int    // at most so many documents; must be positive
}

// Page is a part of a collection. More says that a further page, after the key Next, may hold documents.
type Page struct {
	Documents []Document
	More      bool
	Next      string
}

// MaxCommit is how many bytes the values that one commit leaves may have together, as document.Value.Size counts them: what
// fits into a transaction of DynamoDB beside keys and metadata.
const MaxCommit = 3_800_000

// Commit is what is done all or not at all.
type Commit struct {
	Writes  []Write
	Events  []Event  // stream::send: to the live subscribers of a group, not stored
	Calls   []Call   // Void: functions to run once this is durable
	Cursors []Cursor // what this commit is the effect of
	Failed  []DeadLetter
	Cause   Cause // of every change, event and call in this commit
	Silent  bool  // the writes are told to nobody: documents that come back from elsewhere, with their effects
}

// Op says what a Write does.
type Op string

// The operations of a Write. Check writes nothing and only states a condition.
const (
	Set    Op = "set"
	Update Op = "update"
	Delete Op = "delete"
	Check  Op = "check"
)

// Write is one document's part of a commit.
type Write struct {
	Op         Op
	Collection Collection
	Key        string
	Value      document.Value // of a Set
	Ops        []document.Op  // of an Update
	IfVersion  *int64         // when not nil, the version the document must have; 0: it must not exist
	TTL        time.Duration  // of a Set: how long the document is to live from now on; 0: see Expires
	Expires    int64          // of a Set without TTL: as Document.Expires
	NoResult   bool           // the caller asks for no Result but the Version of a single write: an adapter may save the read
}

// Result is what a write did.
//
// A document whose time is up is no document: reads and conditions do not see it, and a write over it finds nothing. Its
// expiry is a change like a deletion, with a version above that of the document; it is recorded once, when the store comes
// to remove the document, and at the latest before the change that a write over it makes.
//
// A Set decides anew when the document expires; an Update leaves that as it is.
//
// A write that changes nothing is no change: deleting what does not exist, an update all of whose operations were
// skipped. It leaves the version as it was and fires nothing. A Set always is a change, also to an equal value.
type Result struct {
	Old, New document.Value // nil where there is no document
	Version  int64          // after the write; of a deletion, the version of the deletion itself
	Faults   []document.Fault
}

// ConflictError says which write of a commit found its condition not met.
type ConflictError struct {
	Index   int   // into Commit.Writes
	Version int64 // the version found; 0: no document
}

// Error names the write by its index.
func (e *ConflictError) Error() string {
	return fmt.Sprintf("write %d: the document is at version %d", e.Index, e.Version)
}

// Cursor makes a commit happen once. A commit with a cursor applies only if the version stored under Name is below
// Version, and stores Version there in the same step. A cursor outlives every redelivery of what it guards; the
// adapter says how it bounds them.
//
// A name begins with the id of the function that takes effect, and a slash: a store can tell by it whose cursor it is.
type Cursor struct {
	Name    string
	Version int64
}

// ErrStale is returned by a Commit whose effect is there already: a redelivery. Nothing was applied.
var ErrStale = staleError{}

type staleError struct{}

func (staleError) Error() string { return "already taken effect" }

// Cause says why a commit was made, so that a chain of reactions can be followed and, past a limit, stopped.
type Cause struct {
	Root  string   // the id of the change or call the chain began with; "" when this commit begins one
	Chain []string // the ids of the functions from there to here; their number is the depth
}

// Depth is the number of functions between the root of the chain and what carries this cause.
func (c Cause) Depth() int { return len(c.Chain) }

// Then returns the cause of what function does because of a record that carries c and has the given id.
func (c Cause) Then(id, function string) Cause {
	root := c.Root
	if root == "" {
		root = id
	}
	chain := make([]string, 0, len(c.Chain)+1)
	return Cause{Root: root, Chain: append(append(chain, c.Chain...), function)}
}

// Event is a message to the live subscribers of a stream group, or of one item of it.
type Event struct {
	Group Collection
	Item  string // "" addresses the whole group
	Type  string
	Data  document.Value
}

// Call is a function to run: a call that nobody waits for, a message of a queue, a tick of a schedule. Its effects are
// committed as a reaction's are.
type Call struct {
	ID       string // unique; the delivery id
	Function string
	Payload  document.Value

	// Group, when not "", puts the call behind those before it that are of the same function and group: they are recorded in
	// the order of their commits, and run one after the other.
	Group string

	// NotBefore is when the call may run, in milliseconds of the Unix epoch; 0: at once. What is behind it in its group
	// waits too.
	NotBefore int64
}

// DeadLetter is a delivery that failed for the last time, kept with its reason until it is redriven or discarded.
type DeadLetter struct {
	ID       string    `json:"id"`
	Function string    `json:"function_id"`
	Record   Record    `json:"-"` // what was delivered
	Code     string    `json:"code"`
	Message  string    `json:"message"`
	Attempts int       `json:"attempts"`
	First    time.Time `json:"first_at"`
	Last     time.Time `json:"last_at"`
}
