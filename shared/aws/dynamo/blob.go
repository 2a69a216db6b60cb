package dynamo

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/eddyhq/eddy/shared/aws/message"
	"github.com/eddyhq/eddy/shared/deployed"
	"github.com/eddyhq/eddy/shared/errs"
	"github.com/eddyhq/eddy/shared/port"
)

// maxPart is how many bytes of a blob one row holds.
const maxPart = 350 << 10

// PutBlob keeps data under a key "<owner>/<digest>", for as long as a message that names it can be on its way: 15 days. A
// key belongs to one content: putting it again changes nothing.
func (s *Store) PutBlob(ctx context.Context, key string, data []byte) error {
	return s.putBlob(ctx, key, data, blobLife)
}

// putBlob keeps data for a time; 0 stands for ever.
func (s *Store) putBlob(ctx context.Context, name string, data []byte, life time.Duration) error {
	pk := blobKey(name)
	if len(pk) > maxPK {
		return errs.New(errs.InvalidArgument, "the key of the blob is longer than %d bytes", maxPK)
	}
	count := max(1, (len(data)+maxPart-1)/maxPart)
	parts := make([]item, count)
	for i := range parts {
		part := key(pk, strconv.Itoa(i))
		part[dataName] = binary(data[i*maxPart : min(len(data), (i+1)*maxPart)])
		part[partsName] = number(int64(count))
		if life > 0 {
			part[deployed.Expires] = number(s.expiry(life))
		}
		parts[i] = part
	}
	return s.putAll(ctx, s.system, parts)
}

// blobKey returns the partition of a blob: the owner is a segment of it.
func blobKey(name string) string {
	owner, digest, _ := strings.Cut(name, "/")
	return deployed.Blobs + port.Segment(owner) + "/" + port.Segment(digest)
}

// GetBlob returns what PutBlob kept under the key; not_found when there is nothing, or no longer.
func (s *Store) GetBlob(ctx context.Context, key string) ([]byte, error) {
	parts := map[string][]byte{}
	size, count := 0, int64(0)
	e := newExpression()
	in := &dynamodb.QueryInput{
		TableName:              s.system,
		KeyConditionExpression: aws.String(e.name(deployed.PK) + " = " + e.value(text(blobKey(key)))),
	}
	in.ExpressionAttributeNames, in.ExpressionAttributeValues = e.names, e.values
	err := s.query(ctx, in, func(page *dynamodb.QueryOutput) (_ bool, err error) {
		for _, i := range page.Items {
			data, ok := i[dataName].(*types.AttributeValueMemberB)
			if count, err = integerOf(i[partsName]); !ok || err != nil {
				return false, s.corrupt(ctx, fmt.Errorf("a part of the blob %q: %w", key, err))
			}
			parts[stringOf(i[deployed.SK])] = data.Value
			size += len(data.Value)
		}
		return true, nil
	})
	if err != nil {
		return nil, err
	}
	if len(parts) == 0 || int64(len(parts)) != count {
		return nil, errs.New(errs.NotFound, "there is no blob %q, or no longer", key)
	}
	data := make([]byte, 0, size)
	for i := range len(parts) {
		data = append(data, parts[strconv.Itoa(i)]...)
	}
	return data, nil
}

// expireBlob lets a blob go that was kept for ever.
func (s *Store) expireBlob(ctx context.Context, name string) error {
	data, err := s.GetBlob(ctx, name)
	if err != nil {
		return err
	}
	return s.putBlob(ctx, name, data, blobLife)
}

// How many bytes of a record a row holds. A longer one goes into a blob.
const (
	maxRecord      = 300 << 10
	maxSmallRecord = 512 // of one that there is always room for, as a commit has at most 100 of them
)

// attachRecord puts a record into a row, or into a blob that the row names and that is kept for a time; 0 stands for ever.
func (s *Store) attachRecord(ctx context.Context, row item, r *message.Record, life time.Duration) error {
	return s.keepRecord(ctx, row, r, maxRecord, life)
}

// keepRecord is attachRecord for a row with room for so many bytes.
func (s *Store) keepRecord(ctx context.Context, row item, r *message.Record, room int, life time.Duration) error {
	encoded, err := message.Encode(r)
	if err != nil {
		return s.corrupt(ctx, err)
	}
	if len(encoded) <= room {
		row[deployed.Record] = text(string(encoded))
		return nil
	}
	name := s.owner + "/" + port.Digest(s.newID())
	row[blobName] = text(name)
	return s.putBlob(ctx, name, encoded, life)
}

// Resolve returns a record with what it carries: itself, unless that is in a blob.
func (s *Store) Resolve(ctx context.Context, r message.Record) (message.Record, error) {
	if r.Blob == "" {
		return r, nil
	}
	encoded, err := s.GetBlob(ctx, r.Blob)
	if err != nil {
		return message.Record{}, err
	}
	var resolved message.Record
	if err := resolved.UnmarshalJSON(encoded); err != nil {
		return message.Record{}, s.corrupt(ctx, err)
	}
	return resolved, nil
}
