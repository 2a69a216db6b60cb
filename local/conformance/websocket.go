package conformance

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// websocket checks what subscribers see: the rules that a third-party client depends on.
func (s *suite) websocket(t *testing.T) {
	areas := []area{
		{"a group's URL subscribes at once, to a sync and then every change", s.groupByURL},
		{"an item's URL subscribes to this item only", s.itemByURL},
		{"a join frame subscribes to a group", s.groupByFrame},
		{"a join frame subscribes to an item", s.itemByFrame},
		{"names in a URL are percent-decoded one by one", s.encodedNames},
		{"send reaches the group, or the item it names", s.events},
		{"one frame for a connection however many of its subscriptions match", s.oneFrame},
		{"ping is answered with pong", func(t *testing.T) {
			c := s.dial(t, "", "", "")
			for range 3 {
				if before := c.fence(t); len(before) > 0 {
					t.Errorf("a frame nobody asked for: %s", before[0].text)
				}
			}
		}},
		{"a bad frame is answered with an error and the socket stays", s.badFrames},
		{"unknown fields of a frame are ignored", s.unknownFields},
		{"a re-join syncs again and doubles nothing", s.rejoin},
		{"nothing comes after a leave", s.leave},
		{"a leave ends one subscription, not the others", s.leaveOne},
		{"each of a storm of writes comes once, with rising versions and timestamps", s.storm},
		{"a create after a delete has a higher version and timestamp", s.recreate},
		{"a sync's timestamp lies between the frames before and after it", s.syncTimes},
		{"a large sync comes in messages of at most 128 KB", s.largeSync},
		{"who joins while others write ends with what is stored", s.joinsWhileWriting},
		{"a state write is no frame", s.stateIsNoFrame},
	}
	if s.Local {
		areas = append(areas, []area{
			{"protocol pings are answered", s.protocolPing},
			{"a frame of 30 KB is taken", func(t *testing.T) {
				c := s.dial(t, "", "", "")
				c.send(t, `{"type":"ping","filler":"`+strings.Repeat("x", 30_000)+`"}`)
				if f := c.next(t); f.Type != "pong" {
					t.Errorf("got %s, want pong", f.text)
				}
			}},
			{"a frame over 32 KB closes the socket with 1009", s.largeFrame},
			{"a request that is no WebSocket is refused", func(t *testing.T) {
				for _, path := range []string{"/stream", "/stream/s/g", "/stream/s/g/i"} {
					a := s.get(t, path)
					if a.status < 400 || a.status > 499 {
						t.Errorf("GET %s: status %d, want a refusal", path, a.status)
					}
				}
			}},
		}...)
	}
	s.parallel(t, areas)
}

// put sets an item of the group "g" and returns the version.
func (s *suite) put(t *testing.T, stream, item, data string) int64 {
	t.Helper()
	return versionOf(s.must(t, "stream::set", putPayload(stream, item, data)))
}

func putPayload(stream, item, data string) string {
	return `{"stream_name":"` + stream + `","group_id":"g","item_id":"` + item + `","data":` + data + `}`
}

func (s *suite) drop(t *testing.T, stream, item string) {
	t.Helper()
	s.must(t, "stream::delete", `{"stream_name":"`+stream+`","group_id":"g","item_id":"`+item+`"}`)
}

// follows checks that the frame is of the item at the version.
func (f frame) follows(t *testing.T, item string, version int64) {
	t.Helper()
	if f.ID != item || f.Version != version {
		t.Errorf("the frame has id %q and version %d, want %q and %d", f.ID, f.Version, item, version)
	}
}

// life writes an item through its whole life and wants its frames on the socket.
func (s *suite) life(t *testing.T, c *socket, stream, item string) {
	t.Helper()
	created := s.put(t, stream, item, `{"n":1}`)
	c.want(t, stream, "create", `{"id":"`+item+`","n":1}`).follows(t, item, created)
	updated := s.put(t, stream, item, `{"n":2}`)
	c.want(t, stream, "update", `{"id":"`+item+`","n":2}`).follows(t, item, updated)
	again := versionOf(s.must(t, "stream::update", `{"stream_name":"`+stream+`","group_id":"g","item_id":"`+item+
		`","ops":[{"type":"increment","path":"n","by":5}]}`))
	c.want(t, stream, "update", `{"id":"`+item+`","n":7}`).follows(t, item, again)
	s.drop(t, stream, item)
	if f := c.want(t, stream, "delete", `{"id":"`+item+`","n":7}`); f.ID != item || f.Version <= again {
		t.Errorf("a delete of %q at version %d, want of %q above %d", f.ID, f.Version, item, again)
	}
}

