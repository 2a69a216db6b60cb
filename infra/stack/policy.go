package stack

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/eddyhq/eddy/shared/deployed"
	"github.com/eddyhq/eddy/shared/eddy"
	"github.com/eddyhq/eddy/shared/port"
)

// A statement is one of an IAM policy, as JSON has it.
type statement = map[string]any

const policyVersion = "2012-10-17" // the one in which ${*} is an escaped star

func policy(statements []statement) map[string]any {
	return map[string]any{"Version": policyVersion, "Statement": statements}
}

func allow(sid string, resource any, actions ...string) statement {
	return statement{"Sid": sid, "Effect": "Allow", "Action": actions, "Resource": resource}
}

// The actions on items. None of them is a Scan. A transaction needs those of what it is made of.
const (
	getItem    = "dynamodb:GetItem"
	batchGet   = "dynamodb:BatchGetItem"
	query      = "dynamodb:Query"
	checkItem  = "dynamodb:ConditionCheckItem"
	putItem    = "dynamodb:PutItem"
	updateItem = "dynamodb:UpdateItem"
	deleteItem = "dynamodb:DeleteItem"
	batchWrite = "dynamodb:BatchWriteItem"
)

func reading() []string { return []string{getItem, batchGet, query, checkItem} }
func writing() []string { return []string{putItem, updateItem} }
func everything() []string {
	return []string{getItem, batchGet, query, checkItem, putItem, updateItem, deleteItem, batchWrite}
}

// items allows actions on partitions of one table. A batch or a transaction can touch several partitions, and a
// statement then has to allow all of them: so each action is in one statement, with every partition that it is allowed
// on.
type items struct {
	actions    []string // in the order they were first allowed
	partitions map[string][]string
}

// in allows actions on a partition.
func (i *items) in(partition string, actions []string) { i.allow(literal(partition), actions) }

// below allows actions on every partition that begins with a prefix.
func (i *items) below(prefix string, actions []string) { i.allow(literal(prefix)+"*", actions) }

func (i *items) allow(pattern string, actions []string) {
	if i.partitions == nil {
		i.partitions = make(map[string][]string)
	}
	for _, action := range actions {
		if i.partitions[action] == nil {
			i.actions = append(i.actions, action)
		}
		if !slices.Contains(i.partitions[action], pattern) {
			i.partitions[action] = append(i.partitions[action], pattern)
		}
	}
}

// statements returns one for all actions that are allowed on the same partitions. A request that names no partition is
// allowed by none.
func (i *items) statements(sid, table string) []statement {
	var all []statement
	stated := make(map[string]bool)
	for _, action := range i.actions {
		if stated[action] {
			continue
		}
		partitions := i.partitions[action]
		var alike []string
		for _, other := range i.actions {
			if slices.Equal(i.partitions[other], partitions) {
				alike, stated[other] = append(alike, other), true
			}
		}
		s := allow(sid+strconv.Itoa(len(all)+1), table, alike...)
		s["Condition"] = map[string]any{
			"ForAllValues:StringLike": map[string]any{"dynamodb:LeadingKeys": partitions},
			"Null":                    map[string]any{"dynamodb:LeadingKeys": "false"},
		}
		all = append(all, s)
	}
	return all
}

// literal writes what IAM would take for a wildcard or a variable as itself.
func literal(text string) string {
	return strings.NewReplacer("*", "${*}", "?", "${?}", "$", "${$}").Replace(text)
}

// uses are what a function touches, without what it declares twice. The values say whether it writes.
type uses struct {
	scopes, streams map[string]bool
	invoked         []string // functions that it calls
	delivered       []string // those, and functions whose queues it puts messages into
}

func usesOf(app *eddy.App, f *eddy.Function) uses {
	u := uses{scopes: make(map[string]bool), streams: make(map[string]bool)}
	for _, use := range f.Uses {
		switch {
		case use.Scope != "":
			u.scopes[use.Scope] = u.scopes[use.Scope] || !use.ReadOnly
		case use.Stream != "":
			u.streams[use.Stream] = u.streams[use.Stream] || !use.ReadOnly
		case use.Queue != "":
			if of, err := app.FindQueue(use.Queue); err == nil { // the app is validated
				u.delivered = append(u.delivered, of.ID)
			}
		default:
			if _, builtIn := eddy.EngineFunction(use.Function); !builtIn { // that runs where it is called
				u.invoked = append(u.invoked, use.Function)
			}
		}
	}
	u.delivered = append(u.delivered, u.invoked...)
	for _, ids := range []*[]string{&u.invoked, &u.delivered} {
		slices.Sort(*ids)
		*ids = slices.Compact(*ids)
	}
	return u
}

// resources are the ARNs that the policy of a function names.
type resources struct {
	documents, system string
	queue             string
	lambda            func(id string) string
}

