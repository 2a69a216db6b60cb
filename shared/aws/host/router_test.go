package host

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-lambda-go/events"

	"github.com/eddyhq/eddy/shared/deployed"
)

// rewritten is what the stream tells of two papers: one that had expired was written, which is two changes, and one began.
func rewritten() []streamRecord {
	row := func(version, n string, more object) object {
		row := object{"version": object{"N": version}, "value": object{"M": object{"n": object{"N": n}}}}
		for name, value := range more {
			row[name] = value
		}
		return row
	}
	tell := func(number, name, key string, before, after object) streamRecord {
		keys := object{"pk": object{"S": "state/papers"}, "sk": object{"S": key}}
		return streamRecord{EventName: name, EventSource: "aws:dynamodb", Change: streamImage{
			Keys: keys, OldImage: before, NewImage: after, SequenceNumber: number,
		}}
	}
	return []streamRecord{
		tell("101", "MODIFY", "a", row("41", "1", object{"expires": object{"N": "1"}}), row("43", "2", object{"lapsed": object{"N": "42"}})),
		tell("102", "INSERT", "b", nil, row("51", "3", nil)),
	}
}

func TestTheRouterNamesTheFirstRecordThatFailed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var refused []string // groups of messages
		w := newWorld(t, chain(0), &faults{}, newDynamoDB(), time.Now, time.Sleep)
		w.aws.queues.refuse = func(_, group string) bool { return slices.Contains(refused, group) }
		route := func() (failed []string) {
			var answer events.DynamoDBEventResponse
			w.invoke(deployed.RoleRouter, object{"Records": rewritten()}, &answer)
			for _, f := range answer.BatchItemFailures {
				failed = append(failed, f.ItemIdentifier)
			}
			return failed
		}
		if failed := route(); len(failed) > 0 {
			t.Fatalf("%v failed", failed)
		}
		sent := w.aws.queues.receive(deployed.QueueName("eddy-test", "c::react"))
		if len(sent) != 2 {
			t.Fatalf("%d messages were sent, not one of each paper", len(sent))
		}
		for i, want := range []string{"101", "102"} {
			refused = []string{sent[i].group}
			if failed := route(); !slices.Equal(failed, []string{want}) {
				t.Errorf("%v failed, want %s", failed, want)
			}
		}
	})
}