func (s *suite) groupByURL(t *testing.T) {
	stream := unique("live")
	c := s.dial(t, stream, "g", "")
	c.want(t, stream, "sync", `[]`)
	s.life(t, c, stream, "i")
	s.put(t, stream, "a", `{}`)
	s.put(t, stream, "b", `{}`)
	s.dial(t, stream, "g", "").want(t, stream, "sync", `[{"id":"a"},{"id":"b"}]`)
}

func (s *suite) itemByURL(t *testing.T) {
	stream := unique("live")
	c := s.dial(t, stream, "g", "i")
	if f := c.want(t, stream, "sync", `null`); f.ID != "i" {
		t.Errorf("the sync has id %q, want i", f.ID)
	}
	s.put(t, stream, "other", `{}`)
	s.life(t, c, stream, "i")
	s.put(t, stream, "i", `{"n":3}`)
	if f := s.dial(t, stream, "g", "i").want(t, stream, "sync", `{"id":"i","n":3}`); f.ID != "i" {
		t.Errorf("the sync has id %q, want i", f.ID)
	}
}

func (s *suite) groupByFrame(t *testing.T) {
	stream := unique("live")
	c := s.dial(t, "", "", "")
	c.join(t, "s1", stream, "")
	c.want(t, stream, "sync", `[]`)
	s.life(t, c, stream, "i")
}

func (s *suite) itemByFrame(t *testing.T) {
	stream := unique("live")
	s.put(t, stream, "i", `{"n":0}`)
	c := s.dial(t, "", "", "")
	c.join(t, "s1", stream, "i")
	c.want(t, stream, "sync", `{"id":"i","n":0}`)
	s.put(t, stream, "other", `{}`)
	s.drop(t, stream, "i")
	c.want(t, stream, "delete", `{"id":"i","n":0}`)
	s.life(t, c, stream, "i")
}

func (s *suite) encodedNames(t *testing.T) {
	for _, odd := range []string{"/slash", " space", "%2F", "ü", "?q=1&r", "#", "..", "+"} {
		stream, group, item := unique("live")+odd, "g"+odd, "i"+odd
		payload := fmt.Sprintf(`{"stream_name":%s,"group_id":%s,"item_id":%s,"data":{}}`,
			encode(t, stream), encode(t, group), encode(t, item))
		s.must(t, "stream::set", payload)
		whole, one := s.dial(t, stream, group, "").next(t), s.dial(t, stream, group, item).next(t)
		for _, f := range []frame{whole, one} {
			if f.Stream != stream || f.Group != group {
				t.Errorf("a frame of %q/%q, want %q/%q", f.Stream, f.Group, stream, group)
			}
		}
		data := `{"id":` + encode(t, item) + `}`
		if err := match(whole.Event.Data, `[`+data+`]`); err != nil {
			t.Errorf("%q: the sync of the group: %v", odd, err)
		}
		if err := match(one.Event.Data, data); err != nil || one.ID != item {
			t.Errorf("%q: the sync of the item, id %q: %v", odd, one.ID, err)
		}
	}
}

func (s *suite) events(t *testing.T) {
	stream := unique("live")
	send := func(id, data string) {
		s.must(t, "stream::send", `{"stream_name":"`+stream+`","group_id":"g",`+id+`"type":"greeting","data":`+data+`}`)
	}
	group, one, other := s.dial(t, stream, "g", ""), s.dial(t, stream, "g", "i"), s.dial(t, stream, "g", "j")
	group.want(t, stream, "sync", `[]`)
	one.want(t, stream, "sync", `null`)
	other.want(t, stream, "sync", `null`)

	for _, data := range []string{`{"hello":"world"}`, `null`, `[1,"two"]`, `"text"`} {
		send("", data)
		group.want(t, stream, "event", `{"type":"greeting","data":`+data+`}`)
	}
	send(`"id":"i",`, `{"n":1}`)
	for {
		f := one.want(t, stream, "event", `{"type":"greeting","data":"<any>"}`)
		if match(f.Event.Event, `{"type":"greeting","data":{"n":1}}`) == nil {
			break
		}
	}
	s.put(t, stream, "j", `{}`)
	for f := other.next(t); f.Event.Type != "create"; f = other.next(t) {
		if match(f.Event.Event, `{"type":"greeting","data":{"n":1}}`) == nil {
			t.Error("an event for i reached a subscriber of j")
		}
	}
}

