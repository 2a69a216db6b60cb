// Package dynamo is the store on AWS: port.Documents and port.Ledger over two tables of DynamoDB, the blobs that hold what
// fits into no row, and the reading of the stream of changes.
//
//	Commit: one write           -> UpdateItem; or GetItem, then UpdateItem of the version that was read
//	Commit: one event or call   -> PutItem of an outbox row
//	Commit: everything else     -> GetItem or BatchGetItem where a result asks for it, then TransactWriteItems
//	stream of the documents     -> RecordsOf -> router
//
// The table of documents holds documents, each in DynamoDB's own types, and the outbox: events and calls as rows of their
// own, which nobody reads but the stream. The system table holds cursors, dead letters, blobs and the directory of the
// collections that may hold something. Package deployed names their keys and attributes.
//
// A version is the clock's microseconds where a row begins and one more for each write. A deletion leaves a tombstone for a
// day: a row without value, which keeps the version and tells the stream who deleted. Reads skip it.
//
// A document whose time is up is gone at once for whoever reads or states a condition, by the clock of the process that asks.
// Its row stays until DynamoDB removes it, which can take days: then the stream tells of the expiry. A write that comes first
// takes two versions, and notes that one of them is the expiry, so that the stream tells of both.
//
// Calls of one group replace each other in one row, since the stream keeps the order of what happens to one row, and of
// nothing else.
//
// Every write carries an id. When the reply to a write is lost, the id says whether it was done, and nothing is sent again
// that could be done twice: what remains unknown is unavailable. Transactions carry a token instead, with which DynamoDB
// itself does them once. Requests that surely were not done - throttled, or not even connected - are sent again after
// growing random waits. The client's own retries are off (NewClient), as they know nothing of this.
//
// Reads are consistent. So one document is linearizable.
package dynamo

import (
	"log/slog"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/google/uuid"

	"github.com/eddyhq/eddy/shared/port"
)

// How long rows outlive their use: DynamoDB removes them some time after.
const (
	tombstoneLife = 24 * time.Hour      // the stream that has to tell of the deletion keeps its records as long
	outboxLife    = 24 * time.Hour      // likewise
	cursorLife    = 30 * 24 * time.Hour // no delivery comes again after the 14 days that a queue keeps it
	blobLife      = 15 * 24 * time.Hour // a message that names the blob lives 14 days
)

// Options of a Store.
type Options struct {
	Documents, System string // the names of the tables

	// Owner is the function or role that runs here. What it keeps in blobs lies under its name.
	Owner string

	// Now is the clock. Nil: time.Now.
	Now func() time.Time

	// NewID returns ids that are unique and sort by time. Nil: UUIDs of version 7.
	NewID func() string

	// Logger receives what DynamoDB says when it fails, which errors do not tell. Nil: nothing is logged.
	Logger *slog.Logger
}

// Store implements the ports on DynamoDB. Its methods are safe for concurrent use.
type Store struct {
	client    *dynamodb.Client
	documents *string
	system    *string
	owner     string
	now       func() time.Time
	newID     func() string
	logger    *slog.Logger
	directory directory
}

var (
	_ port.Documents = (*Store)(nil)
	_ port.Ledger    = (*Store)(nil)
)

// New returns a store over a client of NewClient. It makes no request.
func New(client *dynamodb.Client, options Options) *Store {
	s := &Store{
		client:    client,
		documents: aws.String(options.Documents),
		system:    aws.String(options.System),
		owner:     options.Owner,
		now:       options.Now,
		newID:     options.NewID,
		logger:    options.Logger,
		directory: directory{known: make(map[string]struct{})},
	}
	if s.now == nil {
		s.now = time.Now
	}
	if s.newID == nil {
		s.newID = func() string { return uuid.Must(uuid.NewV7()).String() }
	}
	if s.logger == nil {
		s.logger = slog.New(slog.DiscardHandler)
	}
	return s
}

// expiry returns the value of the attribute deployed.Expires for a row that is needed for so long.
func (s *Store) expiry(life time.Duration) int64 { return s.now().Add(life).Unix() }

// sideBySide is how many requests one call has under way at once.
const sideBySide = 16

// each calls do for 0 to n-1, some side by side, and returns the first error.
func each(n int, do func(i int) error) error {
	if n == 1 {
		return do(0)
	}
	var (
		all   sync.WaitGroup
		mu    sync.Mutex
		next  int
		first error
	)
	take := func() int {
		mu.Lock()
		defer mu.Unlock()
		if first != nil || next == n {
			return -1
		}
		next++
		return next - 1
	}
	for range min(n, sideBySide) {
		all.Go(func() {
			for i := take(); i >= 0; i = take() {
				if err := do(i); err != nil {
					mu.Lock()
					if first == nil {
						first = err
					}
					mu.Unlock()
				}
			}
		})
	}
	all.Wait()
	return first
}
