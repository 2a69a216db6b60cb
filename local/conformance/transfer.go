package conformance

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// moves checks data::export and data::import: what is taken out and put in again is what it was, and is told to nobody.
func (s *suite) moves(t *testing.T) {
	s.parallel(t, []area{
		{"what is exported and imported again is what it was", s.roundTripData},
		{"an import is told to nobody", s.silentImport},
		{"what has expired is not imported", s.expiredImport},
		{"payloads", s.transferPayloads},
	})
}

// export returns the exported documents whose text holds the name, in their order.
func (s *suite) export(t *testing.T, name string, limit int) (found []string) {
	t.Helper()
	for cursor := ""; ; {
		var page struct {
			Documents []json.RawMessage
			Cursor    string
		}
		decode(t, s.must(t, "data::export", fmt.Sprintf(`{"limit":%d,"cursor":%q}`, limit, cursor)), &page)
		if len(page.Documents) > limit {
			t.Fatalf("a page has %d documents, more than %d", len(page.Documents), limit)
		}
		for _, text := range page.Documents {
			if strings.Contains(string(text), name) {
				found = append(found, string(text))
			}
		}
		if cursor = page.Cursor; cursor == "" {
			return found
		}
	}
}

func (s *suite) roundTripData(t *testing.T) {
	name := unique("moved")
	const documents = 30
	for i := range documents {
		s.must(t, "state::set", fmt.Sprintf(`{"scope":%q,"key":"k%02d","value":{"n":%d.5,"text":"ü/\"\\"}}`, name, i, i))
	}
	s.must(t, "state::set", `{"scope":"`+name+`","key":"null","value":null}`)
	s.must(t, "state::set", `{"scope":"`+name+`","key":"timed","value":1,"ttl_seconds":3600}`)
	s.put(t, name, "i", `{"n":1}`)
	exported := s.export(t, name, 500)
	if len(exported) != documents+3 {
		t.Fatalf("%d documents are exported, want %d", len(exported), documents+3)
	}
	for at, want := range map[int]string{
		0:             `{"scope":"` + name + `","key":"k00","value":{"n":0.5,"text":"ü/\"\\"},"version":"<version>"}`,
		documents:     `{"scope":"` + name + `","key":"null","value":null,"version":"<version>"}`,
		documents + 1: `{"scope":"` + name + `","key":"timed","value":1,"version":"<version>","expires_at":"<time>"}`,
		documents + 2: `{"stream_name":"` + name + `","group_id":"g","item_id":"i","value":{"id":"i","n":1},"version":"<version>"}`,
	} {
		if err := match([]byte(exported[at]), want); err != nil {
			t.Errorf("%v\n got: %s\nwant: %s", err, exported[at], want)
		}
	}
	s.must(t, "stream::delete", `{"stream_name":"`+name+`","group_id":"g","item_id":"i"}`)
	for i := range documents {
		s.must(t, "state::delete", fmt.Sprintf(`{"scope":%q,"key":"k%02d"}`, name, i))
	}
	s.must(t, "state::set", `{"scope":"`+name+`","key":"null","value":"changed"}`)
	s.must(t, "state::set", `{"scope":"`+name+`","key":"timed","value":"changed"}`)
	const atOnce = 25
	for first := 0; first < len(exported); first += atOnce {
		part := exported[first:min(first+atOnce, len(exported))]
		s.invoke(t, "data::import", `{"documents":[`+strings.Join(part, ",")+`]}`).
			wantJSON(t, 200, fmt.Sprintf(`{"imported":%d,"expired":0}`, len(part)))
	}
	again := s.export(t, name, 1000)
	if len(again) != len(exported) {
		t.Fatalf("%d documents are there again, want %d", len(again), len(exported))
	}
	for i := range again {
		if was, is := withoutVersion(t, exported[i]), withoutVersion(t, again[i]); was != is || versionOf([]byte(again[i])) <= versionOf([]byte(exported[i])) {
			t.Errorf("a document is %s, and was %s, want the same with a higher version", again[i], exported[i])
		}
	}
}

// withoutVersion returns an exported document without its version.
func withoutVersion(t *testing.T, text string) string {
	t.Helper()
	var members map[string]json.RawMessage
	decode(t, []byte(text), &members)
	delete(members, "version")
	return encode(t, members)
}

func (s *suite) silentImport(t *testing.T) {
	s.needs(t, "proof::watch")
	key := unique("moved")
	at := `"scope":"proof-watched","key":"` + key + `"`
	s.invoke(t, "data::import", `{"documents":[{`+at+`,"value":{"text":"imported"},"version":5}]}`).
		wantJSON(t, 200, `{"imported":1,"expired":0}`)
	s.invoke(t, "state::get", `{`+at+`}`).wantJSON(t, 200, `{"text":"imported"}`)
	s.must(t, "state::set", `{`+at+`,"value":{"text":"changed"}}`)
	s.wantSeen(t, key, seenChange("updated", false, "imported", "changed"))
}

func (s *suite) expiredImport(t *testing.T) {
	scope := unique("moved")
	s.invoke(t, "data::import", `{"documents":[
		{"scope":"`+scope+`","key":"past","value":1,"expires_at":"2020-01-02T03:04:05Z"},
		{"scope":"`+scope+`","key":"future","value":2,"expires_at":"2100-01-02T03:04:05Z"}]}`).
		wantJSON(t, 200, `{"imported":1,"expired":1}`)
	s.invoke(t, "state::list", `{"scope":"`+scope+`"}`).wantJSON(t, 200, `[2]`)
}

func (s *suite) transferPayloads(t *testing.T) {
	many := strings.TrimSuffix(strings.Repeat(`{"scope":"s","key":"k","value":1},`, 26), ",")
	for _, c := range []struct {
		name, call, payload string
		field               string
	}{
		{"a limit of 0", "data::export", `{"limit":0}`, "limit"},
		{"a limit of 1001", "data::export", `{"limit":1001}`, "limit"},
		{"a cursor that is not one of ours", "data::export", `{"cursor":"garbage"}`, "cursor"},
		{"an unknown field", "data::export", `{"scope":"s"}`, "scope"},
		{"no documents", "data::import", `{}`, "documents"},
		{"26 documents", "data::import", `{"documents":[` + many + `]}`, "documents"},
		{"a document without a value", "data::import", `{"documents":[{"scope":"s","key":"k"}]}`, "documents[0].value"},
		{"a time that is none", "data::import", `{"documents":[{"scope":"s","key":"k","value":1,"expires_at":"soon"}]}`,
			"documents[0].expires_at"},
		{"an item that is no object", "data::import",
			`{"documents":[{"stream_name":"s","group_id":"g","item_id":"i","value":1}]}`, "documents[0].value"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s.invoke(t, c.call, c.payload).wantError(t, "invalid_argument", c.field)
		})
	}
}
