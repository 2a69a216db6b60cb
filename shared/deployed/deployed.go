// Package deployed holds the names that both sides of a deployment have to agree on: the stack that draws it and the
// Lambdas that run in it. It imports nothing of either.
//
//	infra/stack            draws: tables, queues, Lambdas, routes, permissions
//	functions/bootstrap    runs: one binary, told by its environment which function or role it is
package deployed

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"
)

// The environment of every Lambda. Endpoints and credentials come from the AWS SDK's own variables.
const (
	EnvFunction  = "EDDY_FUNCTION"  // the id of the function to run, or one of the roles below
	EnvStack     = "EDDY_STACK"     // the name of the stack, which physical names begin with, such as "eddy-dev"
	EnvDocuments = "EDDY_DOCUMENTS" // the name of the table of documents
	EnvSystem    = "EDDY_SYSTEM"    // the name of the table of everything else
	EnvQueues    = "EDDY_QUEUES"    // what a queue's URL is before its name, ending with a slash
	EnvLambdas   = "EDDY_LAMBDAS"   // the endpoint of Lambda
	EnvSockets   = "EDDY_SOCKETS"   // the endpoint of @connections; set for the roles that push
)

// The roles that the bootstrap plays beside functions. "eddy" is a reserved area, so no function has such an id.
const (
	RoleEdge   = "eddy::edge"   // HTTP's $default route: /_eddy/*, HEAD, 404 and 405; calls by id
	RoleRouter = "eddy::router" // the stream of documents -> queues; and the queue of crashed deliveries -> dead letters
	RoleLanes  = "eddy::lanes"  // the queue of live streams -> frames
	RoleSocket = "eddy::socket" // the WebSocket routes -> the queue of live streams
)

// Roles are all of them.
func Roles() []string { return []string{RoleEdge, RoleRouter, RoleLanes, RoleSocket} }

// The attributes of both tables. PK and SK are their keys, both strings.
//
// A row of the table of documents is a document (its partition is the text of a port.Collection, its sort key the
// document's key), or a row of the outbox, which holds a record to be delivered and nothing else.
const (
	PK      = "pk"
	SK      = "sk"
	Value   = "value"    // of a document, in DynamoDB's own types; missing in a tombstone
	Size    = "size"     // N: of a document, an upper bound of document.Value.Size; missing in all other rows
	Version = "version"  // N: microseconds of the Unix epoch where the document begins, plus one for each write
	WriteID = "write_id" // S: of the last write, so that a lost reply can be told from a lost write
	Created = "created"  // N: microseconds of the Unix epoch
	Updated = "updated"  // N: microseconds of the Unix epoch
	Expires = "expires"  // N: seconds of the Unix epoch; the TTL of both tables
	Root    = "root"     // S: of the cause of the last write
	Chain   = "chain"    // L of S: of the cause of the last write
	Record  = "record"   // S: of an outbox row, the record as JSON
)

// The first segments of partition keys. Those of documents are port.StateSpace and port.StreamSpace; a segment that
// follows is escaped as theirs are.
const (
	// Of the table of documents: the outbox.
	OutboxEvents = "event/" // event/<stream>/<group>: what stream::send sent
	OutboxCalls  = "call/"  // call/<function>: calls to be run later, and redriven dead letters

	// Of the system table.
	Cursors     = "cursor/"     // cursor/<function>/<digest>: how far a function has taken effect, and failed attempts
	Directory   = "directory/"  // directory/state, directory/stream, directory/stream/<stream>: what may hold documents
	Letters     = "letter/"     // letter/<function>: dead letters; letter/ lists the functions that have had some
	Blobs       = "blob/"       // blob/<function>/<digest>: what is too large for one message or row
	Lanes       = "lane/"       // lane/<collection>: the state of a live group and its subscriptions
	Connections = "connection/" // connection/<id>: what a WebSocket has joined
)

// The route keys of the HTTP API that lead to the edge, beside API Gateway's own $default.
const (
	RouteAdmin  = "ANY /_eddy/{proxy+}" // authorised by IAM
	RouteHealth = "GET /_eddy/health"
)

// The route keys of the WebSocket API.
const (
	RouteConnect    = "$connect"
	RouteDisconnect = "$disconnect"
	RouteDefault    = "$default"
)

// The most characters of physical names.
const (
	maxLambdaName   = 64
	maxQueueName    = 80
	maxScheduleName = 64
	fifoSuffix      = ".fifo"
)

// LambdaName returns the name of the Lambda that runs a function or role in a stack: "eddy-dev-todos__create". Different
// ids get different names.
func LambdaName(stack, id string) string { return name(stack, id, maxLambdaName) }

// QueueName returns the name of the queue of deliveries for a function, or of RoleLanes of what happens in live groups.
// It ends in .fifo.
func QueueName(stack, id string) string {
	return name(stack, id, maxQueueName-len(fifoSuffix)) + fifoSuffix
}

// ScheduleName returns the name of the n-th schedule of a function.
func ScheduleName(stack, id string, n int) string {
	number := "-" + strconv.Itoa(n)
	return name(stack, id, maxScheduleName-len(number)) + number
}

// CrashedQueueName returns the name of the queue that takes what a Lambda could not even fail at.
func CrashedQueueName(stack string) string { return stack + "-crashed" + fifoSuffix }

const digestLength = 8

// name is the id with "__" for "::", which no queue or Lambda may be called. Where that is ambiguous or too long, a digest
// of the id tells it from others.
func name(stack, id string, longest int) string {
	plain := strings.ReplaceAll(id, "::", "__")
	whole := stack + "-" + plain
	if strings.ReplaceAll(plain, "__", "::") == id && len(whole) <= longest {
		return whole
	}
	sum := sha256.Sum256([]byte(id))
	digest := "-" + hex.EncodeToString(sum[:digestLength/2])
	return whole[:min(len(whole), longest-len(digest))] + digest
}
