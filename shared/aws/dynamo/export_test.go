package dynamo

import (
	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/eddyhq/eddy/shared/document"
)

// EncodeValue returns a document as it is stored.
func EncodeValue(v document.Value) (types.AttributeValue, error) { return encodeValue(v) }

// DecodeValue returns the document that is stored.
func DecodeValue(v types.AttributeValue) (document.Value, error) { return decodeValue(v) }

// DecodeEventValue returns the document that the stream tells of.
func DecodeEventValue(v events.DynamoDBAttributeValue) (document.Value, error) {
	return decodeEventValue(v)
}