// functionPolicy is what a function may do: exactly what it Uses, and what handling deliveries and requests takes.
func functionPolicy(app *eddy.App, f *eddy.Function, r resources) []statement {
	u := usesOf(app, f)
	documents, system := u.documents(), u.system()
	keepAnswers(f.ID, &documents)
	keepDeliveries(f.ID, &system)
	statements := slices.Concat(
		documents.statements("Documents", r.documents),
		system.statements("System", r.system),
		[]statement{receive("Receive", r.queue)},
	)
	if len(u.invoked) > 0 {
		invoked := make([]string, len(u.invoked))
		for i, id := range u.invoked {
			invoked[i] = r.lambda(id)
		}
		statements = append(statements, allow("Invoke", invoked, "lambda:InvokeFunction"))
	}
	return statements
}

// documents allows the partitions of scopes and groups, and those of the outbox that follow from them.
func (u uses) documents() items {
	var i items
	for _, name := range slices.Sorted(maps.Keys(u.scopes)) {
		scope := string(port.Scope(name))
		i.in(scope, reading())
		if u.scopes[name] {
			i.in(scope, writing())
		}
	}
	for _, name := range slices.Sorted(maps.Keys(u.streams)) {
		groups := port.GroupsOf(name)
		i.below(groups, reading())
		if u.streams[name] {
			i.below(groups, writing())
			i.below(deployed.OutboxEvents+strings.TrimPrefix(groups, port.StreamSpace), []string{putItem})
		}
	}
	for _, id := range u.delivered {
		i.in(deployed.OutboxCalls+port.Segment(id), []string{putItem})
	}
	return i
}

// system allows to look up in the directory which scopes and groups hold documents, and to enter those that are
// written.
func (u uses) system() items {
	var i items
	enter := func(partition string, written bool) {
		i.in(partition, []string{getItem, query})
		if written {
			i.in(partition, []string{putItem})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(u.scopes)) {
		enter(deployed.Directory+"state", u.scopes[name])
	}
	for _, name := range slices.Sorted(maps.Keys(u.streams)) {
		enter(deployed.Directory+"stream", u.streams[name])
		enter(deployed.Directory+strings.TrimSuffix(port.GroupsOf(name), "/"), u.streams[name])
	}
	return i
}

// keepAnswers allows to keep what a function answered to requests with an idempotency key. Whoever may invoke it can send
// one, so every function gets that.
func keepAnswers(id string, i *items) {
	i.in(string(port.Own("idempotency", id)), append(reading(), writing()...))
}

// keepDeliveries allows to keep what is known about the deliveries of a function, and its dead letters.
func keepDeliveries(id string, i *items) {
	function := port.Segment(id)
	i.below(deployed.Cursors+function+"/", []string{getItem, putItem, updateItem, checkItem})
	i.below(deployed.Blobs+function+"/", []string{getItem, query, putItem, batchWrite})
	i.in(deployed.Letters, []string{putItem})
	i.in(deployed.Letters+function, []string{putItem})
}

// receive allows to be the consumer of a queue.
func receive(sid, queue string) statement {
	return allow(sid, queue,
		"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility", "sqs:GetQueueAttributes")
}

// maxPolicy is the most characters that the inline policies of one role may have together.
const maxPolicy = 10_240

var token = regexp.MustCompile(`\$\{Token\[[^\]]*\]\}`)

// checkPolicies returns what IAM would refuse in the policies of the functions, before CloudFormation has begun.
func checkPolicies(app *eddy.App, n names) error {
	var faults []error
	for _, f := range app.Functions() {
		table := n.arn("dynamodb", "table/"+strings.Repeat("t", len(n.stack)+len("-Documents-0123456789ABC")))
		statements := functionPolicy(app, f, resources{table, table, n.queue(f.ID), n.lambda})
		text, err := json.Marshal(policy(statements))
		if err != nil {
			return err
		}
		long := token.ReplaceAllString(string(text), "ap-southeast-1")
		if len(long) > maxPolicy-logPolicy {
			faults = append(faults, fmt.Errorf("%s: %s uses so much that its IAM policy has %d characters, more than the "+
				"%d that a role takes: divide the function", f.Place, f.ID, len(long), maxPolicy-logPolicy))
		}
		for _, use := range f.Uses {
			if name := use.Scope + use.Stream; strings.ContainsFunc(name, isBeyondPolicies) {
				faults = append(faults, fmt.Errorf("%s: %s uses %q: an IAM policy cannot hold characters beyond U+00FF, so a name "+
					"that is deployed has none", f.Place, f.ID, name))
			}
		}
	}
	return errors.Join(faults...)
}

// logPolicy is about what the statement for logs takes.
const logPolicy = 400

// isBeyondPolicies reports whether IAM refuses a character. It takes those of Latin-1; control characters are escaped
// in partition keys.
func isBeyondPolicies(c rune) bool { return c > unicode.MaxLatin1 }
