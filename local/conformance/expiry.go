package conformance

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// expiries checks documents that live for a while.
func (s *suite) expiries(t *testing.T) {
	areas := []area{
		{"payloads", s.expiryPayloads},
		{"a document is there until its time, and then gone from every read and condition", s.expires},
		{"a set decides anew when its document expires, an update leaves it", s.prolong},
		{"a write over an expired document fires the expiry first", s.expiryBeforeWrite},
		{"an expiry is a deletion with its reason", s.expiryEvent},
	}
	if s.Local {
		areas = append(areas, area{"an expiry fires by itself", s.expiryAlone})
	}
	s.parallel(t, areas)
}

func (s *suite) expiryPayloads(t *testing.T) {
	const at = `"scope":"s","key":"k"`
	for name, payload := range map[string]string{
		"0 seconds":           `state::set {` + at + `,"value":1,"ttl_seconds":0}`,
		"less than 0 seconds": `state::set {` + at + `,"value":1,"ttl_seconds":-1}`,
		"no whole seconds":    `state::set {` + at + `,"value":1,"ttl_seconds":1.5}`,
		"no number":           `state::set {` + at + `,"value":1,"ttl_seconds":"1"}`,
		"a delete":            `state::delete {` + at + `,"ttl_seconds":1}`,
		"an update":           `state::update {` + at + `,"ops":[],"ttl_seconds":1}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			function, payload, _ := strings.Cut(payload, " ")
			s.invoke(t, function, payload).wantError(t, "invalid_argument", "ttl_seconds")
		})
	}
}

// outlive waits until the document with a TTL of a second, which is set with the value and then altered by further calls, is
// gone, and wants it to be there for a second. It returns the version it had.
func (s *suite) outlive(t *testing.T, at, value string, further ...string) (version int64) {
	t.Helper()
	began := time.Now()
	version = versionOf(s.must(t, "state::set", `{`+at+`,"value":`+value+`,"ttl_seconds":1}`))
	for _, call := range further {
		function, payload, _ := strings.Cut(call, " ")
		version = versionOf(s.must(t, function, payload))
	}
	eventually(t, "the document is gone", func() error {
		return match(s.must(t, "state::get", `{`+at+`}`), `null`)
	})
	if lived := time.Since(began); lived < time.Second {
		t.Errorf("the document was gone after %s", lived)
	}
	return version
}

func (s *suite) expires(t *testing.T) {
	scope := unique("conformance")
	at := `"scope":"` + scope + `","key":"k"`
	before := s.outlive(t, at, `{"n":1}`)
	s.invoke(t, "state::get", `{`+at+`,"with_version":true}`).wantJSON(t, 200, `null`)
	s.invoke(t, "state::list", `{"scope":"`+scope+`","with_keys":true}`).wantJSON(t, 200, `{"items":[]}`)
	s.invoke(t, "state::delete", `{`+at+`}`).wantJSON(t, 200, `null`)
	s.invoke(t, "state::set", fmt.Sprintf(`{%s,"value":2,"if_version":%d}`, at, before)).wantError(t, "conflict")
	s.invoke(t, "state::transact", fmt.Sprintf(`{"writes":[{"op":"check",%s,"if_version":%d}]}`, at, before)).
		wantError(t, "conflict", "writes[0]")
	s.invoke(t, "state::transact", `{"writes":[{"op":"check",`+at+`,"if_version":0}]}`).
		wantJSON(t, 200, `{"results":[{"version":0}]}`)
	a := s.invoke(t, "state::update", `{`+at+`,"ops":[{"type":"increment","path":"n","by":5}]}`)
	a.wantJSON(t, 200, `{"old_value":null,"new_value":{"n":5},"version":"<version>"}`)
	if after := versionOf(a.body); after <= before+1 {
		t.Errorf("the version is %d after the expiry of %d, which has a version too", after, before)
	}
}

func (s *suite) prolong(t *testing.T) {
	scope := unique("conformance")
	at := func(key string) string { return `"scope":"` + scope + `","key":"` + key + `"` }
	s.must(t, "state::set", `{`+at("kept")+`,"value":1,"ttl_seconds":1}`)
	s.must(t, "state::set", `{`+at("kept")+`,"value":2}`)
	s.must(t, "state::set", `{`+at("longer")+`,"value":1,"ttl_seconds":1}`)
	s.must(t, "state::set", `{`+at("longer")+`,"value":3,"ttl_seconds":3600}`)
	s.outlive(t, at("updated"), `{"n":1}`, `state::update {`+at("updated")+`,"ops":[{"type":"increment","path":"n","by":1}]}`)
	s.invoke(t, "state::list", `{"scope":"`+scope+`"}`).wantJSON(t, 200, `[2,3]`)
}

// seenChange is what proof::watch tells of a change; a text that is "" stands for no document.
func seenChange(kind string, expired bool, oldText, newText string) string {
	side := func(text string) string {
		if text == "" {
			return `null`
		}
		return `{"text":"` + text + `"}`
	}
	return fmt.Sprintf(`{"kind":%q,"expired":%t,"old":%s,"new":%s,"version":"<version>"}`, kind, expired, side(oldText), side(newText))
}

// wantSeen wants proof::watch to have told of the changes of a key, in their order and with rising versions.
func (s *suite) wantSeen(t *testing.T, key string, changes ...string) {
	t.Helper()
	var told []byte
	eventually(t, "the changes are told", func() error {
		told = s.must(t, "state::get", `{"scope":"proof-seen","key":"`+key+`"}`)
		return match(told, `{"changes":[`+strings.Join(changes, ",")+`]}`)
	})
	var seen struct{ Changes []struct{ Version int64 } }
	decode(t, told, &seen)
	for i := 1; i < len(seen.Changes); i++ {
		if seen.Changes[i].Version <= seen.Changes[i-1].Version {
			t.Errorf("the versions do not rise: %s", told)
		}
	}
}

func (s *suite) expiryBeforeWrite(t *testing.T) {
	s.needs(t, "proof::watch")
	key := unique("expired")
	at := `"scope":"proof-watched","key":"` + key + `"`
	s.outlive(t, at, `{"text":"one"}`)
	s.must(t, "state::set", `{`+at+`,"value":{"text":"two"}}`)
	s.wantSeen(t, key, seenChange("created", false, "", "one"), seenChange("deleted", true, "one", ""),
		seenChange("created", false, "", "two"))
	s.must(t, "state::delete", `{`+at+`}`)
	s.wantSeen(t, key, seenChange("created", false, "", "one"), seenChange("deleted", true, "one", ""),
		seenChange("created", false, "", "two"), seenChange("deleted", false, "two", ""))
}

func (s *suite) expiryAlone(t *testing.T) {
	s.needs(t, "proof::watch")
	key := unique("expired")
	s.outlive(t, `"scope":"proof-watched","key":"`+key+`"`, `{"text":"one"}`)
	s.wantSeen(t, key, seenChange("created", false, "", "one"), seenChange("deleted", true, "one", ""))
}

// expiryEvent calls the reaction with the event that an expiry is.
func (s *suite) expiryEvent(t *testing.T) {
	s.needs(t, "proof::watch")
	key := unique("expired")
	event := func(kind, oldValue, newValue, reason string) string {
		return `{"type":"state","event_type":"state:` + kind + `","scope":"proof-watched","key":"` + key + `","old_value":` +
			oldValue + `,"new_value":` + newValue + `,"reason":"` + reason + `","id":"c1","version":7,"attempt":1,"depth":0}`
	}
	s.invoke(t, "proof::watch", event("deleted", `{"text":"one"}`, `null`, "expired")).wantJSON(t, 200, `null`)
	s.wantSeen(t, key, seenChange("deleted", true, "one", ""))
	s.invoke(t, "proof::watch", event("deleted", `{"text":"one"}`, `null`, "bored")).wantError(t, "invalid_argument", "reason")
	s.invoke(t, "proof::watch", event("created", `null`, `{"text":"one"}`, "expired")).wantError(t, "invalid_argument", "reason")
}