func (s *suite) oneFrame(t *testing.T) {
	stream := unique("live")
	c := s.dial(t, stream, "g", "")
	c.want(t, stream, "sync", `[]`)
	c.join(t, "item", stream, "i")
	c.want(t, stream, "sync", `null`)
	c.join(t, "group again", stream, "")
	c.want(t, stream, "sync", `[]`)
	for n := range 5 {
		version := s.put(t, stream, "i", fmt.Sprintf(`{"n":%d}`, n))
		event := "update"
		if n == 0 {
			event = "create"
		}
		c.want(t, stream, event, fmt.Sprintf(`{"id":"i","n":%d}`, n)).follows(t, "i", version)
	}
	s.drop(t, stream, "i")
	c.want(t, stream, "delete", `{"id":"i","n":4}`)
	s.put(t, stream, "j", `{}`)
	c.want(t, stream, "create", `{"id":"j"}`)
}

func (s *suite) badFrames(t *testing.T) {
	cases := []struct{ name, text string }{
		{"no JSON", `{"type":`},
		{"nothing", ``},
		{"an array", `["join"]`},
		{"a number", `5`},
		{"null", `null`},
		{"no type", `{"data":{}}`},
		{"an unknown type", `{"type":"subscribe"}`},
		{"a type that is no string", `{"type":5}`},
		{"a join without data", `{"type":"join"}`},
		{"a join without a stream", `{"type":"join","data":{"subscriptionId":"s","groupId":"g"}}`},
		{"a join without a group", `{"type":"join","data":{"subscriptionId":"s","streamName":"n"}}`},
		{"a join with a number for a stream", `{"type":"join","data":{"subscriptionId":"s","streamName":1,"groupId":"g"}}`},
		{"something after the frame", `{"type":"ping"}{"type":"ping"}`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			stream := unique("live")
			sock := s.dial(t, stream, "g", "")
			sock.want(t, stream, "sync", `[]`)
			sock.send(t, c.text)
			sock.wantError(t)
			if before := sock.fence(t); len(before) > 0 {
				t.Errorf("a frame nobody asked for: %s", before[0].text)
			}
			s.put(t, stream, "i", `{}`)
			sock.want(t, stream, "create", `{"id":"i"}`)
		})
	}
}

func (s *suite) unknownFields(t *testing.T) {
	stream := unique("live")
	c := s.dial(t, "", "", "")
	c.send(t, `{"type":"ping","data":{"colour":"red"},"more":1}`)
	if f := c.next(t); f.Type != "pong" {
		t.Fatalf("got %s, want pong", f.text)
	}
	c.send(t, `{"type":"join","colour":"red","data":{"subscriptionId":"s","streamName":"`+stream+
		`","groupId":"g","colour":"red"}}`)
	c.want(t, stream, "sync", `[]`)
}

func (s *suite) rejoin(t *testing.T) {
	stream := unique("live")
	s.put(t, stream, "i", `{"n":0}`)
	c := s.dial(t, "", "", "")
	for range 3 {
		c.join(t, "s1", stream, "")
		c.want(t, stream, "sync", `[{"id":"i","n":0}]`)
	}
	s.put(t, stream, "i", `{"n":1}`)
	c.want(t, stream, "update", `{"id":"i","n":1}`)
	c.join(t, "s1", stream, "")
	c.want(t, stream, "sync", `[{"id":"i","n":1}]`)
	s.put(t, stream, "i", `{"n":2}`)
	c.want(t, stream, "update", `{"id":"i","n":2}`)
	s.put(t, stream, "i", `{"n":3}`)
	c.want(t, stream, "update", `{"id":"i","n":3}`)
}

