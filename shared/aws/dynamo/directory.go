package dynamo

import (
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/eddyhq/eddy/shared/deployed"
	"github.com/eddyhq/eddy/shared/port"
)

// directory remembers which rows of the directory are there: they are never removed. The directory tells which collections
// may hold something, which functions may have dead letters; it is written before what it tells of, so that nothing has to
// search the tables.
//
//	directory/state            <scope>                for each scope: a sort key has no room for more than its name
//	directory/stream           stream/<name>/         for each stream
//	directory/stream/<stream>  stream/<name>/<group>  for each group of it
//	letter/                    <function>             for each function
type directory struct {
	mu    sync.Mutex
	known map[string]struct{}
}

// maxKnown bounds what a process remembers. It forgets everything then: each name costs a read once more.
const maxKnown = 20_000

func (d *directory) knows(name string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, ok := d.known[name]
	return ok
}

func (d *directory) learn(name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.known) == maxKnown {
		clear(d.known)
	}
	d.known[name] = struct{}{}
}

// enter makes sure that the directory has the collection. Those of Eddy itself are not in it.
func (s *Store) enter(ctx context.Context, c port.Collection) error {
	if c.IsOwn() || s.directory.knows(string(c)) {
		return nil
	}
	row := key(directoryOf(port.StateSpace), strings.TrimPrefix(string(c), port.StateSpace))
	var above item // without which nobody would find the row
	if groups, ok := strings.CutPrefix(string(c), port.StreamSpace); ok {
		name, _, _ := strings.Cut(groups, "/")
		stream := port.StreamSpace + name + "/"
		row = key(directoryOf(stream), string(c))
		above = key(directoryOf(port.StreamSpace), stream)
	}
	if err := s.enterRow(ctx, row, above); err != nil {
		return err
	}
	s.directory.learn(string(c))
	return nil
}

// directoryOf returns the partition of the directory with what lies below a prefix: port.StateSpace, port.StreamSpace or
// what port.GroupsOf returns.
func directoryOf(prefix string) string { return deployed.Directory + strings.TrimSuffix(prefix, "/") }

// enterFunction makes sure that the directory has the function as one with dead letters.
func (s *Store) enterFunction(ctx context.Context, function string) error {
	name := deployed.Letters + function
	if s.directory.knows(name) {
		return nil
	}
	if err := s.put(ctx, s.system, key(deployed.Letters, function)); err != nil {
		return err
	}
	s.directory.learn(name)
	return nil
}

// enterRow writes a row of the directory, the row above it first, unless it is there already. As such rows are never
// removed, a read that may be late costs the least.
func (s *Store) enterRow(ctx context.Context, row, above item) error {
	const operation = "GetItem"
	var out *dynamodb.GetItemOutput
	err := s.do(ctx, operation, true, func(ctx context.Context) (err error) {
		out, err = s.client.GetItem(ctx, &dynamodb.GetItemInput{TableName: s.system, Key: row})
		return err
	})
	if err != nil {
		return s.failed(ctx, operation, err)
	}
	if len(out.Item) > 0 {
		return nil
	}
	if above != nil {
		if err := s.put(ctx, s.system, above); err != nil {
			return err
		}
	}
	return s.put(ctx, s.system, row)
}

// Collections returns the collections that hold something; see port.Documents. It asks each collection of the directory
// for one document. What the Lambda may not read is left out: a function sees what it declares.
func (s *Store) Collections(ctx context.Context, prefix string) ([]port.Collection, error) {
	names, err := s.entered(ctx, prefix)
	if err != nil {
		return nil, err
	}
	holds := make([]bool, len(names))
	err = each(len(names), func(i int) (err error) {
		holds[i], err = s.holdsSomething(ctx, names[i])
		return err
	})
	if err != nil {
		return nil, err
	}
	var collections []port.Collection
	for i, name := range names {
		if holds[i] {
			collections = append(collections, port.Collection(name))
		}
	}
	slices.Sort(collections)
	return collections, nil
}

// entered returns the collections of the directory whose text starts with prefix.
func (s *Store) entered(ctx context.Context, prefix string) ([]string, error) {
	names, err := s.sortKeys(ctx, directoryOf(prefix), s.queryAllowed)
	if err != nil {
		return nil, err
	}
	switch prefix {
	case port.StateSpace:
		for i := range names {
			names[i] = port.StateSpace + names[i]
		}
		return names, nil
	case port.StreamSpace:
	default:
		return names, nil
	}
	groups := make([][]string, len(names)) // of the streams
	err = each(len(names), func(i int) (err error) {
		groups[i], err = s.sortKeys(ctx, directoryOf(names[i]), s.queryAllowed)
		return err
	})
	return slices.Concat(groups...), err
}

// sortKeys returns the sort keys of a partition of the system table, in order.
func (s *Store) sortKeys(ctx context.Context, pk string, query querying) (names []string, err error) {
	e := newExpression()
	in := &dynamodb.QueryInput{
		TableName:              s.system,
		KeyConditionExpression: aws.String(e.name(deployed.PK) + " = " + e.value(text(pk))),
		ProjectionExpression:   aws.String(e.name(deployed.SK)),
	}
	in.ExpressionAttributeNames, in.ExpressionAttributeValues = e.names, e.values
	err = query(ctx, in, func(page *dynamodb.QueryOutput) (bool, error) {
		for _, i := range page.Items {
			names = append(names, stringOf(i[deployed.SK]))
		}
		return true, nil
	})
	return names, err
}

// holdsSomething reports whether there is a document in a collection. It looks at the first row, then at the others.
func (s *Store) holdsSomething(ctx context.Context, c string) (holds bool, err error) {
	e := newExpression()
	in := &dynamodb.QueryInput{
		TableName:              s.documents,
		KeyConditionExpression: aws.String(e.name(deployed.PK) + " = " + e.value(text(c))),
		FilterExpression:       aws.String("attribute_exists(" + e.name(deployed.Value) + ") AND " + e.current(s.now())),
		ProjectionExpression:   aws.String(e.name(deployed.SK)),
		Limit:                  aws.Int32(1),
	}
	in.ExpressionAttributeNames, in.ExpressionAttributeValues = e.names, e.values
	err = s.queryAllowed(ctx, in, func(page *dynamodb.QueryOutput) (bool, error) {
		holds = len(page.Items) > 0
		in.Limit = nil
		return !holds, nil
	})
	return holds, err
}
