package stream_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/eddyhq/eddy/shared/errs"
	"github.com/eddyhq/eddy/shared/stream"
)

func TestFramesReadAsTheProtocolShowsThem(t *testing.T) {
	t.Parallel()
	at := time.UnixMicro(1732345678901234)
	join := stream.Join{Stream: "todos-live", Group: "all", Item: "todo-1"}
	for name, c := range map[string]struct {
		frame *stream.Frame
		want  string
	}{
		"an update": {
			&stream.Frame{
				Time: 1732345678901234, Stream: "todos-live", Group: "all", Item: "todo-1", Kind: stream.KindUpdate,
				Data: []byte(`{"id":"todo-1"}`), Version: 17, Position: stream.Position{Epoch: "e", Sequence: 36},
			},
			`{"type":"stream","timestamp":1732345678901.234,"streamName":"todos-live","groupId":"all","id":"todo-1",` +
				`"event":{"type":"update","data":{"id":"todo-1"}},"version":17,"position":"e.10"}`,
		},
		"an event": {
			&stream.Frame{Time: 1_000_100, Stream: "s", Group: "g", Kind: stream.KindEvent, Type: "todo_changed", Data: []byte(`[1]`)},
			`{"type":"stream","timestamp":1000.1,"streamName":"s","groupId":"g",` +
				`"event":{"type":"event","event":{"type":"todo_changed","data":[1]}}}`,
		},
		"the sync of an item that does not exist": {
			&stream.Frame{Time: 5_000, Stream: "s", Group: "g", Item: "i", Kind: stream.KindSync},
			`{"type":"stream","timestamp":5,"streamName":"s","groupId":"g","id":"i","event":{"type":"sync","data":null}}`,
		},
		"names that need quoting": {
			&stream.Frame{Time: 5_010, Stream: "\"\\\n", Group: "<ü>", Item: "\x00", Kind: stream.KindEvent, Type: "\t", Data: []byte(`1`)},
			`{"type":"stream","timestamp":5.01,"streamName":"\"\\\n","groupId":"<ü>","id":"\u0000",` +
				`"event":{"type":"event","event":{"type":"\t","data":1}}}`,
		},
		"an error": {
			stream.ErrorFrame(at, stream.Join{}, errs.New(errs.InvalidArgument, `not "so"`)),
			`{"type":"stream","timestamp":1732345678901.234,"streamName":"","groupId":"",` +
				`"event":{"type":"error","data":{"code":"invalid_argument","message":"not \"so\""}}}`,
		},
		"a refused join": {
			stream.UnauthorizedFrame(at, join, errs.New(errs.PermissionDenied, "no")),
			`{"type":"stream","timestamp":1732345678901.234,"streamName":"todos-live","groupId":"all","id":"todo-1",` +
				`"event":{"type":"unauthorized","data":{"code":"permission_denied","message":"no"}}}`,
		},
		"closing": {
			stream.ClosingFrame(at, 1001, "going away", 1500*time.Millisecond),
			`{"type":"stream","timestamp":1732345678901.234,"streamName":"","groupId":"",` +
				`"event":{"type":"closing","data":{"code":1001,"reason":"going away","reconnect_after_ms":1500}}}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := string(c.frame.AppendTo(nil))
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if !json.Valid([]byte(got)) {
				t.Error("the frame is not JSON")
			}
		})
	}
}

func TestClientFrames(t *testing.T) {
	t.Parallel()
	join := stream.Join{SubscriptionID: "s1", Stream: "todos-live", Group: "all"}
	item := join
	item.Item = "i"
	for name, c := range map[string]struct {
		text string
		want stream.ClientFrame
		err  string
	}{
		"a join of a group": {
			`{"type":"join","data":{"subscriptionId":"s1","streamName":"todos-live","groupId":"all"}}`,
			stream.ClientFrame{Kind: stream.ClientJoin, Join: join}, "",
		},
		"a join of an item, with fields nobody knows": {
			` {"new":[1],"data":{"id":"i","subscriptionId":"s1","x":{},"since":"p","streamName":"todos-live","groupId":"all"},"type":"join"}`,
			stream.ClientFrame{Kind: stream.ClientJoin, Join: item}, "",
		},
		"an id that is null is none": {
			`{"type":"join","data":{"subscriptionId":"s1","streamName":"todos-live","groupId":"all","id":null}}`,
			stream.ClientFrame{Kind: stream.ClientJoin, Join: join}, "",
		},
		"a leave": {
			`{"type":"leave","data":{"subscriptionId":"s1","streamName":"todos-live","groupId":"all"}}`,
			stream.ClientFrame{Kind: stream.ClientLeave, Join: join}, "",
		},
		"a ping":              {`{"type":"ping"}`, stream.ClientFrame{Kind: stream.ClientPing}, ""},
		"an auth":             {`{"type":"auth","data":{"token":"t"}}`, stream.ClientFrame{Kind: stream.ClientAuth, Token: "t"}, ""},
		"nothing":             {``, stream.ClientFrame{}, "a frame must be valid JSON: unexpected EOF"},
		"two values":          {`{"type":"ping"} {}`, stream.ClientFrame{}, "a frame must be valid JSON: invalid character '{' after top-level value after offset 16"},
		"a repeated field":    {`{"type":"ping","type":"ping"}`, stream.ClientFrame{}, `a frame must be valid JSON: duplicate object member name "type"`},
		"invalid UTF-8":       {"{\"type\":\"\xff\"}", stream.ClientFrame{}, "a frame must be valid JSON: invalid UTF-8 within \"/type\" after offset 9"},
		"no object":           {`[]`, stream.ClientFrame{}, "a frame must be a JSON object"},
		"no type":             {`{"Type":"ping"}`, stream.ClientFrame{}, "type: must be join, leave, ping or auth"},
		"a type of no string": {`{"type":7}`, stream.ClientFrame{}, "type: must be a string"},
		"an unknown type":     {`{"type":"dance"}`, stream.ClientFrame{}, "type: must be join, leave, ping or auth"},
		"a join without data": {`{"type":"join"}`, stream.ClientFrame{}, "data: must be an object"},
		"data of no object":   {`{"type":"leave","data":"x"}`, stream.ClientFrame{}, "data: must be an object"},
		"a join of nothing": {
			`{"type":"join","data":{"subscriptionId":"s1"}}`, stream.ClientFrame{},
			"streamName: must not be empty; groupId: must not be empty",
		},
		"a join without a subscription's id": {
			`{"type":"join","data":{"streamName":"s","groupId":"g"}}`, stream.ClientFrame{}, "subscriptionId: must not be empty",
		},
		"a name of no string": {
			`{"type":"join","data":{"subscriptionId":"s1","streamName":7,"groupId":"g"}}`, stream.ClientFrame{},
			"streamName: must be a string",
		},
		"an auth without a token": {`{"type":"auth","data":{}}`, stream.ClientFrame{}, "token: must not be empty"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := stream.ParseClientFrame([]byte(c.text))
			message := ""
			if err != nil {
				message = errs.From(err).Message
			}
			if diff := cmp.Diff(c.err, message); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("frame (-want +got):\n%s", diff)
			}
		})
	}
}

func FuzzClientFrame(f *testing.F) {
	for _, seed := range []string{
		`{"type":"join","data":{"subscriptionId":"s1","streamName":"todos-live","groupId":"all","id":"x"}}`,
		`{"type":"leave","data":{"subscriptionId":"","streamName":"/%","groupId":"\u0000"}}`,
		`{"type":"auth","data":{"token":"t"}}`, `{"type":"ping"}`, `[`, `{"data":{}}`, "\xff",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		frame, err := stream.ParseClientFrame(text)
		if err != nil {
			if errs.CodeOf(err) != errs.InvalidArgument {
				t.Fatalf("got %v", err)
			}
			if answer := stream.ErrorFrame(time.Now(), stream.Join{}, err).AppendTo(nil); !json.Valid(answer) {
				t.Fatalf("the answer is not JSON: %s", answer)
			}
			return
		}
		switch frame.Kind {
		case stream.ClientJoin, stream.ClientLeave:
			if _, err := frame.Join.Collection(); err != nil {
				t.Fatalf("%+v was let through: %v", frame, err)
			}
		case stream.ClientPing, stream.ClientAuth:
		default:
			t.Fatalf("got %+v", frame)
		}
	})
}
