package sockets

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/eddyhq/eddy/shared/aws/message"
	"github.com/eddyhq/eddy/shared/deployed"
	"github.com/eddyhq/eddy/shared/port"
	"github.com/eddyhq/eddy/shared/stream"
)

// mail is a message to a live group.
type mail struct {
	group  port.Collection
	socket message.Socket
}

func joinOf(event *request, join stream.Join) mail {
	m := leaveOf(event, join)
	m.socket.Kind, m.socket.Item = message.Join, join.Item
	return m
}

// leaveOf takes a join whose names are known to be good.
func leaveOf(event *request, join stream.Join) mail {
	m := goneOf(event, port.Group(join.Stream, join.Group))
	m.socket.Kind, m.socket.SubscriptionID = message.Leave, join.SubscriptionID
	return m
}

func goneOf(event *request, group port.Collection) mail {
	return mail{group, message.Socket{
		Kind: message.Gone, Connection: event.RequestContext.ConnectionID, ConnectedAt: event.RequestContext.ConnectedAt,
	}}
}

// entry returns the message as the queue takes it. An event that AWS tells twice makes one message.
func (m *mail) entry(event *request, id int) (types.SendMessageBatchRequestEntry, error) {
	text, err := message.Encode(message.Message{Function: deployed.RoleLanes, Lane: string(m.group), Socket: &m.socket})
	if err != nil {
		return types.SendMessageBatchRequestEntry{}, err
	}
	told := &event.RequestContext
	return types.SendMessageBatchRequestEntry{
		Id: aws.String(strconv.Itoa(id)), MessageBody: aws.String(string(text)),
		MessageGroupId: aws.String(port.Digest(string(m.group))),
		MessageDeduplicationId: aws.String(port.Digest(
			told.ConnectionID, told.EventType, told.RequestID, fmt.Sprint(told.MessageID), string(m.group),
		)),
	}, nil
}

func (s *Socket) post(ctx context.Context, event *request, m mail) error {
	entry, err := m.entry(event, 0)
	if err != nil {
		return err
	}
	_, err = s.options.Queue.SendMessage(ctx, &sqs.SendMessageInput{
		QueueUrl: &s.options.QueueURL, MessageBody: entry.MessageBody,
		MessageGroupId: entry.MessageGroupId, MessageDeduplicationId: entry.MessageDeduplicationId,
	})
	return err
}

// postGone tells groups that a connection is no more. Who is not told finds out by pushing to it.
func (s *Socket) postGone(ctx context.Context, event *request, groups []port.Collection) error {
	const most = 10 // of one batch
	for batch := range slices.Chunk(groups, most) {
		in := &sqs.SendMessageBatchInput{QueueUrl: &s.options.QueueURL}
		for i, group := range batch {
			m := goneOf(event, group)
			entry, err := m.entry(event, i)
			if err != nil {
				return err
			}
			in.Entries = append(in.Entries, entry)
		}
		out, err := s.options.Queue.SendMessageBatch(ctx, in)
		if err != nil {
			return fmt.Errorf("tell groups that a connection is gone: %w", err)
		}
		if len(out.Failed) > 0 {
			return fmt.Errorf("tell groups that a connection is gone: %d of %d were not", len(out.Failed), len(batch))
		}
	}
	return nil
}