func (s *suite) leave(t *testing.T) {
	stream := unique("live")
	watcher := s.dial(t, stream, "g", "")
	watcher.want(t, stream, "sync", `[]`)
	c := s.dial(t, "", "", "")
	for _, item := range []string{"", "i"} {
		c.join(t, "s1", stream, item)
		c.next(t)
		c.leave(t, "s1", stream, item)
		s.wantQuiet(t, c, watcher, stream)
	}
	c.leave(t, "s1", stream, "")
	c.leave(t, "never joined", unique("live"), "")
	for _, f := range c.fence(t) {
		if f.Event.Type != "error" { // whether a leave of nothing is a fault is left open; that the socket stays is not
			t.Errorf("a frame nobody asked for: %s", f.text)
		}
	}
}

// wantQuiet wants writes that the watcher sees to stop reaching the socket, and to stay away from it.
func (s *suite) wantQuiet(t *testing.T, c, watcher *socket, stream string) {
	t.Helper()
	quiet := 0
	eventually(t, "no frame after a leave", func() error {
		version := s.put(t, stream, "i", `{}`)
		for watcher.next(t).Version != version {
		}
		if quiet++; len(c.fence(t)) > 0 {
			quiet = 0
		}
		if quiet < 3 {
			return fmt.Errorf("%d writes brought no frame", quiet)
		}
		return nil
	})
}

func (s *suite) leaveOne(t *testing.T) {
	stream := unique("live")
	c := s.dial(t, "", "", "")
	c.join(t, "group", stream, "")
	c.want(t, stream, "sync", `[]`)
	c.join(t, "item", stream, "i")
	c.want(t, stream, "sync", `null`)
	c.leave(t, "item", stream, "i")
	c.fence(t)
	s.life(t, c, stream, "i")
	c.join(t, "item", stream, "i")
	c.want(t, stream, "sync", `null`)
	c.leave(t, "group", stream, "")
	watcher := s.dial(t, stream, "g", "")
	watcher.want(t, stream, "sync", `[]`)
	eventually(t, "no frame of the group after its leave", func() error {
		version := s.put(t, stream, "other", `{}`)
		for watcher.next(t).Version != version {
		}
		if before := c.fence(t); len(before) > 0 {
			return fmt.Errorf("got %s", before[0].text)
		}
		return nil
	})
	s.life(t, c, stream, "i")
}

func (s *suite) storm(t *testing.T) {
	const items, writes = 3, 60
	stream := unique("live")
	c := s.dial(t, stream, "g", "")
	c.want(t, stream, "sync", `[]`)
	versions := make([]int64, writes)
	atOnce(t, writes, func(i int) error {
		result, err := s.try(t.Context(), "stream::set",
			putPayload(stream, fmt.Sprint("i", i%items), fmt.Sprintf(`{"n":%d}`, i)))
		versions[i] = versionOf(result)
		return err
	})
	var seen []int64
	last := map[string]frame{}
	for range writes {
		f := c.next(t)
		before, known := last[f.ID]
		if known && (f.Version <= before.Version || f.Timestamp <= before.Timestamp) {
			t.Errorf("%s follows %s", f.text, before.text)
		}
		if known != (f.Event.Type == "update") {
			t.Errorf("after %q comes %s", before.text, f.text)
		}
		last[f.ID], seen = f, append(seen, f.Version)
	}
	slices.Sort(versions)
	slices.Sort(seen)
	if !slices.Equal(seen, versions) {
		t.Errorf("the frames have the versions %v, the writes %v", seen, versions)
	}
	for id, f := range last {
		s.invoke(t, "stream::get", `{"stream_name":"`+stream+`","group_id":"g","item_id":"`+id+`"}`).
			wantJSON(t, 200, string(f.Event.Data))
	}
}

func (s *suite) recreate(t *testing.T) {
	stream := unique("live")
	c := s.dial(t, stream, "g", "")
	before := c.want(t, stream, "sync", `[]`)
	for range 4 {
		s.put(t, stream, "i", `{}`)
		s.drop(t, stream, "i")
		for _, event := range []string{"create", "delete"} {
			f := c.want(t, stream, event, `{"id":"i"}`)
			if f.Version <= before.Version || f.Timestamp <= before.Timestamp {
				t.Errorf("%s follows %s", f.text, before.text)
			}
			before = f
		}
	}
}

