package state

import (
	"encoding/base64"

	"github.com/eddyhq/eddy/shared/errs"
	"github.com/eddyhq/eddy/shared/port"
)

// checkLength is the number of characters a cursor spends on telling ours from others.
const checkLength = 10

// EncodeCursor returns the cursor of the page, of the documents of c whose keys start with prefix, that begins after a
// key. It is opaque and URL-safe, never empty, and good for the same collection and prefix only.
func EncodeCursor(c port.Collection, prefix, after string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(check(c, prefix, after) + after))
}

// DecodeCursor returns the key that a page begins after: "" for an empty cursor, which is the first page. A cursor that
// EncodeCursor did not make for the collection and prefix is an invalid_argument about the field cursor.
func DecodeCursor(c port.Collection, prefix, cursor string) (after string, err error) {
	if cursor == "" {
		return "", nil
	}
	text, err := base64.RawURLEncoding.DecodeString(cursor)
	if err == nil && len(text) >= checkLength {
		after = string(text[checkLength:])
		// The whole is compared, as base64 has more than one text for some bytes.
		if EncodeCursor(c, prefix, after) == cursor {
			return after, nil
		}
	}
	return "", errs.Invalid(errs.Detail{Field: "cursor", Problem: "is not a cursor of this list: begin again without it"})
}

// check is made of the names in it, so that a cursor can be checked without a store.
func check(c port.Collection, prefix, after string) string {
	return port.Digest("cursor", string(c), prefix, after)[:checkLength]
}
