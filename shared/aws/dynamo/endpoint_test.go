package dynamo_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams"
	streams "github.com/aws/aws-sdk-go-v2/service/dynamodbstreams/types"
	"github.com/google/uuid"

	"github.com/eddyhq/eddy/shared/aws/dynamo"
	"github.com/eddyhq/eddy/shared/aws/message"
	"github.com/eddyhq/eddy/shared/aws/sender"
	"github.com/eddyhq/eddy/shared/deployed"
	"github.com/eddyhq/eddy/shared/document"
	"github.com/eddyhq/eddy/shared/port"
	"github.com/eddyhq/eddy/shared/port/porttest"
)

// endpointVariable holds the URL of a server with a DynamoDB on which tests create tables. It may say "aws" instead, but not
// for this suite, which creates some hundreds.
const endpointVariable = "EDDY_AWS_ENDPOINT"

// endpoint is a DynamoDB with tables of one test.
type endpoint struct {
	config  aws.Config
	client  *dynamodb.Client
	options dynamo.Options
	stream  string
}

// dial returns the endpoint that the environment names, with tables for this test alone. Without one the test is skipped.
func dial(tb testing.TB) *endpoint {
	tb.Helper()
	url := os.Getenv(endpointVariable)
	if url == "" || url == "aws" {
		tb.Skipf("%s is %q: it is to name a server on which tables can be made by the hundred; see make test-aws", endpointVariable, url)
	}
	transport := &http.Transport{IdleConnTimeout: time.Second, MaxIdleConnsPerHost: 64}
	tb.Cleanup(transport.CloseIdleConnections) // after the tables are deleted
	client := &http.Client{Transport: transport}
	skipWhatMotoGetsWrong(tb, client, url)
	config := configFor(sender.Over(client))
	config.BaseEndpoint = &url
	e := &endpoint{config: config, client: dynamo.NewClient(config)}
	name := "test-" + uuid.NewString()
	e.options = dynamo.Options{Documents: name + "-documents", System: name + "-system", Owner: "test::run"}
	e.options.Logger = slog.New(slog.NewTextHandler(tb.Output(), nil))
	e.stream = e.createTable(tb, e.options.Documents, &types.StreamSpecification{
		StreamEnabled: aws.Bool(true), StreamViewType: types.StreamViewTypeNewAndOldImages,
	})
	e.createTable(tb, e.options.System, nil)
	return e
}

// skipWhatMotoGetsWrong skips tests that moto_server cannot pass, which is told by the server that it is made with.
func skipWhatMotoGetsWrong(tb testing.TB, client *http.Client, url string) {
	tb.Helper()
	wrong := map[string]string{
		"/a_skipped_operation_":             "it fails to compare a string with numbers",
		"/what_changes_nothing_":            "it fails to compare a string with numbers",
		"TestEndpointUpdatesDo":             "it fails to compare a string with numbers",
		"TestEndpointADocumentDoesNotGrow":  "its limit of an item is lower than that of AWS",
		"/the_records_of_one_document_":     "requests for one row race with each other",
		"/concurrency/":                     "requests for one row race with each other",
		"TestEndpointOneDocumentIsLineariz": "requests for one row race with each other",
	}
	response, err := client.Get(url)
	if err != nil {
		tb.Fatalf("%s: %v", endpointVariable, err)
	}
	if err := response.Body.Close(); err != nil {
		tb.Fatalf("%s: %v", endpointVariable, err)
	}
	if !strings.HasPrefix(response.Header.Get("Server"), "Werkzeug") {
		return
	}
	for part, reason := range wrong {
		if strings.Contains(tb.Name(), part) {
			tb.Skipf("moto_server gets this wrong: %s", reason)
		}
	}
}

// configFor returns a configuration with made-up credentials and an HTTP client.
func configFor(client aws.HTTPClient) aws.Config {
	return aws.Config{
		Region: "us-east-1",
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "test", SecretAccessKey: "test"}, nil
		}),
		HTTPClient: client,
	}
}

func (e *endpoint) store() *dynamo.Store { return dynamo.New(e.client, e.options) }

// createTable creates a table as the stack draws it, and returns its stream.
func (e *endpoint) createTable(tb testing.TB, name string, stream *types.StreamSpecification) string {
	tb.Helper()
	keys := map[string]types.KeyType{deployed.PK: types.KeyTypeHash, deployed.SK: types.KeyTypeRange}
	in := &dynamodb.CreateTableInput{
		TableName: &name, BillingMode: types.BillingModePayPerRequest, StreamSpecification: stream,
	}
	for _, attribute := range []string{deployed.PK, deployed.SK} {
		in.KeySchema = append(in.KeySchema, types.KeySchemaElement{AttributeName: &attribute, KeyType: keys[attribute]})
		in.AttributeDefinitions = append(in.AttributeDefinitions, types.AttributeDefinition{
			AttributeName: &attribute, AttributeType: types.ScalarAttributeTypeS,
		})
	}
	out, err := e.client.CreateTable(tb.Context(), in)
	if err != nil {
		tb.Fatalf("create a table: %v", err)
	}
	tb.Cleanup(func() {
		if _, err := e.client.DeleteTable(context.Background(), &dynamodb.DeleteTableInput{TableName: &name}); err != nil {
			tb.Errorf("delete a table: %v", err)
		}
	})
	return aws.ToString(out.TableDescription.LatestStreamArn)
}