func (s *suite) syncTimes(t *testing.T) {
	stream := unique("live")
	s.put(t, stream, "i", `{"n":0}`)
	c := s.dial(t, "", "", "")
	c.join(t, "s1", stream, "")
	last := c.want(t, stream, "sync", `"<any>"`)
	for n := range 5 {
		s.put(t, stream, "i", fmt.Sprintf(`{"n":%d}`, n))
		live := c.want(t, stream, "update", `"<any>"`)
		if live.Timestamp <= last.Timestamp {
			t.Errorf("a live frame at %f after a sync at %f", live.Timestamp, last.Timestamp)
		}
		c.join(t, "s1", stream, "")
		last = c.want(t, stream, "sync", `"<any>"`)
		if last.Timestamp < live.Timestamp {
			t.Errorf("a sync at %f after a live frame at %f", last.Timestamp, live.Timestamp)
		}
	}
}

func (s *suite) largeSync(t *testing.T) {
	cases := []struct {
		name        string
		items, size int
	}{
		{"of many small items", 300, 1_000},
		{"of a few large items", 5, 90_000},
		{"of small items of characters that escape", 40, 6_000},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			stream := unique("live")
			filler := strings.Repeat("x", c.size)
			if strings.Contains(c.name, "escape") {
				filler = strings.Repeat(`\u0001`, c.size/6) + strings.Repeat(`<`, c.size/6)
			}
			atOnce(t, c.items, func(i int) error {
				_, err := s.try(t.Context(), "stream::set",
					putPayload(stream, fmt.Sprintf("i%03d", i), `{"filler":"`+filler+`"}`))
				return err
			})
			sock := s.dial(t, stream, "g", "")
			s.put(t, stream, "live", `{}`) // may be in the sync, or come live, after all of it
			s.wantWholeSync(t, sock, c.items)
		})
	}
}

// wantWholeSync wants the sync and its create frames to bring each of the items once, before the item "live".
func (s *suite) wantWholeSync(t *testing.T, sock *socket, items int) {
	t.Helper()
	first := sock.next(t)
	var synced []struct{ ID string }
	if first.Event.Type != "sync" {
		t.Fatalf("the first frame is %s", clip(string(first.text)))
	}
	decode(t, first.Event.Data, &synced)
	seen := map[string]int{}
	for _, one := range synced {
		seen[one.ID]++
	}
	for len(seen) <= items {
		f := sock.next(t)
		var one struct{ ID string }
		decode(t, f.Event.Data, &one)
		if f.Event.Type != "create" || one.ID == "live" && len(seen) < items {
			t.Fatalf("after %d of %d items comes %s", len(seen), items, clip(string(f.text)))
		}
		seen[one.ID]++
	}
	for _, f := range sock.fence(t) {
		t.Errorf("after everything comes %s", clip(string(f.text)))
	}
	for id, n := range seen {
		if n != 1 {
			t.Errorf("%s came %d times", id, n)
		}
	}
}

func (s *suite) joinsWhileWriting(t *testing.T) {
	const writers, rounds, readers = 4, 40, 8
	stream := unique("live")
	final := make([]string, readers)
	atOnce(t, writers+readers, func(i int) (err error) {
		if i < writers {
			return s.writeAtRandom(t.Context(), stream, i, rounds)
		}
		final[i-writers], err = s.reconstruct(t.Context(), stream, i, writers)
		return err
	})
	stored := string(s.must(t, "stream::list", `{"stream_name":"`+stream+`","group_id":"g"}`))
	for i, got := range final {
		if err := match([]byte(got), stored); err != nil {
			t.Errorf("reader %d ends with %s, stored is %s: %v", i, clip(got), clip(stored), err)
		}
	}
}

