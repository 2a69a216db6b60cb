package host

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// dynamoDB is a DynamoDB in memory, as much of it as package dynamo asks for: rows with conditions, updates, queries and
// transactions, and the stream of one table. It evaluates expressions as AWS documents them.
type dynamoDB struct {
	mu     sync.Mutex
	tables map[string]map[string]object // by name, then by partition and sort key
	tokens map[string]bool              // of transactions that were done
	stream []streamRecord               // of the table "documents"
}

// object is a row, or any other object, as JSON.
type object = map[string]any

// streamRecord is what a stream tells of a row, as a Lambda gets it.
type streamRecord struct {
	EventID     string      `json:"eventID"`
	EventName   string      `json:"eventName"`
	EventSource string      `json:"eventSource"`
	Change      streamImage `json:"dynamodb"`
}

type streamImage struct {
	Keys           object
	OldImage       object `json:",omitempty"`
	NewImage       object `json:",omitempty"`
	SequenceNumber string
}

// request is any of the requests, and any part of a transaction.
type request struct {
	TableName                 string
	Item, Key                 object
	ConditionExpression       string
	UpdateExpression          string
	KeyConditionExpression    string
	FilterExpression          string
	ExpressionAttributeNames  map[string]string
	ExpressionAttributeValues object
	ExclusiveStartKey         object
	Limit                     int
	ClientRequestToken        string
	TransactItems             []struct{ Put, Update, Delete, ConditionCheck *request }
	RequestItems              json.RawMessage
}

// refusal is an answer that is an error, as a panic.
type refusal object

func refuse(kind string, more object) refusal {
	answer := object{"__type": "com.amazonaws.dynamodb.v20120810#" + kind}
	maps.Copy(answer, more)
	return refusal(answer)
}

func invalid(format string, args ...any) refusal {
	return refuse("ValidationException", object{"message": fmt.Sprintf(format, args...)})
}

func newDynamoDB() *dynamoDB {
	return &dynamoDB{tables: map[string]map[string]object{}, tokens: map[string]bool{}}
}

// told implements tables.
func (d *dynamoDB) told() ([]streamRecord, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.stream[:len(d.stream):len(d.stream)], nil
}

// answer implements tables.
func (d *dynamoDB) answer(operation string, body []byte) (status int, answer any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	defer func() {
		switch p := recover().(type) {
		case nil:
		case refusal:
			status, answer = http.StatusBadRequest, p
		default:
			panic(p)
		}
	}()
	var r request
	if err := json.Unmarshal(body, &r); err != nil {
		panic(invalid("%v", err))
	}
	return http.StatusOK, d.do(operation, &r)
}

func (d *dynamoDB) do(operation string, r *request) object {
	switch operation {
	case "GetItem":
		return object{"Item": d.row(r.TableName, r.Key)}
	case "PutItem":
		d.put(r.TableName, r.Item)
	case "UpdateItem":
		old := d.row(r.TableName, r.Key)
		if !r.holds(old) {
			panic(refuse("ConditionalCheckFailedException", object{"Item": old}))
		}
		d.put(r.TableName, r.updated(old))
		return object{"Attributes": old}
	case "Query":
		return d.query(r)
	case "TransactWriteItems":
		d.transact(r)
	case "BatchGetItem":
		return d.getAll(r)
	case "BatchWriteItem":
		var in map[string][]struct{ PutRequest struct{ Item object } }
		mustRead(r.RequestItems, &in)
		for table, puts := range in {
			for _, p := range puts {
				d.put(table, p.PutRequest.Item)
			}
		}
	default:
		panic(invalid("%s is not played", operation))
	}
	return object{}
}

func mustRead(text json.RawMessage, into any) {
	if err := json.Unmarshal(text, into); err != nil {
		panic(invalid("%v", err))
	}
}

func keyOf(row object) string { return text(row["pk"]) + "\x00" + text(row["sk"]) }

// text is the string that an attribute holds.
func text(attribute any) string {
	a, _ := attribute.(object)
	s, _ := a["S"].(string)
	return s
}

func (d *dynamoDB) row(table string, key object) object { return d.tables[table][keyOf(key)] }

// put replaces a row; nil removes it. The stream tells what has changed.
func (d *dynamoDB) put(table string, row object) { d.replace(table, keyOf(row), row) }

func (d *dynamoDB) replace(table, key string, row object) {
	if d.tables[table] == nil {
		d.tables[table] = map[string]object{}
	}
	old := d.tables[table][key]
	if row == nil {
		delete(d.tables[table], key)
	} else {
		d.tables[table][key] = row
	}
	if table != "documents" || reflect.DeepEqual(old, row) {
		return
	}
	name := "MODIFY"
	switch {
	case old == nil:
		name = "INSERT"
	case row == nil:
		name = "REMOVE"
	}
	keys := row
	if row == nil {
		keys = old
	}
	number := fmt.Sprintf("%021d", len(d.stream)+1)
	d.stream = append(d.stream, streamRecord{EventID: number, EventName: name, EventSource: "aws:dynamodb", Change: streamImage{
		Keys: object{"pk": keys["pk"], "sk": keys["sk"]}, OldImage: old, NewImage: row, SequenceNumber: number,
	}})
}