// marker is the key of a document that is written to know that the stream has told of all before it.
const marker = "marker"

// records returns the records that the stream tells of, numbered.
func (e *endpoint) records(ctx context.Context, s *dynamo.Store) ([]port.Record, error) {
	told, err := e.told(ctx, s)
	records := make([]port.Record, len(told))
	for i := range told {
		records[i] = told[i].Record
		records[i].Position = uint64(i) + 1
	}
	return records, err
}

// told reads the documents' stream from its start up to now.
func (e *endpoint) told(ctx context.Context, s *dynamo.Store) (records []message.Record, err error) {
	scope := port.Scope("marker-" + uuid.NewString())
	_, err = s.Commit(ctx, port.Commit{Writes: []port.Write{
		{Op: port.Set, Collection: scope, Key: marker, Value: document.Value(`1`)},
	}})
	if err != nil {
		return nil, err
	}
	client := dynamodbstreams.NewFromConfig(e.config)
	out, err := client.DescribeStream(ctx, &dynamodbstreams.DescribeStreamInput{StreamArn: &e.stream})
	if err != nil {
		return nil, err
	}
	for _, shard := range out.StreamDescription.Shards {
		iterator, err := client.GetShardIterator(ctx, &dynamodbstreams.GetShardIteratorInput{
			StreamArn: &e.stream, ShardId: shard.ShardId, ShardIteratorType: streams.ShardIteratorTypeTrimHorizon,
		})
		if err != nil {
			return nil, err
		}
		for next := iterator.ShardIterator; next != nil; {
			page, err := client.GetRecords(ctx, &dynamodbstreams.GetRecordsInput{ShardIterator: next})
			if err != nil {
				return nil, err
			}
			for _, event := range page.Records {
				told, err := dynamo.RecordsOf(eventOf(event))
				if err != nil {
					return nil, err
				}
				for _, r := range told {
					switch {
					case r.Change != nil && r.Change.Collection == scope:
						return records, nil
					case r.Change == nil || r.Change.Key != marker:
						records = append(records, r)
					}
				}
			}
			next = page.NextShardIterator
		}
	}
	return nil, fmt.Errorf("the stream ended before it told of the marker")
}

// eventOf returns a record of the stream as Lambda gives it to a function.
func eventOf(r streams.Record) events.DynamoDBEventRecord {
	return events.DynamoDBEventRecord{EventName: string(r.EventName), Change: events.DynamoDBStreamRecord{
		Keys: imageOf(r.Dynamodb.Keys), OldImage: imageOf(r.Dynamodb.OldImage), NewImage: imageOf(r.Dynamodb.NewImage),
		SequenceNumber: aws.ToString(r.Dynamodb.SequenceNumber),
	}}
}

func imageOf(image map[string]streams.AttributeValue) map[string]events.DynamoDBAttributeValue {
	if image == nil {
		return nil
	}
	result := make(map[string]events.DynamoDBAttributeValue, len(image))
	for name, value := range image {
		result[name] = attributeOf(value)
	}
	return result
}

func attributeOf(v streams.AttributeValue) events.DynamoDBAttributeValue {
	switch v := v.(type) {
	case *streams.AttributeValueMemberM:
		return events.NewMapAttribute(imageOf(v.Value))
	case *streams.AttributeValueMemberL:
		list := make([]events.DynamoDBAttributeValue, len(v.Value))
		for i, element := range v.Value {
			list[i] = attributeOf(element)
		}
		return events.NewListAttribute(list)
	case *streams.AttributeValueMemberS:
		return events.NewStringAttribute(v.Value)
	case *streams.AttributeValueMemberN:
		return events.NewNumberAttribute(v.Value)
	case *streams.AttributeValueMemberBOOL:
		return events.NewBooleanAttribute(v.Value)
	default:
		return events.NewNullAttribute()
	}
}

func TestStoreKeepsThePromisesOfItsPorts(t *testing.T) {
	t.Parallel()
	porttest.Exercise(t, func(t *testing.T) porttest.Target {
		e := dial(t)
		var moved atomic.Int64
		e.options.Now = func() time.Time { return time.Now().Add(time.Duration(moved.Load())) }
		s := e.store()
		return porttest.Target{
			Advance:   func(d time.Duration) { moved.Add(int64(d)) },
			Documents: s,
			Ledger:    s,
			Records:   func(ctx context.Context) ([]port.Record, error) { return e.records(ctx, s) },
			PerItem:   true,
		}
	})
}