// writeAtRandom sets and deletes items, and says at last that it is done by an item of its own.
func (s *suite) writeAtRandom(ctx context.Context, stream string, writer, rounds int) error {
	for round := range rounds {
		item := fmt.Sprint("i", rand.IntN(4))
		call, payload := "stream::set", putPayload(stream, item, fmt.Sprintf(`{"n":%d}`, writer*rounds+round))
		if rand.IntN(3) == 0 {
			call, payload = "stream::delete", `{"stream_name":"`+stream+`","group_id":"g","item_id":"`+item+`"}`
		}
		if _, err := s.try(ctx, call, payload); err != nil {
			return err
		}
	}
	_, err := s.try(ctx, "stream::set", putPayload(stream, fmt.Sprint("z-done-", writer), `{}`))
	return err
}

// reconstruct joins in the midst of the writes and applies frames until it has seen every writer done. It returns the
// items it then has, as stream::list would.
func (s *suite) reconstruct(ctx context.Context, stream string, delay, writers int) (string, error) {
	select {
	case <-time.After(time.Duration(delay) * 5 * time.Millisecond): // so that the joins spread over the writes
	case <-ctx.Done():
		return "", ctx.Err()
	}
	c, err := s.open(ctx, stream, "g", "")
	if err != nil {
		return "", err
	}
	defer c.end()
	items, done := map[string]json.RawMessage{}, 0
	for first := true; done < writers; first = false {
		f, err := c.read(ctx)
		if err != nil {
			return "", err
		}
		if first != (f.Event.Type == "sync") {
			return "", fmt.Errorf("first: %t, and the frame is %s", first, clip(string(f.text)))
		}
		if err := follow(items, f); err != nil {
			return "", err
		}
		done = 0
		for id := range items {
			if strings.HasPrefix(id, "z-done-") {
				done++
			}
		}
	}
	return list(items), nil
}

// follow applies a frame to what a client knows of a group.
func follow(items map[string]json.RawMessage, f frame) error {
	switch f.Event.Type {
	case "sync":
		var all []json.RawMessage
		if err := json.Unmarshal(f.Event.Data, &all); err != nil {
			return err
		}
		for _, data := range all {
			var one struct{ ID string }
			if err := json.Unmarshal(data, &one); err != nil {
				return err
			}
			items[one.ID] = data
		}
	case "create", "update":
		if _, known := items[f.ID]; known != (f.Event.Type == "update") {
			return fmt.Errorf("the item is known: %t, and the frame is %s", known, f.text)
		}
		items[f.ID] = f.Event.Data
	case "delete":
		if _, known := items[f.ID]; !known {
			return fmt.Errorf("a delete of what was not there: %s", f.text)
		}
		delete(items, f.ID)
	}
	return nil
}

func list(items map[string]json.RawMessage) string {
	var ids []string
	for id := range items {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	values := make([]string, len(ids))
	for i, id := range ids {
		values[i] = string(items[id])
	}
	return "[" + strings.Join(values, ",") + "]"
}

func (s *suite) stateIsNoFrame(t *testing.T) {
	name := unique("live")
	c := s.dial(t, name, "g", "")
	c.want(t, name, "sync", `[]`)
	s.must(t, "state::set", `{"scope":"`+name+`","key":"g","value":{}}`)
	s.must(t, "state::set", `{"scope":"`+name+`/g","key":"i","value":{}}`)
	s.put(t, name, "i", `{}`)
	c.want(t, name, "create", `{"id":"i"}`)
}

func (s *suite) protocolPing(t *testing.T) {
	stream := unique("live")
	c := s.dial(t, stream, "g", "")
	c.want(t, stream, "sync", `[]`)
	reading := c.conn.CloseRead(t.Context()) // a pong is seen only while somebody reads
	ctx, cancel := context.WithTimeout(reading, patience)
	defer cancel()
	if err := c.conn.Ping(ctx); err != nil {
		t.Errorf("ping: %v", err)
	}
}

func (s *suite) largeFrame(t *testing.T) {
	c := s.dial(t, "", "", "")
	c.send(t, `{"type":"ping","filler":"`+strings.Repeat("x", 33<<10)+`"}`)
	f, err := c.read(t.Context())
	if code := websocket.CloseStatus(err); code != websocket.StatusMessageTooBig {
		t.Errorf("got %q and %v, want the close code 1009", f.text, err)
	}
}
