package transfer_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/eddyhq/eddy/shared/document"
	"github.com/eddyhq/eddy/shared/errs"
	"github.com/eddyhq/eddy/shared/pebblestore"
	"github.com/eddyhq/eddy/shared/pebblestore/pebbletest"
	"github.com/eddyhq/eddy/shared/port"
	"github.com/eddyhq/eddy/shared/transfer"
)

var now = time.Unix(1_800_000_000, 0)

func open(t testing.TB) *pebblestore.Store {
	t.Helper()
	return pebbletest.Open(t, pebblestore.Options{Now: func() time.Time { return now }})
}

func call(t *testing.T, s *pebblestore.Store, id, payload string) (json.RawMessage, error) {
	t.Helper()
	function, ok := transfer.Lookup(id)
	if !ok {
		t.Fatalf("there is no %s", id)
	}
	return function(t.Context(), s, now, []byte(payload))
}

// exported takes everything out, so many documents at a time.
func exported(t *testing.T, s *pebblestore.Store, limit int) (documents []map[string]any) {
	t.Helper()
	for cursor := ""; ; {
		text, err := call(t, s, "data::export", fmt.Sprintf(`{"limit":%d,"cursor":%q}`, limit, cursor))
		if err != nil {
			t.Fatal(err)
		}
		var page struct {
			Documents []map[string]any
			Cursor    string
		}
		if err := json.Unmarshal(text, &page); err != nil {
			t.Fatal(err)
		}
		if len(page.Documents) > limit {
			t.Fatalf("a page of %d has %d documents", limit, len(page.Documents))
		}
		documents = append(documents, page.Documents...)
		if cursor = page.Cursor; cursor == "" {
			return documents
		}
	}
}

