package host

import (
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"path"
	"slices"
	"strconv"
	"sync"
	"time"
)

// fifoQueues is an SQS in memory with nothing but FIFO queues that drop repetitions within a group.
type fifoQueues struct {
	now    func() time.Time
	refuse func(queue, group string) bool // an entry of a batch

	mu     sync.Mutex
	queues map[string][]*queued // by name
	seen   map[string]time.Time // by queue, group and deduplication id
	ids    int
}

// queued is a message in a queue. It is out, or hidden, until a time.
type queued struct {
	id, group, body string
	receives        int
	hidden          time.Time
}

const (
	remembered = 5 * time.Minute // by SQS: deduplication ids
	visibility = 3 * time.Minute // of what was handed out and of which nobody said more
	mostAtOnce = 10
)

func newFIFOQueues(now func() time.Time, refuse func(queue, group string) bool) *fifoQueues {
	return &fifoQueues{now: now, refuse: refuse, queues: map[string][]*queued{}, seen: map[string]time.Time{}}
}

func (q *fifoQueues) answer(operation string, body []byte) (status int, answer any) {
	var in struct {
		QueueURL string `json:"QueueUrl"`
		Entries  []struct {
			ID                string `json:"Id"`
			MessageBody       string
			MessageGroupID    string `json:"MessageGroupId"`
			DeduplicationID   string `json:"MessageDeduplicationId"`
			ReceiptHandle     string
			VisibilityTimeout int
		}
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return http.StatusBadRequest, object{"__type": "InvalidMessageContents", "message": err.Error()}
	}
	name := path.Base(in.QueueURL)
	var done, failed []object
	for _, e := range in.Entries {
		switch {
		case operation == "ChangeMessageVisibilityBatch":
			q.hide(name, e.ReceiptHandle, time.Duration(e.VisibilityTimeout)*time.Second)
			done = append(done, object{"Id": e.ID})
		case q.refuse(name, e.MessageGroupID):
			failed = append(failed, object{"Id": e.ID, "Code": "InternalError", "SenderFault": false})
		default:
			sum := md5.Sum([]byte(e.MessageBody))
			q.send(name, e.MessageGroupID, e.DeduplicationID, e.MessageBody)
			done = append(done, object{"Id": e.ID, "MessageId": e.ID, "MD5OfMessageBody": hex.EncodeToString(sum[:])})
		}
	}
	return http.StatusOK, object{"Successful": done, "Failed": failed}
}

func (q *fifoQueues) send(name, group, duplicate, body string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	key := name + "\x00" + group + "\x00" + duplicate
	if at, known := q.seen[key]; known && q.now().Sub(at) < remembered {
		return
	}
	q.seen[key] = q.now()
	q.ids++
	q.queues[name] = append(q.queues[name], &queued{id: strconv.Itoa(q.ids), group: group, body: body})
}

// receive hands out up to ten messages, of each group the first ones, unless one of it is out.
func (q *fifoQueues) receive(name string) (batch []queued) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := q.now()
	blocked := map[string]bool{}
	for _, m := range q.queues[name] {
		if m.hidden.After(now) || blocked[m.group] {
			blocked[m.group] = true
			continue
		}
		if len(batch) < mostAtOnce {
			m.receives++
			m.hidden = now.Add(visibility)
			batch = append(batch, *m)
		}
	}
	return batch
}

// hide has a message come back after a wait.
func (q *fifoQueues) hide(name, id string, wait time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, m := range q.queues[name] {
		if m.id == id {
			m.hidden = q.now().Add(wait)
		}
	}
}

// remove takes messages out of a queue.
func (q *fifoQueues) remove(name string, ids []string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.queues[name] = slices.DeleteFunc(q.queues[name], func(m *queued) bool { return slices.Contains(ids, m.id) })
}

// waiting returns how many messages there are, and when the next one can be received.
func (q *fifoQueues) waiting() (messages int, next time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, queue := range q.queues {
		blocked := map[string]bool{}
		for _, m := range queue {
			if !blocked[m.group] && (messages == 0 || m.hidden.Before(next)) {
				next = m.hidden
			}
			blocked[m.group] = true
			messages++
		}
	}
	return messages, next
}

// names are those of the queues that hold something, sorted.
func (q *fifoQueues) names() (names []string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for name, queue := range q.queues {
		if len(queue) > 0 {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// forget has SQS forget which messages it was given.
func (q *fifoQueues) forget() {
	q.mu.Lock()
	defer q.mu.Unlock()
	clear(q.seen)
}