func (d *dynamoDB) query(r *request) object {
	var keys []string
	for key, row := range d.tables[r.TableName] {
		if r.evaluate(r.KeyConditionExpression, row) && (r.ExclusiveStartKey == nil || key > keyOf(r.ExclusiveStartKey)) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	answer, items := object{}, []object{}
	if r.Limit > 0 && len(keys) > r.Limit {
		keys = keys[:r.Limit]
		last := d.tables[r.TableName][keys[r.Limit-1]]
		answer["LastEvaluatedKey"] = object{"pk": last["pk"], "sk": last["sk"]}
	}
	for _, key := range keys {
		if row := d.tables[r.TableName][key]; r.FilterExpression == "" || r.evaluate(r.FilterExpression, row) {
			items = append(items, row)
		}
	}
	answer["Items"] = items
	return answer
}

func (d *dynamoDB) getAll(r *request) object {
	var in map[string]struct{ Keys []object }
	mustRead(r.RequestItems, &in)
	found := map[string][]object{}
	for table, of := range in {
		for _, key := range of.Keys {
			if row := d.row(table, key); row != nil {
				found[table] = append(found[table], row)
			}
		}
	}
	return object{"Responses": found}
}

// transact does all parts or none. A token that was done before does nothing again.
func (d *dynamoDB) transact(r *request) {
	if d.tokens[r.ClientRequestToken] {
		return
	}
	var reasons []object
	failed := false
	after := make([]object, len(r.TransactItems))
	for i, part := range r.TransactItems {
		p := cmp.Or(part.Put, part.Update, part.Delete, part.ConditionCheck)
		key := p.Key
		if part.Put != nil {
			key = p.Item
		}
		old := d.row(p.TableName, key)
		reason := object{"Code": "None"}
		if !p.holds(old) {
			failed, reason = true, object{"Code": "ConditionalCheckFailed", "Item": old}
		} else if part.Update != nil {
			after[i], reason, failed = tryUpdate(p, old, reason, failed)
		}
		reasons = append(reasons, reason)
	}
	if failed {
		panic(refuse("TransactionCanceledException", object{"CancellationReasons": reasons}))
	}
	for i, part := range r.TransactItems {
		switch {
		case part.Put != nil:
			d.put(part.Put.TableName, part.Put.Item)
		case part.Update != nil:
			d.put(part.Update.TableName, after[i])
		case part.Delete != nil:
			d.replace(part.Delete.TableName, keyOf(part.Delete.Key), nil)
		}
	}
	d.tokens[r.ClientRequestToken] = true
}

func tryUpdate(p *request, old, reason object, failed bool) (after, why object, fails bool) {
	defer func() {
		if r := recover(); r != nil {
			if _, ok := r.(refusal); !ok {
				panic(r)
			}
			why, fails = object{"Code": "ValidationError"}, true
		}
	}()
	return p.updated(old), reason, failed
}

func (r *request) holds(row object) bool {
	return r.ConditionExpression == "" || r.evaluate(r.ConditionExpression, row)
}

// evaluator reads an expression over a row.
type evaluator struct {
	*request
	row    object
	tokens []string
}

var tokens = regexp.MustCompile(`[#:]?\w+|<>|<=|>=|[=<>(),.+-]`)

func (r *request) over(expression string, row object) *evaluator {
	return &evaluator{r, row, tokens.FindAllString(expression, -1)}
}

func (r *request) evaluate(expression string, row object) bool {
	e := r.over(expression, row)
	holds := e.any()
	if len(e.tokens) > 0 {
		panic(invalid("%q: %q is left", expression, e.tokens))
	}
	return holds
}

// next takes the next token if it is the one.
func (e *evaluator) next(token string) bool {
	if len(e.tokens) == 0 || e.tokens[0] != token {
		return false
	}
	e.tokens = e.tokens[1:]
	return true
}

func (e *evaluator) must(token string) {
	if !e.next(token) {
		panic(invalid("%q is no %q", e.tokens, token))
	}
}

func (e *evaluator) take() string {
	if len(e.tokens) == 0 {
		panic(invalid("the expression ends"))
	}
	token := e.tokens[0]
	e.tokens = e.tokens[1:]
	return token
}

func (e *evaluator) any() bool {
	holds := e.all()
	for e.next("OR") {
		other := e.all()
		holds = holds || other
	}
	return holds
}

func (e *evaluator) all() bool {
	holds := e.one()
	for e.next("AND") {
		other := e.one()
		holds = holds && other
	}
	return holds
}

func (e *evaluator) one() bool {
	switch {
	case e.next("NOT"):
		return !e.one()
	case e.next("("):
		holds := e.any()
		e.must(")")
		return holds
	case e.next("attribute_exists"):
		return e.argument() != nil
	case e.next("attribute_not_exists"):
		return e.argument() == nil
	case e.next("attribute_type"):
		of, kind := e.arguments()
		return of != nil && of[text(kind)] != nil
	case e.next("begins_with"):
		of, prefix := e.arguments()
		return of != nil && strings.HasPrefix(text(of), text(prefix))
	}
	left, operator := e.operand(), e.take()
	right := e.operand()
	if operator == "BETWEEN" {
		e.must("AND")
		most := e.operand()
		return compare(left, right, ">=") && compare(left, most, "<=")
	}
	return compare(left, right, operator)
}

func (e *evaluator) argument() object {
	e.must("(")
	found := e.operand()
	e.must(")")
	return found
}

func (e *evaluator) arguments() (a, b object) {
	e.must("(")
	a = e.operand()
	e.must(",")
	b = e.operand()
	e.must(")")
	return a, b
}

// operand returns a value; nil where there is none.
func (e *evaluator) operand() object {
	if e.next("if_not_exists") {
		found, standard := e.arguments()
		if found != nil {
			return found
		}
		return standard
	}
	if token := e.tokens[0]; token[0] == ':' {
		value, ok := e.ExpressionAttributeValues[e.take()].(object)
		if !ok {
			panic(invalid("%s has no value", token))
		}
		return value
	}
	found := object{"M": e.row}
	for _, name := range e.path() {
		members, _ := found["M"].(object)
		found, _ = members[name].(object)
	}
	return found
}

func (e *evaluator) path() (path []string) {
	for {
		name := e.take()
		if name[0] == '#' {
			if name = e.ExpressionAttributeNames[name]; name == "" {
				panic(invalid("a name is not defined"))
			}
		}
		path = append(path, name)
		if !e.next(".") {
			return path
		}
	}
}

func compare(a, b object, operator string) bool {
	if a == nil || b == nil {
		return false
	}
	order := 0
	switch x, y := number(a), number(b); {
	case x != nil && y != nil:
		order = x.Cmp(y)
	case a["S"] != nil && b["S"] != nil:
		order = strings.Compare(text(a), text(b))
	case operator == "=" || operator == "<>":
		return reflect.DeepEqual(a, b) == (operator == "=")
	default:
		return false
	}
	switch operator {
	case "=":
		return order == 0
	case "<>":
		return order != 0
	case "<":
		return order < 0
	case "<=":
		return order <= 0
	case ">":
		return order > 0
	case ">=":
		return order >= 0
	default:
		panic(invalid("%q is no operator", operator))
	}
}

// number is the number that an attribute holds, nil when it holds none.
func number(attribute object) *big.Rat {
	digits, ok := attribute["N"].(string)
	if !ok {
		return nil
	}
	n, ok := new(big.Rat).SetString(digits)
	if !ok {
		panic(invalid("%q is no number", digits))
	}
	return n
}

// updated returns what an update makes of a row.
func (r *request) updated(old object) object {
	row := clone(old)
	if row == nil {
		row = maps.Clone(r.Key)
	}
	e := r.over(r.UpdateExpression, old)
	for len(e.tokens) > 0 {
		clause := e.take()
		for {
			members, name := parent(row, e.path())
			switch clause {
			case "SET":
				e.must("=")
				members[name] = e.sum()
			case "REMOVE":
				delete(members, name)
			default:
				panic(invalid("%q is no clause", clause))
			}
			if !e.next(",") {
				break
			}
		}
	}
	return row
}

func parent(row object, path []string) (members object, name string) {
	members = row
	for _, name := range path[:len(path)-1] {
		attribute, _ := members[name].(object)
		inner, ok := attribute["M"].(object)
		if !ok {
			panic(invalid("The document path provided in the update expression is invalid for update"))
		}
		members = inner
	}
	return members, path[len(path)-1]
}

// sum is what an attribute is set to.
func (e *evaluator) sum() object {
	value := e.operand()
	for value != nil && (e.next("+") || len(e.tokens) > 0 && e.tokens[0] == "-") {
		minus := e.next("-")
		a, b := number(value), number(e.operand())
		if a == nil || b == nil {
			panic(invalid("An operand in the update expression has an incorrect data type"))
		}
		if minus {
			b.Neg(b)
		}
		value = object{"N": a.Add(a, b).RatString()}
	}
	if value == nil {
		panic(invalid("The provided expression refers to an attribute that does not exist in the item"))
	}
	return value
}

// clone copies a row as deep as it is.
func clone(of object) object {
	if of == nil {
		return nil
	}
	copied := make(object, len(of))
	for name, value := range of {
		if inner, ok := value.(object); ok {
			value = clone(inner)
		}
		copied[name] = value
	}
	return copied
}
