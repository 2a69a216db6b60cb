package dynamo

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/eddyhq/eddy/shared/document"
)

// number, text and binary return attribute values.
func number(n int64) types.AttributeValue {
	return &types.AttributeValueMemberN{Value: strconv.FormatInt(n, 10)}
}

func text(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }

func binary(b []byte) types.AttributeValue { return &types.AttributeValueMemberB{Value: b} }

// encodeValue returns a document in DynamoDB's own types.
func encodeValue(v document.Value) (types.AttributeValue, error) {
	decoder := jsontext.NewDecoder(bytes.NewReader(v), jsontext.AllowDuplicateNames(true)) // canonical text has none
	return readValue(decoder)
}

func readValue(d *jsontext.Decoder) (types.AttributeValue, error) {
	token, err := d.ReadToken()
	if err != nil {
		return nil, fmt.Errorf("read a document: %w", err)
	}
	switch token.Kind() {
	case 'n':
		return &types.AttributeValueMemberNULL{Value: true}, nil
	case 't', 'f':
		return &types.AttributeValueMemberBOOL{Value: token.Bool()}, nil
	case '"':
		return text(token.String()), nil
	case '0':
		return &types.AttributeValueMemberN{Value: token.String()}, nil
	case '[':
		return readList(d)
	default:
		return readMap(d)
	}
}

func readList(d *jsontext.Decoder) (types.AttributeValue, error) {
	list := []types.AttributeValue{}
	for d.PeekKind() != ']' {
		element, err := readValue(d)
		if err != nil {
			return nil, err
		}
		list = append(list, element)
	}
	_, err := d.ReadToken()
	return &types.AttributeValueMemberL{Value: list}, err
}

func readMap(d *jsontext.Decoder) (types.AttributeValue, error) {
	members := map[string]types.AttributeValue{}
	for d.PeekKind() != '}' {
		name, err := d.ReadToken()
		if err != nil {
			return nil, fmt.Errorf("read a document: %w", err)
		}
		key := name.String() // before the next token takes its place
		if members[key], err = readValue(d); err != nil {
			return nil, err
		}
	}
	_, err := d.ReadToken()
	return &types.AttributeValueMemberM{Value: members}, err
}

// decodeValue returns the document that an attribute holds; nil for no attribute. It holds to no limit of documents: what
// is stored can be read.
func decodeValue(v types.AttributeValue) (document.Value, error) {
	if v == nil {
		return nil, nil
	}
	return appendAttribute(nil, v)
}

func appendAttribute(to document.Value, v types.AttributeValue) (document.Value, error) {
	switch v := v.(type) {
	case *types.AttributeValueMemberM:
		return appendMap(to, v.Value, appendAttribute)
	case *types.AttributeValueMemberL:
		return appendList(to, v.Value, appendAttribute)
	case *types.AttributeValueMemberS:
		return appendText(to, v.Value)
	case *types.AttributeValueMemberN:
		return appendNumber(to, v.Value)
	case *types.AttributeValueMemberBOOL:
		return strconv.AppendBool(to, v.Value), nil
	case *types.AttributeValueMemberNULL:
		return append(to, "null"...), nil
	default:
		return nil, fmt.Errorf("a document cannot hold a %T", v)
	}
}

// decodeEventValue is decodeValue for what the stream tells to a Lambda.
func decodeEventValue(v events.DynamoDBAttributeValue) (document.Value, error) {
	return appendEvent(nil, v)
}

func appendEvent(to document.Value, v events.DynamoDBAttributeValue) (document.Value, error) {
	switch v.DataType() {
	case events.DataTypeMap:
		return appendMap(to, v.Map(), appendEvent)
	case events.DataTypeList:
		return appendList(to, v.List(), appendEvent)
	case events.DataTypeString:
		return appendText(to, v.String())
	case events.DataTypeNumber:
		return appendNumber(to, v.Number())
	case events.DataTypeBoolean:
		return strconv.AppendBool(to, v.Boolean()), nil
	case events.DataTypeNull:
		return append(to, "null"...), nil
	default:
		return nil, fmt.Errorf("a document cannot hold an attribute of kind %d", v.DataType())
	}
}

// appendMap appends an object in the order that canonical text has.
func appendMap[V any](to document.Value, members map[string]V, appendOne func(document.Value, V) (document.Value, error)) (
	_ document.Value, err error,
) {
	to = append(to, '{')
	for i, name := range slices.Sorted(maps.Keys(members)) {
		if i > 0 {
			to = append(to, ',')
		}
		if to, err = appendText(to, name); err != nil {
			return nil, err
		}
		if to, err = appendOne(append(to, ':'), members[name]); err != nil {
			return nil, err
		}
	}
	return append(to, '}'), nil
}

func appendList[V any](to document.Value, elements []V, appendOne func(document.Value, V) (document.Value, error)) (
	_ document.Value, err error,
) {
	to = append(to, '[')
	for i, element := range elements {
		if i > 0 {
			to = append(to, ',')
		}
		if to, err = appendOne(to, element); err != nil {
			return nil, err
		}
	}
	return append(to, ']'), nil
}

func appendText(to document.Value, s string) (document.Value, error) {
	quoted, err := jsontext.AppendQuote([]byte(to), s)
	if err != nil {
		return nil, fmt.Errorf("a string of a document: %w", err)
	}
	return quoted, nil
}

// appendNumber appends a number in its canonical form, which is not how DynamoDB writes large and small ones.
func appendNumber(to document.Value, n string) (document.Value, error) {
	canonical, err := document.Parse([]byte(n))
	if err != nil {
		return nil, fmt.Errorf("a number of a document: %w", err)
	}
	if c := canonical[0]; c != '-' && (c < '0' || c > '9') {
		return nil, fmt.Errorf("a number of a document is %s", canonical)
	}
	return append(to, canonical...), nil
}
