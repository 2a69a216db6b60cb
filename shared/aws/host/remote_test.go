package host

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/eddyhq/eddy/shared/deployed"
)

// endpointVariable holds the URL of a server that speaks DynamoDB, on which a test creates tables.
const endpointVariable = "EDDY_AWS_ENDPOINT"

// remote is the DynamoDB of a server, with tables for one test. What the Lambdas call "documents" and "system" has other names
// there.
type remote struct {
	client *http.Client
	url    string
	names  map[string]string
	stream string
}

// newRemote returns the server that the environment names. Without one the test is skipped.
func newRemote(t *testing.T) *remote {
	t.Helper()
	url := os.Getenv(endpointVariable)
	if url == "" || url == "aws" {
		t.Skipf("%s is %q: it is to name a server on which tables can be made; see make test-aws", endpointVariable, url)
	}
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	t.Cleanup(transport.CloseIdleConnections)
	r := &remote{client: &http.Client{Transport: transport}, url: url, names: map[string]string{}}
	response, err := r.client.Get(url)
	if err != nil {
		t.Fatalf("%s: %v", endpointVariable, err)
	}
	if err := response.Body.Close(); err != nil {
		t.Fatalf("%s: %v", endpointVariable, err)
	}
	if strings.HasPrefix(response.Header.Get("Server"), "Werkzeug") {
		t.Skip("moto_server gets this wrong: requests for one row race with each other")
	}
	for _, table := range []string{"system", "documents"} {
		r.names[table] = "test-" + uuid.NewString() + "-" + table
		r.stream = r.createTable(t, r.names[table])
	}
	return r
}

func (r *remote) createTable(t *testing.T, name string) (stream string) {
	t.Helper()
	var created struct {
		TableDescription struct {
			LatestStreamArn string `json:"LatestStreamArn"`
		}
	}
	attribute := func(name string) object { return object{"AttributeName": name, "AttributeType": "S"} }
	key := func(name, kind string) object { return object{"AttributeName": name, "KeyType": kind} }
	err := r.ask("DynamoDB_20120810.CreateTable", object{
		"TableName": name, "BillingMode": "PAY_PER_REQUEST",
		"KeySchema":            []object{key(deployed.PK, "HASH"), key(deployed.SK, "RANGE")},
		"AttributeDefinitions": []object{attribute(deployed.PK), attribute(deployed.SK)},
		"StreamSpecification":  object{"StreamEnabled": true, "StreamViewType": "NEW_AND_OLD_IMAGES"},
	}, &created)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.ask("DynamoDB_20120810.DeleteTable", object{"TableName": name}, &object{}); err != nil {
			t.Error(err)
		}
	})
	return created.TableDescription.LatestStreamArn
}

// post makes a request and returns what is answered.
func (r *remote) post(target string, body []byte) (status int, answer []byte, err error) {
	request, err := http.NewRequest(http.MethodPost, r.url, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	service := strings.ToLower(target[:len("DynamoDB")])
	request.Header.Set("X-Amz-Target", target)
	request.Header.Set("Content-Type", "application/x-amz-json-1.0")
	request.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/"+service+
		"/aws4_request, SignedHeaders=host, Signature=none")
	response, err := r.client.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	answer, err = io.ReadAll(response.Body)
	return response.StatusCode, answer, err
}

// ask makes a request of the test's own.
func (r *remote) ask(target string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	status, answer, err := r.post(target, body)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("%s: %d %s", target, status, answer)
	}
	if err != nil {
		return err
	}
	return json.Unmarshal(answer, out)
}

// answer implements tables.
func (r *remote) answer(operation string, body []byte) (status int, answer any) {
	for table, name := range r.names {
		body = bytes.ReplaceAll(body, []byte(`"`+table+`"`), []byte(`"`+name+`"`))
	}
	status, text, err := r.post("DynamoDB_20120810."+operation, body)
	if err != nil {
		return http.StatusInternalServerError, object{"message": err.Error()}
	}
	for table, name := range r.names { // batches answer by table
		text = bytes.ReplaceAll(text, []byte(`"`+name+`"`), []byte(`"`+table+`"`))
	}
	return status, json.RawMessage(text)
}

// told implements tables: it reads the stream from TRIM_HORIZON.
func (r *remote) told() (records []streamRecord, err error) {
	const service = "DynamoDBStreams_20120810."
	var described struct {
		StreamDescription struct {
			Shards []struct {
				ShardID string `json:"ShardId"`
			}
		}
	}
	if err := r.ask(service+"DescribeStream", object{"StreamArn": r.stream}, &described); err != nil {
		return nil, err
	}
	for _, shard := range described.StreamDescription.Shards {
		var at struct{ ShardIterator string }
		err := r.ask(service+"GetShardIterator", object{
			"StreamArn": r.stream, "ShardId": shard.ShardID, "ShardIteratorType": "TRIM_HORIZON",
		}, &at)
		if err != nil {
			return nil, err
		}
		for at.ShardIterator != "" {
			var page struct {
				Records           []streamRecord
				NextShardIterator string
			}
			if err := r.ask(service+"GetRecords", object{"ShardIterator": at.ShardIterator}, &page); err != nil {
				return nil, err
			}
			if len(page.Records) == 0 {
				break
			}
			records, at.ShardIterator = append(records, page.Records...), page.NextShardIterator
		}
	}
	return records, nil
}

func TestEndpointFaults(t *testing.T) {
	t.Parallel()
	for _, seed := range []uint64{1, 2} {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			f := &faults{seed: seed, oneIn: 8}
			s := newStory(t, f, newRemote(t), time.Now, time.Sleep)
			s.tell(60)
			s.report(t, s.audit(), fmt.Sprintf("seed %d, on a server", seed))
		})
	}
}
