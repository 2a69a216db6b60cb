package dynamo

import (
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/eddyhq/eddy/shared/deployed"
)

// expression is an update of one row, or a condition on it, under construction.
type expression struct {
	names      map[string]string
	values     item
	sets       []string
	removes    []string
	conditions []string
}

func newExpression() *expression {
	return &expression{names: make(map[string]string, 16), values: make(item, 16)}
}

// name returns what stands for an attribute of ours.
func (e *expression) name(attribute string) string {
	e.names["#"+attribute] = attribute
	return "#" + attribute
}

// field returns what stands for a member of the document.
func (e *expression) field(name string) string {
	placeholder := "#f" + strconv.Itoa(len(e.names))
	e.names[placeholder] = name
	return e.name(deployed.Value) + "." + placeholder
}

// value returns what stands for a value.
func (e *expression) value(v types.AttributeValue) string {
	placeholder := ":v" + strconv.Itoa(len(e.values))
	e.values[placeholder] = v
	return placeholder
}

func (e *expression) set(attribute string, v types.AttributeValue) {
	e.sets = append(e.sets, e.name(attribute)+" = "+e.value(v))
}

func (e *expression) remove(attributes ...string) {
	for _, attribute := range attributes {
		e.removes = append(e.removes, e.name(attribute))
	}
}

// require adds a condition to those that have to hold.
func (e *expression) require(condition string) { e.conditions = append(e.conditions, condition) }

// requireVersion demands what port.Write.IfVersion says.
func (e *expression) requireVersion(version int64) {
	if version == 0 {
		e.require("attribute_not_exists(" + e.name(deployed.Value) + ")")
		return
	}
	e.require("attribute_exists(" + e.name(deployed.Value) + ")")
	e.require(e.name(deployed.Version) + " = " + e.value(number(version)))
}

// requireRow demands that the row is still as it was read.
func (e *expression) requireRow(r *row) {
	if !r.exists {
		e.require("attribute_not_exists(" + e.name(deployed.PK) + ")")
		return
	}
	e.require(e.name(deployed.Version) + " = " + e.value(number(r.version)))
}

// update returns the text of the update.
func (e *expression) update() *string {
	var clauses []string
	if len(e.sets) > 0 {
		clauses = append(clauses, "SET "+strings.Join(e.sets, ", "))
	}
	if len(e.removes) > 0 {
		clauses = append(clauses, "REMOVE "+strings.Join(e.removes, ", "))
	}
	return aws.String(strings.Join(clauses, " "))
}

// condition returns the text of all conditions, nil when there are none.
func (e *expression) condition() *string {
	if len(e.conditions) == 0 {
		return nil
	}
	return aws.String(strings.Join(e.conditions, " AND "))
}

// valuesOrNil returns the values, nil when there are none: DynamoDB refuses an empty map.
func (e *expression) valuesOrNil() item {
	if len(e.values) == 0 {
		return nil
	}
	return e.values
}

// request returns the update as a request that tells what was there before.
func (e *expression) request(table *string, key item) *dynamodb.UpdateItemInput {
	return &dynamodb.UpdateItemInput{
		TableName:                           table,
		Key:                                 key,
		UpdateExpression:                    e.update(),
		ConditionExpression:                 e.condition(),
		ExpressionAttributeNames:            e.names,
		ExpressionAttributeValues:           e.valuesOrNil(),
		ReturnValues:                        types.ReturnValueAllOld,
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	}
}

// action returns the update, or the conditions alone when there is none, as a part of a transaction.
func (e *expression) action(table *string, key item) types.TransactWriteItem {
	if len(e.sets) == 0 && len(e.removes) == 0 {
		return types.TransactWriteItem{ConditionCheck: &types.ConditionCheck{
			TableName:                           table,
			Key:                                 key,
			ConditionExpression:                 e.condition(),
			ExpressionAttributeNames:            e.names,
			ExpressionAttributeValues:           e.valuesOrNil(),
			ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
		}}
	}
	return types.TransactWriteItem{Update: &types.Update{
		TableName:                           table,
		Key:                                 key,
		UpdateExpression:                    e.update(),
		ConditionExpression:                 e.condition(),
		ExpressionAttributeNames:            e.names,
		ExpressionAttributeValues:           e.valuesOrNil(),
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	}}
}