func filled(t *testing.T) *pebblestore.Store {
	t.Helper()
	s := open(t)
	var writes []port.Write
	for i := range 7 {
		writes = append(writes,
			port.Write{Op: port.Set, Collection: port.Scope("a/b"), Key: fmt.Sprint("k", i), Value: document.Value(`{"n":1}`)},
			port.Write{Op: port.Set, Collection: port.Scope("c"), Key: fmt.Sprint("k", i), Value: document.Value(`null`), TTL: time.Hour},
			port.Write{Op: port.Set, Collection: port.Group("s", "g"), Key: fmt.Sprint("i", i), Value: document.Value(fmt.Sprintf(`{"id":"i%d"}`, i))},
		)
	}
	writes = append(writes, port.Write{Op: port.Set, Collection: port.Own("schedules", "x"), Key: "k", Value: document.Value(`1`)})
	if _, err := s.Commit(t.Context(), port.Commit{Writes: writes}); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestWhatIsTakenOutIsWhatIsPutIn(t *testing.T) {
	t.Parallel()
	from, to := filled(t), open(t)
	documents := exported(t, from, 1000)
	if len(documents) != 21 {
		t.Fatalf("%d documents were taken out of 21", len(documents))
	}
	text, err := json.Marshal(map[string]any{"documents": documents})
	if err != nil {
		t.Fatal(err)
	}
	answer, err := call(t, to, "data::import", string(text))
	if err != nil || string(answer) != `{"expired":0,"imported":21}` {
		t.Fatalf("%s, %v", answer, err)
	}
	if to.Head() != 0 {
		t.Error("it was told")
	}
	again := exported(t, to, 1000)
	for _, d := range append(documents, again...) {
		delete(d, "version")
	}
	if diff := cmp.Diff(documents, again); diff != "" {
		t.Errorf("(-out +in):\n%s", diff)
	}
}

func TestPagesLeaveNothingOutAndRepeatNothing(t *testing.T) {
	t.Parallel()
	s := filled(t)
	whole := exported(t, s, 1000)
	for limit := 1; limit < 12; limit++ {
		if diff := cmp.Diff(whole, exported(t, s, limit)); diff != "" {
			t.Errorf("%d at a time (-whole +pages):\n%s", limit, diff)
		}
	}
}

func TestAPageEndsWhereItsValuesAreLarge(t *testing.T) {
	t.Parallel()
	s := open(t)
	large := document.Value(`"` + strings.Repeat("x", 390_000) + `"`)
	for i := range 8 {
		w := port.Write{Op: port.Set, Collection: port.Scope("s"), Key: fmt.Sprint("k", i), Value: large}
		if _, err := s.Commit(t.Context(), port.Commit{Writes: []port.Write{w}}); err != nil {
			t.Fatal(err)
		}
	}
	first, err := call(t, s, "data::export", `{"limit":1000}`)
	if err != nil || len(first) > 2<<20 {
		t.Errorf("a page has %d bytes, %v", len(first), err)
	}
	if n := len(exported(t, s, 1000)); n != 8 {
		t.Errorf("%d documents of 8 were taken out", n)
	}
}

func TestWhatHasExpiredIsLeftOut(t *testing.T) {
	t.Parallel()
	s := open(t)
	answer, err := call(t, s, "data::import", `{"documents":[
		{"scope":"s","key":"old","value":1,"expires_at":"2001-01-01T00:00:00Z"},
		{"scope":"s","key":"new","value":1,"expires_at":"2101-01-01T00:00:00Z"}]}`)
	if err != nil || string(answer) != `{"expired":1,"imported":1}` {
		t.Errorf("%s, %v", answer, err)
	}
}

func TestMalformedPayloadsAreRefused(t *testing.T) {
	t.Parallel()
	s := open(t)
	for name, c := range map[string]struct{ id, payload, want string }{
		"a cursor that is not ours": {"data::export", `{"cursor":"x"}`, "cursor"},
		"a cursor to what is own":   {"data::export", `{"cursor":"ex.b3duL3gvAA"}`, "cursor"},
		"no documents":              {"data::import", `{}`, "documents: is required"},
		"too few documents":         {"data::import", `{"documents":[]}`, "documents: must be an array"},
		"too many documents":        {"data::import", `{"documents":[1` + strings.Repeat(",1", 25) + `]}`, "documents: must be an array of 1 to 25"},
		"a document without a key":  {"data::import", `{"documents":[{"scope":"s","value":1}]}`, "documents[0].key: is required"},
		"a document of nothing":     {"data::import", `{"documents":[{"key":"k","value":1}]}`, "documents[0].scope: is required"},
		"a time that is none":       {"data::import", `{"documents":[{"scope":"s","key":"k","value":1,"expires_at":"soon"}]}`, "documents[0].expires_at"},
		"an item that is no object": {"data::import", `{"documents":[{"stream_name":"s","group_id":"g","item_id":"i","value":1}]}`, "documents[0].value"},
		"a field that is unknown":   {"data::import", `{"documents":[{"scope":"s","key":"k","value":1,"more":1}]}`, "documents[0].more"},
	} {
		_, err := call(t, s, c.id, c.payload)
		if errs.CodeOf(err) != errs.InvalidArgument || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzPayload holds both functions to answering any payload with JSON or an error of whoever sent it, and what was put in to
// be there afterwards.
func FuzzPayload(f *testing.F) {
	s := open(f)
	f.Add("import", []byte(`{"documents":[{"scope":"s","key":"k","value":1,"version":7,"expires_at":"2101-01-01T00:00:00Z"}]}`))
	f.Add("import", []byte(`{"documents":[{"stream_name":"s","group_id":"g","item_id":"i","value":{"id":"i"}}]}`))
	f.Add("export", []byte(`{"limit":1,"cursor":"ex.c3RhdGUvcwBr"}`))
	f.Fuzz(func(t *testing.T, name string, text []byte) {
		function, ok := transfer.Lookup("data::" + name)
		if !ok {
			return
		}
		result, err := function(t.Context(), s, now, text)
		if err != nil {
			if code := errs.CodeOf(err); code != errs.InvalidArgument && code != errs.TooLarge {
				t.Errorf("%s %q: %v", name, text, err)
			}
			return
		}
		if !json.Valid(result) {
			t.Errorf("%s %q: %s", name, text, result)
		}
		exported(t, s, 1000)
	})
}
