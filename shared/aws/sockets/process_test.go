package sockets_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/eddyhq/eddy/shared/aws/dynamo"
	"github.com/eddyhq/eddy/shared/aws/message"
	"github.com/eddyhq/eddy/shared/aws/sockets"
	"github.com/eddyhq/eddy/shared/errs"
	"github.com/eddyhq/eddy/shared/port"
)

// world is a deployment in memory.
type world struct {
	mu    sync.Mutex
	rooms map[port.Collection]*room
	open  map[string]bool // the connections that take frames
	blobs map[string][]byte
	clock time.Time
	fault error // the first promise that was broken
}

func newWorld(groups ...string) *world {
	w := &world{
		rooms: map[port.Collection]*room{}, open: map[string]bool{}, blobs: map[string][]byte{},
		clock: time.UnixMilli(1_700_000_000_000),
	}
	for _, name := range groups {
		r := newRoom(name)
		w.rooms[r.group] = r
	}
	return w
}

func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.clock
}

// process is one Lambda, with what goes wrong in it.
type process struct {
	*world
	lanes     *sockets.Lanes
	calls     map[string]int
	batch     map[port.Collection][]string   // the messages of the run
	joins     map[port.Collection][]*joining // among them, those that are to be followed
	postponed []int32
	refused   map[string]string // the codes of the errors that connections were told

	unjudged   bool                 // frames are counted only
	failPush   int                  // deliveries, after which pushes fail; negative: they do not
	failSave   bool                 // nothing is stored
	loseSave   bool                 // it is stored, and the run does not come to know it
	failing    error                // of snapshots
	beforeSave func(r *room)        // once
	times      map[string]time.Time // when connections were said to have connected
}

// joining is a join of a batch, and what its snapshot was.
type joining struct {
	message.Socket
	items []dynamo.Item
	knows map[string]int64
	heard bool
}

func (w *world) start() *process {
	p := &process{world: w, failPush: -1, calls: map[string]int{}, times: map[string]time.Time{}, refused: map[string]string{}}
	var epochs atomic.Int64
	p.lanes = sockets.NewLanes(sockets.LanesOptions{
		Store: p, Push: p.push, GetBlob: p.getBlob, Queue: p, QueueURL: "https://sqs.example/lanes.fifo", Now: w.now,
		NewEpoch: func() string { return fmt.Sprint("epoch", epochs.Add(1)) },
	})
	return p
}

// run gives the process some messages from the head of each room's queue, and returns how many of them it handled.
func (p *process) run(ctx context.Context, take map[port.Collection]int) (handled map[port.Collection]int, err error) {
	var batch events.SQSEvent
	p.joins, p.batch = map[port.Collection][]*joining{}, map[port.Collection][]string{}
	for _, group := range slices.Sorted(maps.Keys(take)) {
		for _, m := range p.rooms[group].queue[:take[group]] {
			p.batch[group] = append(p.batch[group], m.id)
			if m.Socket != nil && m.Socket.Kind == message.Join && !p.rooms[group].stored[m.id] {
				p.joins[group] = append(p.joins[group], &joining{Socket: *m.Socket})
			}
			text, err := message.Encode(p.pack(m.Message))
			if err != nil {
				return nil, err
			}
			batch.Records = append(batch.Records, events.SQSMessage{
				MessageId: m.id, Body: string(text), ReceiptHandle: "r",
			})
		}
	}
	response := p.lanes.Receive(ctx, batch)
	failed := map[port.Collection][]string{}
	for _, failure := range response.BatchItemFailures {
		group, _, _ := strings.Cut(failure.ItemIdentifier, " ")
		failed[port.Collection(group)] = append(failed[port.Collection(group)], failure.ItemIdentifier)
	}
	handled = maps.Clone(take)
	for group, names := range failed {
		handled[group] -= len(names)
		for i, name := range names {
			if name != p.rooms[group].queue[handled[group]+i].id {
				return nil, fmt.Errorf("%v failed, which is not the rest of the group", names)
			}
		}
	}
	return handled, p.broken()
}

func (p *process) broken() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fault
}

// pack puts every third message into a blob.
func (p *process) pack(m message.Message) message.Message {
	p.mu.Lock()
	defer p.mu.Unlock()
	if (len(m.Records)+len(m.Lane))%3 != 0 {
		return m
	}
	text, _ := message.Encode(m)
	key := port.Digest(string(text))
	p.blobs[key] = text
	return message.Message{Lane: m.Lane, Blob: key}
}

