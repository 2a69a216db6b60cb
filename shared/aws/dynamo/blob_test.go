package dynamo_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/eddyhq/eddy/shared/aws/dynamo"
	"github.com/eddyhq/eddy/shared/document"
	"github.com/eddyhq/eddy/shared/errs"
	"github.com/eddyhq/eddy/shared/port"
)

// partOf is an item of a blob.
func partOf(sk string, parts int, data string) string {
	return fmt.Sprintf(`{"pk":{"S":"blob/a::b/d"},"sk":{"S":%q},"parts":{"N":"%d"},"data":{"B":%q}}`,
		sk, parts, base64.StdEncoding.EncodeToString([]byte(data)))
}

func TestBlobs(t *testing.T) {
	t.Parallel()
	t.Run("what fits into a row is one row", func(t *testing.T) {
		t.Parallel()
		play(t, []exchange{says("PutItem", "", `"blob/a::b/d"`, `"1701296000"`)}, func(t *testing.T, s *dynamo.Store) {
			if err := s.PutBlob(t.Context(), "a::b/d", []byte("data")); err != nil {
				t.Error(err)
			}
		})
	})
	t.Run("a large one is rows, and those that were not taken are sent again", func(t *testing.T) {
		t.Parallel()
		left := `{"UnprocessedItems":{"sys":[{"PutRequest":{"Item":` + partOf("1", 2, "left") + `}}]}}`
		bodies := played(t, []exchange{
			says("BatchWriteItem", left, `{"S":"0"}`, `{"S":"1"}`), says("BatchWriteItem", left), says("BatchWriteItem", ""),
		}, func(t *testing.T, s *dynamo.Store) {
			if err := s.PutBlob(t.Context(), "a::b/d", bytes.Repeat([]byte{1}, 400<<10)); err != nil {
				t.Error(err)
			}
		})
		var second struct{ RequestItems map[string][]json.RawMessage }
		if err := json.Unmarshal([]byte(bodies[1]), &second); err != nil || len(second.RequestItems["sys"]) != 1 {
			t.Errorf("the second request sends %d items (%v)", len(second.RequestItems["sys"]), err)
		}
	})
	t.Run("it is read page by page, its parts by their numbers", func(t *testing.T) {
		t.Parallel()
		var want string
		first, second := []string{}, []string{}
		for i := range 11 {
			want += fmt.Sprint("part", i)
		}
		for _, i := range []int{0, 1, 10, 2, 3} {
			first = append(first, partOf(fmt.Sprint(i), 11, fmt.Sprint("part", i)))
		}
		for _, i := range []int{4, 5, 6, 7, 8, 9} {
			second = append(second, partOf(fmt.Sprint(i), 11, fmt.Sprint("part", i)))
		}
		play(t, []exchange{
			says("Query", `{"Items":[`+strings.Join(first, ",")+`],"LastEvaluatedKey":{"pk":{"S":"blob/a::b/d"},"sk":{"S":"3"}}}`,
				`"ConsistentRead":true`),
			says("Query", `{"Items":[`+strings.Join(second, ",")+`]}`),
		}, func(t *testing.T, s *dynamo.Store) {
			if got, err := s.GetBlob(t.Context(), "a::b/d"); err != nil || string(got) != want {
				t.Errorf("%s, %v", got, err)
			}
		})
	})
	for name, items := range map[string]string{"unknown": "", "of which a part is gone": partOf("1", 2, "x")} {
		t.Run("one that is "+name+" is not found", func(t *testing.T) {
			t.Parallel()
			play(t, []exchange{says("Query", `{"Items":[`+items+`]}`)}, func(t *testing.T, s *dynamo.Store) {
				if _, err := s.GetBlob(t.Context(), "a::b/d"); errs.CodeOf(err) != errs.NotFound {
					t.Error(err)
				}
			})
		})
	}
}

func TestARecordThatIsTooLargeForItsRowIsABlob(t *testing.T) {
	t.Parallel()
	large := document.Value(`"` + strings.Repeat(`\u0001`, 60_000) + `"`)
	play(t, []exchange{
		says("BatchWriteItem", "", `"blob/a::b/`), says("PutItem", "", `"call/c::d"`, `"blob":{"S":"a::b/`),
	}, func(t *testing.T, s *dynamo.Store) {
		call := port.Call{ID: "1", Function: "c::d", Payload: large}
		if _, err := s.Commit(t.Context(), port.Commit{Calls: []port.Call{call}}); err != nil {
			t.Error(err)
		}
	})
}

func TestEndpointKeepsBlobs(t *testing.T) {
	t.Parallel()
	s := dial(t).store()
	for _, size := range []int{0, 1, 350 << 10, 350<<10 + 1, 4 << 20} {
		data := bytes.Repeat([]byte("blob"), size/4+1)[:size]
		key := fmt.Sprintf("a::b/%d", size)
		if err := s.PutBlob(t.Context(), key, data); err != nil {
			t.Fatal(err)
		}
		if got, err := s.GetBlob(t.Context(), key); err != nil || !bytes.Equal(got, data) {
			t.Errorf("of %d bytes, %d came back (%v)", size, len(got), err)
		}
	}
}
