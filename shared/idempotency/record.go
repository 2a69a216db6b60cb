package idempotency

import (
	"encoding/json"
	"fmt"

	"github.com/eddyhq/eddy/shared/document"
	"github.com/eddyhq/eddy/shared/errs"
)

// maxRecord is how many bytes of JSON a record may have: it has to fit into a document beside what a store adds.
const maxRecord = 300_000

// record is what is kept of a request that took effect.
type record struct {
	Digest string `json:"digest"`
	Answer
	Open bool `json:"open,omitempty"` // the answer is still to be amended, see doer.amends
}

func encode(r record) (document.Value, error) {
	text, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("keep an answer: %w", err)
	}
	if len(text) > maxRecord {
		return nil, errs.New(errs.TooLarge, "the answer is too large to be kept for its %s, %d bytes of %d; nothing was done: "+
			"ask without the header", Header, len(text), maxRecord)
	}
	return document.Parse(text)
}

func decode(value document.Value) (r record, err error) {
	if err := json.Unmarshal(value, &r); err != nil {
		return r, fmt.Errorf("read a kept answer: %w", err)
	}
	return r, nil
}
