package fifo

import (
	"context"
	"testing"

	"github.com/eddyhq/eddy/shared/errs"
)

// FuzzOpenMessage opens bodies that anybody may have written, some of which name a blob with the other text in it.
func FuzzOpenMessage(f *testing.F) {
	const whole = `{"function":"a::b","lane":"call/c","records":[{"id":"c","target":"a::b","call":{"id":"c","function":"a::b","payload":{"n":1}}}]}`
	f.Add(whole, "")
	f.Add(`{"lane":"state/s/k","blob":"a::b/x"}`, whole)
	f.Add(`{"lane":"state/s/k","blob":"a::b/gone"}`, "")
	f.Add(`{"lane":"l","records":[{"id":"x","change":{"collection":"state/s","key":"k","new":1,"version":2}}]}`, "")
	f.Add(`{"lane":"l","socket":{"kind":"join","connection":"c"}}`, "")
	f.Add(`{"lane":"l","records":[{"id":"x"}]}`, "[]")
	f.Fuzz(func(t *testing.T, body, blob string) {
		unreadable := errs.New(errs.Unavailable, "throttled")
		for _, stored := range []error{nil, errs.New(errs.NotFound, "no blob"), unreadable} {
			m, err := openMessage(t.Context(), body, func(context.Context, string) ([]byte, error) { return []byte(blob), stored })
			switch {
			case err == nil && len(m.Records) == 0 && m.Socket == nil:
				t.Errorf("%q with the blob %q holds nothing, and is no poison", body, blob)
			case err != nil && !isPoison(err) && stored != unreadable:
				t.Errorf("%q with the blob %q will never be read, and is no poison: %v", body, blob, err)
			}
			for i := range m.Records {
				r := &m.Records[i].Record
				if err == nil && r.Change == nil && r.Call == nil && r.Event == nil {
					t.Errorf("record %d of %q carries nothing", i, body)
				}
			}
		}
	})
}