func (p *process) getBlob(_ context.Context, key string) ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if text, found := p.blobs[key]; found {
		return text, nil
	}
	return nil, errs.New(errs.NotFound, "no blob %s", key)
}

// Load implements sockets.LaneStore.
func (p *process) Load(_ context.Context, group port.Collection) (dynamo.LaneState, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls["Load"]++
	return p.rooms[group].lane, nil
}

// Subscriptions implements sockets.LaneStore.
func (p *process) Subscriptions(_ context.Context, group port.Collection) (dynamo.Subscriptions, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls["Subscriptions"]++
	r := p.rooms[group]
	return dynamo.Subscriptions{All: slices.Collect(maps.Values(r.subs)), Ahead: r.ahead}, nil
}

// Snapshot implements sockets.LaneStore.
func (p *process) Snapshot(_ context.Context, group port.Collection, item string, most int) ([]dynamo.Item, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls["Snapshot"]++
	if p.failing != nil {
		return nil, p.failing
	}
	items, versions := p.rooms[group].snapshot(item)
	size := 0
	for _, item := range items {
		if size += len(item.Value); size > most {
			return nil, errs.New(errs.TooLarge, "too much")
		}
	}
	for _, j := range p.joins[group] {
		if j.Item == item && (j.knows == nil || item == "" && !j.heard) {
			j.items, j.knows = slices.Clone(items), maps.Clone(versions)
			if item != "" {
				break // those of the group share it
			}
		}
	}
	return items, nil
}

// Save implements sockets.LaneStore.
func (p *process) Save(_ context.Context, group port.Collection, save dynamo.LaneSave) error {
	if before := p.beforeSave; before != nil {
		before(p.rooms[group])
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls["Save"]++
	r := p.rooms[group]
	switch was := &save.Was; {
	case p.failSave:
		return errs.New(errs.Unavailable, "no table")
	case was.Epoch != r.lane.Epoch, was.Revision != r.lane.Revision, was.Sequence != r.lane.Sequence:
		return errs.New(errs.Conflict, "moved on")
	case was.Sequence == save.Is.Sequence && was.Revision == save.Is.Revision:
		p.fault = errors.New("a save that changes neither sequence nor revision is no fence")
	case len(save.Joined)+len(save.Left) > dynamo.MaxLaneSteps:
		p.fault = errors.New("a save is larger than a transaction")
	}
	r.store(save)
	r.stored = map[string]bool{}
	for _, id := range p.batch[group] {
		r.stored[id] = true
	}
	if (r.lane.Subscriptions == 0) != (len(r.subs) == 0) {
		p.fault = fmt.Errorf("the state says %d subscriptions, and there are %d", r.lane.Subscriptions, len(r.subs))
	}
	if p.loseSave {
		return errs.New(errs.Timeout, "the run ended")
	}
	return nil
}

// push hands frames to connections.
func (p *process) push(_ context.Context, deliveries []sockets.Delivery) (gone []string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls["Push"]++
	for i, d := range deliveries {
		if i == p.failPush {
			return nil, errs.New(errs.Unavailable, "no connections")
		}
		p.times[d.Connection] = d.ConnectedAt
		if !p.open[d.Connection] {
			if len(d.Frames) > 0 {
				gone = append(gone, d.Connection)
			}
			continue
		}
		for _, text := range d.Frames {
			p.calls["frames"]++
			if p.unjudged {
				continue
			}
			if err := p.tell(d.Connection, text); err != nil && p.fault == nil {
				p.fault = fmt.Errorf("%s was told %.500s: %w", d.Connection, text, err)
			}
		}
	}
	return gone, nil
}

func (p *process) tell(connection string, text []byte) error {
	var f frame
	if err := json.Unmarshal(text, &f); err != nil {
		return err
	}
	if f.Event.Type == "error" {
		var refusal struct{ Code string }
		err := json.Unmarshal(f.Event.Data, &refusal)
		p.refused[connection] = refusal.Code
		return err
	}
	group := port.Group(f.Stream, f.Group)
	return p.rooms[group].of(connection).hear(p.rooms[group], &f, p.joins[group])
}

// ChangeMessageVisibilityBatch implements sockets.Postponer.
func (p *process) ChangeMessageVisibilityBatch(
	_ context.Context, in *sqs.ChangeMessageVisibilityBatchInput, _ ...func(*sqs.Options),
) (*sqs.ChangeMessageVisibilityBatchOutput, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, entry := range in.Entries {
		p.postponed = append(p.postponed, entry.VisibilityTimeout)
	}
	return &sqs.ChangeMessageVisibilityBatchOutput{}, nil
}
